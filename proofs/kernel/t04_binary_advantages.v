(** T4: the advantages of GRPO for right and wrong answers, in closed form. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Rino Require Import algebra definitions.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Advantages.
Variables (F : rcfType) (G : nat).
Add Field F_field : (plain_field F).
Hypothesis G_gt0 : (0 < G)%N.
Implicit Types (b : {ffun 'I_G -> bool}) (i : 'I_G).

(** The share of right ones in the group. *)
Definition share b : F := (right b)%:R / G%:R.

Lemma G_neq0 : G%:R != 0 :> F.
Proof. by rewrite pnatr_eq0 -lt0n. Qed.

Lemma sum_reward b : \sum_i reward F b i = (right b)%:R.
Proof.
rewrite /right -sum1_card natr_sum [RHS]big_mkcond; apply: eq_bigr => i _.
by rewrite inE /reward; case: (b i).
Qed.

Lemma mean_rewardE b : mean_reward F b = share b.
Proof. by rewrite /mean_reward /group_mean sum_reward mulrC. Qed.

Lemma share_bounds b : 0 <= share b <= 1.
Proof.
rewrite divr_ge0 ?ler0n //= ler_pdivr_mulr ?ltr0n // mul1r ler_nat.
by rewrite -[X in (_ <= X)%N]card_ord max_card.
Qed.

Lemma sum_squares b : \sum_i (reward F b i - share b) ^+ 2 = G%:R * (share b * (1 - share b)).
Proof.
under eq_bigr => i _.
  have -> : (reward F b i - share b) ^+ 2 = reward F b i * (1 - share b *+ 2) + share b ^+ 2.
    by rewrite /reward; case: (b i) => /=; ring_of F.
  over.
rewrite big_split /= -mulr_suml sum_reward sumr_const card_ord -[X in _ + X]mulr_natl.
have -> : (right b)%:R = G%:R * share b by rewrite mulrC mulfVK ?G_neq0.
by ring_of F.
Qed.

Lemma group_std_reward b : group_std 0 (reward F b) = Num.sqrt (share b * (1 - share b)).
Proof. by rewrite /group_std -/(mean_reward F b) mean_rewardE sum_squares subn0 mulKf ?G_neq0. Qed.

Lemma quotient_of_root (x y : F) : 0 <= x -> 0 <= y -> x / Num.sqrt (y * x) = Num.sqrt (x / y).
Proof.
move=> x_ge0 y_ge0; have [->|x_neq0] := eqVneq x 0; first by rewrite !mul0r sqrtr0.
have [->|y_neq0] := eqVneq y 0; first by rewrite mul0r sqrtr0 invr0 !mulr0 sqrtr0.
have root_neq0 z : 0 <= z -> z != 0 -> Num.sqrt z != 0.
  by move=> z_ge0 z_neq0; rewrite sqrtr_eq0 -ltNge lt_neqAle eq_sym z_neq0 z_ge0.
rewrite !sqrtrM // sqrtrV // -{1}[x]sqr_sqrtr // expr2 invfM -mulrA; congr (_ * _).
by rewrite mulrC mulfVK ?root_neq0.
Qed.

(** T4. Let p̂ = k/G be the share of right ones. GRPO's advantage, (r − mean)/std, is √((1−p̂)/p̂) for a right and
    −√(p̂/(1−p̂)) for a wrong response. (Division by 0 gives 0 in Coq, so both are 0 if all are alike.) *)
Theorem t4_advantages b i :
  grpo F 0 b i = if b i then Num.sqrt ((1 - share b) / share b) else - Num.sqrt (share b / (1 - share b)).
Proof.
have /andP[p_ge0 p_le1] := share_bounds b; have q_ge0 : 0 <= 1 - share b by rewrite subr_ge0.
rewrite /grpo group_std_reward mean_rewardE /reward; case: (b i).
  by rewrite quotient_of_root.
by rewrite sub0r mulNr [share b * (1 - share b)]mulrC quotient_of_root.
Qed.

(** T4. The mean reward is k/G = p̂, and the variance p̂ (1 − p̂). *)
Theorem t4_moments b : mean_reward F b = (right b)%:R / G%:R /\
  G%:R^-1 * (\sum_i (reward F b i - mean_reward F b) ^+ 2) = share b * (1 - share b).
Proof. by rewrite mean_rewardE sum_squares mulKf ?G_neq0. Qed.

(** T4. In counts, the advantages are √((G−k)/k) and −√(k/(G−k)). *)
Theorem t4_counts b i : grpo F 0 b i =
  if b i then Num.sqrt ((G - right b)%:R / (right b)%:R) else - Num.sqrt ((right b)%:R / (G - right b)%:R).
Proof.
have le_k : (right b <= G)%N by rewrite -[X in (_ <= X)%N]card_ord max_card.
rewrite t4_advantages; have -> : 1 - share b = (G - right b)%:R / G%:R.
  by rewrite natrB // mulrBl divff ?G_neq0.
have quotient (x y : F) : x / G%:R / (y / G%:R) = x / y.
  by rewrite invf_div mulrA mulfVK ?G_neq0.
by rewrite /share !quotient.
Qed.

(** T4. The advantages are all 0 if the group is all wrong or all right. *)
Theorem t4_uniform_groups b i : right b = 0%N \/ right b = G -> grpo F 0 b i = 0.
Proof.
move=> uniform; rewrite /grpo group_std_reward.
have -> : share b * (1 - share b) = 0.
  by case: uniform; rewrite /share => ->; rewrite ?mul0r // divff ?G_neq0 // subrr mulr0.
by rewrite sqrtr0 invr0 mulr0.
Qed.

(** T4. The advantages of a group sum to 0. *)
Theorem t4_zero_sum b : \sum_i grpo F 0 b i = 0.
Proof.
rewrite -mulr_suml; suff -> : \sum_i (reward F b i - mean_reward F b) = 0 by rewrite mul0r.
rewrite sumrB sum_reward sumr_const card_ord -[X in _ - X]mulr_natl mean_rewardE /share [G%:R * _]mulrC mulfVK ?G_neq0 //.
exact: subrr.
Qed.

(** T4. The divisor G − 1 in the variance multiplies all advantages by √((G−1)/G). *)
Theorem t4_ddof b i : (1 < G)%N -> grpo F 1 b i = Num.sqrt ((G - 1)%:R / G%:R) * grpo F 0 b i.
Proof.
move=> G_gt1; have G1_neq0 : (G - 1)%:R != 0 :> F by rewrite pnatr_eq0 subn_eq0 -ltnNge.
rewrite /grpo mulrCA; congr (_ * _); rewrite /group_std subn0 -/(mean_reward F b) mean_rewardE sum_squares.
have /andP[p_ge0 p_le1] := share_bounds b.
have v_ge0 : 0 <= share b * (1 - share b) by rewrite mulr_ge0 // subr_ge0.
rewrite mulKf ?G_neq0 //; have -> : forall v : F, (G - 1)%:R^-1 * (G%:R * v) = ((G - 1)%:R / G%:R)^-1 * v.
  by move=> v; rewrite invf_div mulrA [G%:R / _]mulrC.
by rewrite [in LHS]sqrtrM ?invr_ge0 ?divr_ge0 ?ler0n // sqrtrV ?divr_ge0 ?ler0n // invfM invrK.
Qed.

End Advantages.

Section Conventions.
Variables (F : rcfType) (G : nat).
Implicit Types (x : 'I_G -> F) (i : 'I_G).

Lemma sum_differences x : (0 < G)%N -> \sum_i (x i - group_mean x) = 0.
Proof.
move=> G_gt0; rewrite sumrB sumr_const card_ord -[X in _ - X]mulr_natl /group_mean mulVKf ?subrr //.
by rewrite pnatr_eq0 -lt0n.
Qed.

(** The advantage of the conventions in use: the deviation with the divisor G − ddof, and a floor added to it. *)
Definition advantage_of (ddof : nat) (epsilon : F) x i : F :=
  (x i - group_mean x) / (group_std ddof x + epsilon).

(** T4. Whatever the rewards, the differences from the mean sum to 0, and so do the advantages with any divisor and any
    floor. *)
Theorem t4_differences x ddof epsilon : (0 < G)%N ->
  \sum_i (x i - group_mean x) = 0 /\ \sum_i advantage_of ddof epsilon x i = 0.
Proof. by move=> G_gt0; rewrite -mulr_suml sum_differences ?mul0r. Qed.

(** T4. Without a floor and with rewards 0 and 1 this is GRPO's advantage. *)
Theorem t4_no_floor ddof b i : advantage_of ddof 0 (reward F b) i = grpo F ddof b i.
Proof. by rewrite /advantage_of addr0. Qed.

(** T4. Two conventions differ by one positive factor for the whole group: the quotient of what they divide by. *)
Theorem t4_conventions x i ddof ddof' epsilon epsilon' : 0 < epsilon -> 0 < epsilon' ->
  let factor := (group_std ddof' x + epsilon') / (group_std ddof x + epsilon) in
  0 < factor /\ advantage_of ddof epsilon x i = factor * advantage_of ddof' epsilon' x i.
Proof.
move=> e_gt0 e'_gt0 factor; have s_gt0 : 0 < group_std ddof x + epsilon by rewrite ltr_paddl ?sqrtr_ge0.
have s'_gt0 : 0 < group_std ddof' x + epsilon' by rewrite ltr_paddl ?sqrtr_ge0.
split; first by rewrite divr_gt0.
by rewrite /factor /advantage_of [RHS]mulrCA mulrAC divff ?mul1r ?gt_eqF.
Qed.

(** T4. A floor makes every advantage smaller, and none of another sign. *)
Theorem t4_floor x i ddof epsilon : 0 < epsilon -> 0 < group_std ddof x ->
  `|advantage_of ddof epsilon x i| <= `|advantage_of ddof 0 x i| /\
  (0 < advantage_of ddof epsilon x i) = (0 < advantage_of ddof 0 x i).
Proof.
move=> e_gt0 s_gt0; have se_gt0 : 0 < group_std ddof x + epsilon by rewrite addr_gt0.
rewrite /advantage_of addr0 !normrM !normfV !(gtr0_norm s_gt0) !(gtr0_norm se_gt0).
split; last by rewrite !pmulr_lgt0 ?invr_gt0.
by rewrite ler_wpmul2l ?normr_ge0 // lef_pinv ?posrE // ler_addl ltW.
Qed.
End Conventions.

Lemma one_minus_half (F : rcfType) : 1 - 2%:R^-1 = 2%:R^-1 :> F.
Proof. by apply: (addIr 2%:R^-1); rewrite subrK -mulr2n -[RHS]mulr_natl divff // pnatr_eq0. Qed.

Definition first_right : {ffun 'I_2 -> bool} := [ffun i => i == ord0].

(** T4 without "no floor under the deviation". With any ε > 0 added to the deviation, a right response in a group with
    one right of two does not get √((1−p̂)/p̂). *)
Theorem t4_without_zero_floor (F : rcfType) (epsilon : F) : 0 < epsilon ->
  (reward F first_right ord0 - mean_reward F first_right) / (group_std 0 (reward F first_right) + epsilon) !=
  Num.sqrt ((1 - share F first_right) / share F first_right).
Proof.
move=> epsilon_gt0; set b := first_right; rewrite group_std_reward // mean_rewardE //.
have -> : share F b = 2%:R^-1.
  rewrite /share; suff -> : right b = 1%N by rewrite mul1r.
  by rewrite /right (_ : [set i | b i] = [set ord0]) ?cards1 //; apply/setP => i; rewrite !inE ffunE.
have half : 1 - 2%:R^-1 = 2%:R^-1 :> F by apply: one_minus_half.
rewrite half divff ?invr_eq0 ?pnatr_eq0 // sqrtr1 -expr2 sqrtr_sqr ger0_norm ?invr_ge0 ?ler0n //.
rewrite /reward ffunE eqxx half; apply/negP => /eqP eq1.
have pos : 0 < 2%:R^-1 + epsilon by rewrite addr_gt0 // invr_gt0 ltr0n.
have eq2 : 2%:R^-1 = 2%:R^-1 + epsilon by rewrite -[RHS]mul1r -[X in X * (_ + _)]eq1 mulfVK ?gt_eqF.
by move: epsilon_gt0; rewrite -[epsilon](addKr 2%:R^-1) -eq2 addNr ltxx.
Qed.
