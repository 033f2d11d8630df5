(** T13: methods that are the same on their own samples. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions responses instances t10_partial_credit t04_binary_advantages
  t05_one_direction t06_effective_objective.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Rejection.
Variables (F : rcfType) (G : nat).
Hypothesis G_gt0 : (0 < G)%N.
Add Field F_field : (plain_field F).
Implicit Types (b : {ffun 'I_G -> bool}) (i : 'I_G).

(** A group that is neither all wrong nor all right. *)
Definition mixed b : bool := (0 < right b < G)%N.

(** Reinforce-Rej leaves out the groups that are all right or all wrong and uses the rewards of the others as they are:
    ±1, or 0 and 1. *)
Definition reinforce_rej_signed : outcome_rule F G := fun b i => if mixed b then (if b i then 1 else - 1) else 0.
Definition reinforce_rej : outcome_rule F G := fun b i => if mixed b then reward F b i else 0.

Lemma above_mean b i : (mean_reward F b < reward F b i) = mixed b && b i.
Proof.
rewrite mean_rewardE // /share /reward /mixed ltr_pdivr_mulr ?ltr0n // -natrM ltr_nat.
case b_i: (b i); rewrite ?mul1n ?mul0n ?ltn0 ?andbF // andbT.
rewrite (_ : (0 < right b)%N) //; apply/card_gt0P; by exists i; rewrite inE.
Qed.

Lemma below_mean b i : (reward F b i < mean_reward F b) = mixed b && ~~ b i.
Proof.
rewrite mean_rewardE // /share /reward /mixed ltr_pdivl_mulr ?ltr0n // -natrM ltr_nat.
have right_le : (right b <= G)%N by rewrite -[X in (_ <= X)%N]card_ord max_card.
case b_i: (b i); first by rewrite mul1n ltnNge right_le andbF.
rewrite mul0n andbT (_ : (right b < G)%N) ?andbT // -[X in (_ < X)%N](card_ord G) -cardsT proper_card //.
by apply/properP; split; [apply: subsetT | exists i; rewrite !inE ?b_i].
Qed.

(** T13. On every group, Reinforce-Rej with rewards ±1 is twice F-ISFT± in the advantage form (α = 1/2). *)
Theorem t13_reinforce_rej_signed b i : reinforce_rej_signed b i = 2%:R * f_isft 2%:R^-1 b i.
Proof.
rewrite /reinforce_rej_signed /f_isft above_mean below_mean one_minus_half.
case: (mixed b); case: (b i) => /=; rewrite ?mulr0 ?mulrN ?divff ?pnatr_eq0 //.
Qed.

(** T13. On every group, Reinforce-Rej with rewards 0 and 1 is F-ISFT⁺ in the advantage form (α = 0). *)
Theorem t13_reinforce_rej b i : reinforce_rej b i = f_isft 0 b i.
Proof.
rewrite /reinforce_rej /f_isft above_mean below_mean subr0 oppr0 /reward.
by case: (mixed b); case: (b i).
Qed.
End Rejection.

Section Raft.
Variables (F : rcfType) (V : finType) (eos : V) (H G : nat) (pi : policy F V) (dpi : variation pi).
Variable r : response eos H -> bool.
Add Field F_field' : (plain_field F).
Implicit Type g : {ffun 'I_G -> response eos H}.

(** RAFT keeps the right responses and raises their log-likelihood: the sum of their scores, over the group size, or
    over the number kept. *)
Definition kept_scores g : F := \sum_(i | r (g i)) score eos dpi (g i).

Lemma gradient_of_rule (A : outcome_rule F G) g :
  group_gradient dpi (fun g i t => A (outcomes r g) i) g = G%:R^-1 * \sum_i A (outcomes r g) i * score eos dpi (g i).
Proof. by congr (_ * _); apply: eq_bigr => i _; rewrite mulr_sumr. Qed.

Lemma rewarded_scores g : \sum_i reward F (outcomes r g) i * score eos dpi (g i) = kept_scores g.
Proof.
rewrite /kept_scores [RHS]big_mkcond; apply: eq_bigr => i _; rewrite /reward ffunE.
by case: (r _); rewrite ?mul1r ?mul0r.
Qed.

(** T13. On every group, RAFT over the group size is F-ISFT⁺ in the cross-entropy form, which weighs a response by its
    reward. *)
Theorem t13_raft g : G%:R^-1 * kept_scores g = group_gradient dpi (fun g i t => reinforce F (outcomes r g) i) g.
Proof. by rewrite (gradient_of_rule (@reinforce F G)) -rewarded_scores. Qed.

(** T13. RAFT over the number that it keeps is the mean over positives. *)
Theorem t13_raft_kept g : (0 < G)%N ->
  (right (outcomes r g))%:R^-1 * kept_scores g =
  group_gradient dpi (fun g i t => mean_over_positives F (outcomes r g) i) g.
Proof.
move=> G_gt0; rewrite (gradient_of_rule (@mean_over_positives F G)) -rewarded_scores !mulr_sumr.
apply: eq_bigr => i _; rewrite /mean_over_positives mean_rewardE // /share invf_div.
move: (_^-1) (reward _ _ _) (score _ _ _) (G_neq0 F G_gt0) => k x s.
by move: (G%:R : F) => n n_neq0; field_of F.
Qed.
End Raft.

Section Likelihood.
Variable F : rcfType.

(** T13. The slope of the truncated log-likelihood of success is (1 − (1−p)^G)/p. *)
Theorem t13_truncated_log G (p : F) : p != 0 -> (truncated_log F G)^`().[p] = (1 - (1 - p) ^+ G) / p.
Proof. exact: slope_of_truncated_log. Qed.

(** T13. That is c(p) of the mean over positives (T5): at every group size it climbs this polynomial, which is MaxRL's
    objective. *)
Theorem t13_mean_over_positives n (p : F) : p != 0 ->
  scalar (@mean_over_positives F n.+1) p = (truncated_log F n.+1)^`().[p].
Proof. by move=> p_neq0; rewrite t13_truncated_log // t5_mean_over_positives. Qed.
End Likelihood.

Section Counterexamples.
Variable F : rcfType.
Local Notation B := [finType of bool].

(** T13 without "the same divisor": RAFT over the number that it keeps is another estimator than over the group size. (A
    fair coin for a response of one token; heads is right, and one of two is right.) *)
Theorem t13_without_same_divisor : exists (dpi : variation (coin F)) (r : response (true : B) 1 -> bool)
  (g : {ffun 'I_2 -> response (true : B) 1}),
  (right (outcomes r g))%:R^-1 * kept_scores dpi r g != 2%:R^-1 * kept_scores dpi r g.
Proof.
pose r (y : response (true : B) 1) := (y : seq bool) == [:: true].
pose g := [ffun i : 'I_2 => if i == ord0 then @response_of B true 1 [:: true] isT
                            else @response_of B true 1 [:: false] isT].
exists (tilt F [::]), r, g.
have -> : kept_scores (tilt F [::]) r g = 2%:R.
  rewrite /kept_scores big_mkcond !big_ord_recl big_ord0 !ffunE /r /= addr0 addr0 score_cons score_nil /= /tilt_at /=.
  by rewrite addr0 mul1r invrK.
have -> : right (outcomes r g) = 1%N.
  rewrite /right (_ : [set i | _] = [set ord0]) ?cards1 //; apply/setP => i; rewrite !inE !ffunE /r.
  by case: (i == ord0).
by rewrite invr1 mul1r mulVf ?pnatr_eq0 // pnatr_eq1.
Qed.

(** Reinforce-Rej for rewards of any size: a reward of 1 is right, and all else is wrong. *)
Definition reinforce_rej_signed_of G (x : 'I_G -> F) : 'I_G -> F := reinforce_rej_signed F [ffun i => x i == 1].

(** T13 without "rewards are 0 or 1": with partial credit c, Reinforce-Rej leaves out the group (c, 0), in which nothing
    is right, and F-ISFT pushes its first member up. *)
Theorem t13_without_binary_rewards (c : F) : 0 < c < 1 -> exists (x : 'I_2 -> F) (i : 'I_2),
  (forall j, x j = 0 \/ x j = c) /\ reinforce_rej_signed_of x i = 0 /\ 2%:R * f_isft_of 2%:R^-1 x i = 1.
Proof.
case/andP=> c_gt0 c_lt1; pose x (i : 'I_2) := if i == ord0 then c else 0; exists x, ord0.
split; [by move=> j; rewrite /x; case: (j == ord0); [right|left] | split].
  rewrite /reinforce_rej_signed_of /reinforce_rej_signed /mixed (_ : right _ = 0%N) //.
  apply/eqP; rewrite cards_eq0; apply/eqP/setP => i; rewrite !inE ffunE /x.
  by case: (i == ord0); [rewrite lt_eqF | rewrite eq_sym oner_eq0].
rewrite /f_isft_of /group_mean !big_ord_recl big_ord0 /x /= !addr0.
have -> : 2%:R^-1 * c < c by rewrite mulrC ltr_pdivr_mulr ?ltr0n // mulr_natr mulr2n ltr_addl.
by rewrite one_minus_half divff ?pnatr_eq0.
Qed.
End Counterexamples.

From mathcomp Require Import boolp classical_sets functions reals topology normedtype derive exp realfun sequences.
From Rino Require Import derivatives surrogate t03_per_sample.
Import numFieldNormedType.Exports.
Local Open Scope classical_set_scope.
Local Open Scope ring_scope.

Section Sequence.
Variables (R : realType) (T : normedModType R) (V : finType) (eos : V) (H G : nat).
Variables (pi : T -> policy R V) (theta v : T) (dpi : variation (pi theta)).
Hypothesis dpiP : derivative_along v dpi.
Variables e_low e_high : R.
Hypotheses (e_low_gt0 : 0 < e_low) (e_high_gt0 : 0 < e_high).
Implicit Types (A : 'I_G -> R) (g : {ffun 'I_G -> response eos H}).

(** GSPO has one ratio for a response, the geometric mean of its tokens' ratios, where GRPO has one for each token. *)
Definition sequence_ratio (old pi : policy R V) (y : seq V) : R :=
  expR ((size y)%:R^-1 *
    \sum_(t < size y) (ln (pi (before y t) (token eos y t)) - ln (old (before y t) (token eos y t)))).
Definition gspo_surrogate A g (old pi : policy R V) : R :=
  G%:R^-1 * \sum_i clipped e_low e_high (sequence_ratio old pi (g i)) (A i).

Lemma sequence_ratio_on_policy y : sequence_ratio (pi theta) (pi theta) y = 1.
Proof. by rewrite /sequence_ratio big1 ?mulr0 ?expR0 // => t _; rewrite subrr. Qed.

Lemma derivative_sequence_ratio old (y : seq V) :
  (forall t, (t < size y)%N -> 0 < pi theta (before y t) (token eos y t)) ->
  is_derive theta v (fun th => sequence_ratio old (pi th) y)
    (sequence_ratio old (pi theta) y * ((size y)%:R^-1 * score eos dpi y)).
Proof.
move=> pos; pose inner th := (size y)%:R^-1 *
  \sum_(t < size y) (ln (pi th (before y t) (token eos y t)) - ln (old (before y t) (token eos y t))).
have inner' : is_derive theta v inner ((size y)%:R^-1 * score eos dpi y).
  apply: is_derive_scale; apply: is_derive_sums => t.
  have fixed : is_derive theta v (fun _ : T => - ln (old (before y t) (token eos y t))) 0 by apply: is_derive_cst.
  by apply: (is_derive_eq (is_deriveD (derivative_log (t := t) dpiP (pos t (ltn_ord t))) fixed)); rewrite addr0.
exact: (is_derive_comp (is_derive_expR (inner theta)) inner').
Qed.

(** T13. Off the clip edges, GSPO gives every token of a response the same weight: its ratio times A/L, or 0 where the
    minimum stops it. GRPO gives token t the weight ρ_t A/L (T7). *)
Theorem t13_gspo_weight A g old : sampled (pi theta) g ->
  (forall i, sequence_ratio old (pi theta) (g i) != 1 - e_low /\ sequence_ratio old (pi theta) (g i) != 1 + e_high) ->
  is_derive theta v (fun th => gspo_surrogate A g old (pi th))
    (group_gradient dpi (fun g i _ => if passes e_low e_high (sequence_ratio old (pi theta) (g i)) (A i)
       then sequence_ratio old (pi theta) (g i) * A i / (size (g i))%:R else 0) g).
Proof.
move=> pos off_edges; apply: is_derive_scale; apply: is_derive_sums => i; have [off_low off_high] := off_edges i.
have outer := derivative_clipped e_low_gt0 e_high_gt0 (A i) off_low off_high.
have inner := derivative_sequence_ratio old (pos i).
apply: (@is_derive_eq _ _ _ _ _ _ _ _
  (@is_derive_comp _ _ _ (fun th => sequence_ratio old (pi th) (g i)) _ _ _ _ outer inner)).
rewrite -mulr_sumr -/(score eos dpi (g i)); case: passes; rewrite ?mul0r //.
by rewrite !mulrA [A i * _]mulrC.
Qed.

(** T13. At θ = θ_old, on every group, GSPO's surrogate, with its one ratio for a response, has the gradient that GRPO's
    has (T3): that with the weights A(i)/L(i). *)
Theorem t13_gspo A g : sampled (pi theta) g ->
  is_derive theta v (fun th => gspo_surrogate A g (pi theta) (pi th)) (group_gradient dpi (advantage_over_length A) g)
    /\
  is_derive theta v (fun th => grpo_surrogate e_low e_high A g (pi theta) (pi th))
    (group_gradient dpi (advantage_over_length A) g).
Proof.
move=> pos; split; last exact: t3_surrogate.
have on_policy i : sequence_ratio (pi theta) (pi theta) (g i) = 1 := sequence_ratio_on_policy (g i).
have edges i : sequence_ratio (pi theta) (pi theta) (g i) != 1 - e_low /\
    sequence_ratio (pi theta) (pi theta) (g i) != 1 + e_high.
  rewrite on_policy -subr_eq0 -[_ == 1 + _]subr_eq0 opprB addrCA subrr addr0.
  by rewrite opprD addrA subrr add0r oppr_eq0 !lt0r_neq0.
apply: (is_derive_eq (t13_gspo_weight A pos edges)); congr (_ * _); apply: eq_bigr => i _; apply: eq_bigr => t _.
rewrite on_policy mul1r /passes.
have -> : 1 + e_high < 1 = false by rewrite -subr_gt0 opprD addrA subrr add0r oppr_gt0 lt_gtF.
have -> : 1 < 1 - e_low = false by rewrite -subr_gt0 addrAC subrr add0r oppr_gt0 lt_gtF.
by rewrite !andbF.
Qed.
End Sequence.

(** T13 without ρ = 1: where two tokens of a response have different ratios, no weight s A/L that is the same for both,
    as GSPO's is, is GRPO's weight ρ_t A/L. *)
Theorem t13_without_ratio_one (F : rcfType) (rho rho' s A : F) (L : nat) : A != 0 -> (0 < L)%N -> rho != rho' ->
  ~ (s * A / L%:R = rho * A / L%:R /\ s * A / L%:R = rho' * A / L%:R).
Proof.
move=> A_neq0 L_gt0 differ [same same']; case/eqP: differ.
have factor_neq0 : A / L%:R != 0 by rewrite mulf_neq0 // invr_eq0 pnatr_eq0 -lt0n.
by apply: (mulIf factor_neq0); rewrite !mulrA -same -same'.
Qed.
