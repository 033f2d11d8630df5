(** T8: what the estimators of the divergence to a reference do, as a loss and inside the reward. *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import boolp classical_sets functions reals topology normedtype derive exp realfun.
From Rino Require Import algebra definitions derivatives coin.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory numFieldNormedType.Exports.
Local Open Scope classical_set_scope.
Local Open Scope ring_scope.

Section Estimators.
Variable R : realType.
Implicit Types p q : R.

(** The estimators, of a probability and that of the reference. *)
Definition k1 p q : R := ln p - ln q.
Definition k2 p q : R := 2%:R^-1 * (ln p - ln q) ^+ 2.
Definition k3 p q : R := q / p - 1 - (ln q - ln p).

(** The Kullback-Leibler divergence. *)
Definition divergence (Y : finType) (P Q : Y -> R) : R := \sum_y P y * (ln (P y) - ln (Q y)).
End Estimators.

(** A distribution that moves with parameters: over the tokens at a state, or over whole responses. *)
Section Terms.
Variables (R : realType) (T : normedModType R) (Y : finType) (P : T -> Y -> R) (theta v : T) (dP : Y -> R).
Variable ref : Y -> R.
Add Field R_field : (plain_field R).
Hypotheses (P_sum : forall th, \sum_y P th y = 1) (P_gt0 : forall y, 0 < P theta y).
Hypothesis P_derivative : forall y, is_derive theta v (fun th => P th y) (dP y).

Lemma sum_derivative : \sum_y dP y = 0.
Proof.
have [_ <-] := is_derive_sums (index_enum Y) P_derivative.
have -> : (fun th => \sum_y P th y) = cst 1 by apply/funext => th; rewrite P_sum.
exact: derive_val.
Qed.

Lemma derivative_k1 y : is_derive theta v (fun th => k1 (P th y) (ref y)) (dP y / P theta y).
Proof.
rewrite mulrC; have := is_derive_comp (is_derive1_ln (P_gt0 y)) (P_derivative y) => dln.
by apply: (is_derive_eq (is_deriveB dln (is_derive_cst (ln (ref y)) theta v))); rewrite subr0.
Qed.

Lemma P_neq0 y : P theta y != 0. Proof. by rewrite lt0r_neq0. Qed.

Lemma derivative_k2 y :
  is_derive theta v (fun th => k2 (P th y) (ref y)) (k1 (P theta y) (ref y) * (dP y / P theta y)).
Proof.
have square : is_derive (k1 (P theta y) (ref y)) (1 : R) (fun x : R => 2%:R^-1 * x ^+ 2) (k1 (P theta y) (ref y)).
  have := is_derive_scale (2%:R^-1 : R) (is_derive_product (is_derive_id (k1 (P theta y) (ref y)) (1 : R))
    (is_derive_id (k1 (P theta y) (ref y)) (1 : R))).
  move=> d; have -> : (fun x : R => 2%:R^-1 * x ^+ 2) = (fun x : R => 2%:R^-1 * (x * x)) by [].
  apply: (is_derive_eq d) => /=; move: (k1 _ _) => x; field_of R.
exact: (@is_derive_comp _ _ _ (fun th => k1 (P th y) (ref y)) _ _ _ _ square (derivative_k1 y)).
Qed.

Lemma derivative_k3 y :
  is_derive theta v (fun th => k3 (P th y) (ref y)) ((1 - ref y / P theta y) * (dP y / P theta y)).
Proof.
have inverse := is_derive_comp (is_deriveV (P_neq0 y) (is_derive_id (P theta y) (1 : R))) (P_derivative y).
have d := is_deriveD (is_derive_scale (ref y) inverse) (derivative_k1 y).
have -> : (fun th => k3 (P th y) (ref y)) =
    (fun th => ref y * (P th y)^-1 + k1 (P th y) (ref y)) + cst (- 1).
  by apply/funext => th; rewrite /k3 /k1 /= opprB [LHS]addrAC.
apply: (is_derive_eq (is_deriveD d (is_derive_cst (- 1 : R) theta v))).
rewrite addr0 /GRing.scale /=; have := P_neq0 y; move: (P theta y) (ref y) (dP y) => p q d' p_neq0.
by field_of R.
Qed.

(** T8. As terms of a loss, with q = π_ref/π, k1, k2 and k3 weigh the score by 1, −log q and 1 − q. *)
Theorem t8_slopes y :
  [/\ is_derive theta v (fun th => k1 (P th y) (ref y)) (dP y / P theta y),
      is_derive theta v (fun th => k2 (P th y) (ref y)) ((ln (P theta y) - ln (ref y)) * (dP y / P theta y)) &
      is_derive theta v (fun th => k3 (P th y) (ref y)) ((1 - ref y / P theta y) * (dP y / P theta y))].
Proof. by split; [apply: derivative_k1|apply: derivative_k2|apply: derivative_k3]. Qed.

Lemma chance_times_score y : P theta y * (dP y / P theta y) = dP y.
Proof. by rewrite mulrC mulfVK ?P_neq0. Qed.

(** T8. As a loss, and without 1/L, k1 does nothing on average. *)
Theorem t8_k1_in_the_loss : \sum_y P theta y * 'D_v (fun th => k1 (P th y) (ref y)) theta = 0.
Proof.
rewrite -[RHS]sum_derivative; apply: eq_bigr => y _.
by have [_ ->] := derivative_k1 y; rewrite chance_times_score.
Qed.

Lemma derivative_reverse :
  is_derive theta v (fun th => divergence (P th) ref) (\sum_y dP y * k1 (P theta y) (ref y)).
Proof.
have d := is_derive_sums (index_enum Y) (fun y => is_derive_product (P_derivative y) (derivative_k1 y)).
apply: (is_derive_eq d); rewrite big_split /= (eq_bigr dP (fun y _ => chance_times_score y)) sum_derivative.
by rewrite addr0.
Qed.

(** T8. The mean gradient of k2 is that of the reverse divergence, KL(π‖π_ref). Over the tokens at a state
    this is the divergence there; the visits to the state are not differentiated. *)
Theorem t8_k2_in_the_loss :
  \sum_y P theta y * 'D_v (fun th => k2 (P th y) (ref y)) theta = 'D_v (fun th => divergence (P th) ref) theta.
Proof.
have [_ ->] := derivative_reverse; apply: eq_bigr => y _; have [_ ->] := derivative_k2 y.
by rewrite mulrCA chance_times_score mulrC.
Qed.

(** T8. The mean gradient of k3 is that of the forward divergence, KL(π_ref‖π). *)
Theorem t8_k3_in_the_loss :
  \sum_y P theta y * 'D_v (fun th => k3 (P th y) (ref y)) theta = 'D_v (fun th => divergence ref (P th)) theta.
Proof.
have forward y : is_derive theta v (fun th => ref y * (ln (ref y) - ln (P th y))) (ref y * - (dP y / P theta y)).
  apply: is_derive_scale; have -> : (fun th => ln (ref y) - ln (P th y)) = - (fun th => k1 (P th y) (ref y)).
    by apply/funext => th; rewrite /k1 /= opprB.
  exact: is_deriveN (derivative_k1 y).
have [_ slopes] := is_derive_sums (index_enum Y) forward; rewrite [RHS]slopes.
rewrite [LHS](eq_bigr (fun y => dP y + ref y * - (dP y / P theta y))) => [|y _]; last first.
  have [_ slope] := derivative_k3 y; rewrite [X in _ * X]slope mulrCA chance_times_score mulrBl mul1r mulrN.
  by congr (_ - _); rewrite mulrAC mulrA.
by rewrite big_split /= sum_derivative add0r.
Qed.

(** T8. With k1 inside the reward, less β times, the gradient is that of the mean reward less β times
    the reverse divergence. *)
Theorem t8_k1_in_the_reward (r : Y -> R) (beta : R) :
  \sum_y P theta y * ((r y - beta * k1 (P theta y) (ref y)) * (dP y / P theta y)) =
  'D_v (fun th => \sum_y P th y * r y - beta * divergence (P th) ref) theta.
Proof.
have value y : is_derive theta v (fun th => P th y * r y) (dP y * r y).
  have -> : (fun th => P th y * r y) = (fun th => r y * P th y) by apply/funext => th; rewrite mulrC.
  by rewrite mulrC; apply: is_derive_scale.
have [_ ->] := is_deriveB (is_derive_sums (index_enum Y) value) (is_derive_scale beta derivative_reverse).
rewrite mulr_sumr -sumrB; apply: eq_bigr => y _; rewrite mulrCA chance_times_score.
by move: (r y) (k1 _ _) (dP y) => reward k d; ring_of R.
Qed.
End Terms.

Section WrongSign.
Variables (R : realType) (T : normedModType R) (Y : finType) (P : T -> Y -> R) (theta v : T) (dP : Y -> R).
Variable ref : Y -> R.
Hypotheses (P_sum : forall th, \sum_y P th y = 1) (P_gt0 : forall y, 0 < P theta y).
Hypothesis P_derivative : forall y, is_derive theta v (fun th => P th y) (dP y).

(** T8. With the wrong sign, loss less β k3, the mean slope of that term is minus β times the slope of the forward
    divergence: in every direction in which training descends the term, the divergence rises. *)
Theorem t8_wrong_sign (beta : R) : 0 < beta ->
  let slope := \sum_y P theta y * - (beta * 'D_v (fun th => k3 (P th y) (ref y)) theta) in
  slope = - (beta * 'D_v (fun th => divergence ref (P th)) theta) /\
  (slope < 0 -> 0 < 'D_v (fun th => divergence ref (P th)) theta).
Proof.
move=> beta_gt0 slope.
have eq_slope : slope = - (beta * 'D_v (fun th => divergence ref (P th)) theta).
  rewrite -(@t8_k3_in_the_loss R T Y P theta v dP ref P_sum P_gt0 P_derivative) mulr_sumr -sumrN; apply: eq_bigr => y _.
  by rewrite mulrN mulrCA.
by split=> //; rewrite eq_slope oppr_lt0 pmulr_rgt0.
Qed.
End WrongSign.

(** T8 without samples of the policy's own. Two tokens and one logit, with the probability p of the first, sampled with the
    probability m instead: k1 as a loss has the mean gradient m − p, whatever the reference. *)
Theorem t8_without_own_samples (R : realType) (ref : bool -> R) (m p : R) : 0 < m < 1 -> 0 < p < 1 ->
  \sum_a coin (logit m) [::] a * 'D_1 (fun th : R => k1 (coin th [::] a) (ref a)) (logit p) = m - p.
Proof.
move=> m01 p01; rewrite big_bool.
have slope a := derivative_k1 ref (coin_prob_gt0 (logit p) [::]) (fun a => derivative_coin (logit p) [::] a) a.
have [_ ->] := slope true; have [_ ->] := slope false; rewrite /= /coin_prob /dcoin_prob !logitK //.
move: p01 => /andP[/lt0r_neq0 p_neq0]; rewrite -subr_gt0 => /lt0r_neq0 q_neq0.
rewrite mulrAC divff // mul1r mulNr -mulrA divff // mulr1 mulrBr mulrN mulrBl mulr1 mul1r.
by rewrite opprB addrA [m * p]mulrC subrK.
Qed.
