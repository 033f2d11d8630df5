(** The smallest policy that learns: two tokens and one logit. It is differentiable and gives both tokens a positive
    probability, so it satisfies what the theorems about derivatives assume; the counter-examples use it. *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import boolp classical_sets functions reals topology normedtype derive exp realfun sequences.
From Rino Require Import algebra definitions responses derivatives.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory numFieldNormedType.Exports.
Local Open Scope classical_set_scope.
Local Open Scope ring_scope.

Section Coin.
Variable R : realType.
Add Field R_field : (plain_field R).
Implicit Types x p : R.

Definition logistic x : R := (1 + expR (- x))^-1.

Lemma logistic_gt0 x : 0 < logistic x.
Proof. by rewrite invr_gt0 addr_gt0 ?ltr01 ?expR_gt0. Qed.

Lemma logistic_lt1 x : logistic x < 1.
Proof. by rewrite invf_lt1 ?addr_gt0 ?ltr01 ?expR_gt0 // ltr_addl expR_gt0. Qed.

(** The logit of a probability. *)
Definition logit p : R := - ln ((1 - p) / p).

Lemma logitK p : 0 < p < 1 -> logistic (logit p) = p.
Proof.
move=> /andP[p_gt0 p_lt1]; rewrite /logistic /logit opprK lnK ?posrE ?divr_gt0 ?subr_gt0 //.
have p_neq0 := lt0r_neq0 p_gt0.
have -> : 1 + (1 - p) / p = p^-1 by field_of R.
by rewrite invrK.
Qed.

Lemma derivative_logistic x : is_derive x (1 : R) logistic (logistic x * (1 - logistic x)).
Proof.
have e_gt0 := expR_gt0 (- x); have denominator : 1 + expR (- x) != 0 by rewrite lt0r_neq0 // addr_gt0 ?ltr01.
have dexp : is_derive x (1 : R) (fun y : R => expR (- y)) (- expR (- x)).
  have := is_derive1_comp (is_derive_expR (- x)) (is_deriveNid x (1 : R)).
  by move=> d; apply: (is_derive_eq d); rewrite mulrN1.
have dsum : is_derive x (1 : R) (fun y : R => 1 + expR (- y)) (- expR (- x)).
  by apply: (is_derive_eq (is_deriveD (is_derive_cst (1 : R) x (1 : R)) dexp)); rewrite add0r.
apply: (is_derive_eq (@is_deriveV _ (fun y : R => 1 + expR (- y)) _ _ _ denominator dsum)).
rewrite /logistic /GRing.scale /=; move: (expR (- x)) denominator => e e_neq0.
by field_of R.
Qed.

Definition coin_prob x (s : seq bool) (a : bool) : R := if a then logistic x else 1 - logistic x.

Lemma coin_prob_gt0 x s a : 0 < coin_prob x s a.
Proof. by case: a; rewrite /coin_prob ?subr_gt0 ?logistic_gt0 ?logistic_lt1. Qed.

Lemma coin_prob_ge0 x s a : 0 <= coin_prob x s a.
Proof. exact/ltW/coin_prob_gt0. Qed.

Lemma coin_prob_sum x s : \sum_a coin_prob x s a = 1.
Proof. by rewrite big_bool /= addrCA subrr addr0. Qed.

(** The policy with the logit [x] for [true], after every prefix. *)
Definition coin x : policy R bool_finType := Policy (coin_prob_ge0 x) (coin_prob_sum x).

Definition dcoin_prob x (s : seq bool) (a : bool) : R :=
  if a then logistic x * (1 - logistic x) else - (logistic x * (1 - logistic x)).

Lemma dcoin_prob_sum x s : \sum_a dcoin_prob x s a = 0.
Proof. by rewrite big_bool /= subrr. Qed.

Lemma dcoin_prob_eq0 x s a : coin x s a = 0 -> dcoin_prob x s a = 0.
Proof. by move=> zero; have := coin_prob_gt0 x s a; rewrite (zero : coin_prob x s a = 0) ltxx. Qed.

Definition dcoin x : variation (coin x) := Variation (dcoin_prob_sum x) (@dcoin_prob_eq0 x).

Lemma derivative_coin x : derivative_along (pi := coin) (theta := x) (1 : R) (dcoin x).
Proof.
move=> s [] /=; first exact: derivative_logistic.
have := is_deriveB (is_derive_cst (1 : R) x (1 : R)) (derivative_logistic x).
by move=> d; apply: (is_derive_eq d); rewrite sub0r.
Qed.

(** A group of one response, which is one token, [true]. *)
Definition heads : response true 1 := exist _ (@Bseq 1 bool [:: true] isT) isT.
Definition one_heads : {ffun 'I_1 -> response true 1} := [ffun=> heads].
End Coin.
