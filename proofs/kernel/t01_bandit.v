(** T1: with states that are token sequences and one reward at the end, the decision process of a language model is a
    bandit whose arms are whole responses. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions responses instances.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Process.
Variables (F : rcfType) (V : finType) (eos : V).
Implicit Types (pi : policy F V) (pay : seq V -> V -> F) (r : seq V -> F) (gamma : F) (n : nat) (s y : seq V).

(** The decision process: the state is the sequence of tokens so far, [pay s a] is the reward for token [a] after [s],
    and it ends with [eos] or when no step is left. [value n s] is the expected discounted return from [s] on, with [n]
    steps left (Bellman's equation). *)
Fixpoint value pi gamma pay n s : F :=
  if n is m.+1 then
    \sum_a pi s a * (pay s a + gamma * (if a == eos then 0 else value pi gamma pay m (rcons s a)))
  else 0.

(** Its derivative in a direction of the parameters, by the product rule. *)
Fixpoint dvalue pi (dpi : variation pi) gamma pay n s : F :=
  if n is m.+1 then
    \sum_a (dpi s a * (pay s a + gamma * (if a == eos then 0 else value pi gamma pay m (rcons s a))) +
            pi s a * (gamma * (if a == eos then 0 else dvalue dpi gamma pay m (rcons s a))))
  else 0.

Section Horizon.
Variable H : nat.

Definition expected_return pi gamma pay : F := value pi gamma pay H [::].
Definition dexpected_return pi (dpi : variation pi) gamma pay : F := dvalue dpi gamma pay H [::].

(** A terminal reward: nothing until the response is complete. *)
Definition terminal r : seq V -> V -> F := fun s a => if complete eos H (rcons s a) then r (rcons s a) else 0.
End Horizon.

(** What a response is paid from token [t] on, discounted to that token. *)
Definition return_to_go gamma pay y (t : nat) : F :=
  \sum_(t <= u < size y) gamma ^+ (u - t) * pay (before y u) (token eos y u).

(** What one sample contributes to the policy gradient: scores times returns. *)
Definition sample_gradient pi (dpi : variation pi) gamma pay y : F :=
  \sum_(t < size y) gamma ^+ t * (token_score eos dpi y t * return_to_go gamma pay y t).

Lemma value_cons pi gamma pay n a s :
  value pi gamma pay n (a :: s) = value (after pi a) gamma (fun s' => pay (a :: s')) n s.
Proof.
by elim: n s => //= n IH s; apply: eq_bigr => b _; congr (_ * (_ + _ * _)); case: ifP => // _; apply: IH.
Qed.

Lemma dvalue_cons pi (dpi : variation pi) gamma pay n a s :
  dvalue dpi gamma pay n (a :: s) = dvalue (dafter dpi a) gamma (fun s' => pay (a :: s')) n s.
Proof.
elim: n s => //= n IH s; apply: eq_bigr => b _; case: ifP => // _.
by rewrite -rcons_cons value_cons IH.
Qed.

Lemma return_to_go_cons gamma pay a y :
  return_to_go gamma pay (a :: y) 0 =
  pay [::] a + gamma * return_to_go gamma (fun s => pay (a :: s)) y 0.
Proof.
rewrite /return_to_go !big_mkord big_ord_recl expr0 mul1r mulr_sumr; congr (_ + _).
by apply: eq_bigr => u _; rewrite /= exprS !subn0 mulrA.
Qed.

Lemma return_to_go_next gamma pay a y t :
  return_to_go gamma pay (a :: y) t.+1 = return_to_go gamma (fun s => pay (a :: s)) y t.
Proof. by rewrite /return_to_go /= big_add1 /=; apply: eq_bigr => u _; rewrite subSS. Qed.

Lemma sample_gradient_cons pi (dpi : variation pi) gamma pay a y :
  sample_gradient dpi gamma pay (a :: y) =
  dpi [::] a / pi [::] a * return_to_go gamma pay (a :: y) 0 +
  gamma * sample_gradient (dafter dpi a) gamma (fun s => pay (a :: s)) y.
Proof.
rewrite /sample_gradient /= big_ord_recl expr0 mul1r; congr (_ + _).
by rewrite [RHS]mulr_sumr; apply: eq_bigr => t _; rewrite /= return_to_go_next exprS -!mulrA.
Qed.

Lemma return_to_go_nil gamma pay : return_to_go gamma pay [::] 0 = 0.
Proof. by rewrite /return_to_go big_geq. Qed.

Lemma value_responses pi gamma pay n :
  value pi gamma pay n [::] = \sum_(y <- responses eos n) prob eos pi y * return_to_go gamma pay y 0.
Proof.
elim: n pi pay => [|n IH] pi pay; first by rewrite /= big_seq1 return_to_go_nil mulr0.
rewrite sum_responses_cons /=; apply: eq_bigr => a _; case: ifP => _.
  by rewrite prob_cons prob_nil return_to_go_cons return_to_go_nil mulr1.
rewrite /= value_cons IH.
under [in RHS]eq_bigr do rewrite prob_cons return_to_go_cons -mulrA mulrDr.
rewrite -mulr_sumr big_split /= -mulr_suml sum_prob_responses mul1r; congr (_ * (_ + _)).
by rewrite mulr_sumr; apply: eq_bigr => y _; rewrite mulrCA.
Qed.

Lemma dvalue_responses pi (dpi : variation pi) gamma pay n :
  dvalue dpi gamma pay n [::] = \sum_(y <- responses eos n) prob eos pi y * sample_gradient dpi gamma pay y.
Proof.
elim: n pi dpi pay => [|n IH] pi dpi pay; first by rewrite /= big_seq1 /sample_gradient big_ord0 mulr0.
have nil pi' (dpi' : variation pi') pay' : sample_gradient dpi' gamma pay' [::] = 0 by apply: big_ord0.
rewrite sum_responses_cons /=; apply: eq_bigr => a _; case: ifP => _.
  rewrite prob_cons prob_nil sample_gradient_cons return_to_go_cons return_to_go_nil nil !mulr0 !mulr1 !addr0.
  by rewrite mulrA dtoken_probK.
rewrite value_cons value_responses dvalue_cons IH -[dpi [::] a]dtoken_probK -mulrA -mulrDr.
under [in RHS]eq_bigr do rewrite prob_cons sample_gradient_cons return_to_go_cons -mulrA.
rewrite -[RHS]mulr_sumr; congr (_ * _).
under [in RHS]eq_bigr do rewrite mulrDr.
rewrite [RHS]big_split /=; congr (_ + _); last first.
  by rewrite mulr_sumr; apply: eq_bigr => y _; rewrite mulrCA.
under [in RHS]eq_bigr do rewrite mulrCA mulrDr.
rewrite -[RHS]mulr_sumr; congr (_ * _); rewrite [RHS]big_split /= -[X in _ = X + _]mulr_suml sum_prob_responses mul1r.
by congr (_ + _); rewrite mulr_sumr; apply: eq_bigr => y _; rewrite mulrCA.
Qed.

Variable H : nat.

(** T1. A trajectory is a response: for any rewards of the tokens and any discount, the expected return of the decision
    process is the mean over responses of what the response is paid. *)
Theorem t1_trajectories pi gamma pay :
  expected_return H pi gamma pay = mean_response pi (fun y : response eos H => return_to_go gamma pay y 0).
Proof.
by rewrite /expected_return value_responses -(sum_responses eos H (fun y => prob eos pi y * return_to_go gamma pay y
  0)).
Qed.

(** T1. The policy gradient theorem, for any rewards of the tokens and any discount: the derivative of the expected
    return is the mean over responses of the sum over tokens of score times return-to-go. *)
Theorem t1_policy_gradient pi (dpi : variation pi) gamma pay :
  dexpected_return H dpi gamma pay = mean_response pi (fun y : response eos H => sample_gradient dpi gamma pay y).
Proof.
rewrite /dexpected_return dvalue_responses.
by rewrite -(sum_responses eos H (fun y => prob eos pi y * sample_gradient dpi gamma pay y)).
Qed.

Lemma return_of_terminal r (y : response eos H) t : (t < size y)%N -> return_to_go 1 (terminal H r) y t = r y.
Proof.
case size_y: (size y) => [//|m]; rewrite ltnS => t_m.
have last_token u : (u <= m)%N -> complete eos H (rcons (before y u) (token eos y u)) = (u == m).
  by move=> u_m; rewrite -take_nth ?size_y ?ltnS // (complete_take (valP y)) size_y.
rewrite /return_to_go size_y big_nat_recr //= big_nat big1 => [|u /andP[_ u_m]].
  by rewrite add0r expr1n mul1r /terminal last_token // eqxx -take_nth ?size_y // -size_y take_size.
by rewrite /terminal last_token ?(ltnW u_m) // ltn_eqF // mulr0.
Qed.

(** T1. With a terminal reward and no discount, what one sample contributes to the policy gradient, its token scores
    times the returns from them on, is its reward times the score of the whole response. *)
Theorem t1_per_sample pi (dpi : variation pi) r (y : response eos H) :
  sample_gradient dpi 1 (terminal H r) y = r y * score eos dpi y.
Proof.
rewrite /sample_gradient /score mulr_sumr; apply: eq_bigr => t _.
by rewrite return_of_terminal // expr1n mul1r mulrC.
Qed.

Section Bandit.
Hypothesis H_gt0 : (0 < H)%N.

(** T1. With a terminal reward and no discount, the expected return of the decision process is that of a bandit whose
    arms are whole responses, J = Σ_y π(y) r(y). *)
Theorem t1_value pi r : expected_return H pi 1 (terminal H r) = mean_response pi (fun y : response eos H => r y).
Proof.
rewrite t1_trajectories; apply: eq_bigr => y _; rewrite return_of_terminal //.
exact: complete_nonempty (valP y).
Qed.

(** T1. Its derivative is that of the bandit. *)
Theorem t1_gradient pi (dpi : variation pi) r :
  dexpected_return H dpi 1 (terminal H r) = dmean_response dpi (fun y : response eos H => r y).
Proof.
rewrite t1_policy_gradient; apply: eq_bigr => y _.
by rewrite t1_per_sample mulrCA mulrC.
Qed.

(** A plan writes a fixed response, without looking: the probability of a token depends on its place alone. *)
Definition plan_prob y s a : F := (a == nth eos y (size s))%:R.
Lemma plan_ge0 y s a : 0 <= plan_prob y s a. Proof. exact: ler0n. Qed.
Lemma plan_sum y s : \sum_a plan_prob y s a = 1.
Proof. by rewrite (bigD1 (nth eos y (size s))) //= big1 => [|a /negPf]; rewrite /plan_prob ?eqxx ?addr0 // => ->. Qed.
Definition plan y : policy F V := Policy (plan_ge0 y) (plan_sum y).

Lemma plan_return r (y : response eos H) : mean_response (plan y) (fun z : response eos H => r z) = r y.
Proof.
have prob_y : prob eos (plan y) y = 1.
  by rewrite /prob big1 // => t _; rewrite /= /plan_prob size_take ltn_ord eqxx.
have others : \sum_(z : response eos H | z != y) prob eos (plan y) z = 0.
  by have := sum_prob eos H (plan y); rewrite (bigD1 y) //= prob_y; move/(canRL (addKr 1)); rewrite addNr.
rewrite /mean_response (bigD1 y) //= prob_y mul1r big1 ?addr0 // => z z_y.
have := others; move/eqP; rewrite psumr_eq0 => [|z' _]; last exact: prob_ge0.
by move/allP/(_ z (mem_index_enum z)); rewrite z_y => /eqP->; rewrite mul0r.
Qed.

Lemma mean_response_le pi r (m : F) : (forall z : response eos H, r z <= m) ->
  mean_response pi (fun z : response eos H => r z) <= m.
Proof.
move=> r_m; rewrite -[m]mul1r -(sum_prob eos H pi) mulr_suml.
by apply: ler_sum => z _; apply: ler_wpmul2l; rewrite ?prob_ge0.
Qed.

Lemma best_response r : exists y : response eos H, forall z : response eos H, r z <= r y.
Proof.
have [y0 _|none] := pickP (@predT (response eos H)).
  by exists [arg max_(y > y0) r (tokens y)]%O; case: Order.TotalTheory.arg_maxP => // y _ best z; apply: best.
have := sum_prob eos H (plan [::]); rewrite big1 => [/eqP|z _]; first by rewrite eq_sym oner_eq0.
by have := none z.
Qed.

(** T1. Open loop is closed loop: there is a response that no policy beats, however it reacts to its own tokens, and
    the plan that writes it without looking attains its reward. *)
Theorem t1_open_loop r : exists y : response eos H,
  expected_return H (plan y) 1 (terminal H r) = r y /\ forall pi, expected_return H pi 1 (terminal H r) <= r y.
Proof.
have [y best] := best_response r; exists y; split; first by rewrite t1_value plan_return.
by move=> pi; rewrite t1_value; apply: mean_response_le.
Qed.
End Bandit.

End Process.

(** An environment that speaks: it answers each token of the policy with a token of its own, and the state is the
    transcript of both. An environment is, formally, another policy. *)
Section Environment.
Variables (F : rcfType) (V : finType).
Implicit Types (pi env : policy F V) (r : seq V -> F) (n : nat) (s : seq V).

(** The expected reward of the transcript after [n] more turns. *)
Fixpoint transcript_value pi env r n s : F :=
  if n is m.+1 then
    \sum_a pi s a * \sum_o env (rcons s a) o * transcript_value pi env r m (rcons (rcons s a) o)
  else r s.

Definition deterministic env : Prop := forall s, exists o, env s o = 1.

(** A policy that does not look at what the environment says, but only at how many tokens there are. *)
Definition open_loop pi : Prop := forall s s' a, size s = size s' -> pi s a = pi s' a.

Lemma sum_answer env s o (f : V -> F) : env s o = 1 -> \sum_o' env s o' * f o' = f o.
Proof.
move=> env_o; rewrite (bigD1 o) //= env_o mul1r big1 ?addr0 // => o' o'_o.
have := token_prob_sum env s; rewrite (bigD1 o) //= env_o => /(canRL (addKr 1)); rewrite addNr => /eqP.
rewrite psumr_eq0 => [|z _]; last exact: token_prob_ge0.
by move/allP/(_ o' (mem_index_enum o')); rewrite o'_o => /eqP->; rewrite mul0r.
Qed.

(** The plan that says [l] in its turns, whatever the answers; [d] is said after the end of [l]. *)
Definition turns_prob (d : V) (l : seq V) s a : F := (a == nth d l (size s)./2)%:R.
Lemma turns_ge0 d l s a : 0 <= turns_prob d l s a. Proof. exact: ler0n. Qed.
Lemma turns_sum d l s : \sum_a turns_prob d l s a = 1.
Proof.
rewrite (bigD1 (nth d l (size s)./2)) //= big1 => [|a /negPf]; rewrite /turns_prob ?eqxx ?addr0 //.
by move->.
Qed.
Definition turns d l : policy F V := Policy (turns_ge0 d l) (turns_sum d l).
Lemma turnsE d l0 l a s b : size s = (size l0).*2 -> turns d (l0 ++ a :: l) s b = (b == a)%:R.
Proof. by move=> size_s; rewrite /= /turns_prob size_s doubleK nth_cat ltnn subnn. Qed.

Section Deterministic.
Variables (env : policy F V) (r : seq V -> F) (answer : seq V -> V).
Hypothesis env_answer : forall s, env s (answer s) = 1.

Fixpoint play l s : seq V := if l is a :: l' then play l' (rcons (rcons s a) (answer (rcons s a))) else s.

Lemma value_turns d l0 l s : size s = (size l0).*2 ->
  transcript_value (turns d (l0 ++ l)) env r (size l) s = r (play l s).
Proof.
elim: l l0 s => [|a l IH] l0 s size_s; first by [].
rewrite /= (@sum_answer (turns d (l0 ++ a :: l)) _ a) ?turnsE ?eqxx // (sum_answer _ (env_answer _)).
by rewrite -cat_rcons IH // !size_rcons size_s.
Qed.

Lemma best_turns n s : exists l : seq V, size l = n /\ forall pi, transcript_value pi env r n s <= r (play l s).
Proof.
elim: n s => [|n IH] s; first by exists [::].
have [f best] := @fin_all_exists V _ _ (fun a => IH (rcons (rcons s a) (answer (rcons s a)))).
have [a0 _|none] := pickP (@predT V); last first.
  have := token_prob_sum env [::]; rewrite big1 => [/eqP|a _]; first by rewrite eq_sym oner_eq0.
  by have := none a.
pose after_turn a := r (play (a :: f a) s).
have [a _ a_best] := Order.TotalTheory.arg_maxP after_turn (isT : predT a0).
exists (a :: f a); split=> [|pi]; first by rewrite /= (proj1 (best a)).
rewrite -[r _]mul1r -(token_prob_sum pi s) mulr_suml; apply: ler_sum => b _.
apply: ler_wpmul2l; rewrite ?token_prob_ge0 // (sum_answer _ (env_answer _)).
exact: le_trans (proj2 (best b) pi) (a_best b isT).
Qed.
End Deterministic.

(** T1. Open loop is closed loop wherever the answers of the environment are determined: then no policy, however it
    reacts to the transcript, beats the best plan that does not look at it. *)
Theorem t1_deterministic_environment env r n : deterministic env ->
  exists plan, open_loop plan /\ forall pi, transcript_value pi env r n [::] <= transcript_value plan env r n [::].
Proof.
move=> det; have [d _] := det [::].
pose answer s : V := odflt d [pick o | env s o == 1].
have env_answer s : env s (answer s) = 1.
  rewrite /answer; case: pickP => [o /eqP //|none].
  by have [o /eqP] := det s; rewrite none.
have [l [size_l best]] := best_turns r env_answer n [::]; exists (turns d l); split=> [s s' a size_s|pi].
  by rewrite /= /turns_prob size_s.
by apply: le_trans (best pi) _; rewrite -size_l (@value_turns _ _ _ env_answer d [::]).
Qed.
End Environment.

Section Counterexamples.
Variable F : rcfType.

(** T1 without "no discount": at any γ ≠ 1, what a sample contributes to the policy gradient need not be its reward
    times its score. (A fair coin for each of two tokens; [true] ends a response.) *)
Theorem t1_without_undiscounted (gamma : F) : gamma != 1 ->
  exists (dpi : variation (coin F)) (r : seq bool -> F) (y : seq bool),
  complete true 2 y /\ sample_gradient true dpi gamma (terminal true 2 r) y != r y * score true dpi y.
Proof.
move=> gamma_neq1; exists (tilt F [::]), (fun=> 1), [:: false; false]; split=> //.
rewrite !sample_gradient_cons !return_to_go_cons return_to_go_nil !score_cons score_nil /sample_gradient big_ord0 /=.
rewrite /tilt_at /terminal /= !(mul0r, mulr0, addr0, add0r, mulr1, mul1r).
by rewrite -subr_eq0 -[X in _ - X]mulr1 -mulrBr !mulf_neq0 ?oppr_eq0 ?oner_neq0 ?invr_neq0 ?pnatr_eq0 ?subr_eq0.
Qed.

(** T1 without "the reward is terminal": if a token is paid at once (as a KL term in the reward is), what a sample
    contributes to the policy gradient need not be its return times its score, even without discount. *)
Theorem t1_without_terminal_reward :
  exists (dpi : variation (coin F)) (pay : seq bool -> bool -> F) (y : seq bool),
  complete true 2 y /\ sample_gradient true dpi 1 pay y != return_to_go true 1 pay y 0 * score true dpi y.
Proof.
exists (tilt F [:: false]), (fun s _ => (s == [::])%:R), [:: false; false]; split=> //.
rewrite !sample_gradient_cons !return_to_go_cons return_to_go_nil !score_cons score_nil /sample_gradient big_ord0 /=.
rewrite /tilt_at /= !(mul0r, mulr0, addr0, add0r, mulr1, mul1r) eq_sym.
by rewrite !mulf_neq0 ?oppr_eq0 ?oner_neq0 ?invr_neq0 ?pnatr_eq0.
Qed.

(** T1 without "no discount", the optimum: at any γ in [0, 1) there are rewards for which another policy beats the plan
    that writes the response with the largest reward. *)
Theorem t1_without_undiscounted_optimum (gamma : F) : 0 <= gamma < 1 ->
  exists (r : seq bool -> F) (y : response (true : [finType of bool]) 2) (pi : policy F [finType of bool]),
  (forall z : response (true : [finType of bool]) 2, r z <= r y) /\
  expected_return true 2 (plan F true y) gamma (terminal true 2 r) <
  expected_return true 2 pi gamma (terminal true 2 r).
Proof.
move=> /andP[gamma_ge0 gamma_lt1]; pose short := (1 + gamma) / 2%:R.
have short_gt : gamma < short by rewrite /short ltr_pdivl_mulr ?ltr0n // mulr_natr mulr2n ltr_add2r.
have short_le1 : short <= 1 by rewrite /short ler_pdivr_mulr ?ltr0n // mul1r mulr2n ler_add2l ltW.
pose r (y : seq bool) : F := if y == [:: true] then short else (y == [:: false; true])%:R.
exists r.
exists (@response_of [finType of bool] true 2 [:: false; true] isT), (plan F true [:: true]).
split=> [z|]; first by rewrite /r /=; case: ifP => // _; rewrite lern1 leq_b1.
have paid (y : response (true : [finType of bool]) 2) :
    expected_return true 2 (plan F true y) gamma (terminal true 2 r) = return_to_go true gamma (terminal true 2 r) y 0.
  by rewrite t1_trajectories (plan_return (fun z => return_to_go true gamma (terminal true 2 r) z 0)).
rewrite paid (paid (@response_of [finType of bool] true 2 [:: true] isT)) /= !return_to_go_cons !return_to_go_nil.
by rewrite /terminal /r /= !(mulr0, addr0, add0r, mulr1).
Qed.

(** An environment that answers with a fair coin; in its second turn the policy is paid for naming what the coin
    showed in the first. *)
Definition named (s : seq bool) : F := (nth true s 1 == nth true s 2)%:R.

(** T1 without "the answers of the environment are determined": a policy that looks wins always, and a plan that does
    not look wins half of the time. *)
Theorem t1_without_determinism : exists (env : policy F [finType of bool]) (r : seq bool -> F),
  (exists pi, transcript_value pi env r 2 [::] = 1) /\
  forall pi, open_loop pi -> transcript_value pi env r 2 [::] = 2%:R^-1.
Proof.
exists (coin F), named; split.
  have look_sum (s : seq bool) : \sum_(a : bool) (a == last true s)%:R = 1 :> F.
    by rewrite big_bool; case: (last true s); rewrite /= ?addr0 ?add0r.
  exists (@Policy F [finType of bool] (fun s a => (a == last true s)%:R) (fun _ _ => ler0n _ _) look_sum).
  rewrite /= !big_bool /= /named /= !(mul0r, mulr0, addr0, add0r, mulr1, mul1r) !half_add_half.
  by rewrite !mulr1 half_add_half.
move=> pi open; rewrite /= !big_bool /= /named /= !(mul0r, mulr0, addr0, add0r, mulr1, mul1r) !half_add_half !mulr1.
rewrite !(open [:: _; _] [::true; true]) // -!mulrDr.
have two s : pi s true + pi s false = 1 by rewrite -[RHS](token_prob_sum pi s) big_bool.
by rewrite two mulr1 -mulrDl two mul1r.
Qed.
End Counterexamples.

(** T1. The mean of the score over responses is 0. *)
Theorem t1_mean_score (F : rcfType) (V : finType) (eos : V) (H : nat) (pi : policy F V) (dpi : variation pi) :
  mean_response pi (fun y : response eos H => score eos dpi y) = 0.
Proof. exact: sum_dprob. Qed.

From mathcomp Require Import boolp classical_sets functions reals topology normedtype derive exp realfun.
From Rino Require Import derivatives.
Import numFieldNormedType.Exports.

(** T1. The score of a response, the sum of its tokens' scores, is the derivative of its log-probability, in every
    direction of the parameters. *)
Theorem t1_score (R : realType) (T : normedModType R) (V : finType) (eos : V) (pi : T -> policy R V) (theta v : T)
    (dpi : variation (pi theta)) (y : seq V) : derivative_along v dpi -> 0 < prob eos (pi theta) y ->
  is_derive theta v (fun th => ln (prob eos (pi th) y)) (score eos dpi y).
Proof.
move=> dpiP pos; apply: (is_derive_eq (is_derive_comp (is_derive1_ln pos) (derivative_prob eos y dpiP))).
by rewrite /dprob mulKf // gt_eqF.
Qed.
