(** T12: the estimator that knows the advantage of each token has the mean of the one that knows the reward less the
    value of the state, and never a larger variance in a coordinate. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions responses prefixes instances t11_credit_in_expectation.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

(** Open: how the ratio of the variances grows with the length in the two examples. *)

Section Variance.
Variables (F : rcfType) (V : finType) (eos : V) (H : nat).
Add Field F_field : (plain_field F).
Implicit Types (s y : seq V) (a : V).

Section Estimators.
Variables (pi : policy F V) (dpi : variation pi) (r : seq V -> F).
Local Notation P y := (prob eos pi y).
Local Notation value s := (state_value eos H pi r s).

(** Three estimators of the gradient from one response: each token is weighted by its advantage A(s, a), by the reward
    less the value of its state R − V(s), or by the reward R. *)
Definition with_advantage y : F := weighted_score eos dpi (fun y t => advantage eos H pi r (before y t) (token eos y
  t)) y.
Definition with_value y : F := weighted_score eos dpi (fun y t => r y - value (before y t)) y.
Definition with_reward y : F := r y * score eos dpi y.

(** The variance of a number that a response decides. *)
Definition variance (f : response eos H -> F) : F :=
  mean_response pi (fun z => f z ^+ 2) - mean_response pi f ^+ 2.

(** The variance of the reward among the responses that begin with [s]. *)
Definition reward_variance s : F :=
  (\sum_(y : response eos H | begins s y) P y * (r y - value s) ^+ 2) / reach eos H pi s.

Lemma mean_with_reward : mean_response pi (fun y : response eos H => with_reward y) = dmean_response dpi (fun y :
  response eos H => r y).
Proof. by apply: eq_bigr => y _; rewrite /with_reward /dprob mulrCA mulrC. Qed.

Lemma weighted_scoreB (w w' : seq V -> nat -> F) y :
  weighted_score eos dpi (fun y t => w y t - w' y t) y = weighted_score eos dpi w y - weighted_score eos dpi w' y.
Proof. by rewrite /weighted_score -sumrB; apply: eq_bigr => t _; rewrite mulrBl. Qed.

Lemma mean_responseB (f f' : response eos H -> F) :
  mean_response pi (fun z => f z - f' z) = mean_response pi f - mean_response pi f'.
Proof. by rewrite /mean_response -sumrB; apply: eq_bigr => y _; rewrite mulrBr. Qed.

Lemma eq_mean_response (f f' : response eos H -> F) : f =1 f' -> mean_response pi f = mean_response pi f'.
Proof. by move=> ff'; apply: eq_bigr => y _; rewrite ff'. Qed.

(** T12. For every parametrisation, the estimator with R − V(s) has the gradient of the expected reward as its mean. *)
Theorem t12_mean_with_value : mean_response pi (fun y : response eos H => with_value y) =
  dmean_response dpi (fun y : response eos H => r y).
Proof.
rewrite -mean_with_reward -[RHS]subr0 -[X in _ - X](baseline eos H dpi (fun s => value s)) -mean_responseB.
apply: eq_mean_response => y; rewrite /with_value weighted_scoreB; congr (_ - _).
by rewrite /with_reward /score mulr_sumr.
Qed.

Lemma mean_by_tokens (w : seq V -> nat -> F) :
  mean_response pi (fun y : response eos H => weighted_score eos dpi w y) =
  \sum_(t < H) \sum_(y : response eos H | (t < size y)%N) P y * (w y t * token_score eos dpi y t).
Proof.
rewrite (exchange_big_dep xpredT) //=; apply: eq_bigr => y _; rewrite /weighted_score mulr_sumr.
by rewrite (big_ord_widen H (fun t => P _ * (w _ t * token_score eos dpi _ t))) //; apply: complete_size (valP y).
Qed.

(** T12. So has the one with A(s, a). *)
Theorem t12_mean_with_advantage : mean_response pi (fun y : response eos H => with_advantage y) =
  dmean_response dpi (fun y : response eos H => r y).
Proof.
rewrite -t12_mean_with_value /with_advantage /with_value /advantage.
under [LHS]eq_mean_response do rewrite weighted_scoreB.
under [RHS]eq_mean_response do rewrite weighted_scoreB.
rewrite !mean_responseB; congr (_ - _); rewrite !mean_by_tokens; apply: eq_bigr => t _.
pose h s := token_score eos dpi s t.
transitivity (\sum_(y : response eos H | (t < size y)%N) P y * (h (take t.+1 y) * value (take t.+1 y))).
  apply: eq_bigr => y t_y; congr (_ * _); rewrite mulrC /before /token -take_nth //.
  congr (_ * _); rewrite /h (@begins_token_score _ _ _ _ dpi (take t.+1 (tokens y))) //.
    by rewrite /begins size_takel.
  by rewrite size_takel.
rewrite tower; apply: eq_bigr => y t_y; congr (_ * _); rewrite mulrC; congr (_ * _).
rewrite /h (@begins_token_score _ _ _ _ dpi (take t.+1 (tokens y)) (tokens y)) ?size_takel //.
by rewrite /begins size_takel.
Qed.

Section Coordinate.
Variable s : seq V.
Hypotheses (s_acts : acts eos H s) (at_s : moves_only_at dpi s).

Lemma second_moment (w : seq V -> nat -> F) :
  mean_response pi (fun y : response eos H => weighted_score eos dpi w y ^+ 2) =
  \sum_a (dpi s a / pi s a) ^+ 2 * \sum_(y : response eos H | begins (rcons s a) y) P y * w y (size s) ^+ 2.
Proof.
pose f (y : response eos H) a := (dpi s a / pi s a) ^+ 2 * (P y * w y (size s) ^+ 2).
transitivity (\sum_(y : response eos H | begins s y) f y (token eos y (size s))).
  rewrite [RHS]big_mkcond; apply: eq_bigr => y _; rewrite (weighted_score_at w y s_acts at_s) /f.
  case: ifP => _; last by rewrite expr2 !mulr0.
  by move: (P _) (w _ _) (dpi s _ / _) => p v u; ring_of F.

by rewrite (sum_by_token f s_acts); apply: eq_bigr => a _; rewrite mulr_sumr.
Qed.

Lemma reach_variance s' :
  reach eos H pi s' * reward_variance s' = \sum_(y : response eos H | begins s' y) P y * (r y - value s') ^+ 2.
Proof.
have [z|nz] := eqVneq (reach eos H pi s') 0; last by rewrite mulrC mulfVK.
by rewrite z mul0r big1 // => y /(reach_eq0 z)->; rewrite mul0r.
Qed.

Lemma spread s' (v : F) :
  \sum_(y : response eos H | begins s' y) P y * (r y - v) ^+ 2 -
  \sum_(y : response eos H | begins s' y) P y * (value s' - v) ^+ 2 = reach eos H pi s' * reward_variance s'.
Proof.
rewrite reach_variance -sumrB.
transitivity (\sum_(y : response eos H | begins s' y) P y * (r y - value s') ^+ 2 +
              (value s' - v) *+ 2 * (\sum_(y : response eos H | begins s' y) P y * r y - reach eos H pi s' * value s')).
  rewrite mulrBr /reach mulr_suml !mulr_sumr -sumrB -big_split /=; apply: eq_bigr => y _.
  by move: (P _) (r _) (value _) => p x m; ring_of F.
by rewrite reach_value subrr mulr0 addr0.
Qed.

Lemma begins_rcons_at b (y : response eos H) :
  begins (rcons s b) y -> before y (size s) = s /\ token eos y (size s) = b.
Proof.
move=> sb_y; have size_y : (size s < size y)%N.
  by have := congr1 size (eqP sb_y); rewrite size_take size_rcons; case: ltnP => [/ltnW //|_ ->].
by move: sb_y; rewrite (begins_rcons eos) // => /andP[/eqP s_y /eqP ->].
Qed.

(** T12. In a direction that moves the policy after one prefix s alone, such as a tabular logit, the variance with
    R − V(s) is that with A(s, a) plus d(s) Σ_a π(a|s) (score of a)² Var(R | s, a). *)
Theorem t12_excess :
  variance (fun y : response eos H => with_value y) - variance (fun y : response eos H => with_advantage y) =
  reach eos H pi s * \sum_a pi s a * (dpi s a / pi s a) ^+ 2 * reward_variance (rcons s a).
Proof.
rewrite /variance t12_mean_with_value t12_mean_with_advantage opprB addrA subrK.
rewrite /with_value /with_advantage !second_moment -sumrB mulr_sumr; apply: eq_bigr => a _.
rewrite -mulrBr (_ : _ - _ = reach eos H pi (rcons s a) * reward_variance (rcons s a)); last first.
  rewrite -(spread _ (value s)); congr (_ - _); apply: eq_bigr => y /begins_rcons_at[-> eq_a] //.
  by rewrite eq_a.
rewrite reach_rcons //; move: (dpi s a / pi s a) (pi s a) (reach _ _ _ s) (reward_variance _) => u p d x.
by ring_of F.
Qed.

(** T12. So in such a coordinate the estimator with A(s, a) never has the larger variance (Rao-Blackwell). *)
Theorem t12_rao_blackwell :
  variance (fun y : response eos H => with_advantage y) <= variance (fun y : response eos H => with_value y).
Proof.
rewrite -subr_ge0 t12_excess; apply: mulr_ge0; first exact: reach_ge0.
apply: sumr_ge0 => a _; apply: mulr_ge0; first by rewrite mulr_ge0 ?token_prob_ge0 ?sqr_ge0.
apply: divr_ge0; last exact: reach_ge0.
by apply: sumr_ge0 => y _; rewrite mulr_ge0 ?prob_ge0 ?sqr_ge0.
Qed.

Lemma with_rewardE : mean_response pi (fun y : response eos H => with_reward y ^+ 2) =
  mean_response pi (fun y : response eos H => weighted_score eos dpi (fun y _ => r y) y ^+ 2).
Proof. by apply: eq_mean_response => y; rewrite /with_reward /score mulr_sumr. Qed.

(** T12. Against plain R: the second moment with A(s, a) less that with R is
    d(s) Σ_a π(a|s) (score of a)² (V (V − 2 Q(s, a)) − Var(R | s, a)), with V = V(s): plain R is the better one where this
    is positive. *)
Theorem t12_against_plain :
  mean_response pi (fun y : response eos H => with_advantage y ^+ 2) -
  mean_response pi (fun y : response eos H => with_reward y ^+ 2) =
  reach eos H pi s * \sum_a pi s a * (dpi s a / pi s a) ^+ 2 *
    (value s * (value s - 2%:R * value (rcons s a)) - reward_variance (rcons s a)).
Proof.
rewrite with_rewardE /with_advantage !second_moment -sumrB mulr_sumr; apply: eq_bigr => a _.
have -> : \sum_(y : response eos H | begins (rcons s a) y)
    P y * advantage eos H pi r (before y (size s)) (token eos y (size s)) ^+ 2 =
    reach eos H pi (rcons s a) * (value (rcons s a) - value s) ^+ 2.
  by rewrite /reach mulr_suml; apply: eq_bigr => y /begins_rcons_at[-> ->].
have -> : \sum_(y : response eos H | begins (rcons s a) y) P y * r y ^+ 2 =
    reach eos H pi (rcons s a) * (value (rcons s a) ^+ 2 + reward_variance (rcons s a)).
  rewrite mulrDr -(spread _ 0) /reach mulr_suml addrC -addrA [X in _ + X](_ : _ = 0) ?addr0.
    by apply: eq_bigr => y _; rewrite subr0.
  by rewrite -sumrN -big_split big1 //= => y _; rewrite subr0 addNr.
rewrite reach_rcons //; move: (dpi s a / pi s a) (pi s a) (reach _ _ _ s) (value s) (value _) (reward_variance _).
by move=> u p d x y z; ring_of F.
Qed.

End Coordinate.
End Estimators.

(** T12. Tabular logits are such coordinates, and the excess is d(s) Σ_b π(b|s) (1[b = a] − π(a|s))² Var(R | s, b). *)
Theorem t12_tabular (pi : policy F V) s a (r : seq V -> F) : acts eos H s ->
  variance pi (fun y : response eos H => with_advantage (logit pi s a) r y) <=
  variance pi (fun y : response eos H => with_value (logit pi s a) r y) /\
  variance pi (fun y : response eos H => with_value (logit pi s a) r y) -
  variance pi (fun y : response eos H => with_advantage (logit pi s a) r y) =
  reach eos H pi s * \sum_b pi s b * ((b == a)%:R - pi s a) ^+ 2 * reward_variance pi r (rcons s b).
Proof.
move=> s_acts; have at_s := @logit_moves F V pi s a; split; first exact: (t12_rao_blackwell r s_acts at_s).
rewrite (t12_excess r s_acts at_s); congr (_ * _); apply: eq_bigr => b _; congr (_ * _).
have [->|pi_b] := eqVneq (pi s b) 0; first by rewrite !mul0r.
by congr (_ * _ ^+ 2); rewrite /= /logit_prob eqxx mulrC mulKf.
Qed.

End Variance.

(** One parameter for both tokens: [false] has the probability p after every prefix, and both tokens' logits move. *)
Section Shared.
Variables (F : rcfType) (p : F).
Hypotheses (p_gt0 : 0 < p) (p_lt1 : p < 1).
Add Field F_field' : (plain_field F).
Local Notation B := [finType of bool].

Definition bent_prob (s : seq bool) (a : bool) : F := if a then 1 - p else p.
Definition dbent_prob (s : seq bool) (a : bool) : F := if a then - ((1 - p) * p) else p * (1 - p).
Lemma bent_gt0 s a : 0 < bent_prob s a.
Proof. by case: a; rewrite /bent_prob // subr_gt0. Qed.
Lemma bent_sum s : \sum_a bent_prob s a = 1.
Proof. by rewrite big_bool /= subrK. Qed.
Lemma dbent_sum s : \sum_a dbent_prob s a = 0.
Proof. by rewrite big_bool /= mulrC addNr. Qed.
Definition bent : policy F B := @Policy F B bent_prob (fun s a => ltW (bent_gt0 s a)) bent_sum.
Lemma dbent_eq0 s a : bent s a = 0 -> dbent_prob s a = 0.
Proof. by move/eqP; rewrite gt_eqF ?bent_gt0. Qed.
Definition dbent : variation bent := @Variation F B bent dbent_prob dbent_sum dbent_eq0.

(** Only "false, false" is right; [true] ends a response. *)
Definition both (y : seq bool) : F := (y == [:: false; false])%:R.
Local Notation value s := (state_value (true : B) 2 bent both s).

Lemma prob_bent_neq0 s : prob true bent s != 0.
Proof. by rewrite gt_eqF // prodr_gt0 // => t _; apply: bent_gt0. Qed.

Lemma leaf y : complete true 2 y -> starts (true : B) 2 y -> value y = both y.
Proof. by move=> y2 y_starts; rewrite (@state_value_complete _ B) // reach_prob // prob_bent_neq0. Qed.

Lemma inner s : acts (true : B) 2 s -> value s = (1 - p) * value (rcons s true) + p * value (rcons s false).
Proof.
move=> s_acts; have [s_starts _] := acts_starts s_acts.
have nz : reach (true : B) 2 bent s != 0 by rewrite reach_prob // prob_bent_neq0.
by apply: (mulfI nz); rewrite (bellman _ _ s_acts) big_bool.
Qed.

Lemma value_of_false : value [:: false] = p.
Proof. by rewrite inner // !leaf // /both /= mulr0 add0r mulr1. Qed.
Lemma value_at_start : value [::] = p ^+ 2.
Proof. by rewrite inner // leaf // value_of_false /both /= mulr0 add0r expr2. Qed.

Lemma second_moments :
  mean_response bent (fun y : response (true : B) 2 => with_advantage (true : B) 2 dbent both y ^+ 2) -
  mean_response bent (fun y : response (true : B) 2 => with_value (true : B) 2 dbent both y ^+ 2) =
  p * (1 - p) * ((p * (1 - p) ^+ 2 + p ^+ 2) ^+ 2 - p ^+ 6) - p ^+ 2 * (1 - p) ^+ 4 * (2%:R * p + 3%:R).
Proof.
have p_neq0 : p != 0 by rewrite gt_eqF.
have q_neq0 : 1 - p != 0 by rewrite gt_eqF // subr_gt0.
rewrite /mean_response (sum_two_coins (fun y => prob true bent y * with_advantage (true : B) 2 dbent both y ^+ 2)).
rewrite (sum_two_coins (fun y => prob true bent y * with_value (true : B) 2 dbent both y ^+ 2)).
rewrite /with_advantage /with_value /weighted_score /advantage !big_ord_recl !big_ord0 /token_score /=.
rewrite /before /token /= value_at_start value_of_false !leaf // /both /= !prob_cons !prob_nil /=.
rewrite /bent_prob /dbent_prob /= mulNr [(1 - p) * p]mulrC !(mulfK q_neq0) [p * (1 - p)]mulrC !(mulfK p_neq0).
by ring_of F.
Qed.
End Shared.

Section Counterexample.
Variable F : rcfType.
Add Field F_field'' : (plain_field F).

(** T12 without "tabular logits": with one parameter for two tokens the order can reverse, and knowing the advantages
  has
    the larger variance. (Two tokens, [false] with probability 3/4 at each; only "false, false" is right.) *)
Theorem t12_without_tabular_logits : exists (pi : policy F [finType of bool]) (dpi : variation pi) (r : seq bool -> F),
  variance pi (fun y : response (true : [finType of bool]) 2 => with_value true 2 dpi r y) <
  variance pi (fun y : response (true : [finType of bool]) 2 => with_advantage true 2 dpi r y).
Proof.
have p_gt0 : 0 < 3%:R / 2%:R / 2%:R :> F by rewrite !divr_gt0 ?ltr0n.
have p_lt1 : 3%:R / 2%:R / 2%:R < 1 :> F.
  by rewrite -mulrA -invfM -natrM ltr_pdivr_mulr ?ltr0n // mul1r ltr_nat.
exists (bent p_gt0 p_lt1), (dbent p_gt0 p_lt1), (both F).
rewrite -subr_gt0 /variance t12_mean_with_value t12_mean_with_advantage opprB addrA subrK second_moments.
rewrite (_ : _ - _ = 27%:R / 2%:R / 2%:R / 2%:R / 2%:R / 2%:R / 2%:R / 2%:R / 2%:R / 2%:R / 2%:R);
  first by rewrite !divr_gt0 ?ltr0n.
by plain_goal F; field; apply: plain_2_neq0.
Qed.
End Counterexample.

(** Two responses of one token each: [false], with probability p and reward 1, and [true], with reward 0. *)
Section TwoActions.
Variables (F : rcfType) (p : F).
Hypotheses (p_gt0 : 0 < p) (p_lt1 : p < 1).
Add Field F_field''' : (plain_field F).
Local Notation B := [finType of bool].
Local Notation pi := (bent p_gt0 p_lt1).
Local Notation dpi := (dbent p_gt0 p_lt1).

Definition first_action (y : seq bool) : F := (y == [:: false])%:R.
Local Notation value s := (state_value (true : B) 1 pi first_action s).

Lemma leaf_of_two a : value [:: a] = first_action [:: a].
Proof.
rewrite (@state_value_complete _ B) ?reach_prob //; first by case: a.
  by rewrite prob_bent_neq0.
by case: a.
Qed.

Lemma value_of_two : value [::] = p.
Proof.
have nz : reach (true : B) 1 pi [::] != 0 by rewrite reach_prob // prob_bent_neq0.
apply: (mulfI nz); rewrite (bellman _ _ (isT : acts (true : B) 1 [::])) big_bool !leaf_of_two /first_action /=.
by rewrite mulr0 add0r mulr1.
Qed.

(** T12. With two actions, rewards 1 and 0, and one logit, the estimator that knows the advantages has the larger
    variance than plain R exactly if the rewarded action has a probability above 2/3. *)
Theorem t12_two_actions :
  (variance pi (fun y : response (true : B) 1 => with_reward (true : B) dpi first_action y) <
   variance pi (fun y : response (true : B) 1 => with_advantage (true : B) 1 dpi first_action y)) = (2%:R / 3%:R < p).
Proof.
have p_neq0 : p != 0 by rewrite gt_eqF.
have q_gt0 : 0 < 1 - p by rewrite subr_gt0.
have q_neq0 : 1 - p != 0 by rewrite gt_eqF.
rewrite /variance t12_mean_with_advantage mean_with_reward ltr_add2r -subr_gt0.
rewrite /mean_response (sum_one_token (true : B) (fun y => prob true pi y * with_advantage (true : B) 1 dpi first_action y ^+ 2)).
rewrite (sum_one_token (true : B) (fun y => prob true pi y * with_reward (true : B) dpi first_action y ^+ 2)) !big_bool.
rewrite /with_advantage /with_reward /weighted_score /score /advantage !big_ord_recl !big_ord0 /token_score /=.
rewrite /before /token /= !leaf_of_two value_of_two /first_action /= !prob_cons !prob_nil /=.
rewrite /bent_prob /dbent_prob /= mulNr [(1 - p) * p]mulrC !(mulfK q_neq0) [p * (1 - p)]mulrC !(mulfK p_neq0).
have -> : forall x y : F, (0 < x - y) = (0 < x - y) by [].
rewrite (_ : _ - _ = p ^+ 2 * (1 - p) * (3%:R * p - 2%:R)); last by ring_of F.
by rewrite pmulr_rgt0 ?mulr_gt0 ?exprn_gt0 // subr_gt0 ltr_pdivr_mulr ?ltr0n // mulrC.
Qed.
End TwoActions.
