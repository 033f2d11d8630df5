(** The probabilities of the complete responses sum to 1, and their derivatives to 0: the tokens' policy is a
    distribution over whole responses, whatever the policy. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import definitions.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Enumeration.
Variables (V : finType) (eos : V).

Fixpoint responses (n : nat) : seq (seq V) :=
  if n is m.+1 then
    flatten [seq if a == eos then [:: [:: a]] else [seq a :: y | y <- responses m] | a <- enum V]
  else [:: [::]].

Lemma mem_responses n y : (y \in responses n) = complete eos n y.
Proof.
elim: n y => [|n IH] [|a y] //=.
  by apply/flattenP => -[s /mapP[b _ ->]]; case: ifP => // _ /mapP[].
apply/flattenP/idP.
  case=> s /mapP[b _ ->]; case: ifP => [/eqP->|neq].
    by rewrite inE => /eqP[-> ->]; rewrite !eqxx.
  by case/mapP=> z; rewrite IH => zP [-> ->]; rewrite neq.
move=> yP; exists (if a == eos then [:: [:: a]] else [seq a :: y | y <- responses n]).
  by apply/mapP; exists a; rewrite ?mem_enum.
case: ifP yP => [_ /eqP->|_ yP]; first by rewrite mem_head.
by apply/mapP; exists y; rewrite ?IH.
Qed.

Lemma uniq_responses n : uniq (responses n).
Proof.
elim: n => //= n IH; have := enum_uniq V; elim: (enum V) => //= a s IHs /andP[a_s /IHs s_u].
rewrite cat_uniq s_u andbT; apply/andP; split.
  by case: ifP => // _; rewrite map_inj_uniq // => x y [].
apply/hasPn => y /flattenP[z /mapP[b b_s ->]] y_z; apply: contra a_s => y_a.
suff -> : a = b by [].
have head : forall c, y \in (if c == eos then [:: [:: c]] else [seq c :: x | x <- responses n]) -> ohead y = Some c.
  by move=> c; case: ifP => _; [rewrite inE => /eqP->|case/mapP=> x _ ->].
by have := head _ y_a; rewrite (head _ y_z) => -[].
Qed.

Lemma complete_size n y : complete eos n y -> (size y <= n)%N.
Proof. by elim: n y => [|n IH] [|a y] //=; case: ifP => [_ /eqP->|_ /IH]. Qed.

Lemma complete_nonempty n y : (0 < n)%N -> complete eos n y -> (0 < size y)%N.
Proof. by case: n => // n _; case: y. Qed.

Lemma complete_take n y m : complete eos n y -> (0 < m <= size y)%N -> complete eos n (take m y) = (m == size y).
Proof.
elim: n y m => [|n IH] [|a y] [|m] //= complete_y; rewrite ltnS eqSS => m_y.
case: (a == eos) complete_y m_y => [/eqP->|complete_y m_y]; first by case: m.
case: m m_y => [_|m m_y]; last exact: IH.
by case: n IH complete_y => [|n] IH; case: y.
Qed.

Definition response_of H y (y_complete : complete eos H y) : response eos H :=
  exist _ (Bseq (complete_size y_complete)) y_complete.

Lemma sum_responses H (R : zmodType) (f : seq V -> R) :
  \sum_(y : response eos H) f y = \sum_(y <- responses H) f y.
Proof.
rewrite -(big_map (@tokens V eos H) xpredT) /=; apply/perm_big/uniq_perm.
- by rewrite map_inj_uniq ?index_enum_uniq //; apply: inj_comp; apply: val_inj.
- exact: uniq_responses.
move=> y; rewrite mem_responses; apply/mapP/idP => [[z _ ->]|yP]; first exact: (valP z).
by exists (response_of yP); rewrite ?mem_index_enum.
Qed.

Lemma sum_responses_cons (R : zmodType) n (f : seq V -> R) :
  \sum_(y <- responses n.+1) f y =
  \sum_a if a == eos then f [:: a] else \sum_(y <- responses n) f (a :: y).
Proof.
rewrite big_flatten big_map big_enum; apply: eq_bigr => a _.
by case: ifP => _; rewrite ?big_seq1 // big_map.
Qed.

End Enumeration.

Section Distribution.
Variables (F : rcfType) (V : finType) (eos : V).
Implicit Type pi : policy F V.

(** The policy after a first token, and its variation. *)
Definition after pi (a : V) : policy F V :=
  @Policy F V (fun s => pi (a :: s)) (fun s => token_prob_ge0 pi (a :: s)) (fun s => token_prob_sum pi (a :: s)).
Definition dafter pi (dpi : variation pi) (a : V) : variation (after pi a) :=
  @Variation F V (after pi a) (fun s => dpi (a :: s)) (fun s => dtoken_prob_sum dpi (a :: s))
    (fun s b => @dtoken_prob_eq0 F V pi dpi (a :: s) b).

Lemma prob_nil pi : prob eos pi [::] = 1.
Proof. exact: big_ord0. Qed.

Lemma prob_cons pi a y : prob eos pi (a :: y) = pi [::] a * prob eos (after pi a) y.
Proof. by rewrite /prob big_ord_recl. Qed.

Lemma score_nil pi (dpi : variation pi) : score eos dpi [::] = 0.
Proof. exact: big_ord0. Qed.

Lemma score_cons pi (dpi : variation pi) a y :
  score eos dpi (a :: y) = dpi [::] a / pi [::] a + score eos (dafter dpi a) y.
Proof. by rewrite /score big_ord_recl. Qed.

Lemma prob_ge0 pi y : 0 <= prob eos pi y.
Proof. by apply: prodr_ge0 => t _; apply: token_prob_ge0. Qed.

(** Where a token has probability 0 its derivative vanishes, so dividing and multiplying by it loses nothing. *)
Lemma dtoken_probK pi (dpi : variation pi) s a : pi s a * (dpi s a / pi s a) = dpi s a.
Proof.
have [z|nz] := eqVneq (pi s a) 0; first by rewrite z mul0r dtoken_prob_eq0.
by rewrite mulrC mulfVK.
Qed.

Lemma dprob_cons pi (dpi : variation pi) a y :
  dprob eos dpi (a :: y) = dpi [::] a * prob eos (after pi a) y + pi [::] a * dprob eos (dafter dpi a) y.
Proof.
rewrite /dprob prob_cons score_cons mulrDr; congr (_ + _); last by rewrite mulrA.
by rewrite mulrAC dtoken_probK.
Qed.

Lemma sum_prob_responses pi n : \sum_(y <- responses eos n) prob eos pi y = 1.
Proof.
elim: n pi => [|n IH] pi; first by rewrite /= big_seq1 prob_nil.
rewrite sum_responses_cons -[RHS](token_prob_sum pi [::]); apply: eq_bigr => a _; case: ifP => _.
  by rewrite prob_cons prob_nil mulr1.
by under eq_bigr do rewrite prob_cons; rewrite -mulr_sumr IH mulr1.
Qed.

Lemma sum_dprob_responses pi (dpi : variation pi) n : \sum_(y <- responses eos n) dprob eos dpi y = 0.
Proof.
elim: n pi dpi => [|n IH] pi dpi; first by rewrite /= big_seq1 /dprob score_nil mulr0.
rewrite sum_responses_cons -[RHS](dtoken_prob_sum dpi [::]); apply: eq_bigr => a _; case: ifP => _.
  by rewrite dprob_cons prob_nil mulr1 /dprob score_nil !mulr0 addr0.
under eq_bigr do rewrite dprob_cons.
by rewrite big_split /= -!mulr_sumr IH sum_prob_responses mulr0 mulr1 addr0.
Qed.

Variable H : nat.

Theorem sum_prob pi : \sum_(y : response eos H) prob eos pi y = 1.
Proof. by rewrite (sum_responses eos H (prob eos pi)) sum_prob_responses. Qed.

Theorem sum_dprob pi (dpi : variation pi) : \sum_(y : response eos H) dprob eos dpi y = 0.
Proof. by rewrite (sum_responses eos H (dprob eos dpi)) sum_dprob_responses. Qed.

End Distribution.
