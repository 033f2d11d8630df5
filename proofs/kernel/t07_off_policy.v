(** T7: away from the sampling policy the weights are those of the ratios that the clip lets pass, and no longer constant
    within a response. *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import boolp classical_sets functions reals topology normedtype derive exp realfun.
From Rino Require Import algebra definitions responses derivatives surrogate coin t03_per_sample.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory numFieldNormedType.Exports.
Local Open Scope classical_set_scope.
Local Open Scope ring_scope.

Section Clip.
Variables (R : realType) (e_low e_high rho A : R).
Hypotheses (e_low_gt0 : 0 < e_low) (e_high_gt0 : 0 < e_high).

(** T7. The minimum and the clip together: a positive advantage is held below the upper end
    of the clip range … *)
Theorem t7_positive_advantage : 0 <= A -> clipped e_low e_high rho A = A * Num.min rho (1 + e_high).
Proof. exact: clipped_ge0. Qed.

(** T7. … and a negative one above the lower end. *)
Theorem t7_negative_advantage : A <= 0 -> clipped e_low e_high rho A = A * Num.max rho (1 - e_low).
Proof. exact: clipped_le0. Qed.
End Clip.

Section Weights.
Variables (R : realType) (T : normedModType R) (V : finType) (eos : V) (H G : nat).
Variables (pi : T -> policy R V) (theta v : T) (dpi : variation (pi theta)).
Variables (e_low e_high : R).

(** The weights: ρ A/L where the clip lets the ratio pass, 0 elsewhere. *)
Definition off_policy_weights (old : policy R V) (A : 'I_G -> R) : token_weights R eos H G := fun g i t =>
  let rho := ratio eos old (pi theta) (g i) t in
  if passes e_low e_high rho (A i) then rho * A i / (size (g i))%:R else 0.

(** T7. For any sampling policy, group, advantages and direction, the gradient of GRPO's
    surrogate has the weights ρ A/L where the clip lets the ratio pass and 0 elsewhere. (No ratio is at an end of the clip
    range, where the surrogate has a kink.) *)
Theorem t7_weight (old : policy R V) (A : 'I_G -> R) (g : {ffun 'I_G -> response eos H}) :
  derivative_along v dpi -> 0 < e_low -> 0 < e_high ->
  (forall i t, (t < size (g i))%N ->
    ratio eos old (pi theta) (g i) t != 1 - e_low /\ ratio eos old (pi theta) (g i) t != 1 + e_high) ->
  is_derive theta v (fun th => grpo_surrogate e_low e_high A g old (pi th))
    (group_gradient dpi (off_policy_weights old A) g).
Proof. by move=> dpiP e_low_gt0 e_high_gt0; apply: derivative_surrogate. Qed.
End Weights.

(** The credit-structure index of the weights of one response: Σ (w − w̄)²/Σ w². *)
Definition credit_structure_index (F : rcfType) (L : nat) (w : 'I_L -> F) : F :=
  (\sum_t (w t - group_mean w) ^+ 2) / \sum_t w t ^+ 2.

Section Index.
Variables (F : rcfType) (L : nat).
Add Field F_field : (plain_field F).
Implicit Types (w rho : 'I_L -> F).

Lemma sum_of_squares w : (0 < L)%N ->
  \sum_t (w t - group_mean w) ^+ 2 = (\sum_t w t ^+ 2) - (\sum_t w t) ^+ 2 / L%:R.
Proof.
move=> L_gt0; have L_neq0 : L%:R != 0 :> F by rewrite pnatr_eq0 -lt0n.
under eq_bigr => t _.
  have -> : (w t - group_mean w) ^+ 2 = w t ^+ 2 - (2%:R * group_mean w) * w t + group_mean w ^+ 2.
    by ring_of F.
  over.
rewrite big_split /= sumrB -mulr_sumr sumr_const card_ord -[X in _ + X]mulr_natl /group_mean.
by move: (\sum_t w t ^+ 2) (\sum_t w t) (L%:R : F) L_neq0 => s2 s1 l l_neq0; field_of F.
Qed.

(** T7. The index of weights ρ A/L is 1 − S₁²/(L S₂), with the sums S₁ of the ratios and S₂ of their squares. *)
Theorem t7_index rho (A : F) : A != 0 -> \sum_t rho t ^+ 2 != 0 ->
  credit_structure_index (fun t => rho t * A / L%:R) =
  1 - (\sum_t rho t) ^+ 2 / (L%:R * \sum_t rho t ^+ 2).
Proof.
move=> A_neq0 S2_neq0; have L_gt0 : (0 < L)%N.
  by case: (posnP L) => // L0; move: rho S2_neq0; rewrite L0 => rho; rewrite big_ord0 eqxx.
have L_neq0 : L%:R != 0 :> F by rewrite pnatr_eq0 -lt0n.
rewrite /credit_structure_index sum_of_squares //.
have -> : \sum_t (rho t * A / L%:R) ^+ 2 = (A / L%:R) ^+ 2 * \sum_t rho t ^+ 2.
  by rewrite mulr_sumr; apply: eq_bigr => t _; rewrite -exprMn -mulrA [rho t * _]mulrC.
have -> : \sum_t rho t * A / L%:R = (A / L%:R) * \sum_t rho t.
  by rewrite mulr_sumr; apply: eq_bigr => t _; rewrite -mulrA mulrC.
move: (\sum_t rho t ^+ 2) (\sum_t rho t) (L%:R : F) S2_neq0 L_neq0 => s2 s1 l s2_neq0 l_neq0.
by field_of F.
Qed.

(** T7. It is never negative … *)
Theorem t7_index_ge0 w : 0 <= credit_structure_index w.
Proof. by rewrite divr_ge0 // sumr_ge0 // => t _; rewrite sqr_ge0. Qed.

(** T7. … it is 0 if all tokens have the same weight, as at the first inner step … *)
Theorem t7_first_inner_step w (c : F) : (forall t, w t = c) -> credit_structure_index w = 0.
Proof.
move=> wE; rewrite /credit_structure_index big1 ?mul0r // => t _.
have L_neq0 : L%:R != 0 :> F by rewrite pnatr_eq0 -lt0n; apply: leq_ltn_trans (ltn_ord t).
rewrite /group_mean wE (eq_bigr (fun=> c)) // sumr_const card_ord -[c *+ L]mulr_natl mulKf // subrr.
by rewrite expr0n.
Qed.

(** T7. … and positive as soon as two tokens have different weights. *)
Theorem t7_index_gt0 w (t u : 'I_L) : w t != w u -> 0 < credit_structure_index w.
Proof.
move=> differ; have pos (f : 'I_L -> F) (s : 'I_L) : f s != 0 -> 0 < \sum_s f s ^+ 2.
  move=> f_neq0; rewrite (bigD1 s) //= ltr_paddr ?sumr_ge0 // => [k _|]; first exact: sqr_ge0.
  by rewrite lt_neqAle sqr_ge0 eq_sym sqrf_eq0 f_neq0.
have some_neq (c : F) : exists s, w s != c.
  by have [wt|] := eqVneq (w t) c; [exists u; rewrite -wt eq_sym|exists t].
have [s ws] := some_neq (group_mean w); have [s' ws'] := some_neq 0.
by rewrite divr_gt0 ?(pos _ s' ws') // (pos (fun t => w t - group_mean w) s) // subr_eq0.
Qed.
End Index.

(** A response of two tokens. *)
Definition tails_heads : response true 2 := exist _ (@Bseq 2 bool [:: false; true] isT) isT.
Definition one_tails_heads : {ffun 'I_1 -> response true 2} := [ffun=> tails_heads].

Lemma passes_below (R : realType) (e_low e_high rho : R) : rho < 1 + e_high -> passes e_low e_high rho 1.
Proof. by move=> below; rewrite /passes ltr01 ltr10 /= (lt_gtF below). Qed.

(** T7 without the first inner step. A policy with two tokens and one logit, a response with one of each, advantage 1, no
    ratio outside the clip range: once the probability p of a token differs from the p_old of the sampling policy, the
    weights of the two tokens differ. *)
Theorem t7_without_first_inner_step (R : realType) (e p_old p : R) :
  0 < p_old < 1 -> 0 < p < 1 -> p != p_old ->
  1 - e < p / p_old < 1 + e -> 1 - e < (1 - p) / (1 - p_old) < 1 + e ->
  0 < credit_structure_index (fun t : 'I_2 => off_policy_weights (@coin R : R -> _) (logit p) e e
    (coin (logit p_old)) (fun=> 1) one_tails_heads ord0 t).
Proof.
move=> old01 p01 moved /andP[_ heads_in] /andP[_ tails_in].
apply: (@t7_index_gt0 _ _ _ ord0 (lift ord0 ord0)).
rewrite /off_policy_weights ffunE /ratio /= /coin_prob !logitK //= !passes_below // !mulr1.
rewrite (inj_eq (mulIf _)) ?invr_neq0 ?pnatr_eq0 //.
apply: contra moved => /eqP same; move/andP: old01 => [old_gt0 old_lt1].
have old_neq0 := lt0r_neq0 old_gt0; have q_neq0 : 1 - p_old != 0 by rewrite lt0r_neq0 // subr_gt0.
have : (1 - p) * p_old = p * (1 - p_old).
  by rewrite -[1 - p](mulfVK q_neq0) same mulrAC mulfVK.
by rewrite mulrBl mulrBr mul1r mulr1 => /addIr ->.
Qed.
