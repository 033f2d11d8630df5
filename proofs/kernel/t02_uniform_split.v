(** T2: a reward that is paid in equal shares to the tokens changes nothing if each token is credited with the total,
    and biases the gradient if each is credited with what is paid from it on. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions responses prefixes instances.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Split.
Variables (F : rcfType) (V : finType) (eos : V) (H : nat).
Implicit Types (pi : policy F V) (r : seq V -> F) (b : seq V -> F) (y : seq V) (gamma : F) (t : nat).

(** Every token of [y] is paid the share r(y)/L. *)
Definition token_share r y : F := r y / (size y)%:R.

(** What the response is paid in all, at discount [gamma], and what it is paid from token [t] on. *)
Definition total_return gamma r y : F := \sum_(u < size y) gamma ^+ u * token_share r y.
Definition shares_to_go r y t : F := \sum_(t <= u < size y) token_share r y.

Lemma total_returnE r y : (0 < size y)%N -> total_return 1 r y = r y.
Proof.
move=> y_gt0; rewrite /total_return.
under eq_bigr do rewrite expr1n mul1r.
by rewrite sumr_const card_ord -[LHS]mulr_natr mulfVK // pnatr_eq0 -lt0n.
Qed.

(** T2. If every token is credited with the total return, the gradient of every sample is that of the terminal reward:
    reward times score. *)
Theorem t2_total_return pi (dpi : variation pi) r y : (0 < size y)%N ->
  weighted_score eos dpi (fun y _ => total_return 1 r y) y = r y * score eos dpi y.
Proof. by move=> y_gt0; rewrite /weighted_score /score mulr_sumr; apply: eq_bigr => t _; rewrite total_returnE. Qed.

(** T2. So is the expected gradient. *)
Theorem t2_total_return_expected pi (dpi : variation pi) r : (0 < H)%N ->
  mean_response pi (fun y : response eos H => weighted_score eos dpi (fun y _ => total_return 1 r y) y) =
  dmean_response dpi (fun y : response eos H => r y).
Proof.
move=> H_gt0; apply: eq_bigr => y _; rewrite t2_total_return; last exact: complete_nonempty (valP y).
by rewrite /dprob mulrCA mulrC.
Qed.

(** T2. If each token is credited with what is paid from it on, token [t] of L (counted from 0) gets the share
    (L − t)/L of the reward. *)
Theorem t2_reward_to_go r y t : shares_to_go r y t = (size y - t)%:R / (size y)%:R * r y.
Proof. by rewrite /shares_to_go sumr_const_nat /token_share -[LHS]mulr_natl mulrA mulrAC. Qed.

(** T2. What is left out then, t/L of the reward, is no baseline: a baseline is settled before the token is sampled,
    and changes no expected gradient, … *)
Theorem t2_baseline pi (dpi : variation pi) b :
  mean_response pi (fun y : response eos H => weighted_score eos dpi (fun y t => b (before y t)) y) = 0.
Proof. exact: baseline. Qed.

(** T2. … and this changes it by the mean of (t/L) r times the score of token [t]. *)
Theorem t2_bias pi (dpi : variation pi) r : (0 < H)%N ->
  mean_response pi (fun y : response eos H => weighted_score eos dpi (shares_to_go r) y) =
  dmean_response dpi (fun y : response eos H => r y) -
  mean_response pi (fun y : response eos H => weighted_score eos dpi (fun y t => t%:R / (size y)%:R * r y) y).
Proof.
move=> H_gt0; rewrite -(t2_total_return_expected dpi r H_gt0) /mean_response -sumrB; apply: eq_bigr => y _.
rewrite -mulrBr /weighted_score -sumrB; congr (_ * _); apply: eq_bigr => t _.
have y_gt0 := complete_nonempty H_gt0 (valP y).
rewrite -mulrBl t2_reward_to_go total_returnE // natrB 1?ltnW // mulrBl divff ?pnatr_eq0 -?lt0n //.
by rewrite mulrBl mul1r.
Qed.

End Split.

Section Counterexamples.
Variable F : rcfType.

(** T2 without "each token is credited with the total": with what is paid from it on, the expected gradient is another
    one. (A fair coin for each of two tokens; [true] ends a response; "false, false" is right.) *)
Theorem t2_without_total_return : exists (dpi : variation (coin F)) (r : seq bool -> F),
  mean_response (coin F) (fun y : response (true : [finType of bool]) 2 => weighted_score true dpi (shares_to_go r) y)
    !=
  dmean_response dpi (fun y : response (true : [finType of bool]) 2 => r y).
Proof.
exists (tilt F [:: false]), (fun y => (y == [:: false; false])%:R).
rewrite t2_bias // -subr_eq0 addrAC subrr add0r oppr_eq0 /mean_response.
rewrite (sum_two_coins (fun y => prob true (coin F) y * weighted_score true (tilt F [:: false]) _ y)).
rewrite /weighted_score /= !big_ord_recl !big_ord0 /token_score !prob_cons !prob_nil /= /tilt_at /=.
rewrite !(mul0r, mulr0, addr0, add0r, mulr1, mul1r) /bump /= !mulf_neq0 ?half_neq0 ?oppr_eq0 ?oner_neq0 //.
by rewrite invr_neq0 ?half_neq0.
Qed.

(** T2 without "no discount": at γ ≠ 1 the shares do not add up to the reward, and the gradient of a sample changes. *)
Theorem t2_without_undiscounted (gamma : F) : gamma != 1 ->
  exists (dpi : variation (coin F)) (r : seq bool -> F) (y : seq bool), complete true 2 y /\
  weighted_score true dpi (fun y _ => total_return gamma r y) y != r y * score true dpi y.
Proof.
move=> gamma_neq1; exists (tilt F [::]), (fun=> 1), [:: false; false]; split=> //.
rewrite /weighted_score /score /total_return /token_share /= !big_ord_recl !big_ord0 /token_score /= /tilt_at /=.
rewrite !(mul0r, mulr0, addr0, add0r, mulr1, mul1r) -subr_eq0 -[X in _ - X]mul1r -mulrBl.
rewrite mulf_neq0 ?mulf_neq0 ?oppr_eq0 ?oner_neq0 ?invr_neq0 ?pnatr_eq0 // -[X in _ - X](half_add_half F).
by rewrite expr1 opprD addrACA subrr add0r -[X in _ - X]mul1r -mulrBl mulf_neq0 ?subr_eq0 ?half_neq0.
Qed.

End Counterexamples.
