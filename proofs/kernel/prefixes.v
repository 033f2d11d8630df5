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
rewrite -[LHS]mulr_sumr; congr (_ * _); rewrite -[RHS]addr0 -[X in _ = _ + X](IH _ (dafter dpi a) (fun s => b (a ::
  s))).
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
by rewrite (sum_responses eos H (fun y => prob eos pi y * weighted_score dpi (fun y t => b (before y t)) y))
  baseline_responses.
Qed.

End Weighted.

Section Prefixes.
Variables (F : rcfType) (V : finType) (eos : V).
Implicit Types (pi : policy F V) (y s : seq V) (a : V) (n : nat).

Definition begins s y : bool := take (size s) y == s.

Lemma begins_nil y : begins [::] y. Proof. by rewrite /begins take0. Qed.

Lemma begins_cons a s b y : begins (a :: s) (b :: y) = (b == a) && begins s y.
Proof. by []. Qed.

Lemma begins_rcons s a y : (size s < size y)%N -> begins (rcons s a) y = begins s y && (token eos y (size s) == a).
Proof. by move=> s_y; rewrite /begins size_rcons (take_nth eos) // eqseq_rcons. Qed.

Lemma begins_complete n y z : complete eos n y -> complete eos n z -> begins y z -> z = y.
Proof.
elim: n y z => [|n IH] [|a y] [|b z] //=; rewrite begins_cons => y_n z_n /andP[/eqP ba y_z].
move: z_n y_n; rewrite ba; case: ifP => [_ /eqP-> /eqP-> //|_ z_n y_n].
by congr (_ :: _); apply: IH.
Qed.

(** Where a response can go on: some response of at most [n] tokens begins with [s]. *)
Fixpoint starts n s : bool :=
  match n, s with
  | _, [::] => true
  | m.+1, a :: s' => if a == eos then s' == [::] else starts m s'
  | _, _ => false
  end.

Lemma sum_begins pi n s : starts n s -> \sum_(y <- responses eos n | begins s y) prob eos pi y = prob eos pi s.
Proof.
elim: n pi s => [|n IH] pi [|a s] //= s_n.
- by rewrite big_cons big_nil prob_nil addr0.
- by rewrite prob_nil -(sum_prob_responses eos pi n.+1) (eq_bigl _ _ begins_nil).
rewrite prob_cons big_mkcond (sum_responses_cons _ _ (fun y => if begins (a :: s) y then prob eos pi y else 0)).
rewrite (bigD1 a) //= [X in _ + X]big1 ?addr0 => [|b b_a]; last first.
  case: ifP => _; first by rewrite begins_cons (negPf b_a).
  by rewrite big1 // => y _; rewrite begins_cons (negPf b_a).
case: ifP s_n => _ s_n; first by rewrite (eqP s_n) begins_cons eqxx begins_nil prob_cons.
rewrite -(IH (after pi a)) // mulr_sumr [RHS]big_mkcond; apply: eq_bigr => y _.
by rewrite begins_cons eqxx prob_cons; case: ifP => // _; rewrite mulr0.
Qed.

Variable H : nat.

(** The states in which the policy acts: the horizon is not reached, and nothing has ended the response. *)
Definition acts s : bool := (size s < H)%N && (eos \notin s).

Lemma acts_starts s : acts s -> starts H s /\ forall a, starts H (rcons s a).
Proof.
rewrite /acts => /andP[]; elim: s H => [|b s IH] [|n] //= s_n; first by split=> // a; case: ifP; case: n {s_n}.
rewrite inE negb_or eq_sym => /andP[/negPf-> eos_s].
exact: IH.
Qed.

Lemma acts_before s y : acts s -> complete eos H y -> begins s y -> (size s < size y)%N.
Proof.
rewrite /acts => /andP[]; elim: s y H => [|b s IH] y [|n] //= s_n; first by case: y.
rewrite inE negb_or eq_sym => /andP[/negPf b_eos eos_s]; case: y => [//|a y].
by rewrite begins_cons /= => y_n /andP[/eqP a_b]; rewrite a_b b_eos in y_n; rewrite ltnS; apply: (IH y n).
Qed.

Lemma complete_rcons s a : acts s -> complete eos H (rcons s a) = (a == eos) || ((size s).+1 == H).
Proof.
rewrite /acts => /andP[]; elim: s H => [|b s IH] [|n] //= s_n.
  by case: (a == eos) => //=; case: n {s_n}.
by rewrite inE negb_or eq_sym => /andP[/negPf-> eos_s]; rewrite IH.
Qed.

Lemma acts_rcons s a : acts s -> ~~ complete eos H (rcons s a) -> acts (rcons s a).
Proof.
move=> s_acts; rewrite complete_rcons // negb_or; case/andP: s_acts => s_H eos_s /andP[a_eos s_neq].
by rewrite /acts size_rcons ltn_neqAle s_neq s_H mem_rcons inE negb_or eq_sym a_eos.
Qed.

Section Policy.
Variables (pi : policy F V) (r : seq V -> F).
Local Notation P y := (prob eos pi y).

(** The probability that a response begins with [s]. *)
Definition reach s : F := \sum_(y : response eos H | begins s y) P y.

(** The value of a state, V(s): the mean reward of the responses that begin with it. *)
Definition state_value s : F := (\sum_(y : response eos H | begins s y) P y * r y) / reach s.

(** The advantage of a token, A(s, a) = Q(s, a) − V(s). The reward is terminal and appending a token determines the
    next state, so Q(s, a) = V(sa). *)
Definition advantage s a : F := state_value (rcons s a) - state_value s.

Lemma reach_prob s : starts H s -> reach s = P s.
Proof.
move=> s_H; rewrite /reach big_mkcond (sum_responses eos H (fun y => if begins s y then P y else 0)) -big_mkcond.
exact: sum_begins.
Qed.

Lemma prob_rcons s a : P (rcons s a) = P s * pi s a.
Proof.
rewrite /prob size_rcons big_ord_recr /= /before /token nth_rcons ltnn eqxx -cats1 take_size_cat //; congr (_ * _).
by apply: eq_bigr => t _; rewrite nth_cat ltn_ord takel_cat // ltnW.
Qed.

Lemma reach_rcons s a : acts s -> reach (rcons s a) = reach s * pi s a.
Proof. by case/acts_starts => s_H sa_H; rewrite !reach_prob // prob_rcons. Qed.

Lemma reach_ge0 s : 0 <= reach s.
Proof. by apply: sumr_ge0 => y _; apply: prob_ge0. Qed.

Lemma reach_eq0 s (y : response eos H) : reach s = 0 -> begins s y -> P y = 0.
Proof.
move/eqP; rewrite psumr_eq0 => [/allP/(_ y (mem_index_enum y))/implyP zero /zero/eqP //|z _].
exact: prob_ge0.
Qed.

Lemma reach_value s : reach s * state_value s = \sum_(y : response eos H | begins s y) P y * r y.
Proof.
have [z|nz] := eqVneq (reach s) 0; last by rewrite mulrC mulfVK.
by rewrite z mul0r big1 // => y /(reach_eq0 z)->; rewrite mul0r.
Qed.

Lemma state_value_complete y : complete eos H y -> reach y != 0 -> state_value y = r y.
Proof.
move=> y_complete y_reach; apply: (mulfI y_reach); rewrite reach_value /reach mulr_suml; apply: eq_bigr => z y_z.
by have -> : tokens z = y := begins_complete y_complete (valP z) y_z.
Qed.

(** A sum over the responses that pass through a state, by the token that they take there. *)
Lemma sum_by_token s (f : response eos H -> V -> F) : acts s ->
  \sum_(y : response eos H | begins s y) f y (token eos y (size s)) =
  \sum_a \sum_(y : response eos H | begins (rcons s a) y) f y a.
Proof.
move=> s_acts; rewrite (partition_big (fun y : response eos H => token eos y (size s)) xpredT) //=.
apply: eq_bigr => a _; apply: eq_big => [y|y /andP[_ /eqP-> //]].
have [s_y|y_s] := boolP (begins s y).
  by rewrite begins_rcons ?s_y // (acts_before s_acts (valP y)).
rewrite /=; apply/esym/negP => sa_y; case/negP: y_s; move: sa_y; rewrite /begins size_rcons => /eqP sa_y.
by rewrite -(take_take (leqnSn (size s))) sa_y -cats1 takel_cat // take_size.
Qed.

Lemma bellman s : acts s -> reach s * state_value s = reach s * \sum_a pi s a * state_value (rcons s a).
Proof.
move=> s_acts; rewrite reach_value (sum_by_token (fun (y : response eos H) _ => P y * r y)) // mulr_sumr.
by apply: eq_bigr => a _; rewrite -reach_value reach_rcons // mulrA.
Qed.

(** The mean of [h] times the reward is the mean of [h] times the value after token [t], if [h] looks no further. *)
Lemma tower t (h : seq V -> F) :
  \sum_(y : response eos H | (t < size y)%N) P y * (h (take t.+1 y) * state_value (take t.+1 y)) =
  \sum_(y : response eos H | (t < size y)%N) P y * (h (take t.+1 y) * r y).
Proof.
pose upto (y : response eos H) : H.-bseq V := [bseq of take t.+1 (val y)].
rewrite (partition_big upto xpredT) // [RHS](partition_big upto xpredT) //; apply: eq_bigr => b _.
have [size_b|size_b] := eqVneq (size b) t.+1; last first.
  rewrite !big1 // => y /andP[t_y /eqP y_b]; case/eqP: size_b; rewrite -y_b /= size_take.
    by case: ltnP => // y_t; apply/eqP; rewrite eqn_leq y_t.
  by case: ltnP => // y_t; apply/eqP; rewrite eqn_leq y_t.
have same (y : response eos H) : (t < size y)%N && (upto y == b) = begins b y.
  rewrite /begins size_b -val_eqE /=; apply/andP/idP => [[_ //]|y_b]; split=> //.
  by have := size_b; rewrite -(eqP y_b) size_take; case: ltnP => [/ltnW //|_ ->].
rewrite !(eq_bigl _ _ same).
transitivity (h b * (reach b * state_value b)).
  rewrite mulrA [h b * _]mulrC /reach !mulr_suml; apply: eq_bigr => y.
  by rewrite /begins size_b => /eqP->; rewrite mulrA.
rewrite reach_value mulr_sumr; apply: eq_bigr => y; rewrite /begins size_b => /eqP->.
by rewrite mulrCA.
Qed.

End Policy.
End Prefixes.
