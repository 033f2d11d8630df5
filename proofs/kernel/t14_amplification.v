(** T14: a policy that is tilted towards right responses, as the exact optimum of GRPO with a KL term is, multiplies the
    odds over the reference; iterated, it stays above the reference, and grows if the reference is right at least half
    of the time. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

(** Open: that the tilted policy, with the weights exp(A/β), is the optimum; convergence, existence and repulsion of
    fixed points. *)

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
