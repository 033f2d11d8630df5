(** T13: methods that are the same on their own samples. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions responses instances t10_partial_credit t04_binary_advantages t05_one_direction.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

(** Open: GSPO and GRPO at θ_old; that the slope of the truncated log-likelihood is c(p) of the mean over positives. *)

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

(** log p = log (1 − (1−p)) cut after its term of order [G]: −Σ_{j=1..G} (1−p)^j/j, a polynomial in p. *)
Definition truncated_log (G : nat) : {poly F} := - \sum_(j < G) j.+1%:R^-1 *: (1 - 'X) ^+ j.+1.

Lemma deriv_truncated_log G : (truncated_log G)^`() = \sum_(j < G) (1 - 'X) ^+ j.
Proof.
rewrite /truncated_log derivN (big_morph _ (@derivD F) (@deriv0 F)) -sumrN; apply: eq_bigr => j _.
rewrite derivZ deriv_exp derivB derivC derivX sub0r mulN1r mulNrn scalerN opprK -scaler_nat scalerA.
by rewrite mulVf ?pnatr_eq0 // scale1r.
Qed.


(** T13. The slope of the truncated log-likelihood of success is (1 − (1−p)^G)/p. *)
Theorem t13_truncated_log G (p : F) : p != 0 -> (truncated_log G)^`().[p] = (1 - (1 - p) ^+ G) / p.
Proof.
move=> p_neq0; apply: (mulIf p_neq0); rewrite mulfVK // deriv_truncated_log horner_sum.
under eq_bigr do rewrite horner_exp !hornerE.
by rewrite -[RHS]opprB subrX1 -mulNr opprB subKr mulrC.
Qed.
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
