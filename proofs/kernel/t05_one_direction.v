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

Section OffPolicy.
Variables (F : rcfType) (V : finType) (eos : V) (H G : nat) (old pi : policy F V) (dpi : variation pi).
Variables (r : response eos H -> bool) (A : outcome_rule F G).

Lemma outcome_prob_success z : outcome_prob (fun y : response eos H => prob eos old y) r z =
  if z then success old r else 1 - success old r.
Proof.
have right_prob : success old r = outcome_prob (fun y : response eos H => prob eos old y) r true.
  rewrite /success /mean_response /outcome_prob [RHS]big_mkcond; apply: eq_bigr => y _.
  by case: (r y); rewrite ?mulr1 ?mulr0.
case: z => //; have := sum_prob eos H old; rewrite (bigID r) /= => <-; rewrite right_prob /outcome_prob.
rewrite (eq_bigl _ _ (fun y => eqbF_neg (r y))) [X in _ - X](eq_bigl _ _ (fun y => eqb_id (r y))).
by rewrite addrAC subrr add0r.
Qed.

Lemma dprob_of_outcome z :
  \sum_(y : response eos H | r y == z) 1 * dprob eos dpi y = (if z then 1 else - 1) * dsuccess dpi r.
Proof.
have of_right : \sum_(y : response eos H | r y) dprob eos dpi y = dsuccess dpi r.
  rewrite big_mkcond; apply: eq_bigr => y _; by case: (r y); rewrite ?mulr1 ?mulr0.
under eq_bigr do rewrite mul1r.
case: z; first by rewrite (eq_bigl _ _ (fun y => eqb_id (r y))) of_right mul1r.
rewrite (eq_bigl _ _ (fun y => eqbF_neg (r y))) mulN1r; apply/eqP; rewrite -addr_eq0 addrC -of_right.
by have := sum_dprob eos H dpi; rewrite (bigID r) /= => ->.
Qed.

(** T5. Off-policy, with samples of another policy that can give every response, and with ratios of whole responses that
    nothing clips, the direction stays: the expected gradient is c ∇p, with c at the sampling policy's success
    probability. *)
Theorem t5_whole_response_ratios : (forall y : response eos H, prob eos old y = 0 -> prob eos pi y = 0) ->
  \sum_(g : {ffun 'I_G -> response eos H}) (\prod_i prob eos old (g i)) *
    group_gradient dpi (fun g i t => A (outcomes r g) i * (prob eos pi (g i) / prob eos old (g i))) g =
  scalar A (success old r) * dsuccess dpi r.
Proof.
move=> covered; pose s (y : response eos H) := prob eos pi y / prob eos old y * score eos dpi y.
have P_score (y : response eos H) : prob eos old y * s y = dprob eos dpi y.
  rewrite /s /dprob; have [z|nz] := eqVneq (prob eos old y) 0; first by rewrite z (covered _ z) !mul0r.
  by rewrite mulrA [_ * (_ / _)]mulrC mulfVK.
rewrite [LHS](eq_bigr (fun g : {ffun 'I_G -> response eos H} => G%:R^-1 * \sum_i (\prod_j prob eos old (g j)) *
    (A [ffun j => r (g j)] i * (1 * s (g i))))); last first.
  move=> g _; rewrite /group_gradient mulrCA mulr_sumr; congr (_ * _); apply: eq_bigr => i _.
  by rewrite -mulr_sumr mul1r /s !mulrA.
rewrite -mulr_sumr exchange_big /=.
transitivity (G%:R^-1 * \sum_i \sum_(b : {ffun 'I_G -> bool})
   A b i * others_prob i (success old r) b * ((if b i then 1 else - 1) * dsuccess dpi r)).
  congr (_ * _); apply: eq_bigr => i _.
  rewrite (@expectation_by_outcomes _ _ _ (fun y : response eos H => prob eos old y) _ s (fun=> 1) r G P_score).
  apply: eq_bigr => b _; rewrite dprob_of_outcome /others_prob; congr (_ * _ * _); apply: eq_bigr => j _.
  by rewrite outcome_prob_success.
rewrite /scalar /expected_right /expected_wrong -mulrBr -mulrA; congr (_ * _).
rewrite -sumrB mulr_suml; apply: eq_bigr => i _; rewrite (bigID (fun b : {ffun _} => b i)) /= mulrBl; congr (_ + _).
  by rewrite mulr_suml; apply: eq_bigr => b ->; rewrite mul1r.
by rewrite -mulNr -sumrN mulr_suml; apply: eq_bigr => b /negPf->; rewrite mulrA mulrN1.
Qed.
End OffPolicy.

Section Bounds.
Variables (F : rcfType) (n : nat).
Add Field F_field' : (plain_field F).
Local Notation G := n.+1.
Implicit Types p q x y c : F.

Lemma size_biased m (f : nat -> F) p :
  \sum_(k < m.+2) binomial_law m.+1 p k * (k%:R * f k) = m.+1%:R * p * \sum_(k < m.+1) binomial_law m p k * f k.+1.
Proof.
rewrite big_ord_recl mul0r mulr0 add0r mulr_sumr; apply: eq_bigr => k _.
by rewrite mulrA [binomial_law _ _ _ * _]mulrC -binomial_law_right !mulrA.
Qed.

Lemma mean_count m p : \sum_(k < m.+1) binomial_law m p k * k%:R = m%:R * p.
Proof.
case: m => [|m]; first by rewrite big_ord1 mulr0 mul0r.
transitivity (\sum_(k < m.+2) binomial_law m.+1 p k * (k%:R * 1)); first by apply: eq_bigr => k _; rewrite mulr1.
by rewrite (@size_biased m (fun=> 1)); under eq_bigr do rewrite mulr1; rewrite sum_binomial mulr1.
Qed.

Lemma spread_of_count p : \sum_(k < G.+1) binomial_law G p k * (k%:R - G%:R * p) ^+ 2 = G%:R * (p * (1 - p)).
Proof.
transitivity (\sum_(k < G.+1) (binomial_law G p k * (k%:R * k%:R) + (- (2%:R * (G%:R * p)) * (binomial_law G p k * k%:R)
    + (G%:R * p) ^+ 2 * binomial_law G p k))); first by apply: eq_bigr => k _; ring_of F.
rewrite !big_split /= -!mulr_sumr sum_binomial mean_count (@size_biased n (fun k => k%:R)).
have -> : \sum_(k < G) binomial_law n p k * k.+1%:R = n%:R * p + 1.
  rewrite -(mean_count n p) -[X in _ + X](sum_binomial n p) -big_split; apply: eq_bigr => k _ /=.
  by rewrite mulrSr mulrDr mulr1.
have -> : G%:R = n%:R + 1 :> F by rewrite mulrSr.
by move: (n%:R : F) => m; ring_of F.
Qed.

Lemma root_below x y : 0 <= x -> 0 <= y -> 2%:R * Num.sqrt (x * y) <= x + y.
Proof.
move=> x_ge0 y_ge0; rewrite sqrtrM // -subr_ge0.
have -> : x + y = Num.sqrt x ^+ 2 + Num.sqrt y ^+ 2 by rewrite !sqr_sqrtr.
move: (Num.sqrt x) (Num.sqrt y) => a b; have -> : a ^+ 2 + b ^+ 2 - 2%:R * (a * b) = (a - b) ^+ 2 by ring_of F.
exact: sqr_ge0.
Qed.

Lemma root_above x y c : 0 <= x -> 0 <= y -> 0 < c -> c <= x + y ->
  x + y - (x - y) ^+ 2 / c <= 2%:R * Num.sqrt (x * y).
Proof.
move=> x_ge0 y_ge0 c_gt0 c_le; have below := root_below x_ge0 y_ge0.
rewrite ler_subl_addr -ler_subl_addl ler_pdivl_mulr // -subr_ge0.
have -> : (x - y) ^+ 2 = (x + y) ^+ 2 - 2%:R * 2%:R * Num.sqrt (x * y) ^+ 2.
  by rewrite sqr_sqrtr ?mulr_ge0 //; ring_of F.
move: (Num.sqrt (x * y)) below (sqrtr_ge0 (x * y)) => u below u_ge0.
have -> : (x + y) ^+ 2 - 2%:R * 2%:R * u ^+ 2 - (x + y - 2%:R * u) * c =
  (x + y - 2%:R * u) * (x + y - c + 2%:R * u) by ring_of F.
by rewrite mulr_ge0 ?subr_ge0 // addr_ge0 ?subr_ge0 // mulr_ge0 ?ler0n.
Qed.

Section AtP.
Variable p : F.
Hypothesis p01 : 0 < p < 1.
Let p_gt0 : 0 < p. Proof. by case/andP: p01. Qed.
Let q_gt0 : 0 < 1 - p. Proof. by rewrite subr_gt0; case/andP: p01. Qed.
Let pq_gt0 : 0 < p * (1 - p). Proof. exact: mulr_gt0. Qed.
Let root_gt0 : 0 < Num.sqrt (p * (1 - p)). Proof. by rewrite sqrtr_gt0. Qed.
Let G_gt0 : 0 < G%:R :> F. Proof. exact: ltr0Sn. Qed.

Lemma law_ge0 m k : 0 <= binomial_law m p k.
Proof. by rewrite mulrn_wge0 // mulr_ge0 ?exprn_ge0 // ltW. Qed.

Let of_right (k : 'I_G.+1) : F := k%:R * (1 - p).
Let of_wrong (k : 'I_G.+1) : F := (G - k)%:R * p.

Lemma mean_of_both : \sum_(k < G.+1) binomial_law G p k * (of_right k + of_wrong k) = 2%:R * (G%:R * (p * (1 - p))).
Proof.
transitivity (\sum_(k < G.+1) ((1 - p - p) * (binomial_law G p k * k%:R) + G%:R * p * binomial_law G p k)).
  apply: eq_bigr => k _; rewrite /of_right /of_wrong natrB -1?ltnS //; move: (G%:R : F) (k%:R : F) => g j.
  by ring_of F.
rewrite big_split /= -!mulr_sumr sum_binomial mean_count; move: (G%:R : F) => g.
by ring_of F.
Qed.

Lemma mean_of_roots : \sum_(k < G.+1) binomial_law G p k * (2%:R * Num.sqrt (of_right k * of_wrong k)) =
  2%:R * Num.sqrt (p * (1 - p)) * mean_root n p.
Proof.
rewrite /mean_root mulr_sumr; apply: eq_bigr => k _.
have -> : of_right k * of_wrong k = p * (1 - p) * (k * (G - k))%:R.
  by rewrite /of_right /of_wrong natrM; move: (k%:R : F) ((G - k)%:R : F) => x y; ring_of F.
by rewrite sqrtrM ?ltW //; move: (Num.sqrt _) (Num.sqrt _) (binomial_law _ _ _) => x y z; ring_of F.
Qed.

Lemma of_right_ge0 k : 0 <= of_right k. Proof. by rewrite mulr_ge0 ?ler0n ?ltW. Qed.
Lemma of_wrong_ge0 k : 0 <= of_wrong k. Proof. by rewrite mulr_ge0 ?ler0n ?ltW. Qed.

Lemma scalar_of_root c : scalar (@grpo F G 0) p = c / Num.sqrt (p * (1 - p)) ->
  2%:R * Num.sqrt (p * (1 - p)) * mean_root n p = c * (2%:R * (G%:R * (p * (1 - p)))).
Proof.
have p_neq0 : p != 0 by rewrite gt_eqF.
have p_neq1 : p != 1 by case/andP: p01 => _ /lt_eqF->.
rewrite t5_grpo // -/(mean_root n p) => eq_c; have root_neq0 : Num.sqrt (p * (1 - p)) != 0 by rewrite gt_eqF.
have g_neq0 : G%:R != 0 :> F by rewrite gt_eqF.
have pq_neq0 : p * (1 - p) != 0 by rewrite gt_eqF.
have -> : c = mean_root n p / (G%:R * p * (1 - p)) * Num.sqrt (p * (1 - p)) by rewrite eq_c mulfVK.
rewrite -[G%:R * p * _]mulrA; move: (mean_root n p) (Num.sqrt _) (G%:R : F) g_neq0 => m s g g_neq0.
by move: (p * (1 - p)) pq_neq0 => v v_neq0; field_of F.
Qed.

(** T5. GRPO's c(p) is at most 1/√(p(1−p)) … *)
Theorem t5_grpo_upper : scalar (@grpo F G 0) p <= (Num.sqrt (p * (1 - p)))^-1.
Proof.
set s := Num.sqrt _; pose c := scalar (@grpo F G 0) p * s.
have eq_c : scalar (@grpo F G 0) p = c / s by rewrite /c mulfK // gt_eqF.
have := scalar_of_root eq_c; rewrite -mean_of_roots => eq_mean.
rewrite eq_c -[X in _ <= X]mul1r ler_pmul2r ?invr_gt0 //.
have pos : 0 < 2%:R * (G%:R * (p * (1 - p))) by rewrite !mulr_gt0 ?ltr0n.
rewrite -(ler_pmul2r pos) -eq_mean mul1r -mean_of_both; apply: ler_sum => k _.
by rewrite ler_wpmul2l ?law_ge0 // root_below ?of_right_ge0 ?of_wrong_ge0.
Qed.

(** T5. … and at least (1 − 1/(2 G p (1−p))) times as much: as the group grows, the two meet. *)
Theorem t5_grpo_lower :
  (1 - (2%:R * (G%:R * (p * (1 - p))))^-1) / Num.sqrt (p * (1 - p)) <= scalar (@grpo F G 0) p.
Proof.
set s := Num.sqrt _; pose c := scalar (@grpo F G 0) p * s.
have eq_c : scalar (@grpo F G 0) p = c / s by rewrite /c mulfK // gt_eqF.
have := scalar_of_root eq_c; rewrite -mean_of_roots => eq_mean.
rewrite eq_c ler_pmul2r ?invr_gt0 //.
have pos : 0 < 2%:R * (G%:R * (p * (1 - p))) by rewrite !mulr_gt0 ?ltr0n.
have gpq_gt0 : 0 < G%:R * (p * (1 - p)) by rewrite mulr_gt0.
rewrite -(ler_pmul2r pos) -eq_mean mulrBl mul1r mulVf ?gt_eqF // -mean_of_both.
have share : \sum_(k < G.+1) binomial_law G p k * ((of_right k - of_wrong k) ^+ 2 / (G%:R * (p * (1 - p)))) = 1.
  under eq_bigr do rewrite mulrA.
  rewrite -mulr_suml -[RHS](@divff _ (G%:R * (p * (1 - p)))) ?gt_eqF // -{2}spread_of_count; congr (_ / _).
  apply: eq_bigr => k _; rewrite /of_right /of_wrong natrB -1?ltnS //; congr (_ * _ ^+ 2).
  by move: (G%:R : F) (k%:R : F) => g j; ring_of F.
rewrite -[X in _ - X <= _]share -sumrB; apply: ler_sum => k _; rewrite -mulrBr ler_wpmul2l ?law_ge0 //.
apply: root_above; rewrite ?of_right_ge0 ?of_wrong_ge0 //.
rewrite -subr_ge0 /of_right /of_wrong natrB -1?ltnS //.
have le_k : k%:R <= G%:R :> F by rewrite ler_nat -ltnS.
move: (G%:R : F) (k%:R : F) le_k (ler0n F k) => g j le_g j_ge0.
have -> : j * (1 - p) + (g - j) * p - g * (p * (1 - p)) = j * (1 - p) * (1 - p) + (g - j) * p * p by ring_of F.
by rewrite addr_ge0 // !mulr_ge0 ?subr_ge0 // ltW // -subr_gt0.
Qed.
End AtP.
End Bounds.

Section LeaveOneOut.
Variables (F : rcfType) (G : nat).
Add Field F_field'' : (plain_field F).
(** T5, RLOO: with two responses or more, its advantage is the reward less the mean reward of the others. *)
Theorem t5_leave_one_out (b : {ffun 'I_G -> bool}) (i : 'I_G) : (1 < G)%N ->
  rloo F b i = reward F b i - (G - 1)%:R^-1 * \sum_(j | j != i) reward F b j.
Proof.
move=> G_gt1; have m_neq0 : (G - 1)%:R != 0 :> F by rewrite pnatr_eq0 -lt0n subn_gt0.
have G_neq0 : G%:R != 0 :> F by rewrite pnatr_eq0 -lt0n ltnW.
have GE : G%:R = (G - 1)%:R + 1 :> F by rewrite -mulrSr -addn1 subnK // ltnW.
rewrite /rloo /mean_reward /group_mean (bigD1 i) //=; move: GE m_neq0 G_neq0 (\sum_(j | _) _) (reward F b i).
by move: (G%:R : F) ((G - 1)%:R : F) => g m -> m_neq0 g_neq0 o x; field_of F.
Qed.
End LeaveOneOut.

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

From mathcomp Require Import boolp classical_sets functions reals topology normedtype sequences.
Import numFieldNormedType.Exports.
Local Open Scope classical_set_scope.

(** T5. So GRPO's c(p) tends to 1/√(p(1−p)) as the group grows. *)
Theorem t5_grpo_limit (R : realType) (p : R) : 0 < p < 1 ->
  (fun n => scalar (@grpo R n.+1 0) p) @ \oo --> (Num.sqrt (p * (1 - p)))^-1.
Proof.
move=> p01; have /andP[p_gt0 p_lt1] := p01; have pq_gt0 : 0 < p * (1 - p) by rewrite mulr_gt0 ?subr_gt0.
set s := Num.sqrt _; pose lower (n : nat) : R := s^-1 - (2%:R * (p * (1 - p)))^-1 / s * @harmonic R n.
apply: (@squeeze_cvgr _ _ _ _ lower _ (fun=> s^-1)); last exact: cvg_cst.
  apply: nearW => n; rewrite (t5_grpo_upper n p01) andbT; apply: le_trans (t5_grpo_lower n p01).
  suff -> : lower n = (1 - (2%:R * (n.+1%:R * (p * (1 - p))))^-1) / s by [].
  by rewrite /lower mulrBl mul1r [2%:R * (n.+1%:R * _)]mulrCA (invfM n.+1%:R) [n.+1%:R^-1 * _]mulrC [in RHS]mulrAC.
suff: lower @ \oo --> s^-1 - (2%:R * (p * (1 - p)))^-1 / s * 0 by rewrite mulr0 subr0.
apply: cvgB; first exact: cvg_cst.
by apply: cvgMr; apply: cvg_harmonic.
Qed.
