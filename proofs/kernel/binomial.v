(** The binomial law: it sums to 1, and what a member's own success or failure does to it. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Binomial.
Variables (F : rcfType) (n : nat).
Add Field F_field : (plain_field F).
Local Notation G := n.+1.
Implicit Type p : F.
Let G_neq0 : G%:R != 0 :> F. Proof. by rewrite pnatr_eq0. Qed.

Lemma sum_binomial (m : nat) p : \sum_(k < m.+1) binomial_law m p k = 1.
Proof.
rewrite -[RHS](expr1n F m) -[X in X ^+ m](subrK p 1) exprDn; apply: eq_bigr => k _.
by rewrite /binomial_law mulrC.
Qed.

Lemma binomial_lawE m p k : binomial_law m p k = 'C(m, k)%:R * (p ^+ k * (1 - p) ^+ (m - k)).
Proof. by rewrite mulr_natl. Qed.

(** Of the outcomes with k + 1 right ones, a member is right in a share of (k + 1)/G. *)
Lemma binomial_law_right p k : G%:R * (p * binomial_law n p k) = k.+1%:R * binomial_law G p k.+1.
Proof.
have : G%:R * 'C(n, k)%:R = k.+1%:R * 'C(G, k.+1)%:R :> F by rewrite -!natrM mul_bin_diag.
rewrite !binomial_lawE subSS exprS.
move: ('C(n, k)%:R : F) ('C(G, k.+1)%:R : F) (k.+1%:R : F) (G%:R : F) => c c' k' g eq_c.
move: (p ^+ k) ((1 - p) ^+ (n - k)) => x y; transitivity (g * c * (p * (x * y))); first by ring_of F.
by rewrite eq_c; ring_of F.
Qed.

(** Of the outcomes with k right ones, a member is wrong in a share of (G − k)/G. *)
Lemma binomial_law_wrong p k : (k < G)%N ->
  G%:R * ((1 - p) * binomial_law n p k) = (G - k)%:R * binomial_law G p k.
Proof.
move=> lt_k; have : G%:R * 'C(n, k)%:R = (G - k)%:R * 'C(G, k)%:R :> F by rewrite -!natrM (mul_bin_down G).
have -> : binomial_law G p k = 'C(G, k)%:R * (p ^+ k * ((1 - p) * (1 - p) ^+ (n - k))).
  by rewrite binomial_lawE -exprS -subSn.
rewrite binomial_lawE.
move: ('C(n, k)%:R : F) ('C(G, k)%:R : F) ((G - k)%:R : F) (G%:R : F) => c c' k' g eq_c.
move: (p ^+ k) ((1 - p) ^+ (n - k)) => x y; transitivity (g * c * ((1 - p) * (x * y))); first by ring_of F.
by rewrite eq_c; ring_of F.
Qed.

Lemma binomial_law_shift (f : nat -> F) p :
  \sum_(k < G) binomial_law G p k.+1 * f k.+1 = \sum_(k < G.+1) binomial_law G p k * f k - binomial_law G p 0 * f 0%N.
Proof. by rewrite [in RHS]big_ord_recl /= addrC addKr. Qed.

Lemma right_sum (f : nat -> F) p :
  p * (\sum_(k < G) binomial_law n p k * (G%:R / k.+1%:R * f k.+1)) =
  \sum_(k < G) binomial_law G p k.+1 * f k.+1.
Proof.
rewrite mulr_sumr; apply: eq_bigr => k _; have k_neq0 : k.+1%:R != 0 :> F by rewrite pnatr_eq0.
apply: (mulfI k_neq0); rewrite [RHS]mulrA -binomial_law_right.
move: k_neq0; move: (k.+1%:R : F) (binomial_law _ _ _) (f _) (G%:R : F) => k' b x g k_neq0.
by field_of F.
Qed.

Lemma success_count_zero p : binomial_law G p 0 = (1 - p) ^+ G.
Proof. by rewrite /binomial_law subn0 bin0 mulr1n mul1r. Qed.
End Binomial.

Arguments binomial_law_right {F n} p k.
Arguments binomial_law_wrong {F n} p [k].
Arguments binomial_law_shift {F n} f p.
Arguments right_sum {F n} f p.
Arguments success_count_zero {F n} p.
