(** T9: what dividing by the length does. With 1/L the expected gradient is that of a bandit with reward r/L. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions responses outcomes t05_one_direction.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

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
