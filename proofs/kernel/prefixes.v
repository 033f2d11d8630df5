(** Sums over responses, seen from a prefix: which responses begin with it, how likely that is, and what the process
    is worth from there on. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import definitions responses.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Weighted.
Variables (F : rcfType) (V : finType) (eos : V).
Implicit Types (pi : policy F V) (y s : seq V).

(** The scores of a response's tokens, each with a weight. *)
Definition weighted_score pi (dpi : variation pi) (w : seq V -> nat -> F) y : F :=
  \sum_(t < size y) w y t * token_score eos dpi y t.

Lemma baseline_responses pi (dpi : variation pi) (b : seq V -> F) n :
  \sum_(y <- responses eos n) prob eos pi y * weighted_score dpi (fun y t => b (before y t)) y = 0.
Proof.
elim: n pi dpi b => [|n IH] pi dpi b; first by rewrite /= big_seq1 /weighted_score big_ord0 mulr0.
transitivity (\sum_a b [::] * dpi [::] a); last by rewrite -mulr_sumr dtoken_prob_sum mulr0.
rewrite sum_responses_cons; apply: eq_bigr => a _; rewrite -(dtoken_probK dpi) [RHS]mulrCA; case: ifP => _.
  by rewrite prob_cons prob_nil mulr1 /weighted_score big_ord1.
under eq_bigr do rewrite prob_cons -mulrA.
rewrite -[LHS]mulr_sumr; congr (_ * _); rewrite -[RHS]addr0 -[X in _ = _ + X](IH _ (dafter dpi a) (fun s => b (a :: s))).
rewrite -[X in _ = X + _]mul1r -[X in _ = X * _ + _](sum_prob_responses eos (after pi a) n) mulr_suml -big_split /=.
apply: eq_bigr => y _; rewrite -mulrDr; congr (_ * _).
by rewrite /weighted_score /= big_ord_recl.
Qed.

Variable H : nat.

(** A baseline: an amount that is settled before a token is sampled changes no expected gradient. *)
Lemma baseline pi (dpi : variation pi) (b : seq V -> F) :
  mean_response pi (fun y : response eos H => weighted_score dpi (fun y t => b (before y t)) y) = 0.
Proof.
rewrite /mean_response.
by rewrite (sum_responses eos H (fun y => prob eos pi y * weighted_score dpi (fun y t => b (before y t)) y)) baseline_responses.
Qed.

End Weighted.
