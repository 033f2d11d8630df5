(** T10: with a third reward level, above the group mean is not correct, and the one direction of T5 is lost. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions responses instances outcomes.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

(** Open: that GRPO's mean weights of two reward levels differ, so that its direction is lost as well. *)

Section Levels.
Variables (F : rcfType) (V O : finType) (eos : V) (H G : nat) (pi : policy F V) (dpi : variation pi).
Variable level : response eos H -> O.

(** The probability that a response has the level [z], and its derivative. *)
Definition level_prob (z : O) : F := mean_response pi (fun y => (level y == z)%:R).
Definition dlevel_prob (z : O) : F := dmean_response dpi (fun y => (level y == z)%:R).

(** A rule that looks at the levels of the group alone, and the mean weight that it gives to a member of level [z]. *)
Definition level_rule := {ffun 'I_G -> O} -> 'I_G -> F.
Definition mean_weight (A : level_rule) (z : O) : F :=
  G%:R^-1 * \sum_i \sum_(b : {ffun 'I_G -> O} | b i == z) A b i * \prod_(j | j != i) level_prob (b j).

(** T10. With any number of reward levels, the expected gradient moves the probability of each level by the mean weight
    of its members. *)
Theorem t10_levels (A : level_rule) :
  expected_gradient dpi (fun (g : {ffun 'I_G -> response eos H}) i t => A [ffun j => level (g j)] i) =
  \sum_z mean_weight A z * dlevel_prob z.
Proof.
have P_score (y : response eos H) : prob eos pi y * score eos dpi y = dprob eos dpi y by [].
have outcomeE z : outcome_prob (fun y : response eos H => prob eos pi y) level z = level_prob z.
  by rewrite /outcome_prob big_mkcond; apply: eq_bigr => y _; case: (_ == z); rewrite ?mulr1 ?mulr0.
transitivity (G%:R^-1 * \sum_i \sum_(g : {ffun 'I_G -> response eos H}) (\prod_j prob eos pi (g j)) *
    (A [ffun j => level (g j)] i * (1 * score eos dpi (g i)))).
  rewrite exchange_big mulr_sumr; apply: eq_bigr => g _; rewrite /group_gradient mulrCA mulr_sumr; congr (_ * _).
  by apply: eq_bigr => i _; rewrite mul1r -mulr_sumr.
transitivity (G%:R^-1 * \sum_i \sum_z (\sum_(b : {ffun 'I_G -> O} | b i == z)
    A b i * \prod_(j | j != i) level_prob (b j)) * dlevel_prob z); last first.
  rewrite exchange_big mulr_sumr; apply: eq_bigr => z _; rewrite /mean_weight -mulrA; congr (_ * _).
  by rewrite mulr_suml.
congr (_ * _); apply: eq_bigr => i _.
rewrite (@expectation_by_outcomes _ _ _ _ _ (fun y : response eos H => score eos dpi y) (fun=> 1) level G P_score).
under [RHS]eq_bigr do rewrite mulr_suml.
rewrite (exchange_big_dep xpredT) //=; apply: eq_bigr => b _.
rewrite (big_pred1 (b i)) => [|z]; last by rewrite eq_sym.
congr (_ * _ * _); first by apply: eq_bigr => j _; rewrite outcomeE.
rewrite /dlevel_prob /dmean_response big_mkcond; apply: eq_bigr => y _.
by case: (_ == _); rewrite ?mul1r ?mulr1 ?mulr0.
Qed.
End Levels.

Section Credit.
Variables (F : rcfType) (G : nat).
Hypothesis G_gt1 : (1 < G)%N.
Implicit Types (x : 'I_G -> F) (i j : 'I_G) (c alpha : F).

(** F-ISFT in the advantage form, for rewards of any size. *)
Definition f_isft_of alpha x i : F :=
  if group_mean x < x i then 1 - alpha else if x i < group_mean x then - alpha else 0.

Lemma eq_f_isft_of alpha x x' i : x =1 x' -> f_isft_of alpha x i = f_isft_of alpha x' i.
Proof. by move=> xx'; rewrite /f_isft_of /group_mean (eq_bigr _ (fun j _ => xx' j)) xx'. Qed.

Lemma f_isft_plus_ge0 x i : 0 <= f_isft_of 0 x i.
Proof. by rewrite /f_isft_of subr0 oppr0; case: ifP => _; [rewrite ler01 | case: ifP]. Qed.

Lemma f_isft_plus_lowest x i : x i = 0 -> (forall j, 0 <= x j) -> f_isft_of 0 x i = 0.
Proof.
move=> x_i x_ge0; rewrite /f_isft_of x_i oppr0 ltNge.
suff -> : 0 <= group_mean x by case: ifP.
by rewrite mulr_ge0 ?invr_ge0 ?ler0n ?sumr_ge0.
Qed.

(** The rewards of a group in which member [i] has [c] and all others have 0. *)
Definition one_credit c i j : F := if j == i then c else 0.

Lemma mean_one_credit c i : group_mean (one_credit c i) = c / G%:R.
Proof.
rewrite /group_mean (bigD1 i) //= {1}/one_credit eqxx big1 ?addr0 => [|j /negPf j_i]; first by rewrite mulrC.
by rewrite /one_credit j_i.
Qed.

(** T10. In a group of zeros and one c, the c is above the mean, by c (G−1)/G, … *)
Theorem t10_lead c i : one_credit c i i - group_mean (one_credit c i) = c * ((G - 1)%:R / G%:R).
Proof.
have G_neq0 : G%:R != 0 :> F by rewrite pnatr_eq0 -lt0n ltnW.
rewrite mean_one_credit /one_credit eqxx natrB ?(ltnW G_gt1) // mulrBl divff // mulrBr mulr1.
by rewrite mul1r.
Qed.

(** T10. … and F-ISFT in the advantage form gives this wrong answer its full positive weight. *)
Theorem t10_above_mean alpha c i : 0 < c -> f_isft_of alpha (one_credit c i) i = 1 - alpha.
Proof.
move=> c_gt0; rewrite /f_isft_of -subr_gt0 t10_lead mulr_gt0 // divr_gt0 ?ltr0n ?subn_gt0 //.
exact: ltnW.
Qed.
End Credit.

Section OwnReward.
Variables (F : rcfType) (n : nat).
Hypothesis n_gt0 : (0 < n)%N.
Add Field F_field : (plain_field F).
Implicit Types (x : 'I_n.+1 -> F) (i : 'I_n.+1) (d v a : F).

(** Mean and variance of the rewards of the others. *)
Definition others_mean x i : F := n%:R^-1 * \sum_(j | j != i) x j.
Definition others_variance x i : F := n%:R^-1 * \sum_(j | j != i) (x j - others_mean x i) ^+ 2.

Let n_pos : 0 < n%:R :> F. Proof. by rewrite ltr0n. Qed.
Let n_neq0 : n%:R != 0 :> F. Proof. by rewrite gt_eqF. Qed.
Let G_neq0 : n.+1%:R != 0 :> F. Proof. by rewrite pnatr_eq0. Qed.
Let nE : n%:R = n.+1%:R - 1 :> F. Proof. by rewrite mulrSr addrK. Qed.

Lemma sum_others x i : \sum_(j | j != i) x j = n%:R * others_mean x i.
Proof. by rewrite /others_mean mulVKf. Qed.

Lemma mean_of_group x i : group_mean x = others_mean x i + (x i - others_mean x i) / n.+1%:R.
Proof.
rewrite /group_mean (bigD1 i) //= sum_others nE; move: (x i) (others_mean x i) (n.+1%:R : F) G_neq0 => y m g g_neq0.
by field_of F.
Qed.

Lemma squares_of_group x i : \sum_j (x j - group_mean x) ^+ 2 =
  n%:R * (n.+1%:R * others_variance x i + (x i - others_mean x i) ^+ 2) / n.+1%:R.
Proof.
pose c := others_mean x i - group_mean x.
have rest : \sum_(j | j != i) (x j - group_mean x) ^+ 2 = n%:R * (others_variance x i + c ^+ 2).
  transitivity (\sum_(j | j != i) ((x j - others_mean x i) ^+ 2 + ((2%:R * c) * x j + 1 * (c * (c - 2%:R * others_mean x i))))).
    by apply: eq_bigr => j _; rewrite /c; move: (x j) (others_mean x i) (group_mean x) => y m g; ring_of F.
  rewrite !big_split /= -[X in _ + (X + _)]mulr_sumr -[X in _ + (_ + X)]mulr_suml sum_others sumr_const cardC1 card_ord /=.
  rewrite sum_others (_ : others_mean (fun j => (x j - others_mean x i) ^+ 2) i = others_variance x i) //.
  by move: (others_variance x i) (others_mean x i) (n%:R : F) c => w m g e; ring_of F.
rewrite (bigD1 i) //= rest /c (mean_of_group x i) nE.
move: (x i) (others_mean x i) (others_variance x i) (n.+1%:R : F) G_neq0 => y m w g g_neq0.
by field_of F.
Qed.

Lemma others_variance_ge0 x i : 0 <= others_variance x i.
Proof. by rewrite mulr_ge0 ?invr_ge0 ?ler0n // sumr_ge0 // => j _; rewrite sqr_ge0. Qed.

(** T10. In a group of G = n + 1, against others of mean reward m and variance v, GRPO gives a response whose reward is
    m + d the advantage √n d/√(G v + d²), … *)
Theorem t10_grpo x i : (x i - group_mean x) / group_std 0 x =
  Num.sqrt n%:R * (x i - others_mean x i) / Num.sqrt (n.+1%:R * others_variance x i + (x i - others_mean x i) ^+ 2).
Proof.
rewrite /group_std (squares_of_group x i) subn0 {1}(mean_of_group x i).
move: (others_variance_ge0 x i); move: (x i) (others_mean x i) (others_variance x i) => y m v v_ge0.
set w := n.+1%:R * v + _; have w_ge0 : 0 <= w by rewrite addr_ge0 ?sqr_ge0 // mulr_ge0 ?ler0n.
have -> : n.+1%:R^-1 * (n%:R * w / n.+1%:R) = n%:R * w * n.+1%:R^-1 ^+ 2.
  by rewrite mulrC expr2 mulrA.
have g_pos : 0 < n.+1%:R :> F by rewrite ltr0n.
rewrite sqrtrM ?mulr_ge0 ?ler0n // sqrtr_sqr sqrtrM ?ler0n // gtr0_norm ?invr_gt0 // !invfM invrK.
have root_neq0 : Num.sqrt n%:R != 0 :> F by rewrite sqrtr_eq0 -ltNge.
have -> : y - (m + (y - m) / n.+1%:R) = (y - m) * Num.sqrt n%:R ^+ 2 / n.+1%:R.
  by rewrite sqr_sqrtr ?ler0n // nE; move: (n.+1%:R : F) G_neq0 => g g_neq0; field_of F.
move: (Num.sqrt w)^-1 (Num.sqrt n%:R) root_neq0 (n.+1%:R : F) G_neq0 => u s s_neq0 g g_neq0.
by field_of F.
Qed.

Lemma increasing a d d' : 0 < a -> d < d' -> d / Num.sqrt (a + d ^+ 2) < d' / Num.sqrt (a + d' ^+ 2).
Proof.
move=> a_gt0 lt_d; have pos e : 0 < a + e ^+ 2 by rewrite ltr_spaddl ?sqr_ge0.
have rpos e : 0 < Num.sqrt (a + e ^+ 2) by rewrite sqrtr_gt0.
have nonneg e e' : 0 <= e -> e < e' -> e / Num.sqrt (a + e ^+ 2) < e' / Num.sqrt (a + e' ^+ 2).
  move=> e_ge0 lt_e; have e'_ge0 : 0 <= e' := ltW (le_lt_trans e_ge0 lt_e).
  rewrite -(ltr_pexpn2r (n := 2)) // ?nnegrE ?divr_ge0 ?sqrtr_ge0 //.
  rewrite !expr_div_n !sqr_sqrtr ?ltW // ltr_pdivr_mulr // mulrAC ltr_pdivl_mulr // -subr_gt0.
  have -> : e' ^+ 2 * (a + e ^+ 2) - e ^+ 2 * (a + e' ^+ 2) = a * ((e' - e) * (e' + e)) by ring_of F.
  by rewrite !mulr_gt0 ?subr_gt0 // ltr_paddr // (le_lt_trans e_ge0).
have [d_ge0|d_lt0] := leP 0 d; first exact: nonneg.
have [d'_gt0|d'_le0] := ltP 0 d'.
  by rewrite (@lt_trans _ _ 0) ?pmulr_llt0 ?pmulr_lgt0 ?invr_gt0.
have := nonneg (- d') (- d); rewrite oppr_ge0 ltr_opp2 !sqrrN !mulNr ltr_opp2 => -> //.
Qed.

(** T10. … which grows with d where the others differ: with a response's own reward, at every group size. *)
Theorem t10_growth v d d' : 0 < v -> d < d' ->
  Num.sqrt n%:R * d / Num.sqrt (n.+1%:R * v + d ^+ 2) < Num.sqrt n%:R * d' / Num.sqrt (n.+1%:R * v + d' ^+ 2).
Proof. by move=> v_gt0 lt_d; rewrite -!mulrA ltr_pmul2l ?sqrtr_gt0 // increasing // mulr_gt0 ?ltr0n. Qed.

(** T10. Where the others agree it is √n times the sign of d. *)
Theorem t10_others_alike d : d != 0 ->
  Num.sqrt n%:R * d / Num.sqrt (n.+1%:R * 0 + d ^+ 2) = Num.sqrt n%:R * Num.sg d.
Proof.
move=> d_neq0; rewrite mulr0 add0r sqrtr_sqr -mulrA; congr (_ * _).
by rewrite {1}[d]numEsg mulfK // normr_eq0.
Qed.
End OwnReward.

(** T10. The chance of a group of n zeros and one response with credit is positive, if both can be sampled. *)
Theorem t10_chance (F : rcfType) (p0 p1 : F) (n : nat) : 0 < p0 -> 0 < p1 -> 0 < p0 ^+ n * p1.
Proof. by move=> p0_gt0 p1_gt0; rewrite mulr_gt0 ?exprn_gt0. Qed.

(** Three levels: wrong, wrong with the partial credit [c], and right. *)
Section ThreeLevels.
Variables (F : rcfType) (V : finType) (eos : V) (H G : nat) (pi : policy F V) (dpi : variation pi).
Variable level : response eos H -> 'I_3.
Local Notation wrong := (@Ordinal 3 0 isT).
Local Notation partial := (@Ordinal 3 1 isT).
Local Notation correct := (@Ordinal 3 2 isT).

Definition level_reward (c : F) (z : 'I_3) : F := nth 0 [:: 0; c; 1] z.
Definition f_isft_plus c : level_rule F [finType of 'I_3] G := fun b i => f_isft_of 0 (fun j => level_reward c (b j)) i.

Lemma sum_dlevel_prob (O : finType) (l : response eos H -> O) : \sum_z dlevel_prob dpi l z = 0.
Proof.
rewrite /dlevel_prob /dmean_response exchange_big /= -[RHS](sum_dprob eos H dpi); apply: eq_bigr => y _.
rewrite (bigD1 (l y)) //= eqxx mulr1 big1 ?addr0 // => z /negPf z_y.
by rewrite eq_sym z_y mulr0.
Qed.

Lemma level_prob_ge0 (O : finType) (l : response eos H -> O) z : 0 <= level_prob pi l z.
Proof. by apply: sumr_ge0 => y _; rewrite mulr_ge0 ?prob_ge0 ?ler0n. Qed.

(** T10. The one direction of T5 is lost. Take any policy and any group size from 2 on, where wrong responses without
    credit can be sampled, and a direction that moves probability between the two kinds of wrong responses but leaves
    that of right ones as it is: the expected gradient of F-ISFT⁺ in this direction is not 0, so it is no multiple of
    the derivative of the success probability. *)
Theorem t10_direction_lost c : (1 < G)%N -> 0 < c -> 0 < level_prob pi level wrong ->
  dlevel_prob dpi level correct = 0 -> dlevel_prob dpi level partial != 0 ->
  expected_gradient dpi (fun (g : {ffun 'I_G -> response eos H}) i t => f_isft_plus c [ffun j => level (g j)] i) != 0.
Proof.
move=> G_gt1 c_gt0 p0_gt0 d2 d1; rewrite t10_levels !big_ord_recl big_ord0 addr0.
have -> : lift ord0 (lift ord0 ord0) = correct by apply: val_inj.
have -> : lift ord0 ord0 = partial by apply: val_inj.
have -> : ord0 = wrong by apply: val_inj.
rewrite d2 mulr0 addr0.
have w0 : mean_weight pi level (f_isft_plus c) wrong = 0.
  rewrite /mean_weight big1 ?mulr0 // => i _; rewrite big1 // => b /eqP b_i.
  rewrite /f_isft_plus f_isft_plus_lowest ?mul0r ?b_i // => j.
  by rewrite /level_reward; case: (b j) => [[|[|[|]]]] //= _; rewrite ?ler01 ?ltW.
have w1 : 0 < mean_weight pi level (f_isft_plus c) partial.
  have term_ge0 i (b : {ffun 'I_G -> 'I_3}) : 0 <= f_isft_plus c b i * \prod_(j | j != i) level_prob pi level (b j).
    by rewrite mulr_ge0 ?f_isft_plus_ge0 // prodr_ge0 // => j _; apply: level_prob_ge0.
  pose i0 := Ordinal (ltnW G_gt1); pose b0 := [ffun j => if j == i0 then partial else wrong].
  rewrite /mean_weight mulr_gt0 ?invr_gt0 ?ltr0n ?(ltnW G_gt1) // (bigD1 i0) //=.
  rewrite ltr_paddr ?sumr_ge0 // => [i _|]; first by apply: sumr_ge0.
  rewrite (bigD1 b0) /=; last by rewrite ffunE eqxx.
  rewrite ltr_paddr ?sumr_ge0 // /f_isft_plus (@eq_f_isft_of _ _ _ _ (one_credit c i0)) => [|j]; last first.
    by rewrite ffunE /one_credit; case: (j == i0).
  rewrite t10_above_mean // subr0 mul1r prodr_gt0 // => j /negPf j_i0.
  by rewrite ffunE j_i0.
by rewrite w0 mul0r add0r mulf_neq0 // gt_eqF.
Qed.
End ThreeLevels.

(** T10. There are such policies and directions: one token of three, each with probability 1/3, and a direction that
  moves
    probability from the first to the second. *)
Theorem t10_instance (F : rcfType) : exists (pi : policy F [finType of 'I_3]) (dpi : variation pi)
  (level : response (ord0 : [finType of 'I_3]) 1 -> 'I_3),
  0 < level_prob pi level (@Ordinal 3 0 isT) /\ dlevel_prob dpi level (@Ordinal 3 2 isT) = 0 /\
  dlevel_prob dpi level (@Ordinal 3 1 isT) != 0.
Proof.
have third_gt0 : 0 < 3%:R^-1 :> F by rewrite invr_gt0 ltr0n.
have sum1 (s : seq 'I_3) : \sum_(a : 'I_3) (3%:R^-1 : F) = 1.
  by rewrite sumr_const card_ord -[LHS]mulr_natl mulfV // pnatr_eq0.
pose pi := @Policy F [finType of 'I_3] (fun _ _ => 3%:R^-1) (fun _ _ => ltW third_gt0) sum1.
pose move (s : seq 'I_3) (a : 'I_3) : F := nth 0 [:: -1; 1; 0] a.
have sum0 s : \sum_(a : 'I_3) move s a = 0.
  by rewrite /move !big_ord_recl big_ord0 /= !addr0 addNr.
have never s a : pi s a = 0 -> move s a = 0 by move/eqP; rewrite /= gt_eqF.
exists pi, (@Variation F _ pi move sum0 never), (fun y => head ord0 (y : seq 'I_3)).
rewrite /level_prob /dlevel_prob /mean_response /dmean_response.
rewrite (sum_one_token (ord0 : [finType of 'I_3]) (fun y => prob ord0 pi y * (head ord0 y == _)%:R)).
rewrite !(sum_one_token (ord0 : [finType of 'I_3])
  (fun y => dprob ord0 (@Variation F _ pi move sum0 never) y * (head ord0 y == _)%:R)).
rewrite !big_ord_recl !big_ord0 /= /dprob !prob_cons !prob_nil !score_cons !score_nil /= /move /=.
rewrite !(mul0r, mulr0, addr0, add0r, mulr1, mul1r); split=> //; split=> //.
by rewrite mulf_neq0 ?invr_neq0 ?pnatr_eq0.
Qed.
