(** The tactics [field_of] and [ring_of] settle identities of a real closed field with Coq's own [field] and [ring]:
    they rewrite the operations of MathComp's hierarchy as plain functions first. They add nothing to what is trusted:
    the kernel checks the term that they find. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Coq Require Export Field.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Definition plain (F : rcfType) : Type := F.
Section Plain.
Variable F : rcfType.
Definition fzero : plain F := (0 : F).
Definition fone : plain F := (1 : F).
Definition fadd (x y : plain F) : plain F := (x : F) + (y : F).
Definition fmul (x y : plain F) : plain F := (x : F) * (y : F).
Definition fopp (x : plain F) : plain F := - (x : F).
Definition fsub (x y : plain F) : plain F := (x : F) - (y : F).
Definition finv (x : plain F) : plain F := (x : F)^-1.
Definition fdiv (x y : plain F) : plain F := (x : F) / (y : F).

Lemma plain_field : field_theory fzero fone fadd fmul fsub fopp fdiv finv eq.
Proof.
split; [split|exact/eqP/oner_neq0|by []|by move=> x /eqP; apply: mulVf].
- exact: add0r.
- exact: addrC.
- exact: addrA.
- exact: mul1r.
- exact: mulrC.
- exact: mulrA.
- exact: mulrDl.
- by [].
- exact: subrr.
Qed.
End Plain.

Ltac plainly F e :=
  lazymatch e with
  | GRing.zero _ => constr:(fzero F)
  | GRing.one _ => constr:(fone F)
  | GRing.add ?x ?y => let x' := plainly F x in let y' := plainly F y in constr:(fadd x' y')
  | GRing.mul ?x ?y => let x' := plainly F x in let y' := plainly F y in constr:(fmul x' y')
  | GRing.opp ?x => let x' := plainly F x in constr:(fopp x')
  | GRing.inv ?x => let x' := plainly F x in constr:(finv x')
  | GRing.exp ?x 0 => constr:(fone F)
  | GRing.exp ?x 1 => plainly F x
  | GRing.exp ?x (S (S ?n)) => let x' := plainly F x in let y' := plainly F (GRing.exp x (S n)) in constr:(fmul x' y')
  | GRing.natmul ?x 0 => constr:(fzero F)
  | GRing.natmul ?x 1 => plainly F x
  | GRing.natmul ?x (S (S ?n)) => let x' := plainly F x in let y' := plainly F (GRing.natmul x (S n)) in constr:(fadd x' y')
  | _ => constr:(e : plain F)
  end.

Ltac plain_goal F :=
  lazymatch goal with
  | |- @eq _ ?x ?y => let x' := plainly F x in let y' := plainly F y in change (@eq (plain F) x' y')
  end.

Lemma plain_neq0 (F : rcfType) (x : F) : x != 0 -> (x : plain F) <> fzero F.
Proof. by move=> /eqP. Qed.

Lemma plain_2_neq0 (F : rcfType) : fadd (fone F) (fone F) <> fzero F.
Proof. by apply/eqP; have := pnatr_eq0 F 2; rewrite mulr2n => ->. Qed.

(** In a section over [F], after [Add Field F_field : (plain_field F).] *)
Tactic Notation "ring_of" constr(F) := plain_goal F; ring.
Tactic Notation "field_of" constr(F) :=
  plain_goal F; field; repeat split; first [exact: plain_2_neq0 | apply: plain_neq0; rewrite ?pnatr_eq0 //].
