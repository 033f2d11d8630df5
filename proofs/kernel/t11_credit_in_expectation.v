(** T11: an outcome rule gives every token of a response the same credit; its expectation credits each token with its
    advantage. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions responses prefixes instances outcomes t01_bandit t05_one_direction.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Tabular.
Variables (F : rcfType) (V : finType) (eos : V) (H : nat).
Implicit Types (pi : policy F V) (s y : seq V) (a b : V) (r : seq V -> F).

(** A direction that moves the policy after one prefix alone. *)
Definition moves_only_at pi (dpi : variation pi) s : Prop := forall s' a, s' != s -> dpi s' a = 0.

(** The direction of the logit of token [a] after the prefix [s]: the softmax of a table moves π(b|s) at the rate
    π(b|s) (1[b = a] − π(a|s)), and nothing after other prefixes. *)
Definition logit_prob pi s a s' b : F := if s' == s then pi s b * ((b == a)%:R - pi s a) else 0.

Lemma logit_sum pi s a s' : \sum_b logit_prob pi s a s' b = 0.
Proof.
rewrite /logit_prob; case: eqP => _; last by rewrite big1.
under eq_bigr do rewrite mulrBr.
rewrite sumrB -mulr_suml token_prob_sum mul1r (bigD1 a) //= eqxx mulr1 big1 ?addr0 ?subrr // => b /negPf->.
by rewrite mulr0.
Qed.

Lemma logit_eq0 pi s a s' b : pi s' b = 0 -> logit_prob pi s a s' b = 0.
Proof. by rewrite /logit_prob; case: eqP => // -> ->; rewrite mul0r. Qed.

Definition logit pi s a : variation pi := Variation (logit_sum pi s a) (@logit_eq0 pi s a).

Lemma logit_moves pi s a : moves_only_at (logit pi s a) s.
Proof. by move=> s' b /negPf s'_s; rewrite /= /logit_prob s'_s. Qed.

Lemma weighted_score_at pi (dpi : variation pi) s w (y : response eos H) : acts eos H s -> moves_only_at dpi s ->
  weighted_score eos dpi w y =
  if begins s y then w (tokens y) (size s) * (dpi s (token eos y (size s)) / pi s (token eos y (size s))) else 0.
Proof.
move=> s_acts at_s; rewrite /weighted_score.
have other (t : 'I_(size y)) : before y t != s -> w (tokens y) t * token_score eos dpi y t = 0.
  by move=> ts; rewrite /token_score at_s // mul0r mulr0.
case: ifP => [s_y|s_y]; last first.
  rewrite big1 // => t _; apply: other; apply: contraFneq s_y => ts.
  by rewrite -ts /begins size_take ltn_ord.
have lt_y := acts_before s_acts (valP y) s_y.
rewrite (bigD1 (Ordinal lt_y)) //= big1 ?addr0 => [|t t_s]; first by rewrite /token_score /before (eqP s_y).
apply: other; apply: contraNneq t_s => ts; apply/eqP/val_inj => /=.
by rewrite -ts size_take ltn_ord.
Qed.

Lemma score_weighted pi (dpi : variation pi) y : score eos dpi y = weighted_score eos dpi (fun _ _ => 1) y.
Proof. by apply: eq_bigr => t _; rewrite mul1r. Qed.

Lemma begins_token_score pi (dpi : variation pi) c y (t : nat) : begins c y -> (t < size c)%N ->
  token_score eos dpi y t = token_score eos dpi c t.
Proof.
rewrite /begins => /eqP c_y t_c; rewrite /token_score /before /token.
have -> : take t y = take t c by rewrite -[in RHS]c_y take_take // ltnW.
by have -> : nth eos y t = nth eos c t by rewrite -[in RHS]c_y nth_take.
Qed.

(** T11. A direction that moves the policy after one prefix s alone changes the expected reward by the probability that
    a response begins with s, times the sum over tokens of the rate of their probability times the value they lead to.
      *)
Theorem t11_one_state pi (dpi : variation pi) s r : acts eos H s -> moves_only_at dpi s ->
  dmean_response dpi (fun y : response eos H => r y) =
  reach eos H pi s * \sum_a dpi s a * state_value eos H pi r (rcons s a).
Proof.
move=> s_acts at_s; rewrite /dmean_response /dprob.
pose f (y : response eos H) a := dpi s a / pi s a * (prob eos pi y * r y).
transitivity (\sum_(y : response eos H | begins s y) f y (token eos y (size s))).
  rewrite [RHS]big_mkcond; apply: eq_bigr => y _; rewrite score_weighted (weighted_score_at _ _ s_acts at_s).
  case: ifP => _; last by rewrite mulr0 mul0r.
  by rewrite mul1r mulrAC mulrC.
rewrite (sum_by_token f s_acts) mulr_sumr; apply: eq_bigr => a _.
rewrite -mulr_sumr -reach_value reach_rcons // -[in RHS](dtoken_probK dpi s a).
by rewrite [LHS]mulrCA -!mulrA.
Qed.

(** T11. With tabular logits, the derivative of the expected reward in the logit of token a after the prefix s is
    d(s) π(a|s) A(s, a), where d(s) is the probability that a response begins with s. *)
Theorem t11_tabular pi s a r : acts eos H s ->
  dmean_response (logit pi s a) (fun y : response eos H => r y) =
  reach eos H pi s * (pi s a * advantage eos H pi r s a).
Proof.
move=> s_acts; rewrite (t11_one_state _ s_acts (@logit_moves pi s a)) /= /logit_prob eqxx.
under eq_bigr do rewrite mulrAC mulrBr.
rewrite sumrB (bigD1 a) //= eqxx mulr1 big1 ?addr0 => [|b /negPf->]; last by rewrite mulr0.
rewrite -mulr_suml /advantage !mulrBr; congr (_ - _).
by rewrite mulrA -bellman // mulrAC -mulrA [RHS]mulrCA [RHS]mulrC mulrAC -mulrA.
Qed.

(** T11. The value of a state, the mean reward of the responses that begin with it, is what Bellman's equation says, for
    a terminal reward and without discount. *)
Theorem t11_value pi s r : acts eos H s -> reach eos H pi s != 0 ->
  state_value eos H pi r s = value eos pi 1 (terminal eos H r) (H - size s) s.
Proof.
move: {2}(H - size s)%N (leqnn (H - size s)) => n; elim: n s => [|n IH] s.
  by rewrite leqn0 subn_eq0 leqNgt => /negPf s_H; rewrite /acts s_H.
move=> n_s s_acts s_reach; have /andP[s_H _] := s_acts.
apply: (mulfI s_reach); rewrite bellman //; congr (_ * _); rewrite -(subnSK s_H) /=; apply: eq_bigr => a _.
have [->|pi_a] := eqVneq (pi s a) 0; first by rewrite !mul0r.
have sa_reach : reach eos H pi (rcons s a) != 0 by rewrite reach_rcons // mulf_neq0.
congr (_ * _); rewrite mul1r /terminal; case complete_sa: (complete _ _ _).
  rewrite state_value_complete //; move: complete_sa; rewrite complete_rcons //.
  by case: eqP => /= [_ _|_ /eqP->]; rewrite ?subnn ?addr0.
have sa_acts : acts eos H (rcons s a) by rewrite acts_rcons ?complete_sa.
have [/eqP a_eos|_] := ifP; first by move: complete_sa; rewrite complete_rcons // a_eos eqxx.
by rewrite add0r IH ?size_rcons // -ltnS subnSK.
Qed.

(** T11. So with right and wrong responses, any outcome rule of a group, which gives every token of a response the same
    credit (and no 1/L), credits each token in expectation with its advantage: c(p) d(s) π(a|s) A(s, a). *)
Theorem t11_outcome_rules G (A : outcome_rule F G) pi s a (right : seq V -> bool) : acts eos H s ->
  expected_gradient (logit pi s a) (fun g i t => A (outcomes (fun y : response eos H => right y) g) i) =
  scalar A (success pi (fun y : response eos H => right y)) *
  (reach eos H pi s * (pi s a * advantage eos H pi (fun y => (right y)%:R) s a)).
Proof. by move=> s_acts; rewrite t5_one_direction -t11_tabular. Qed.

Section Group.
Variables (G : nat) (g : {ffun 'I_G -> response eos H}) (pi : policy F V) (dpi : variation pi) (c : seq V).
Implicit Types (A x : 'I_G -> F) (B : {set 'I_G}).

(** The weighted scores that the members [B] of a group give to the tokens of a prefix [c] that they share. *)
Definition prefix_gradient (w : 'I_G -> F) B : F := \sum_(i in B) \sum_(t < size c) w i * token_score eos dpi (g i) t.

Lemma prefix_gradientE w B : (forall i, i \in B -> begins c (g i)) ->
  prefix_gradient w B = (\sum_(i in B) w i) * score eos dpi c.
Proof.
move=> shared; rewrite mulr_suml; apply: eq_bigr => i iB; rewrite -mulr_sumr; congr (_ * _).
by apply: eq_bigr => t _; apply: begins_token_score; rewrite ?shared.
Qed.

(** T11. The tokens of a prefix that a whole group shares get no gradient, if the advantages sum to 0 and there is no
    1/L. *)
Theorem t11_shared_prefix A : (forall i, begins c (g i)) -> \sum_i A i = 0 -> prefix_gradient A [set: 'I_G] = 0.
Proof.
move=> shared sum0; rewrite prefix_gradientE // (_ : \sum_(i in _) A i = 0) ?mul0r // -[RHS]sum0.
by apply: eq_bigl => i; rewrite inE.
Qed.

(** T11. The tokens of a prefix that the members B share get in sum as many times as there are members the lead of their
    mean reward over that of the group: a group estimates the advantage of a branch, without a critic. *)
Theorem t11_branch x B : B != set0 -> (forall i, i \in B -> begins c (g i)) ->
  prefix_gradient (fun i => x i - group_mean x) B =
  #|B|%:R * (#|B|%:R^-1 * (\sum_(i in B) x i) - group_mean x) * score eos dpi c.
Proof.
move=> B_neq0 shared; rewrite prefix_gradientE //; congr (_ * _).
by rewrite mulrBr mulVKf ?pnatr_eq0 ?cards_eq0 // sumrB sumr_const mulr_natl.
Qed.
End Group.

End Tabular.

Section Counterexamples.
Variable F : rcfType.
Add Field F_field : (plain_field F).
Local Notation B := [finType of bool].

(** T11 without "tabular logits": a parameter that moves the policy after several prefixes does not get the advantage of
    one of them. (A fair coin for each of two tokens; [true] ends a response; "false, false" is right.) *)
Theorem t11_without_tabular_logits : exists (dpi : variation (coin F)) (r : seq bool -> F),
  dmean_response dpi (fun y : response (true : B) 2 => r y) !=
  reach (true : B) 2 (coin F) [::] * \sum_a dpi [::] a * state_value (true : B) 2 (coin F) r (rcons [::] a).
Proof.
exists (tilt_all F), (fun y => (y == [:: false; false])%:R).
rewrite -(@t11_one_state _ _ _ _ _ (tilt F [::])) //; last first.
  by move=> s' a /negPf s'_s; rewrite /= /tilt_at s'_s.
rewrite /dmean_response (sum_two_coins (fun y => dprob true (tilt_all F) y * (y == [:: false; false])%:R)).
rewrite (sum_two_coins (fun y => dprob true (tilt F [::]) y * (y == [:: false; false])%:R)) /=.
rewrite /dprob !prob_cons !prob_nil !score_cons !score_nil /= /tilt_at /=.
rewrite !(mul0r, mulr0, addr0, add0r, mulr1, mul1r) -subr_eq0 -mulrBr addrAC subrr add0r.
by rewrite !mulf_neq0 ?oppr_eq0 ?oner_neq0 ?invr_neq0 ?half_neq0 ?pnatr_eq0.
Qed.

(** T11 without "no 1/L", within a group: with weights A/L the tokens of a prefix that all share get a gradient although
    the advantages sum to 0. *)
Theorem t11_without_token_sum : exists (dpi : variation (coin F)) (g : {ffun 'I_2 -> response (true : B) 3})
  (A : 'I_2 -> F) (c : seq bool), (forall i, begins c (g i)) /\ \sum_i A i = 0 /\
  prefix_gradient g dpi c (fun i => A i / (size (g i))%:R) [set: 'I_2] != 0.
Proof.
pose g := [ffun i : 'I_2 => if i == ord0 then @response_of B true 3 [:: false; true] isT
                            else @response_of B true 3 [:: false; false; true] isT].
have shared i : begins [:: false] (g i) by rewrite ffunE; case: (i == ord0).
exists (tilt F [::]), g, (fun i => if i == ord0 then 1 else - 1), [:: false]; split=> //; split.
  by rewrite big_ord_recl big_ord1 subrr.
rewrite prefix_gradientE // (eq_bigl xpredT) => [|i]; last by rewrite inE.
rewrite big_ord_recl big_ord1 /= !ffunE /= score_cons score_nil addr0 /= /tilt_at /=.
rewrite mulf_neq0 ?mulf_neq0 ?oppr_eq0 ?oner_neq0 ?invr_neq0 ?half_neq0 ?pnatr_eq0 //.
by rewrite mul1r mulN1r subr_eq0 (inj_eq invr_inj) eqr_nat.
Qed.

(** T11 without "no 1/L", in expectation: if all responses are right, all advantages are 0 and the expected reward does
    not move, but the mean of the weights r/L times the scores does. *)
Theorem t11_without_token_sum_expected : exists (dpi : variation (coin F)) (r : seq bool -> F),
  moves_only_at dpi [::] /\ dmean_response dpi (fun y : response (true : B) 2 => r y) = 0 /\
  mean_response (coin F) (fun y : response (true : B) 2 =>
    weighted_score true dpi (fun y _ => r y / (size y)%:R) y) != 0.
Proof.
exists (tilt F [::]), (fun=> 1); split; first by move=> s' a /negPf s'_s; rewrite /= /tilt_at s'_s.
split; first by rewrite -[RHS](sum_dprob (true : B) 2 (tilt F [::])); apply: eq_bigr => y _; rewrite mulr1.
rewrite /mean_response (sum_two_coins (fun y => prob true (coin F) y * weighted_score true (tilt F [::]) _ y)).
rewrite /weighted_score /= !big_ord_recl !big_ord0 /token_score !prob_cons !prob_nil /= /tilt_at /=.
rewrite !(mul0r, mulr0, addr0, add0r, mulr1, mul1r, invr1, invrK).
have -> : 2%:R^-1 * 2%:R + (2%:R^-1 / 2%:R * (2%:R^-1 * (- 1 * 2%:R)) + 2%:R^-1 / 2%:R * (2%:R^-1 * (- 1 * 2%:R))) =
  2%:R^-1 :> F by field_of F.
exact: half_neq0.
Qed.
End Counterexamples.

From mathcomp Require Import boolp classical_sets functions reals topology normedtype derive exp realfun sequences.
From Rino Require Import derivatives.
Import numFieldNormedType.Exports.

Section Softmax.
Variables (R : realType) (rest others : R).
Hypothesis rest_gt0 : 0 < rest.
Add Field R_field : (plain_field R).
Implicit Types z q : R.

(** A softmax in the logit z of one token: [rest] is the sum of exp(logit) over the other tokens, and [others] that of
    exp(logit) times the value that they lead to. *)
Definition softmax z : R := expR z / (expR z + rest).
Definition softmax_value q z : R := (q * expR z + others) / (expR z + rest).

Lemma denominator_neq0 z : expR z + rest != 0.
Proof. by rewrite gt_eqF // addr_gt0 ?expR_gt0. Qed.

(** T11. With a softmax, a token's probability grows with its logit at the rate π(1 − π), and the value of the state at
    the rate π (Q − V), if the token leads to the value Q. *)
Theorem t11_softmax q z :
  is_derive z (1 : R) softmax (softmax z * (1 - softmax z)) /\
  is_derive z (1 : R) (softmax_value q) (softmax z * (q - softmax_value q z)).
Proof.
have denominator : is_derive z (1 : R) (fun x : R => expR x + rest) (expR z).
  by apply: (is_derive_eq (is_deriveD (is_derive_expR z) (is_derive_cst rest z (1 : R)))); rewrite addr0.
have inverse := @is_deriveV _ (fun x : R => expR x + rest) _ _ _ (denominator_neq0 z) denominator.
have nz := denominator_neq0 z; split.
  apply: (is_derive_eq (is_derive_product (is_derive_expR z) inverse)).
  rewrite /softmax /GRing.scale /=; move: (expR z + rest) nz => d d_neq0; move: (expR z) => e.
  by field_of R.
have numerator : is_derive z (1 : R) (fun x : R => q * expR x + others) (q * expR z).
  by apply: (is_derive_eq (is_deriveD (is_derive_scale q (is_derive_expR z)) (is_derive_cst others z (1 : R)))); rewrite addr0.
apply: (is_derive_eq (is_derive_product numerator inverse)).
rewrite /softmax /softmax_value /GRing.scale /=; move: (expR z + rest) nz => d d_neq0; move: (expR z) => e.
by field_of R.
Qed.
End Softmax.
