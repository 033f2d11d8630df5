(** Small instances, for the counter-examples: a fair coin for every token, and what moves it after one prefix. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import definitions responses.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Coins.
Variable F : rcfType.

Lemma half_add_half : 2%:R^-1 + 2%:R^-1 = 1 :> F.
Proof. by rewrite -mulr2n -[RHS](@mulVf F 2%:R) ?pnatr_eq0 // mulr_natr. Qed.

Lemma half_neq0 : 2%:R^-1 != 0 :> F. Proof. by rewrite invr_eq0 pnatr_eq0. Qed.
Lemma half_gt0 : 0 < 2%:R^-1 :> F. Proof. by rewrite invr_gt0 ltr0n. Qed.

Lemma coin_sum (s : seq bool) : \sum_(a : bool) (fun=> fun=> 2%:R^-1 : F) s a = 1.
Proof. by rewrite big_bool /= half_add_half. Qed.

(** Two tokens, [true] and [false], each with probability 1/2 after every prefix. *)
Definition coin : policy F [finType of bool] :=
  @Policy F [finType of bool] (fun=> fun=> 2%:R^-1) (fun _ _ => ltW half_gt0) coin_sum.

(** The direction in which [true] gains 1 and [false] loses 1 after the prefix [s0], and nothing moves elsewhere. *)
Definition tilt_at (s0 s : seq bool) (a : bool) : F := if s == s0 then (if a then 1 else - 1) else 0.

Lemma tilt_sum s0 s : \sum_a tilt_at s0 s a = 0.
Proof. by rewrite big_bool /= /tilt_at; case: eqP => _; rewrite ?addr0 ?addrN. Qed.

Lemma tilt_eq0 s0 s a : coin s a = 0 -> tilt_at s0 s a = 0.
Proof. by move/eqP; rewrite (negPf half_neq0). Qed.

(** Its direction. *)
Definition tilt (s0 : seq bool) : variation coin := @Variation F _ coin (tilt_at s0) (tilt_sum s0) (tilt_eq0 s0).

(** The direction in which [true] gains 1 and [false] loses 1 after every prefix: one parameter for all states. *)
Definition tilt_all : variation coin :=
  @Variation F _ coin (fun _ => tilt_at [::] [::]) (fun=> tilt_sum [::] [::]) (fun _ => @tilt_eq0 [::] [::]).

Lemma sum_coins n (f : seq bool -> F) :
  \sum_(y <- responses (true : [finType of bool]) n.+1) f y =
  f [:: true] + \sum_(y <- responses (true : [finType of bool]) n) f (false :: y).
Proof. by rewrite sum_responses_cons big_bool. Qed.

Lemma sum_two_coins (f : seq bool -> F) :
  \sum_(y : response (true : [finType of bool]) 2) f y = f [:: true] + (f [:: false; true] + f [:: false; false]).
Proof. by rewrite (sum_responses (true : [finType of bool]) 2 f) !sum_coins big_seq1. Qed.

End Coins.

Lemma sum_one_token (F : rcfType) (V : finType) (eos : V) (f : seq V -> F) :
  \sum_(y : response eos 1) f y = \sum_a f [:: a].
Proof.
rewrite (sum_responses eos 1 f) sum_responses_cons; apply: eq_bigr => a _.
by case: ifP => // _; rewrite big_seq1.
Qed.
