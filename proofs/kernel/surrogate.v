(** The objective that GRPO's code maximises: ratio, clip and minimum; and a weighted log-likelihood. *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import boolp classical_sets functions reals topology normedtype derive exp realfun.
From Rino Require Import definitions responses derivatives.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory numFieldNormedType.Exports.
Local Open Scope classical_set_scope.
Local Open Scope ring_scope.

Section Objectives.
Variables (R : realType) (V : finType) (eos : V) (H G : nat).
Implicit Types (pi old : policy R V) (g : {ffun 'I_G -> response eos H}).

(** The ratio of token [t]'s probabilities under the policy and under the one that sampled. *)
Definition ratio old pi (y : seq V) (t : nat) : R :=
  pi (before y t) (token eos y t) / old (before y t) (token eos y t).

(** [x] held between [low] and [high]. *)
Definition clip (low high x : R) : R := Num.min (Num.max x low) high.

(** PPO's and GRPO's term of one token; GRPO has one epsilon for both ends. *)
Definition clipped (e_low e_high rho A : R) : R := Num.min (rho * A) (clip (1 - e_low) (1 + e_high) rho * A).

(** GRPO's surrogate on one group, without a KL term: the mean over responses of the mean over tokens. *)
Definition grpo_surrogate (e_low e_high : R) (A : 'I_G -> R) g old pi : R :=
  G%:R^-1 * \sum_i (size (g i))%:R^-1 * \sum_(t < size (g i)) clipped e_low e_high (ratio old pi (g i) t) (A i).

(** A log-likelihood of a group in which token [t] of member [i] has the weight [w g i t]: fine-tuning on weighted
    samples descends minus this. *)
Definition log_likelihood (w : token_weights R eos H G) g pi : R :=
  G%:R^-1 * \sum_i \sum_(t < size (g i)) w g i t * ln (pi (before (g i) t) (token eos (g i) t)).

(** Whether the minimum lets the ratio pass: a positive advantage up to the upper end, a negative one down to the
    lower end. *)
Definition passes (e_low e_high rho A : R) : bool :=
  ~~ ((0 < A) && (1 + e_high < rho) || (A < 0) && (rho < 1 - e_low)).
End Objectives.

Section Clip.
Variables (R : realType) (e_low e_high : R).
Hypotheses (e_low_gt0 : 0 < e_low) (e_high_gt0 : 0 < e_high).
Implicit Types rho A : R.

Lemma clipped_ge0 rho A : 0 <= A -> clipped e_low e_high rho A = A * Num.min rho (1 + e_high).
Proof.
move=> A_ge0; rewrite /clipped /clip -minr_pmull // mulrC minA; congr (_ * Num.min _ _).
by apply/min_idPl; rewrite le_maxr lexx.
Qed.

Lemma clipped_le0 rho A : A <= 0 -> clipped e_low e_high rho A = A * Num.max rho (1 - e_low).
Proof.
move=> A_le0; rewrite /clipped /clip -maxr_nmull // mulrC; congr (_ * _).
have ends : 1 - e_low <= 1 + e_high by rewrite ler_add2l (le_trans _ (ltW e_high_gt0)) // oppr_le0 ltW.
have [in_range|beyond] := leP rho (1 + e_high).
  have /min_idPl -> : Num.max rho (1 - e_low) <= 1 + e_high by rewrite le_maxl in_range.
  by rewrite maxA maxxx.
have rho_ge : 1 - e_low <= rho := le_trans ends (ltW beyond).
by rewrite (max_idPl rho_ge) (min_idPr (ltW beyond)) (max_idPl (ltW beyond)).
Qed.

Lemma near_lt (rho c : R) : rho < c -> \forall h \near (0 : R), h *: (1 : R) + rho < c.
Proof.
move=> lt_c; have around : nbhs rho [set x | x < c] by apply: open_nbhs_nbhs; split=> //; apply: open_lt.
exact: (is_derive_continuous (is_derive_id rho (1 : R)) around).
Qed.

Lemma near_gt (rho c : R) : c < rho -> \forall h \near (0 : R), c < h *: (1 : R) + rho.
Proof.
move=> gt_c; have around : nbhs rho [set x | c < x] by apply: open_nbhs_nbhs; split=> //; apply: open_gt.
exact: (is_derive_continuous (is_derive_id rho (1 : R)) around).
Qed.

Lemma derivative_clipped rho A : rho != 1 - e_low -> rho != 1 + e_high ->
  is_derive rho (1 : R) (fun x => clipped e_low e_high x A) (if passes e_low e_high rho A then A else 0).
Proof.
move=> off_low off_high; rewrite /passes.
have linear : is_derive rho (1 : R) (fun x : R => A * x) A.
  by apply: (is_derive_eq (is_derive_scale A (is_derive_id rho (1 : R)))); rewrite mulr1.
have const c : is_derive rho (1 : R) (fun _ : R => A * c) 0 by apply: is_derive_cst.
have [A_lt0|A_gt0|A0] := ltrgtP A 0.
- have [beyond|inside|] := ltrgtP rho (1 - e_low); last by move/eqP: off_low.
    apply: is_derive_near (const (1 - e_low)); apply: filterS (near_lt beyond) => h lt_h.
    by rewrite clipped_le0 ?ltW // (max_idPr (ltW lt_h)).
  apply: is_derive_near linear; apply: filterS (near_gt inside) => h gt_h.
  by rewrite clipped_le0 ?ltW // (max_idPl (ltW gt_h)).
- have [inside|beyond|] := ltrgtP rho (1 + e_high); last by move/eqP: off_high.
    apply: is_derive_near linear; apply: filterS (near_lt inside) => h lt_h.
    by rewrite clipped_ge0 ?ltW // (min_idPl (ltW lt_h)).
  apply: is_derive_near (const (1 + e_high)); apply: filterS (near_gt beyond) => h gt_h.
  by rewrite clipped_ge0 ?ltW // (min_idPr (ltW gt_h)).
- have -> : (fun x => clipped e_low e_high x A) = cst 0.
    by apply/funext => x; rewrite A0 clipped_ge0 // mul0r.
  by rewrite A0; apply: is_derive_cst.
Qed.
End Clip.

Section Derivatives.
Variables (R : realType) (T : normedModType R) (V : finType) (eos : V) (H G : nat).
Variables (pi : T -> policy R V) (theta v : T) (dpi : variation (pi theta)).
Hypothesis dpiP : derivative_along v dpi.
Implicit Types (old : policy R V) (g : {ffun 'I_G -> response eos H}).

Lemma derivative_log_likelihood (w : token_weights R eos H G) g :
  (forall i t, (t < size (g i))%N -> 0 < pi theta (before (g i) t) (token eos (g i) t)) ->
  is_derive theta v (fun th => log_likelihood w g (pi th)) (group_gradient dpi w g).
Proof.
move=> pos; apply: is_derive_scale; apply: is_derive_sums => i; apply: is_derive_sums => t.
by apply: is_derive_scale; apply: derivative_log => //; apply: pos.
Qed.

Lemma derivative_ratio old y t :
  is_derive theta v (fun th => ratio eos old (pi th) y t)
    (ratio eos old (pi theta) y t * token_score eos dpi y t).
Proof.
have -> : (fun th => ratio eos old (pi th) y t) =
    (fun th => (old (before y t) (token eos y t))^-1 * pi th (before y t) (token eos y t)).
  by apply/funext => th; rewrite mulrC.
by rewrite /ratio mulrAC dtoken_probK mulrC; apply: is_derive_scale; apply: dpiP.
Qed.

Variables (e_low e_high : R).
Hypotheses (e_low_gt0 : 0 < e_low) (e_high_gt0 : 0 < e_high).

Lemma derivative_surrogate (A : 'I_G -> R) g old :
  (forall i t, (t < size (g i))%N ->
    ratio eos old (pi theta) (g i) t != 1 - e_low /\ ratio eos old (pi theta) (g i) t != 1 + e_high) ->
  is_derive theta v (fun th => grpo_surrogate e_low e_high A g old (pi th))
    (group_gradient dpi (fun g i t =>
      (if passes e_low e_high (ratio eos old (pi theta) (g i) t) (A i)
       then ratio eos old (pi theta) (g i) t * A i / (size (g i))%:R else 0)) g).
Proof.
move=> off_edges; apply: is_derive_scale; apply: is_derive_sums => i.
have arrange (x a l s : R) : x * a * l * s = l * (a * (x * s)).
  by rewrite [RHS]mulrC -!mulrA mulrCA [s * l]mulrC.
pose rho t := ratio eos old (pi theta) (g i) t.
rewrite (eq_bigr (fun t : 'I_(size (g i)) => (size (g i))%:R^-1 *
  ((if passes e_low e_high (rho t) (A i) then A i else 0) * (rho t * token_score eos dpi (g i) t)))) => [|t _]; last first.
  by case: passes; rewrite ?arrange ?mul0r ?mulr0.
rewrite -mulr_sumr; apply: is_derive_scale; apply: is_derive_sums => t.
have [off_low off_high] := off_edges i t (ltn_ord t).
exact: (@is_derive_comp _ _ _ (fun th => ratio eos old (pi th) (g i) t) _ _ _ _
  (derivative_clipped e_low_gt0 e_high_gt0 (A i) off_low off_high) (derivative_ratio old (g i) t)).
Qed.
End Derivatives.
