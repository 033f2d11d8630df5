(** Groups of independent responses, seen through their outcomes: the expected gradient of a rule that looks at the
    outcomes of a group alone is a sum over outcomes of a number times the derivative of the outcome's probability. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import definitions responses.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Independence.
Variables (F : rcfType) (Y O : finType) (P dP s f : Y -> F) (o : Y -> O) (G : nat).
Hypothesis P_score : forall y, P y * s y = dP y.

(** The probability of an outcome. *)
Definition outcome_prob (z : O) : F := \sum_(y | o y == z) P y.

Lemma expectation_by_outcomes (A : {ffun 'I_G -> O} -> 'I_G -> F) (i : 'I_G) :
  \sum_(g : {ffun 'I_G -> Y}) (\prod_j P (g j)) * (A [ffun j => o (g j)] i * (f (g i) * s (g i))) =
  \sum_(b : {ffun 'I_G -> O})
    A b i * (\prod_(j | j != i) outcome_prob (b j)) * \sum_(y | o y == b i) f y * dP y.
Proof.
rewrite (partition_big (fun g : {ffun 'I_G -> Y} => [ffun j => o (g j)]) xpredT) //=.
apply: eq_bigr => b _; rewrite -mulrA.
pose Q j y := if j == i then f y * dP y else P y.
transitivity (A b i * \sum_(g in family (fun j => [pred y | o y == b j])) \prod_j Q j (g j)).
  rewrite mulr_sumr; apply: eq_big => [g|g /eqP gb].
    apply/eqP/familyP => [<- j|gP]; first by rewrite inE ffunE.
    by apply/ffunP => j; rewrite ffunE; apply/eqP/gP.
  rewrite gb mulrCA; congr (_ * _).
  rewrite (bigD1 i) //= [in RHS](bigD1 i) //= /Q eqxx -P_score.
  have -> : \prod_(j < G | j != i) (if j == i then f (g j) * dP (g j) else P (g j)) = \prod_(j < G | j != i) P (g j).
    by apply: eq_bigr => j /negPf->.
  by rewrite -mulrA [_ * (f _ * s _)]mulrC !mulrA [f _ * P _]mulrC -!mulrA.
congr (_ * _); rewrite -(bigA_distr_big_dep (fun j y => o y == b j) Q) (bigD1 i) //= mulrC.
congr (_ * _); last by apply: eq_bigr => y _; rewrite /Q eqxx.
by apply: eq_bigr => j /negPf ji; apply: eq_bigr => y _; rewrite /Q ji.
Qed.

End Independence.

(** Right and wrong: what a group expects of the weight of a right and of a wrong member. *)
Section Binary.
Variables (F : rcfType) (G : nat).
Implicit Types (A : outcome_rule F G) (b : {ffun 'I_G -> bool}) (p : F).

(** The probability of the others' outcomes, each right with probability [p]. *)
Definition others_prob (i : 'I_G) p b : F := \prod_(j | j != i) (if b j then p else 1 - p).

(** The expected advantage of a right member, and of a wrong one, averaged over the places in the group. *)
Definition expected_right A p : F := G%:R^-1 * \sum_i \sum_(b : {ffun 'I_G -> bool} | b i) A b i * others_prob i p b.
Definition expected_wrong A p : F := G%:R^-1 * \sum_i \sum_(b : {ffun 'I_G -> bool} | ~~ b i) A b i * others_prob i p b.

(** A rule that counts: [a1 k] for a right and [a0 k] for a wrong member of a group with [k] right ones. *)
Definition counting_rule (a1 a0 : nat -> F) : outcome_rule F G :=
  fun b i => if b i then a1 (right b) else a0 (right b).

Lemma expectation_of_count (i : 'I_G) (v : bool) (h : nat -> F) p :
  \sum_(b : {ffun 'I_G -> bool} | b i == v) h (right b - v)%N * others_prob i p b =
  \sum_(k < G) binomial_law G.-1 p k * h k.
Proof.
have G_gt0 : (0 < G)%N by apply: leq_ltn_trans (ltn_ord i).
pose to (B : {set 'I_G}) := [ffun j => if j == i then v else j \in B].
have to_i (B : {set 'I_G}) : to B i = v by rewrite ffunE eqxx.
have to_right (B : {set 'I_G}) : i \notin B -> right (to B) = (#|B| + v)%N.
  move=> iB; rewrite /right; have -> : [set j | to B j] = if v then i |: B else B.
    apply/setP => j; rewrite inE ffunE; case: eqP => [->|/eqP ji].
      by case: (v); rewrite ?setU11 // (negPf iB).
    by case: (v); rewrite // in_setU1 (negPf ji).
  by case: (v); rewrite ?cardsU1 ?iB ?addn0 // addn1.
rewrite (reindex_onto to (fun b => [set j | (j != i) && b j])) /=; last first.
  move=> b /eqP bi; apply/ffunP => j; rewrite ffunE inE; case: eqP => [->|_] //.
have pred (B : {set 'I_G}) : (to B i == v) && ([set j | (j != i) && to B j] == B) = (B \subset [set~ i]).
  rewrite to_i eqxx subsetC sub1set inE /=; apply/eqP/idP => [<-|iB]; first by rewrite inE eqxx.
  by apply/setP => j; rewrite inE ffunE; case: eqP => [->|//]; rewrite (negPf iB).
rewrite (eq_bigl _ _ pred).
have card (B : {set 'I_G}) : B \subset [set~ i] -> (#|B| < G)%N.
  by move/subset_leq_card; rewrite cardsC1 card_ord => le; apply: leq_ltn_trans le _; rewrite ltn_predL.
transitivity (\sum_(B : {set 'I_G} | B \subset [set~ i]) p ^+ #|B| * (1 - p) ^+ (G.-1 - #|B|) * h #|B|).
  apply: eq_bigr => B sub; have iB : i \notin B by move: sub; rewrite subsetC sub1set inE.
  rewrite to_right // addnK mulrC; congr (_ * _); rewrite /others_prob.
  transitivity (\prod_(j in [set~ i]) if j \in B then p else 1 - p).
    apply: eq_big => [j|j ji]; first by rewrite !inE.
    by rewrite ffunE (negPf ji).
  rewrite (big_setID B) /=; congr (_ * _).
    rewrite (setIidPr sub) -prodr_const; apply: eq_bigr => j jB; by rewrite jB.
  rewrite (eq_bigr (fun=> 1 - p)) => [|j]; last by rewrite inE => /andP[/negPf->].
  by rewrite prodr_const cardsD (setIidPr sub) cardsC1 card_ord.
rewrite (partition_big (fun B : {set 'I_G} => inord #|B| : 'I_G.-1.+1) xpredT) //=.
rewrite -[in RHS](prednK G_gt0); apply: eq_bigr => k _.
transitivity (\sum_(B in [set B : {set 'I_G} | B \subset [set~ i] & #|B| == k])
    p ^+ k * (1 - p) ^+ (G.-1 - k) * h k).
  apply: eq_big => [B|B /andP[sub /eqP <-]]; last by rewrite inordK // (prednK G_gt0) card.
  rewrite inE; case sub: (B \subset _) => //=.
  by rewrite -val_eqE /= inordK // (prednK G_gt0) card.
by rewrite sumr_const cards_draws cardsC1 card_ord /binomial_law mulrnAl.
Qed.

Lemma expected_right_counting a1 a0 p :
  (0 < G)%N -> expected_right (counting_rule a1 a0) p = \sum_(k < G) binomial_law G.-1 p k * a1 k.+1.
Proof.
move=> G_gt0; rewrite /expected_right (eq_bigr (fun=> \sum_(k < G) binomial_law G.-1 p k * a1 k.+1)).
  by rewrite sumr_const card_ord -[X in _ * X]mulr_natl mulKf // pnatr_eq0 -lt0n.
move=> i _; rewrite -(expectation_of_count i true (fun k => a1 k.+1)).
apply: eq_big => [b|b bi]; first by case: (b i).
rewrite /counting_rule bi subn1 prednK //; apply/card_gt0P; by exists i; rewrite inE.
Qed.

Lemma expected_wrong_counting a1 a0 p :
  (0 < G)%N -> expected_wrong (counting_rule a1 a0) p = \sum_(k < G) binomial_law G.-1 p k * a0 k.
Proof.
move=> G_gt0; rewrite /expected_wrong (eq_bigr (fun=> \sum_(k < G) binomial_law G.-1 p k * a0 k)).
  by rewrite sumr_const card_ord -[X in _ * X]mulr_natl mulKf // pnatr_eq0 -lt0n.
move=> i _; rewrite -(expectation_of_count i false a0).
apply: eq_big => [b|b bi]; first by case: (b i).
by rewrite /counting_rule (negPf bi) subn0.
Qed.
End Binary.

(** The link to tokens. *)
Section Gradient.
Variables (F : rcfType) (V : finType) (eos : V) (H G : nat) (pi : policy F V) (dpi : variation pi).

Lemma eq_expected_gradient (w w' : token_weights F eos H G) :
  (forall g i t, w g i t = w' g i t) -> expected_gradient dpi w = expected_gradient dpi w'.
Proof.
move=> eq_w; apply: eq_bigr => g _; congr (_ * (_ * _)); apply: eq_bigr => i _; apply: eq_bigr => t _.
by rewrite eq_w.
Qed.

Variable r : response eos H -> bool.

(** A rule of the outcomes, times any factor of the response itself (1, or one over its length). *)
Lemma expected_gradient_by_outcomes (A : outcome_rule F G) (f : response eos H -> F) :
  expected_gradient dpi (fun g i _ => A (outcomes r g) i * f (g i)) =
  expected_right A (success pi r) * dmean_response dpi (fun y => (r y)%:R * f y) +
  expected_wrong A (success pi r) * dmean_response dpi (fun y => (~~ r y)%:R * f y).
Proof.
have P_score (y : response eos H) : prob eos pi y * score eos dpi y = dprob eos dpi y by [].
have right_prob z : outcome_prob (fun y : response eos H => prob eos pi y) r z =
    if z then success pi r else 1 - success pi r.
  have -> : success pi r = outcome_prob (fun y : response eos H => prob eos pi y) r true.
    rewrite /success /mean_response /outcome_prob [RHS]big_mkcond; apply: eq_bigr => y _.
    by case: (r y); rewrite ?mulr1 ?mulr0.
  case: z => //; have := sum_prob eos H pi; rewrite (bigID r) /= => <-; rewrite /outcome_prob.
  rewrite (eq_bigl _ _ (fun y => eqbF_neg (r y))) [X in _ - X](eq_bigl _ _ (fun y => eqb_id (r y))).
  by rewrite addrAC subrr add0r.
have part (z : bool) : \sum_(y : response eos H | r y == z) f y * dprob eos dpi y =
    dmean_response dpi (fun y : response eos H => (r y == z)%:R * f y).
  rewrite /dmean_response big_mkcond; apply: eq_bigr => y _.
  by case: (r y == z); rewrite ?mul1r ?mul0r ?mulr0 // mulrC.
transitivity (G%:R^-1 * \sum_i \sum_(b : {ffun 'I_G -> bool})
   A b i * others_prob i (success pi r) b * dmean_response dpi (fun y : response eos H => (r y == b i)%:R * f y)).
  rewrite /expected_gradient /group_gradient.
  rewrite [LHS](eq_bigr (fun g : {ffun 'I_G -> response eos H} => G%:R^-1 * \sum_i (\prod_j prob eos pi (g j)) *
    \sum_(t < size (g i)) A (outcomes r g) i * f (g i) * token_score eos dpi (g i) t)); last first.
    by move=> g _; rewrite mulrCA mulr_sumr.
  rewrite -mulr_sumr exchange_big /=; congr (_ * _); apply: eq_bigr => i _.
  transitivity (\sum_(g : {ffun 'I_G -> response eos H}) (\prod_j prob eos pi (g j)) *
      (A [ffun j => r (g j)] i * (f (g i) * score eos dpi (g i)))).
    by apply: eq_bigr => g _; congr (_ * _); rewrite -mulr_sumr mulrA.
  rewrite (@expectation_by_outcomes _ _ _ (fun y : response eos H => prob eos pi y) _
    (fun y : response eos H => score eos dpi y) f r G P_score).
  apply: eq_bigr => b _; rewrite part /others_prob; congr (_ * _ * _); apply: eq_bigr => j _.
  by rewrite right_prob.
rewrite /expected_right /expected_wrong -!mulrA -mulrDr; congr (_ * _).
rewrite !mulr_suml -big_split /=; apply: eq_bigr => i _; rewrite (bigID (fun b : {ffun _} => b i)) /=.
congr (_ + _); rewrite mulr_suml; apply: eq_bigr => b bi; congr (_ * _); rewrite /dmean_response;
  apply: eq_bigr => y _; congr (_ * (_%:R * _)).
  by rewrite bi; case: (r y).
by rewrite (negPf bi); case: (r y).
Qed.
End Gradient.
