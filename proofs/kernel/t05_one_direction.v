(** T5: with right and wrong responses only, every outcome rule pushes along the gradient of the success probability;
    the rules differ in a scalar. *)
From mathcomp Require Import all_ssreflect all_algebra.
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

Lemma sum_binomial (m : nat) p : \sum_(k < m.+1) binomial_law m p k = 1.
Proof.
rewrite -[RHS](expr1n F m) -[X in X ^+ m](subrK p 1) exprDn; apply: eq_bigr => k _.
by rewrite /binomial_law mulrC.
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
End Scalars.
