(** T14: a policy that is tilted towards right responses, as the exact optimum of GRPO with a KL term is, multiplies the
    odds over the reference; iterated, it stays above the reference, and grows if the reference is right at least half
    of the time. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

(** Open: convergence, existence and repulsion of fixed points. *)

Section Tilted.
Variables (F : rcfType) (Y : finType) (ref : Y -> F) (r : Y -> bool) (w1 w0 : F).
Add Field F_field : (plain_field F).

Definition success_prob (q : Y -> F) : F := \sum_(y | r y) q y.
Definition failure_prob (q : Y -> F) : F := \sum_(y | ~~ r y) q y.

(** The reference, with right responses weighted by [w1] and wrong ones by [w0]. With a KL term β and advantages A, the
    weights are exp(A/β). *)
Definition tilted (y : Y) : F :=
  ref y * (if r y then w1 else w0) / \sum_z ref z * (if r z then w1 else w0).

Hypotheses (w1_gt0 : 0 < w1) (w0_gt0 : 0 < w0).
Hypotheses (p_gt0 : 0 < success_prob ref) (q_gt0 : 0 < failure_prob ref).

Lemma tilted_sum : \sum_z ref z * (if r z then w1 else w0) = success_prob ref * w1 + failure_prob ref * w0.
Proof.
rewrite (bigID r) /= /success_prob /failure_prob !mulr_suml; congr (_ + _); apply: eq_bigr => z.
  by move->.
by move/negPf->.
Qed.

Lemma tilted_gt0 : 0 < success_prob ref * w1 + failure_prob ref * w0.
Proof. by rewrite addr_gt0 ?mulr_gt0. Qed.

(** T14. The tilted policy is right with probability p w1/(p w1 + q w0) and wrong with q w0/(p w1 + q w0), … *)
Theorem t14_probabilities :
  success_prob tilted = success_prob ref * w1 / (success_prob ref * w1 + failure_prob ref * w0) /\
  failure_prob tilted = failure_prob ref * w0 / (success_prob ref * w1 + failure_prob ref * w0).
Proof.
rewrite -tilted_sum; split; rewrite /success_prob /failure_prob /tilted -mulr_suml; congr (_ * _);
  rewrite mulr_suml; apply: eq_bigr => y; first by move->.
by move/negPf->.
Qed.

(** T14. … so it multiplies the odds of the reference by w1/w0. *)
Theorem t14_odds : success_prob tilted / failure_prob tilted = w1 / w0 * (success_prob ref / failure_prob ref).
Proof.
have [-> ->] := t14_probabilities; have := gt_eqF tilted_gt0; have := gt_eqF w0_gt0; have := gt_eqF q_gt0.
move: (success_prob ref) (failure_prob ref) => p q /negbT q_neq0 /negbT w0_neq0 /negbT z_neq0.
by move: (p * w1 + q * w0) z_neq0 => z z_neq0; field_of F.
Qed.
End Tilted.

Section Iteration.
Variables (F : rcfType) (E : F -> F) (beta epsilon p_ref : F).
Add Field F_field' : (plain_field F).
Implicit Types p q m : F.

(** [E] stands for the exponential. All that is used of it: it grows, and is above 1 on positive numbers. *)
Hypotheses (E_gt1 : forall x, 0 < x -> 1 < E x) (E_grows : forall x y, x <= y -> E x <= E y).
Hypotheses (beta_gt0 : 0 < beta) (epsilon_gt0 : 0 < epsilon) (ref_gt0 : 0 < p_ref) (ref_lt1 : p_ref < 1).

(** The two advantages of GRPO at the success probability [p], with the floor [epsilon] under the variance. *)
Definition deviation p : F := Num.sqrt (p * (1 - p) + epsilon).
Definition advantage_right p : F := (1 - p) / deviation p.
Definition advantage_wrong p : F := - p / deviation p.

(** How one iteration multiplies the odds, and the success probability after it. *)
Definition multiplier p : F := E ((advantage_right p - advantage_wrong p) / beta).
Definition next p : F := p_ref * multiplier p / (p_ref * multiplier p + (1 - p_ref)).

Lemma advantage_gap p : advantage_right p - advantage_wrong p = (deviation p)^-1.
Proof. by rewrite /advantage_right /advantage_wrong mulNr opprK -mulrDl subrK mul1r. Qed.

Lemma deviation_gt0 p : 0 <= p <= 1 -> 0 < deviation p.
Proof. by case/andP=> p_ge0 p_le1; rewrite sqrtr_gt0 ltr_spaddr // mulr_ge0 ?subr_ge0. Qed.

Lemma multiplier_gt1 p : 0 <= p <= 1 -> 1 < multiplier p.
Proof. by move=> p01; rewrite E_gt1 // advantage_gap divr_gt0 ?invr_gt0 ?deviation_gt0. Qed.

Lemma denominator_gt0 m : 1 < m -> 0 < p_ref * m + (1 - p_ref).
Proof. by move=> m_gt1; rewrite addr_gt0 ?subr_gt0 // mulr_gt0 // (lt_trans ltr01). Qed.

(** T14. This is the success probability of the tilted policy with the weights [E](A/β): if [E] turns differences into
    quotients, as the exponential does. *)
Theorem t14_iteration (Y : finType) (ref : Y -> F) (r : Y -> bool) p :
  (forall x, 0 < E x) -> (forall x y, E (x - y) = E x / E y) ->
  success_prob r ref = p_ref -> failure_prob r ref = 1 - p_ref ->
  success_prob r (tilted ref r (E (advantage_right p / beta)) (E (advantage_wrong p / beta))) = next p.
Proof.
move=> E_gt0 E_quotient ref_p ref_q; have [-> _] := t14_probabilities ref r (E (advantage_right p / beta)) (E
  (advantage_wrong p / beta)).
rewrite /next /multiplier mulrBl E_quotient ref_p ref_q; move: (E_gt0 (advantage_right p / beta)) (E_gt0
  (advantage_wrong p / beta)).
move: (E (advantage_right p / beta)) (E (advantage_wrong p / beta)) => w1 w0 w1_gt0 w0_gt0.
have den : p_ref * w1 + (1 - p_ref) * w0 != 0 by rewrite gt_eqF // addr_gt0 // mulr_gt0 // subr_gt0.
have w0_neq0 : w0 != 0 by rewrite gt_eqF.
have -> : p_ref * (w1 / w0) + (1 - p_ref) = (p_ref * w1 + (1 - p_ref) * w0) / w0 by field_of F.
by move: (p_ref * w1 + (1 - p_ref) * w0) den => d d_neq0; field_of F.
Qed.

(** T14. After every iteration the success probability is above that of the reference, and below 1. *)
Theorem t14_above_reference p : 0 <= p <= 1 -> p_ref < next p < 1.
Proof.
move=> /multiplier_gt1 m_gt1; have den := denominator_gt0 m_gt1; rewrite /next;
  move: (multiplier p) m_gt1 den => m m_gt1 den.
rewrite ltr_pdivl_mulr // ltr_pdivr_mulr // mul1r ltr_addl subr_gt0 ref_lt1 andbT ltr_pmul2l //.
rewrite -subr_gt0 (_ : m - (p_ref * m + (1 - p_ref)) = (1 - p_ref) * (m - 1)); last by ring_of F.
by rewrite mulr_gt0 ?subr_gt0.
Qed.

(** T14. From one half on, the more often an iteration starts right the more often it ends right, … *)
Theorem t14_grows p q : 2%:R^-1 <= p -> p <= q -> q <= 1 -> next p <= next q.
Proof.
move=> p_half p_q q_le1; have p_ge0 : 0 <= p by apply: le_trans p_half; rewrite invr_ge0 ler0n.
have p01 : 0 <= p <= 1 by rewrite p_ge0 (le_trans p_q).
have q01 : 0 <= q <= 1 by rewrite q_le1 (le_trans p_ge0).
have m_le : multiplier p <= multiplier q.
  apply: E_grows; rewrite !advantage_gap ler_pmul2r ?invr_gt0 // lef_pinv ?posrE ?deviation_gt0 //.
  rewrite ler_wsqrtr // ler_add2r -subr_ge0.
  have -> : p * (1 - p) - q * (1 - q) = (q - p) * (p + q - 1) by ring_of F.
  rewrite mulr_ge0 ?subr_ge0 // -[1](@mulVf F 2%:R) ?pnatr_eq0 // mulr_natr mulr2n ler_add //.
  exact: le_trans p_q.
have := multiplier_gt1 p01; have := multiplier_gt1 q01; rewrite /next;
  move: (multiplier p) (multiplier q) m_le => m m' m_le m'_gt1 m_gt1.
rewrite ler_pdivr_mulr ?denominator_gt0 // mulrAC ler_pdivl_mulr ?denominator_gt0 // -subr_ge0.
have -> : p_ref * m' * (p_ref * m + (1 - p_ref)) - p_ref * m * (p_ref * m' + (1 - p_ref)) =
  p_ref * ((1 - p_ref) * (m' - m)) by ring_of F.
by rewrite !mulr_ge0 ?subr_ge0 // ltW.
Qed.

Lemma iterates n : p_ref <= iter n next p_ref <= 1.
Proof.
elim: n => [|n /andP[above le1]] /=; first by rewrite lexx ltW.
have n01 : 0 <= iter n next p_ref <= 1 by rewrite le1 andbT (le_trans (ltW ref_gt0)).
by have /andP[/ltW-> /ltW->] := t14_above_reference n01.
Qed.

(** T14. … so if the reference is right at least half of the time, the success probability never falls from one
    iteration to the next. *)
Theorem t14_growth n : 2%:R^-1 <= p_ref -> iter n next p_ref <= iter n.+1 next p_ref.
Proof.
move=> half; elim: n => [|n IH]; first by have /andP[] := iterates 1.
have /andP[above _] := iterates n; have /andP[_ le1] := iterates n.+1.
by apply: t14_grows => //; apply: le_trans half above.
Qed.
End Iteration.

From mathcomp Require Import boolp classical_sets functions reals topology normedtype derive exp realfun sequences.
Import numFieldNormedType.Exports.

Section Optimum.
Variables (R : realType) (Y : finType) (ref : Y -> R) (r : Y -> bool) (beta a1 a0 : R).
Add Field R_field : (plain_field R).
Hypotheses (beta_gt0 : 0 < beta) (ref_gt0 : forall y, 0 < ref y) (ref_sum : \sum_y ref y = 1).
Implicit Types (q : Y -> R) (x : R).

Lemma expR_tangent x : 1 + x <= expR x.
Proof.
have [x_ge0|x_lt0] := leP 0 x; first exact: expR_ge1Dx.
have derivative y : is_derive y (1 : R) (fun z : R => expR z) (expR y) by apply: is_derive_expR.
have [|c c_in] := @MVT R (fun z : R => expR z) (fun z => expR z) x 0 x_lt0 (fun y _ => derivative y).
  by apply: continuous_subspaceT => y; apply: continuous_expR.
rewrite expR0 sub0r mulrN => eq_c; rewrite -[expR x](subKr 1) eq_c opprK ler_add2l.
have c_le0 : c <= 0 by move: c_in; rewrite in_itv /= => /andP[_ /ltW].
have e_le1 : expR c <= 1 by rewrite -[X in _ <= X](expR0 R) ler_expR.
by rewrite -[X in X <= _]mul1r ler_wnmul2r // ltW.
Qed.

Lemma ln_tangent x : 0 < x -> ln x <= x - 1.
Proof. by move=> x_gt0; have := expR_tangent (ln x); rewrite lnK ?posrE // ler_subr_addl. Qed.

(** The Kullback-Leibler divergence of two distributions. *)
Definition divergence_of q q' : R := \sum_y q y * (ln (q y) - ln (q' y)).

(** T14. A divergence is never negative. *)
Theorem t14_divergence q q' : (forall y, 0 <= q y) -> (forall y, 0 < q' y) -> \sum_y q y = 1 -> \sum_y q' y = 1 ->
  0 <= divergence_of q q'.
Proof.
move=> q_ge0 q'_gt0 q_sum q'_sum; rewrite -[X in X <= _](subrr 1) -{1}q_sum -q'_sum -sumrB; apply: ler_sum => y _.
have [->|q_neq0] := eqVneq (q y) 0; first by rewrite mul0r sub0r oppr_le0 ltW.
have q_gt0 : 0 < q y by rewrite lt_neqAle eq_sym q_neq0 q_ge0.
have := ln_tangent (divr_gt0 (q'_gt0 y) q_gt0); rewrite ln_div ?posrE // => tangent.
rewrite -[X in X <= _]opprB -[X in _ <= X]opprK ler_opp2 -mulrN opprB.
apply: le_trans (ler_wpmul2l (ltW q_gt0) tangent) _.
by rewrite mulrBr mulr1 mulrCA mulfV // mulr1.
Qed.

(** What an iteration maximises: the mean advantage, a₁ for right and a₀ for wrong responses, less β times the divergence
    from the reference. *)
Definition objective q : R := \sum_y q y * (if r y then a1 else a0) - beta * divergence_of q ref.
Definition best : Y -> R := tilted ref r (expR (a1 / beta)) (expR (a0 / beta)).
Local Notation Z := (\sum_z ref z * (if r z then expR (a1 / beta) else expR (a0 / beta))).

Lemma weight_gt0 y : 0 < ref y * (if r y then expR (a1 / beta) else expR (a0 / beta)).
Proof. by rewrite mulr_gt0 //; case: (r y); apply: expR_gt0. Qed.

Lemma Z_gt0 : 0 < Z.
Proof.
have [y _|none] := pickP (@predT Y).
  rewrite (bigD1 y) //= ltr_paddr ?weight_gt0 // sumr_ge0 // => z _; exact/ltW/weight_gt0.
by have := oner_eq0 R; rewrite -ref_sum big1 ?eqxx // => y _; have := none y.
Qed.

Lemma best_gt0 y : 0 < best y.
Proof. by rewrite divr_gt0 ?weight_gt0 ?Z_gt0. Qed.

Lemma best_sum : \sum_y best y = 1.
Proof. by rewrite /best /tilted -mulr_suml divff // gt_eqF ?Z_gt0. Qed.

Lemma ln_best y : ln (best y) = ln (ref y) + (if r y then a1 else a0) / beta - ln Z.
Proof.
rewrite /best /tilted ln_div ?posrE ?weight_gt0 ?Z_gt0 //; congr (_ - _).
by rewrite lnM ?posrE //; last (case: (r y); apply: expR_gt0); case: (r y); rewrite expK.
Qed.

(** T14. The objective of any policy is that of the tilted one, with the weights exp(A/β), less β times its divergence
    from it, … *)
Theorem t14_objective q : \sum_y q y = 1 -> objective q = beta * ln Z - beta * divergence_of q best.
Proof.
move=> q_sum; rewrite /objective /divergence_of -[beta * ln Z]mulr1 -q_sum !mulr_sumr -!sumrB; apply: eq_bigr => y _.
rewrite ln_best; have beta_neq0 : beta != 0 by rewrite gt_eqF.
move: (if r y then a1 else a0) (ln (q y)) (ln (ref y)) (ln Z) (q y) => a l l' z x.
by field_of R.
Qed.

(** T14. … so the tilted policy is the optimum over all policies. *)
Theorem t14_optimum q : (forall y, 0 <= q y) -> \sum_y q y = 1 ->
  [/\ forall y, 0 < best y, \sum_y best y = 1 & objective q <= objective best].
Proof.
move=> q_ge0 q_sum; split; [exact: best_gt0|exact: best_sum|].
rewrite (t14_objective q_sum) (t14_objective best_sum) ler_add2l ler_opp2 ler_pmul2l //.
rewrite [divergence_of best best]big1 => [|y _]; last by rewrite subrr mulr0.
exact: t14_divergence best_gt0 q_sum best_sum.
Qed.
End Optimum.
