(** T6: the functions of the success probability that the rules climb, at every group size. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions t04_binary_advantages t05_one_direction.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

(** Open: that GRPO's function tends to 2 arcsin √p as the group grows, and the curl that 1/L brings. *)

Section Objective.
Variables (F : rcfType) (n : nat).
Local Notation G := n.+1.
Implicit Type p : F.

(** P(K = k) for K binomial of m trials, as a polynomial in p; and P(K > k). *)
Definition binomial_poly (m k : nat) : {poly F} := ('X ^+ k * (1 - 'X) ^+ (m - k)) *+ 'C(m, k).
Definition tail_poly (m k : nat) : {poly F} := \sum_(k.+1 <= j < m.+1) binomial_poly m j.

Lemma horner_binomial m k p : (binomial_poly m k).[p] = binomial_law m p k.
Proof. by rewrite /binomial_poly /binomial_law hornerMn hornerM !horner_exp hornerX hornerD hornerN hornerX hornerC.
  Qed.

Lemma deriv_binomial k : (k < G)%N ->
  (binomial_poly G k.+1)^`() = - ((binomial_poly n k.+1 - binomial_poly n k) *+ G).
Proof.
rewrite ltnS => k_n; rewrite /binomial_poly derivMn derivM derivXn deriv_exp derivB derivC derivX sub0r mulN1r subSS /=.
rewrite mulrnAl mulrnAr mulrN mulNrn [in RHS]subnS !mulrnBl opprB -!mulrnA.
by rewrite -(mul_bin_diag G k) -subSS -(mul_bin_down G k.+1) /= (mulnC 'C(n, k)) (mulnC 'C(n, k.+1)).
Qed.

Lemma deriv_tail k : (k <= n)%N -> (tail_poly G k)^`() = binomial_poly n k *+ G.
Proof.
move=> k_n; rewrite /tail_poly (big_morph _ (@derivD F) (@deriv0 F)) big_add1 /=.
rewrite big_nat (eq_bigr (fun j => - ((binomial_poly n j.+1 - binomial_poly n j) *+ G))) => [|j /andP[_ j_G]];
  last first.
  exact: deriv_binomial.
rewrite -big_nat sumrN sumrMnl telescope_sumr 1?leqW // -mulNrn opprB.
by rewrite [binomial_poly n G]/binomial_poly bin_small // mulr0n subr0.
Qed.

(** If a rule gives [a1 k] to a right and [a0 k] to a wrong member of a group with [k] right ones, it climbs
    Φ(p) = (1/G) Σ_k (a1(k+1) − a0(k)) P(K > k), with K binomial, of G trials. *)
Definition climbed (a1 a0 : nat -> F) : {poly F} := \sum_(k < G) ((a1 k.+1 - a0 k) / G%:R) *: tail_poly G k.

(** T6. The slope of this polynomial in p is c(p): for every rule that counts, at every group size. *)
Theorem t6_climbed (a1 a0 : nat -> F) (A : outcome_rule F G) p :
  (forall b i, A b i = if b i then a1 (right b) else a0 (right b)) -> (climbed a1 a0)^`().[p] = scalar A p.
Proof.
move=> /t5_counting ->; rewrite /climbed (big_morph _ (@derivD F) (@deriv0 F)) horner_sum; apply: eq_bigr => k _.
rewrite derivZ deriv_tail; last by rewrite -ltnS.
by rewrite hornerZ hornerMn horner_binomial mulrC -[_ *+ G]mulr_natr -mulrA; congr (_ * _);
  rewrite mulrC divfK ?pnatr_eq0.
Qed.

(** T6. So, on its own samples and without 1/L, the expected gradient of such a rule is that of Φ(p), Φ'(p) ∇p. *)
Theorem t6_gradient (V : finType) (eos : V) (H : nat) (pi : policy F V) (dpi : variation pi)
    (r : response eos H -> bool) (a1 a0 : nat -> F) (A : outcome_rule F G) :
  (forall b i, A b i = if b i then a1 (right b) else a0 (right b)) ->
  expected_gradient dpi (fun g i t => A (outcomes r g) i) = (climbed a1 a0)^`().[success pi r] * dsuccess dpi r.
Proof. by move=> AE; rewrite t5_one_direction (t6_climbed _ AE). Qed.

(** T6, REINFORCE climbs p itself. *)
Theorem t6_reinforce p : ('X : {poly F})^`().[p] = scalar (@reinforce F G) p.
Proof. by rewrite derivX hornerC t5_reinforce. Qed.

(** T6, so does RLOO. *)
Theorem t6_rloo p : (1 < G)%N -> ('X : {poly F})^`().[p] = scalar (@rloo F G) p.
Proof. by move=> G_gt1; rewrite derivX hornerC t5_rloo. Qed.

(** T6, Dr. GRPO climbs (G−1)/G p. *)
Theorem t6_dr_grpo p : (n%:R / G%:R *: 'X : {poly F})^`().[p] = scalar (@dr_grpo F G) p.
Proof. by rewrite derivZ derivX hornerZ hornerC mulr1 t5_dr_grpo. Qed.

(** T6, GRPO climbs the function above with its two advantages, √((1−p̂)/p̂) at p̂ = k/G and −√(p̂/(1−p̂)). *)
Theorem t6_grpo p :
  (climbed (fun k => Num.sqrt ((1 - k%:R / G%:R) / (k%:R / G%:R)))
           (fun k => - Num.sqrt ((k%:R / G%:R) / (1 - k%:R / G%:R))))^`().[p] = scalar (@grpo F G 0) p.
Proof. by apply: t6_climbed => b i; rewrite t4_advantages. Qed.
End Objective.

Section ClosedForms.
Variables (F : rcfType) (n : nat).
Local Notation G := n.+1.
Implicit Type p : F.

Definition f_isft_poly (alpha : F) : {poly F} :=
  (1 - alpha) *: ('X - G%:R^-1 *: 'X ^+ G) + alpha *: ('X + G%:R^-1 *: (1 - 'X) ^+ G).

(** T6, F-ISFT in the advantage form climbs (1 − α)(p − p^G/G) + α(p + (1−p)^G/G). *)
Theorem t6_f_isft (alpha p : F) : (f_isft_poly alpha)^`().[p] = scalar (@f_isft F G alpha) p.
Proof.
rewrite t5_f_isft /f_isft_poly derivD !derivZ derivB derivD !derivZ derivXn deriv_exp derivB derivC derivX sub0r mulN1r /=.
rewrite mulNrn scalerN -scaler_nat -[(1 - 'X) ^+ n *+ G]scaler_nat !scalerA mulVf ?pnatr_eq0 // !scale1r.
by rewrite !hornerE !horner_exp !hornerE.
Qed.

(** T6. For every k the chance of at least k + 1 right ones of G moves with p by G times that of k right ones of G − 1:
    GRPO's function is a sum of such chances. *)
Theorem t6_tail k p : (k <= n)%N -> (tail_poly F G k)^`().[p] = G%:R * binomial_law n p k.
Proof. by move=> k_n; rewrite deriv_tail // hornerMn horner_binomial mulr_natl. Qed.

(** log p = log (1 − (1−p)) cut after its term of order m: −Σ_{j=1..m} (1−p)^j/j, a polynomial in p. *)
Definition truncated_log (m : nat) : {poly F} := - \sum_(j < m) j.+1%:R^-1 *: (1 - 'X) ^+ j.+1.

Lemma deriv_truncated_log m : (truncated_log m)^`() = \sum_(j < m) (1 - 'X) ^+ j.
Proof.
rewrite /truncated_log derivN (big_morph _ (@derivD F) (@deriv0 F)) -sumrN; apply: eq_bigr => j _.
rewrite derivZ deriv_exp derivB derivC derivX sub0r mulN1r mulNrn scalerN opprK -scaler_nat scalerA.
by rewrite mulVf ?pnatr_eq0 // scale1r.
Qed.

Lemma slope_of_truncated_log m p : p != 0 -> (truncated_log m)^`().[p] = (1 - (1 - p) ^+ m) / p.
Proof.
move=> p_neq0; apply: (mulIf p_neq0); rewrite mulfVK // deriv_truncated_log horner_sum.
under eq_bigr do rewrite horner_exp !hornerE.
by rewrite -[RHS]opprB subrX1 -mulNr opprB subKr mulrC.
Qed.

(** T6, the mean over positives climbs the logarithm of p, truncated at order G, … *)
Theorem t6_mean_over_positives p : p != 0 -> (truncated_log G)^`().[p] = scalar (@mean_over_positives F G) p.
Proof. by move=> p_neq0; rewrite slope_of_truncated_log // t5_mean_over_positives. Qed.

(** T6. … and MaxRL as released that at order G − 1. *)
Theorem t6_maxrl p : p != 0 -> (truncated_log n)^`().[p] = scalar (@maxrl F G) p.
Proof. by move=> p_neq0; rewrite slope_of_truncated_log // t5_maxrl. Qed.
End ClosedForms.
