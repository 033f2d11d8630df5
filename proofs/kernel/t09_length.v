(** T9: what dividing by the length does. With 1/L the expected gradient is that of a bandit with reward r/L. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions responses outcomes t05_one_direction.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

(** Open: the lengths' geometric law, its sums, and the rate f that follows from them. *)

(** GRPO's mean weights of a right and of a wrong response, in a group of n + 1 at success probability p: with k, the
    number of right ones among the n others, binomial. *)
Definition grpo_right (F : rcfType) (n : nat) (p : F) : F :=
  \sum_(k < n.+1) binomial_law n p k * Num.sqrt ((n - k)%:R / k.+1%:R).
Definition grpo_wrong (F : rcfType) (n : nat) (p : F) : F :=
  - \sum_(k < n.+1) binomial_law n p k * Num.sqrt (k%:R / (n.+1 - k)%:R).

Section Length.
Variables (F : rcfType) (V : finType) (eos : V) (H : nat).
Implicit Types (pi : policy F V) (r : response eos H -> bool) (y : response eos H).

(** The reward, or the lack of it, over the length of the response. *)
Definition right_over_length r y : F := (r y)%:R / (size y)%:R.
Definition wrong_over_length r y : F := (~~ r y)%:R / (size y)%:R.

(** T9. For any policy, direction and rule that looks at the outcomes of the group alone, the expected
    gradient with 1/L is w₁ ∇E[r/L] + w₀ ∇E[(1−r)/L], with the expected advantages w₁ and w₀ of a right and of a wrong
    member. *)
Theorem t9_any_rule (G : nat) pi (dpi : variation pi) r (A : outcome_rule F G) :
  expected_gradient dpi (fun g i t => A (outcomes r g) i / (size (g i))%:R) =
  expected_right A (success pi r) * dmean_response dpi (right_over_length r) +
  expected_wrong A (success pi r) * dmean_response dpi (wrong_over_length r).
Proof. exact: (expected_gradient_by_outcomes dpi r A (fun y => (size y)%:R^-1)). Qed.

(** T9. GRPO's expected gradient with 1/L, in binomial sums. *)
Theorem t9_grpo (n : nat) pi (dpi : variation pi) r :
  expected_gradient dpi (fun g i t => grpo F 0 (@outcomes V eos H n.+1 r g) i / (size (g i))%:R) =
  grpo_right n (success pi r) * dmean_response dpi (right_over_length r) +
  grpo_wrong n (success pi r) * dmean_response dpi (wrong_over_length r).
Proof. by rewrite t9_any_rule expected_right_grpo expected_wrong_grpo. Qed.
End Length.

Section ZeroSum.
Variables (F : rcfType) (n : nat).
Add Field F_field : (plain_field F).

(** T9. GRPO weighs right and wrong responses by equal amounts. *)
Theorem t9_zero_sum (p : F) : p * grpo_right n p + (1 - p) * grpo_wrong n p = 0.
Proof.
have G_neq0 : n.+1%:R != 0 :> F by rewrite pnatr_eq0.
apply: (mulfI G_neq0); rewrite mulr0 mulrDr /grpo_right /grpo_wrong.
by rewrite -expected_right_grpo -expected_wrong_grpo right_mean_root wrong_mean_root subrr.
Qed.
End ZeroSum.

Section Hazards.
Variables (F : rcfType) (n : nat) (p : F).
Add Field F_field' : (plain_field F).

Lemma right_share : p * grpo_right n p = mean_root n p / n.+1%:R.
Proof.
have G_neq0 : n.+1%:R != 0 :> F by rewrite pnatr_eq0.
by rewrite -right_mean_root expected_right_grpo [RHS]mulrC mulKf.
Qed.

Lemma wrong_share : (1 - p) * grpo_wrong n p = - (mean_root n p / n.+1%:R).
Proof. by apply/eqP; rewrite -addr_eq0 addrC -right_share t9_zero_sum. Qed.

Lemma mean_root_ge0 : 0 <= p <= 1 -> 0 <= mean_root n p.
Proof.
case/andP=> p_ge0 p_le1; apply: sumr_ge0 => k _; rewrite mulr_ge0 ?sqrtr_ge0 // mulrn_wge0 //.
by rewrite mulr_ge0 ?exprn_ge0 // subr_ge0.
Qed.

(** T9. In the hazard model an advantage A moves the logit of ending at A f, with the rate f of the hazard. If right and
    wrong responses share a hazard, GRPO does not move it, … *)
Theorem t9_shared_hazard (f : F) : p * grpo_right n p * f + (1 - p) * grpo_wrong n p * f = 0.
Proof. by rewrite -mulrDl t9_zero_sum mul0r. Qed.

(** T9. … and if they end by hazards of their own, with rates f₁ and f₀ that are not negative, that of the right ones
    does not fall and that of the wrong ones does not rise; moved by one logit, the difference of the rates is left. *)
Theorem t9_separate_hazards (f1 f0 : F) : 0 <= p <= 1 -> 0 <= f1 -> 0 <= f0 ->
  [/\ 0 <= p * grpo_right n p * f1, (1 - p) * grpo_wrong n p * f0 <= 0 &
      p * grpo_right n p * f1 + (1 - p) * grpo_wrong n p * f0 = mean_root n p / n.+1%:R * (f1 - f0)].
Proof.
move=> p01 f1_ge0 f0_ge0; have share_ge0 : 0 <= mean_root n p / n.+1%:R by rewrite divr_ge0 ?ler0n ?mean_root_ge0.
rewrite right_share wrong_share !mulNr oppr_le0 mulrBr; split; first exact: mulr_ge0.
  exact: mulr_ge0.
by [].
Qed.
End Hazards.

(** T9 without advantages that sum to zero. REINFORCE, with the advantages 1 and 0, weighs right responses by p and wrong
    ones by nothing. *)
Theorem t9_without_zero_sum (F : rcfType) (n : nat) (p : F) : p != 0 ->
  p * expected_right (@reinforce F n.+1) p + (1 - p) * expected_wrong (@reinforce F n.+1) p != 0.
Proof.
have counting (b : {ffun 'I_n.+1 -> bool}) i : reinforce F b i = @counting_rule F n.+1 (fun=> 1) (fun=> 0) b i.
  by rewrite /reinforce /reward /counting_rule; case: (b i).
have -> : expected_right (@reinforce F n.+1) p = 1.
  transitivity (expected_right (@counting_rule F n.+1 (fun=> 1) (fun=> 0)) p).
    by congr (_ * _); apply: eq_bigr => i _; apply: eq_bigr => b _; rewrite counting.
  by rewrite expected_right_counting // -[RHS](sum_binomial n p); apply: eq_bigr => k _; rewrite mulr1.
have -> : expected_wrong (@reinforce F n.+1) p = 0.
  transitivity (expected_wrong (@counting_rule F n.+1 (fun=> 1) (fun=> 0)) p).
    by congr (_ * _); apply: eq_bigr => i _; apply: eq_bigr => b _; rewrite counting.
  by rewrite expected_wrong_counting // big1 // => k _; rewrite mulr0.
by rewrite mulr0 addr0 mulr1.
Qed.

From mathcomp Require Import boolp classical_sets functions reals topology normedtype derive exp realfun.
From Rino Require Import derivatives coin.
Import numFieldNormedType.Exports.

Section Hazard.
Variable R : realType.
Add Field R_field : (plain_field R).
Implicit Types eta : R.

Lemma going_on_gt0 eta : 0 < 1 - logistic eta. Proof. by rewrite subr_gt0 logistic_lt1. Qed.

(** T9. In the logit η of the hazard h = σ(η), the score of ending is 1 − h and that of going on is −h; … *)
Theorem t9_scores eta :
  is_derive eta (1 : R) (fun x : R => ln (logistic x)) (1 - logistic eta) /\
  is_derive eta (1 : R) (fun x : R => ln (1 - logistic x)) (- logistic eta).
Proof.
have h_neq0 := lt0r_neq0 (logistic_gt0 eta); have q_neq0 := lt0r_neq0 (going_on_gt0 eta); split.
  apply: (is_derive_eq (is_derive_comp (is_derive1_ln (logistic_gt0 eta)) (derivative_logistic eta))).
  by rewrite mulrA mulVf // mul1r.
have d := is_deriveB (is_derive_cst (1 : R) eta (1 : R)) (derivative_logistic eta).
apply: (is_derive_eq (@is_derive_comp _ _ _ (fun x : R => 1 - logistic x) _ _ _ _ (is_derive1_ln (going_on_gt0 eta)) d)).
by rewrite sub0r mulrN mulrCA mulVf // mulr1.
Qed.

(** T9. … so a response of n tokens, which goes on n − 1 times and ends once, has the score 1 − n h. *)
Theorem t9_score_of_response eta (n : nat) :
  is_derive eta (1 : R) (fun x : R => ln (logistic x) + n%:R * ln (1 - logistic x)) (1 - n.+1%:R * logistic eta).
Proof.
have [ending going_on] := t9_scores eta; apply: (is_derive_eq (is_deriveD ending (is_derive_scale n%:R going_on))).
by rewrite mulrSr; move: (n%:R : R) (logistic eta) => m h; ring_of R.
Qed.
End Hazard.
