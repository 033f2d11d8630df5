(** T5: with right and wrong responses only, every outcome rule pushes along the gradient of the success probability;
    the rules differ in a scalar. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Export binomial.
From Rino Require Import algebra definitions responses outcomes t04_binary_advantages.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

(** The scalar c(p) of a rule: the expected advantage of a right member less that of a wrong one. *)
Definition scalar (F : rcfType) (G : nat) (A : outcome_rule F G) (p : F) : F := expected_right A p - expected_wrong A p.

(** T5. On-policy, for any rule that looks at the outcomes of the group alone, any policy, any direction of its
    parameters and any group size, the expected gradient is c(p) ∇p. *)
Theorem t5_one_direction (F : rcfType) (V : finType) (eos : V) (H G : nat) (pi : policy F V) (dpi : variation pi)
    (r : response eos H -> bool) (A : outcome_rule F G) :
  expected_gradient dpi (fun g i t => A (outcomes r g) i) = scalar A (success pi r) * dsuccess dpi r.
Proof.
rewrite (@eq_expected_gradient _ _ _ _ _ _ dpi _ (fun g i _ => A (outcomes r g) i * 1)); last first.
  by move=> g i t; rewrite mulr1.
rewrite (expected_gradient_by_outcomes dpi r A (fun=> 1)) /scalar mulrBl /dsuccess -mulrN; congr (_ * _ + _ * _).
  by apply: eq_bigr => y _; rewrite mulr1.
apply/eqP; rewrite -addr_eq0 /dmean_response -big_split /= -[X in _ == X](sum_dprob eos H dpi).
by apply/eqP/eq_bigr => y _; rewrite mulr1; case: (r y); rewrite ?mulr0 ?mulr1 ?addr0 ?add0r.
Qed.

Section Scalars.
Variables (F : rcfType) (n : nat).
Add Field F_field : (plain_field F).
Local Notation G := n.+1.
Implicit Types (A : outcome_rule F G) (p : F).

(** T5. If the rule gives [a1 k] to a right and [a0 k] to a wrong member of a group with [k] right ones, then
    c(p) = E[a1(K+1)] − E[a0(K)] with K binomial, of G − 1 trials. *)
Theorem t5_counting (a1 a0 : nat -> F) A p :
  (forall b i, A b i = if b i then a1 (right b) else a0 (right b)) ->
  scalar A p = \sum_(k < G) binomial_law n p k * (a1 k.+1 - a0 k).
Proof.
move=> AE; have sameA i b : A b i = @counting_rule F G a1 a0 b i by rewrite AE.
have -> : scalar A p = scalar (@counting_rule F G a1 a0) p.
  by congr (_ * _ - _ * _); apply: eq_bigr => i _; apply: eq_bigr => b _; rewrite sameA.
rewrite /scalar expected_right_counting // expected_wrong_counting //.
by rewrite -sumrB; apply: eq_bigr => k _; rewrite mulrBr.
Qed.

Lemma constant_difference (c : F) (a1 a0 : nat -> F) A p :
  (forall b i, A b i = if b i then a1 (right b) else a0 (right b)) ->
  (forall k, (k < G)%N -> a1 k.+1 - a0 k = c) -> scalar A p = c.
Proof.
move=> /t5_counting -> const; under eq_bigr => k _ do rewrite const //.
by rewrite -mulr_suml sum_binomial mul1r.
Qed.

(** T5, REINFORCE and cross-entropy on the positives, averaged over the group: A = r. *)
Theorem t5_reinforce p : scalar (@reinforce F G) p = 1.
Proof.
apply: (@constant_difference 1 (fun=> 1) (fun=> 0)) => [b i|k _]; last by rewrite subr0.
by rewrite /reinforce /reward; case: (b i).
Qed.

(** T5, negatives alone: A = −(1 − r). *)
Theorem t5_negatives p : scalar (@negatives F G) p = 1.
Proof.
apply: (@constant_difference 1 (fun=> 0) (fun=> -1)) => [b i|k _]; last by rewrite sub0r opprK.
by rewrite /negatives /reward; case: (b i) => /=; ring_of F.
Qed.

(** T5, F-ISFT± as cross-entropy: A = r − (1 − r). *)
Theorem t5_cross_entropy_pm p : scalar (@cross_entropy_pm F G) p = 2%:R.
Proof.
apply: (@constant_difference _ (fun=> 1) (fun=> -1)) => [b i|k _]; last by rewrite opprK.
by rewrite /cross_entropy_pm /reward; case: (b i) => /=; ring_of F.
Qed.

Lemma G_neq0' : G%:R != 0 :> F. Proof. by rewrite pnatr_eq0. Qed.
Local Hint Resolve G_neq0' : core.

(** T5, Dr. GRPO: A = r − mean. *)
Theorem t5_dr_grpo p : scalar (@dr_grpo F G) p = n%:R / G%:R.
Proof.
apply: (@constant_difference _ (fun k => 1 - k%:R / G%:R) (fun k => - (k%:R / G%:R))) => [b i|k _].
  by rewrite /dr_grpo mean_rewardE // /reward; case: (b i); rewrite ?sub0r.
have -> : n%:R = G%:R - 1 :> F by rewrite -addn1 natrD addrK.
rewrite -[k.+1]addn1 natrD.
by have := G_neq0'; move: (G%:R : F) (k%:R : F) => g x g_neq0; field_of F.
Qed.

(** T5, RLOO: A = G/(G−1) (r − mean). *)
Theorem t5_rloo p : (1 < G)%N -> scalar (@rloo F G) p = 1.
Proof.
move=> G_gt1; have n_neq0 : n%:R != 0 :> F by rewrite pnatr_eq0 -lt0n.
apply: (@constant_difference _ (fun k => G%:R / n%:R * (1 - k%:R / G%:R)) (fun k => - (k%:R / n%:R))) => [b i|k _].
  rewrite /rloo mean_rewardE // subSS subn0 /reward; case: (b i) => //.
  move: n_neq0 G_neq0'; rewrite /share /=; move: (n%:R : F) (G%:R : F) ((right b)%:R : F) => m g k m_neq0 g_neq0.
  by field_of F.
have nE : n%:R = G%:R - 1 :> F by rewrite -addn1 natrD addrK.
rewrite -[k.+1]addn1 natrD; move: n_neq0; rewrite nE.
by have := G_neq0'; move: (G%:R : F) (k%:R : F) => g x g_neq0 g1_neq0; field_of F.
Qed.

(** T5, mean over positives: A = r/mean. *)
Theorem t5_mean_over_positives p : p != 0 -> scalar (@mean_over_positives F G) p = (1 - (1 - p) ^+ G) / p.
Proof.
move=> p_neq0; rewrite (@t5_counting (fun k => G%:R / k%:R) (fun=> 0)) => [|b i]; last first.
  by rewrite /mean_over_positives mean_rewardE // /reward /share; case: (b i); rewrite ?mul0r // div1r invf_div.
apply: (mulfI p_neq0); rewrite [RHS]mulrCA divff // mulr1 -success_count_zero.
rewrite (eq_bigr (fun k : 'I_G => binomial_law n p k * (G%:R / k.+1%:R * 1))) => [|k _]; last by rewrite subr0 mulr1.
rewrite (right_sum (fun=> 1)) (binomial_law_shift (fun=> 1)) mulr1; congr (_ - _).
by rewrite -[RHS](sum_binomial G p); apply: eq_bigr => k _; rewrite mulr1.
Qed.

(** T5, MaxRL as released: A = (r − mean)/mean. *)
Theorem t5_maxrl p : p != 0 -> scalar (@maxrl F G) p = (1 - (1 - p) ^+ n) / p.
Proof.
move=> p_neq0; rewrite (@t5_counting (fun k => G%:R / k%:R - 1) (fun k => - (k != 0%N)%:R)) => [|b i]; last first.
  rewrite /maxrl mean_rewardE // /reward /share; case bi: (b i).
    have k_neq0 : (right b)%:R != 0 :> F.
      by rewrite pnatr_eq0 -lt0n; apply/card_gt0P; exists i; rewrite inE.
    rewrite /=; move: k_neq0 G_neq0'; move: ((right b)%:R : F) (G%:R : F) => k g k_neq0 g_neq0.
    by field_of F.
  rewrite sub0r mulNr; case: (right b) => [|k] /=; first by rewrite !mul0r.
  by rewrite divff // mulf_neq0 ?invr_eq0 ?pnatr_eq0.
have -> : \sum_(k < G) binomial_law n p k * (G%:R / k.+1%:R - 1 - - (nat_of_ord k != 0%N)%:R) =
    \sum_(k < G) binomial_law n p k * (G%:R / k.+1%:R - 0) - (1 - p) ^+ n.
  rewrite [in LHS](eq_bigr (fun k : 'I_G => binomial_law n p k * (G%:R / k.+1%:R - 0) -
    binomial_law n p k * (nat_of_ord k == 0%N)%:R)) => [|k _]; last first.
    by case: (nat_of_ord k == 0%N) => /=; ring_of F.
  rewrite sumrB; congr (_ - _); rewrite big_ord_recl /= big1 ?addr0 => [|k _]; last by rewrite mulr0.
  by rewrite mulr1 /binomial_law subn0 bin0 mulr1n mul1r.
have := t5_mean_over_positives p_neq0; rewrite (@t5_counting (fun k => G%:R / k%:R) (fun=> 0)) => [->|b i].
  by rewrite exprS; move: ((1 - p) ^+ n) => x; field_of F.
by rewrite /mean_over_positives mean_rewardE // /reward /share; case: (b i); rewrite ?mul0r // div1r invf_div.
Qed.

(** T5, F-ISFT in the advantage form: A = 1 − α above the mean, −α below it, 0 if all are equal. α is 0 for F-ISFT⁺,
    1 for F-ISFT⁻ and ½ for F-ISFT±. *)
Theorem t5_f_isft (alpha : F) p :
  scalar (@f_isft F G alpha) p = (1 - alpha) * (1 - p ^+ n) + alpha * (1 - (1 - p) ^+ n).
Proof.
rewrite (@t5_counting (fun k => (1 - alpha) * (k != G)%:R) (fun k => - (alpha * (k != 0%N)%:R))) => [|b i]; last first.
  rewrite /f_isft mean_rewardE // /reward /share.
  have le_k : (right b <= G)%N by rewrite -[X in (_ <= X)%N]card_ord max_card.
  have G_pos : 0 < G%:R :> F by rewrite ltr0n.
  case bi: (b i).
    rewrite ltr_pdivr_mulr // mul1r ltr_nat ltn_neqAle le_k andbT; case: (right b =P G) => [-> /=|_]; last first.
      by rewrite mulr1.
    by rewrite divff // ltxx mulr0.
  have nlt : (right b)%:R / G%:R < 0 :> F = false by rewrite pmulr_llt0 ?invr_gt0 // ltNge ler0n.
  rewrite nlt pmulr_lgt0 ?invr_gt0 // ltr0n lt0n; case: (right b == 0%N) => /=; last by rewrite mulr1.
  by rewrite mulr0 oppr0.
rewrite (eq_bigr (fun k : 'I_G => binomial_law n p k - (1 - alpha) * (binomial_law n p k * (nat_of_ord k == n)%:R) -
  alpha * (binomial_law n p k * (nat_of_ord k == 0%N)%:R))) => [|k _]; last first.
  by rewrite eqSS; case: (nat_of_ord k == n); case: (nat_of_ord k == 0%N) => /=; ring_of F.
rewrite !sumrB sum_binomial -!mulr_sumr.
have -> : \sum_(k < G) binomial_law n p k * (nat_of_ord k == n)%:R = p ^+ n.
  rewrite big_ord_recr /= big1 ?add0r => [|k _]; last by rewrite ltn_eqF ?mulr0 ?ltn_ord.
  by rewrite eqxx mulr1 /binomial_law subnn binn mulr1n mulr1.
have -> : \sum_(k < G) binomial_law n p k * (nat_of_ord k == 0%N)%:R = (1 - p) ^+ n.
  rewrite big_ord_recl /= big1 ?addr0 => [|k _]; last by rewrite mulr0.
  by rewrite mulr1 /binomial_law subn0 bin0 mulr1n mul1r.
by move: (p ^+ n) ((1 - p) ^+ n) => x y; ring_of F.
Qed.

Lemma root_of_quotient (m k : nat) : (0 < k)%N ->
  Num.sqrt (m%:R / k%:R) = Num.sqrt (k * m)%:R / k%:R :> F.
Proof.
move=> k_gt0; have k_pos : 0 < k%:R :> F by rewrite ltr0n.
have k_neq0 := lt0r_neq0 k_pos.
have -> : m%:R / k%:R = (k * m)%:R / k%:R ^+ 2 :> F.
  by rewrite natrM; move: k_neq0; move: (k%:R : F) (m%:R : F) => x y x_neq0; field_of F.
by rewrite sqrtrM ?ler0n // sqrtrV ?exprn_ge0 ?ler0n // sqrtr_sqr ger0_norm // ltW.
Qed.

(** The mean of the root of k (G − k), with k binomial, of G trials. *)
Definition mean_root p : F := \sum_(k < G.+1) binomial_law G p k * Num.sqrt (k * (G - k))%:R.

Lemma expected_right_grpo p :
  expected_right (@grpo F G 0) p = \sum_(k < G) binomial_law n p k * Num.sqrt ((n - k)%:R / k.+1%:R).
Proof.
pose a1 k : F := Num.sqrt ((G - k)%:R / k%:R).
transitivity (expected_right (@counting_rule F G a1 (fun=> 0)) p); last by rewrite expected_right_counting.
by congr (_ * _); apply: eq_bigr => i _; apply: eq_bigr => b bi; rewrite t4_counts // /counting_rule bi.
Qed.

Lemma expected_wrong_grpo p :
  expected_wrong (@grpo F G 0) p = - \sum_(k < G) binomial_law n p k * Num.sqrt (k%:R / (G - k)%:R).
Proof.
pose a0 k : F := - Num.sqrt (k%:R / (G - k)%:R).
transitivity (expected_wrong (@counting_rule F G (fun=> 0) a0) p).
  by congr (_ * _); apply: eq_bigr => i _; apply: eq_bigr => b bi; rewrite t4_counts // /counting_rule (negPf bi).
by rewrite expected_wrong_counting // -sumrN; apply: eq_bigr => k _; rewrite mulrN.
Qed.

Lemma right_mean_root p : G%:R * (p * expected_right (@grpo F G 0) p) = mean_root p.
Proof.
rewrite expected_right_grpo /mean_root [in RHS]big_ord_recl mul0n sqrtr0 mulr0 add0r mulrA mulr_sumr.
apply: eq_bigr => k _; rewrite root_of_quotient // subSS -mulrA [p * _]mulrA mulrA binomial_law_right.
have : k.+1%:R != 0 :> F by rewrite pnatr_eq0.
by move: (k.+1%:R : F) (binomial_law _ _ _) (Num.sqrt _) => x y z x_neq0; field_of F.
Qed.

Lemma wrong_mean_root p : G%:R * ((1 - p) * expected_wrong (@grpo F G 0) p) = - mean_root p.
Proof.
rewrite expected_wrong_grpo /mean_root [in RHS]big_ord_recr /= subnn muln0 sqrtr0 mulr0 addr0 !mulrN mulrA mulr_sumr.
congr (- _); apply: eq_bigr => k _; have lt_k := ltn_ord k.
have Gk_gt0 : (0 < G - k)%N by rewrite subn_gt0.
rewrite root_of_quotient // -mulrA [(1 - p) * _]mulrA mulrA binomial_law_wrong // [(k * _)%N]mulnC.
have : (G - k)%:R != 0 :> F by rewrite pnatr_eq0 -lt0n.
by move: ((G - k)%:R : F) (binomial_law _ _ _) (Num.sqrt _) => x y z x_neq0; field_of F.
Qed.

(** T5, GRPO's expected advantages of a right and of a wrong member, with k binomial: of G − 1 trials on the left, of G
    trials on the right. *)
Theorem t5_grpo_weights p : p != 0 -> p != 1 ->
  \sum_(k < G) binomial_law n p k * Num.sqrt ((n - k)%:R / k.+1%:R) =
    (\sum_(k < G.+1) binomial_law G p k * Num.sqrt (k * (G - k))%:R) / (G%:R * p) /\
  - (\sum_(k < G) binomial_law n p k * Num.sqrt (k%:R / (G - k)%:R)) =
    - ((\sum_(k < G.+1) binomial_law G p k * Num.sqrt (k * (G - k))%:R) / (G%:R * (1 - p))).
Proof.
move=> p_neq0 p_neq1; have q_neq0 : 1 - p != 0 by rewrite subr_eq0 eq_sym.
rewrite -expected_right_grpo -expected_wrong_grpo -/(mean_root p).
have := right_mean_root p; have := wrong_mean_root p.
move: (expected_right _ _) (expected_wrong _ _) (mean_root p) => w1 w0 m eq0 eq1; split.
  by rewrite -eq1; move: G_neq0'; move: (G%:R : F) => g g_neq0; field_of F.
rewrite -[m]opprK -eq0 mulNr opprK; move: G_neq0'; move: (G%:R : F) => g g_neq0.
by move: q_neq0; move: (1 - p) => q q_neq0; field_of F.
Qed.

(** T5, GRPO: A = (r − mean)/std, std with the divisor G. c(p) is the mean of √(k(G−k)), with k binomial, of G trials,
    over G p (1 − p). *)
Theorem t5_grpo p : p != 0 -> p != 1 ->
  scalar (@grpo F G 0) p = (\sum_(k < G.+1) binomial_law G p k * Num.sqrt (k * (G - k))%:R) / (G%:R * p * (1 - p)).
Proof.
move=> p_neq0 p_neq1; have q_neq0 : 1 - p != 0 by rewrite subr_eq0 eq_sym.
have [eq1 eq0] := t5_grpo_weights p_neq0 p_neq1.
rewrite /scalar expected_right_grpo expected_wrong_grpo eq1 eq0 -/(mean_root p).
by move: (mean_root p) G_neq0'; move: (G%:R : F) => g m g_neq0; field_of F.
Qed.
End Scalars.

From Rino Require Import instances t10_partial_credit.

Section Counterexamples.
Variable F : rcfType.
Add Field F_field : (plain_field F).
Local Notation B := [finType of bool].

(** T5 without "no 1/L": if all responses are right, their probability does not move in any direction, but REINFORCE's
    expected gradient with weights A/L does not vanish: it shortens. (A fair coin for each of two tokens; [true] ends a
    response.) *)
Theorem t5_without_token_sum : exists (dpi : variation (coin F)) (r : response (true : B) 2 -> bool),
  dsuccess dpi r = 0 /\
  expected_gradient dpi (fun (g : {ffun 'I_1 -> response (true : B) 2}) i t =>
    reinforce F (outcomes r g) i / (size (g i))%:R) != 0.
Proof.
pose r (y : response (true : B) 2) := true.
have all_right : dsuccess (tilt F [::]) r = 0.
  by rewrite -[RHS](sum_dprob (true : B) 2 (tilt F [::])); apply: eq_bigr => y _; rewrite mulr1.
exists (tilt F [::]), r; split=> //.
have one p : expected_right (@reinforce F 1) p = 1 /\ expected_wrong (@reinforce F 1) p = 0.
  have counting i b : reinforce F b i = @counting_rule F 1 (fun=> 1) (fun=> 0) b i.
    by rewrite /reinforce /reward /counting_rule; case: (b i).
  split; [transitivity (expected_right (@counting_rule F 1 (fun=> 1) (fun=> 0)) p) |
          transitivity (expected_wrong (@counting_rule F 1 (fun=> 1) (fun=> 0)) p)];
    try by congr (_ * _); apply: eq_bigr => i _; apply: eq_bigr => b _; rewrite counting.
  - by rewrite expected_right_counting // big_ord1 mulr1 /binomial_law expr0 bin0 mul1r.
  - by rewrite expected_wrong_counting // big_ord1 mulr0.
rewrite (expected_gradient_by_outcomes (tilt F [::]) r (@reinforce F 1) (fun y => (size y)%:R^-1)).
have [-> ->] := one (success (coin F) r); rewrite mul1r mul0r addr0 /dmean_response.
rewrite (sum_two_coins (fun y => dprob true (tilt F [::]) y * (1 * (size y)%:R^-1))).
rewrite /dprob !prob_cons !prob_nil !score_cons !score_nil /= /tilt_at /=.
rewrite !(mul0r, mulr0, addr0, add0r, mulr1, mul1r, invr1, invrK) mulVf ?pnatr_eq0 //.
have -> : 1 + (2%:R^-1 / 2%:R * (- 1 * 2%:R) / 2%:R + 2%:R^-1 / 2%:R * (- 1 * 2%:R) / 2%:R) = 2%:R^-1 :> F by field_of F.
exact: half_neq0.
Qed.

(** T5 without "right and wrong only": with a partial credit c there are policies and directions in which the success
    probability does not move and F-ISFT⁺ does (T10 has more). *)
Theorem t5_without_binary_rewards (c : F) (G : nat) : (1 < G)%N -> 0 < c ->
  exists (pi : policy F [finType of 'I_3]) (dpi : variation pi)
    (level : response (ord0 : [finType of 'I_3]) 1 -> 'I_3),
  dsuccess dpi (fun y => level y == @Ordinal 3 2 isT) = 0 /\
  expected_gradient dpi (fun (g : {ffun 'I_G -> response (ord0 : [finType of 'I_3]) 1}) i t =>
    f_isft_plus c [ffun j => level (g j)] i) != 0.
Proof.
move=> G_gt1 c_gt0; have [pi [dpi [level [p0 [d2 d1]]]]] := t10_instance F.
by exists pi, dpi, level; split; last exact: t10_direction_lost.
Qed.
End Counterexamples.
