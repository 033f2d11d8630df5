(** T3: on the samples of the current policy, the gradient of GRPO's surrogate, with its ratio, minimum and clip, is that
    of a log-likelihood in which every token of response [i] has the weight A(i)/L(i). *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import boolp classical_sets functions reals topology normedtype derive exp realfun.
From Rino Require Import definitions responses derivatives surrogate coin.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory numFieldNormedType.Exports.
Local Open Scope classical_set_scope.
Local Open Scope ring_scope.

Section PerSample.
Variables (R : realType) (T : normedModType R) (V : finType) (eos : V) (H G : nat).
Variables (pi : T -> policy R V) (theta v : T).
Implicit Types (A : 'I_G -> R) (g : {ffun 'I_G -> response eos H}).

(** The weights of the theorem: the advantage of the response over its length. *)
Definition advantage_over_length A : token_weights R eos H G := fun g i t => A i / (size (g i))%:R.

(** The group can have been sampled: each of its tokens has a positive probability. *)
Definition sampled (old : policy R V) g : Prop :=
  forall i t, (t < size (g i))%N -> 0 < old (before (g i) t) (token eos (g i) t).

(** T3. If the token probabilities are positive and differentiable along a direction of the parameters, they have a
    derivative there, in the sense of the other theorems: its sum over the tokens is 0. *)
Theorem t3_derivative_of_policy :
  (forall s a, derivable (fun th => pi th s a) theta v) -> (forall s a, 0 < pi theta s a) ->
  exists dpi : variation (pi theta), forall s a, is_derive theta v (fun th => pi th s a) (dpi s a).
Proof. exact: derivative_exists. Qed.

Variable dpi : variation (pi theta).
Hypothesis dpiP : derivative_along v dpi.

Lemma ratio_on_policy g i t : sampled (pi theta) g -> (t < size (g i))%N ->
  ratio eos (pi theta) (pi theta) (g i) t = 1.
Proof. by move=> pos lt_t; rewrite /ratio divff ?lt0r_neq0 ?pos. Qed.

(** T3. A log-likelihood with any weights has the gradient with these weights. *)
Theorem t3_log_likelihood (w : token_weights R eos H G) g : sampled (pi theta) g ->
  is_derive theta v (fun th => log_likelihood w g (pi th)) (group_gradient dpi w g).
Proof. exact: derivative_log_likelihood. Qed.

Variables e_low e_high : R.
Hypotheses (e_low_gt0 : 0 < e_low) (e_high_gt0 : 0 < e_high).

(** T3. At θ = θ_old, for every group size, lengths, advantages, clip range and direction, GRPO's
    surrogate has the gradient with the weights A(i)/L(i). *)
Theorem t3_surrogate A g : sampled (pi theta) g ->
  is_derive theta v (fun th => grpo_surrogate e_low e_high A g (pi theta) (pi th))
    (group_gradient dpi (advantage_over_length A) g).
Proof.
move=> pos; have edge i t : (t < size (g i))%N -> ratio eos (pi theta) (pi theta) (g i) t != 1 - e_low /\
    ratio eos (pi theta) (pi theta) (g i) t != 1 + e_high.
  move=> lt_t; rewrite ratio_on_policy // -subr_eq0 -[_ == 1 + _]subr_eq0 opprB addrCA subrr addr0.
  by rewrite opprD addrA subrr add0r oppr_eq0 !lt0r_neq0.
apply: (is_derive_eq (derivative_surrogate dpiP e_low_gt0 e_high_gt0 A edge)).
congr (_ * _); apply: eq_bigr => i _; apply: eq_bigr => t _; congr (_ * _).
rewrite ratio_on_policy // mul1r /passes.
have -> : 1 + e_high < 1 = false by rewrite -subr_gt0 opprD addrA subrr add0r oppr_gt0 lt_gtF.
have -> : 1 < 1 - e_low = false by rewrite -subr_gt0 addrAC subrr add0r oppr_gt0 lt_gtF.
by rewrite !andbF.
Qed.

(** T3. So, at θ = θ_old, the surrogate and the weighted log-likelihood, minus a cross-entropy loss, have
    the same derivative in every direction, on each group. *)
Theorem t3_weighted_likelihood A g : sampled (pi theta) g ->
  'D_v (fun th => grpo_surrogate e_low e_high A g (pi theta) (pi th)) theta =
  'D_v (fun th => log_likelihood (advantage_over_length A) g (pi th)) theta.
Proof.
move=> pos; have [_ ->] := t3_surrogate A pos.
by have [_ ->] := t3_log_likelihood (advantage_over_length A) pos.
Qed.

(** T3. In the mean over the groups that θ_old samples, with advantages that may depend on the group in any way, the
    surrogate has at θ_old the expected gradient with the weights A(i)/L(i). *)
Theorem t3_expected (A : {ffun 'I_G -> response eos H} -> 'I_G -> R) : (forall s a, 0 < pi theta s a) ->
  is_derive theta v
    (fun th => \sum_(g : {ffun 'I_G -> response eos H}) (\prod_i prob eos (pi theta) (g i)) *
      grpo_surrogate e_low e_high (A g) g (pi theta) (pi th))
    (expected_gradient dpi (fun g i t => A g i / (size (g i))%:R)).
Proof.
move=> pos; apply: is_derive_sums => g; apply: is_derive_scale.
by apply: (is_derive_eq (@t3_surrogate (A g) g _)) => // i t _; apply: pos.
Qed.
End PerSample.

Section Counterexamples.
Variable R : realType.
Implicit Types p e : R.

Lemma coin_logit p : 0 < p < 1 -> coin (logit p) [::] true = p.
Proof. exact: logitK. Qed.

Lemma gradient_of_heads p (w : token_weights R true 1 1) : 0 < p < 1 ->
  group_gradient (dcoin (logit p)) w one_heads = w one_heads ord0 0%N * (1 - p).
Proof.
move=> p01; rewrite /group_gradient big_ord_recl big_ord0 addr0 invr1 mul1r ffunE big_ord_recl big_ord0 addr0.
rewrite /token_score /= /coin_prob /= logitK // mulrAC divff ?mul1r //.
by case/andP: p01 => /lt0r_neq0.
Qed.

Lemma heads_sampled p : sampled (coin (logit p)) one_heads.
Proof. by move=> i t _; apply: coin_prob_gt0. Qed.

Lemma ratio_of_heads p_old p i t : 0 < p_old < 1 -> 0 < p < 1 -> (t < size (one_heads i))%N ->
  ratio true (coin (logit p_old)) (coin (logit p)) (one_heads i) t = p / p_old.
Proof.
by move=> old01 p01; rewrite ffunE; case: t => // _; rewrite /ratio /= /coin_prob /= !logitK.
Qed.

Definition surrogate_of_heads e p_old (theta : R) : R :=
  grpo_surrogate e e (fun=> 1) one_heads (coin (logit p_old)) (coin theta).
Definition likelihood_of_heads (theta : R) : R :=
  log_likelihood (advantage_over_length (fun=> 1)) one_heads (coin theta).

Lemma likelihood_slope p : 0 < p < 1 -> 'D_1 likelihood_of_heads (logit p) = 1 - p.
Proof.
move=> p01; have [_ slope] := t3_log_likelihood (derivative_coin (logit p))
  (advantage_over_length (fun=> 1)) (heads_sampled p).
by rewrite [LHS]slope gradient_of_heads // /advantage_over_length ffunE divr1 mul1r.
Qed.

Lemma surrogate_slope e p_old p : 0 < e -> 0 < p_old < 1 -> 0 < p < 1 ->
  p / p_old != 1 - e -> p / p_old != 1 + e ->
  'D_1 (surrogate_of_heads e p_old) (logit p) = (if passes e e (p / p_old) 1 then p / p_old else 0) * (1 - p).
Proof.
move=> e_gt0 old01 p01 off_low off_high.
have [|_ slope] := @derivative_surrogate _ _ _ _ _ _ _ _ _ _ (derivative_coin (logit p)) _ _ e_gt0 e_gt0 (fun=> 1)
  one_heads (coin (logit p_old)).
  by move=> i t lt_t; rewrite ratio_of_heads.
by rewrite [LHS]slope gradient_of_heads // ratio_of_heads ?ffunE // divr1 mulr1.
Qed.

(** T3 without ρ = 1. A policy with two tokens and one logit, one response of one token, advantage 1: once the token's
    probability p differs from the p_old with which it was sampled, and even within the clip range, the surrogate and the
    weighted log-likelihood have different derivatives. *)
Theorem t3_without_ratio_one e p_old p : 0 < p_old < 1 -> 0 < p < 1 -> 1 - e < p / p_old < 1 + e -> p != p_old ->
  'D_1 (surrogate_of_heads e p_old) (logit p) != 'D_1 likelihood_of_heads (logit p).
Proof.
move=> old01 p01 /andP[above below] moved.
have e_gt0 : 0 < e.
  have : 1 - e < 1 + e := lt_trans above below.
  rewrite ltr_add2l !ltNge; apply: contra => e_le0.
  by rewrite (le_trans e_le0) ?oppr_ge0.
rewrite likelihood_slope // surrogate_slope ?(lt_eqF below) ?(gt_eqF above) //.
have -> : passes e e (p / p_old) 1.
  by rewrite /passes ltr01 lt_gtF // ltr10.
have q_neq0 : 1 - p != 0 by case/andP: p01 => _ p_lt1; rewrite lt0r_neq0 // subr_gt0.
have old_neq0 : p_old != 0 by case/andP: old01 => /lt0r_neq0.
apply: contra moved => /eqP eq1; apply/eqP; apply: (mulIf (invr_neq0 old_neq0)).
by rewrite divff //; apply: (mulIf q_neq0); rewrite mul1r.
Qed.

(** T3 without a ratio in the clip range. In the same example, once the ratio is above 1 + ε the surrogate is flat, and the
    weighted log-likelihood has the derivative 1 − p, which is not 0. *)
Theorem t3_without_clip_range e p_old p : 0 < e -> 0 < p_old < 1 -> 0 < p < 1 -> 1 + e < p / p_old ->
  'D_1 (surrogate_of_heads e p_old) (logit p) = 0 /\ 'D_1 likelihood_of_heads (logit p) = 1 - p.
Proof.
move=> e_gt0 old01 p01 beyond; split; last exact: likelihood_slope.
have low : 1 - e < p / p_old by rewrite (lt_trans _ beyond) // ltr_add2l (lt_trans _ e_gt0) // oppr_lt0.
by rewrite surrogate_slope ?gt_eqF // /passes ltr01 beyond /= mul0r.
Qed.
End Counterexamples.
