(** Real derivatives, along a line in the parameters: what the algebra of the other files calls a variation is the
    derivative of a policy, and what it calls the derivative of a mean is one. *)
From mathcomp Require Import all_ssreflect all_algebra.
From mathcomp Require Import boolp classical_sets functions reals topology normedtype derive exp realfun.
From Rino Require Import definitions responses.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory numFieldNormedType.Exports.
Local Open Scope classical_set_scope.
Local Open Scope ring_scope.

Section Calculus.
Variables (R : realType) (T : normedModType R).
Implicit Types (theta v : T) (f g : T -> R).

Lemma line0 theta v : (0 : R) *: v + theta = theta.
Proof. by rewrite scale0r add0r. Qed.

Lemma on_line f theta v : (fun h : R => (f (h *: v + theta) : R)) =
  f \o (fun h : R => h *: v + theta).
Proof. by []. Qed.

Lemma is_derive_line f theta v (d : R) :
  is_derive theta v f d <-> is_derive (0 : R) (1 : R) (fun h : R => f (h *: v + theta)) d.
Proof.
have eq : (fun h : R => h^-1 *: ((f \o shift theta) (h *: v) - f theta)) =
    (fun h : R => h^-1 *: (((fun h : R => f (h *: v + theta)) \o shift 0) (h *: 1) - f (0 *: v + theta))).
  by apply/funext => h; rewrite /= addr0 line0 [h *: 1]mulr1.
by split=> -[der val]; split; rewrite /derivable /derive ?eq // -?eq.
Qed.

Lemma is_derive_comp (h : R -> R) g theta v (a b : R) :
  is_derive (g theta) 1 h a -> is_derive theta v g b -> is_derive theta v (h \o g) (a * b).
Proof.
move=> dh /is_derive_line dg; apply/is_derive_line; apply: is_derive1_comp => //.
by rewrite line0.
Qed.

Lemma is_derive_cvg f theta v (d : R) :
  is_derive theta v f d <-> (fun h : R => h^-1 *: (f (h *: v + theta) - f theta)) @ (0 : R)^' --> d.
Proof.
split=> [[der <-]|lim_d]; first exact: der.
by split; [apply/cvg_ex; exists d|apply: cvg_lim].
Qed.

(** Functions that agree near a point, along a line, have the same derivative there. *)
Lemma is_derive_near f g theta v (d : R) :
  (\forall h \near (0 : R), f (h *: v + theta) = g (h *: v + theta)) -> is_derive theta v g d -> is_derive theta v f d.
Proof.
move=> eq_fg /is_derive_cvg lim_d; apply/is_derive_cvg; apply: cvg_trans lim_d; apply: near_eq_cvg.
have eq_theta : f theta = g theta by have := nbhs_singleton eq_fg; rewrite line0.
by rewrite near_withinE; near=> h => _; rewrite eq_theta (near eq_fg h).
Unshelve. all: by end_near. Qed.

Lemma is_derive_continuous f theta v (d : R) :
  is_derive theta v f d -> (fun h : R => f (h *: v + theta)) @ (0 : R) --> f theta.
Proof.
case=> /derivable1P /derivable1_diffP /differentiable_continuous cont _.
by move: cont; rewrite /prop_for /= line0.
Qed.

Lemma is_derive_sums (I : Type) (s : seq I) (f : I -> T -> R) theta v (d : I -> R) :
  (forall i, is_derive theta v (f i) (d i)) ->
  is_derive theta v (fun th => \sum_(i <- s) f i th) (\sum_(i <- s) d i).
Proof.
move=> df; elim: s => [|i s IH].
  rewrite big_nil; have -> : (fun th => \sum_(i <- [::]) f i th) = cst 0 by apply/funext => th; rewrite big_nil.
  exact: is_derive_cst.
have -> : (fun th => \sum_(j <- i :: s) f j th) = f i + (fun th => \sum_(j <- s) f j th).
  by apply/funext => th; rewrite big_cons.
by rewrite big_cons; apply: is_deriveD.
Qed.

Lemma is_derive_scale (c : R) f theta v (d : R) : is_derive theta v f d -> is_derive theta v (fun th => c * f th) (c * d).
Proof. by move=> df; apply: (is_deriveZ c). Qed.

Lemma is_derive_product f g theta v (df dg : R) : is_derive theta v f df -> is_derive theta v g dg ->
  is_derive theta v (fun th => f th * g th) (df * g theta + f theta * dg).
Proof.
move=> f' g'; apply: (is_derive_eq (is_deriveM f' g')).
by rewrite addrC [g theta *: df]mulrC.
Qed.
End Calculus.

(** A policy that moves with its parameters [theta], and its derivative along the direction [v]. *)
Section Policies.
Variables (R : realType) (T : normedModType R) (V : finType) (eos : V) (H : nat).
Implicit Types (pi : T -> policy R V) (theta v : T).

Definition derivative_along pi theta v (dpi : variation (pi theta)) : Prop :=
  forall s a, is_derive theta v (fun th => pi th s a) (dpi s a).

(** Every differentiable policy has one. *)
Lemma derivative_exists pi theta v :
  (forall s a, derivable (fun th => pi th s a) theta v) -> (forall s a, 0 < pi theta s a) ->
  exists dpi : variation (pi theta), derivative_along v dpi.
Proof.
move=> der pos; pose d s a := 'D_v (fun th => pi th s a) theta.
have dP s a : is_derive theta v (fun th => pi th s a) (d s a) by apply: derivableP.
have sum0 s : \sum_a d s a = 0.
  have [_ <-] := is_derive_sums (index_enum V) (dP s).
  have -> : (fun th => \sum_a pi th s a) = cst 1 by apply/funext => th; rewrite token_prob_sum.
  by apply: derive_val.
have eq0 s a : pi theta s a = 0 -> d s a = 0 by move=> z; have := pos s a; rewrite z ltxx.
by exists (Variation sum0 eq0).
Qed.

Lemma derivative_prob pi theta v (dpi : variation (pi theta)) y : derivative_along v dpi ->
  is_derive theta v (fun th => prob eos (pi th) y) (dprob eos dpi y).
Proof.
elim: y pi dpi => [|a y IH] pi dpi dP.
  rewrite /dprob score_nil mulr0.
  have -> : (fun th => prob eos (pi th) [::]) = cst 1 by apply/funext => th; rewrite prob_nil.
  exact: is_derive_cst.
have -> : (fun th => prob eos (pi th) (a :: y)) = (fun th => pi th [::] a * prob eos (after (pi th) a) y).
  by apply/funext => th; rewrite prob_cons.
rewrite dprob_cons; apply: is_derive_product => //.
by apply: (IH (fun th => after (pi th) a) (dafter dpi a)) => s b; apply: dP.
Qed.

(** So the mean of anything over responses has the derivative that the algebra gives it. *)
Lemma derivative_mean pi theta v (dpi : variation (pi theta)) (f : response eos H -> R) : derivative_along v dpi ->
  is_derive theta v (fun th => mean_response (pi th) f) (dmean_response dpi f).
Proof.
move=> dP; apply: is_derive_sums => /= y.
have -> : (fun th => prob eos (pi th) y * f y) = (fun th => f y * prob eos (pi th) y).
  by apply/funext => th; rewrite mulrC.
by rewrite mulrC; apply/is_derive_scale/derivative_prob.
Qed.

Lemma derivative_success pi theta v (dpi : variation (pi theta)) (r : response eos H -> bool) :
  derivative_along v dpi -> is_derive theta v (fun th => success (pi th) r) (dsuccess dpi r).
Proof. exact: derivative_mean. Qed.

(** The derivative of the logarithm of a token's probability is its score. *)
Lemma derivative_log pi theta v (dpi : variation (pi theta)) y t : derivative_along v dpi ->
  0 < pi theta (before y t) (token eos y t) ->
  is_derive theta v (fun th => ln (pi th (before y t) (token eos y t))) (token_score eos dpi y t).
Proof.
move=> dP pos; rewrite /token_score mulrC.
exact: (is_derive_comp (is_derive1_ln pos) (dP _ _)).
Qed.
End Policies.
