(** The words of the paper, as Coq definitions: vocabulary, prefix, policy, response, probability, score, group,
    token weights, expected gradient. Everything is over a real closed field [F], such as the real numbers: a field
    with an order, in which every non-negative number has a square root.

    Derivatives enter as numbers. A direction of the parameters moves the probability [pi s a] of each token at the rate
    [dpi s a]; all that is used of these rates is that they sum to 0 over the tokens, as probabilities sum to 1, and that
    a token that is never sampled has rate 0. So what is proved holds for every parametrisation and every direction.
    The file [derivatives.v] shows that real derivatives have these properties. *)
From mathcomp Require Import all_ssreflect all_algebra.
Set Implicit Arguments. Unset Strict Implicit. Unset Printing Implicit Defensive.
Import Order.TTheory GRing.Theory Num.Theory.
Local Open Scope ring_scope.

Section Tokens.
Variables (F : rcfType) (V : finType).

(** A policy gives every token a probability after every prefix. *)
Record policy := Policy {
  token_prob :> seq V -> V -> F;
  token_prob_ge0 : forall s a, 0 <= token_prob s a;
  token_prob_sum : forall s, \sum_a token_prob s a = 1 }.

(** How a policy moves along a direction of its parameters. *)
Record variation (pi : policy) := Variation {
  dtoken_prob :> seq V -> V -> F;
  dtoken_prob_sum : forall s, \sum_a dtoken_prob s a = 0;
  dtoken_prob_eq0 : forall s a, pi s a = 0 -> dtoken_prob s a = 0 }.

Variables (eos : V) (H : nat).

(** A sequence of tokens is a complete response if it ends with its first [eos], or after [n] tokens. *)
Fixpoint complete (n : nat) (y : seq V) : bool :=
  match n, y with
  | 0, [::] => true
  | m.+1, a :: y' => if a == eos then y' == [::] else complete m y'
  | _, _ => false
  end.

(** The complete responses within the horizon [H]: a finite type. *)
Definition response := {y : H.-bseq V | complete H y}.
Canonical response_eqType := Eval hnf in [eqType of response].
Canonical response_choiceType := Eval hnf in [choiceType of response].
Canonical response_countType := Eval hnf in [countType of response].
Canonical response_finType := Eval hnf in [finType of response].
Definition tokens (y : response) : seq V := val (val y).
Coercion tokens : response >-> seq.

(** The prefix before token [t] of a response, and that token. *)
Definition before (y : seq V) (t : nat) : seq V := take t y.
Definition token (y : seq V) (t : nat) : V := nth eos y t.

(** The probability of a response is the product of its tokens'. *)
Definition prob (pi : policy) (y : seq V) : F := \prod_(t < size y) pi (before y t) (token y t).

Section Gradient.
Variables (pi : policy) (dpi : variation pi).

(** The derivative of the log-probability of token [t] of a response. *)
Definition token_score (y : seq V) (t : nat) : F := dpi (before y t) (token y t) / pi (before y t) (token y t).

(** The score of a response: the derivative of its log-probability. *)
Definition score (y : seq V) : F := \sum_(t < size y) token_score y t.

(** The derivative of its probability. *)
Definition dprob (y : seq V) : F := prob pi y * score y.

(** The mean of [f] over responses, and its derivative in the direction. *)
Definition mean_response (f : response -> F) : F := \sum_(y : response) prob pi y * f y.
Definition dmean_response (f : response -> F) : F := \sum_(y : response) dprob y * f y.

(** A method gives every sampled token a weight. [w g i t] is the weight of token [t] of member [i] of the group [g]. *)
Definition token_weights (G : nat) := {ffun 'I_G -> response} -> 'I_G -> nat -> F.

(** The gradient that a method makes of one group: a weighted log-likelihood of the sampled tokens. *)
Definition group_gradient (G : nat) (w : token_weights G) (g : {ffun 'I_G -> response}) : F :=
  G%:R^-1 * \sum_i \sum_(t < size (g i)) w g i t * token_score (g i) t.

(** Its expectation over groups of [G] independent responses. *)
Definition expected_gradient (G : nat) (w : token_weights G) : F :=
  \sum_(g : {ffun 'I_G -> response}) (\prod_i prob pi (g i)) * group_gradient w g.

End Gradient.
End Tokens.

(** A response is right or wrong; [success] is the probability that it is right, [dsuccess] the derivative. *)
Section Outcomes.
Variables (F : rcfType) (V : finType) (eos : V) (H : nat).
Implicit Types (pi : policy F V) (r : response eos H -> bool).

Definition success pi r : F := mean_response pi (fun y => (r y)%:R).
Definition dsuccess pi (dpi : variation pi) r : F := dmean_response dpi (fun y => (r y)%:R).

(** The outcomes of a group, and how many are right. *)
Definition outcomes (G : nat) r (g : {ffun 'I_G -> response eos H}) : {ffun 'I_G -> bool} := [ffun i => r (g i)].
Definition right (G : nat) (b : {ffun 'I_G -> bool}) : nat := #|[set i | b i]|.
End Outcomes.

(** An outcome rule gives every member of a group an advantage, from the outcomes of the group alone. *)
Definition outcome_rule (F : rcfType) (G : nat) := {ffun 'I_G -> bool} -> 'I_G -> F.

(** Mean and standard deviation over a group; the variance has the divisor [G - ddof]. *)
Definition group_mean (F : rcfType) (G : nat) (x : 'I_G -> F) : F := G%:R^-1 * \sum_i x i.
Definition group_std (F : rcfType) (G : nat) (ddof : nat) (x : 'I_G -> F) : F :=
  Num.sqrt ((G - ddof)%:R^-1 * \sum_i (x i - group_mean x) ^+ 2).

(** The rules of the field. [reward b i] is 1 for a right response and 0 for a wrong one. *)
Section Rules.
Variables (F : rcfType) (G : nat).
Implicit Types (b : {ffun 'I_G -> bool}) (i : 'I_G).

Definition reward b i : F := (b i)%:R.
Definition mean_reward b : F := group_mean (reward b).

Definition reinforce : outcome_rule F G := fun b i => reward b i.
Definition negatives : outcome_rule F G := fun b i => - (1 - reward b i).
Definition cross_entropy_pm : outcome_rule F G := fun b i => reward b i - (1 - reward b i).
Definition dr_grpo : outcome_rule F G := fun b i => reward b i - mean_reward b.
Definition rloo : outcome_rule F G := fun b i => G%:R / (G - 1)%:R * (reward b i - mean_reward b).
Definition grpo (ddof : nat) : outcome_rule F G := fun b i => (reward b i - mean_reward b) / group_std ddof (reward b).
Definition mean_over_positives : outcome_rule F G := fun b i => reward b i / mean_reward b.
Definition maxrl : outcome_rule F G := fun b i => (reward b i - mean_reward b) / mean_reward b.

(** Filtered fine-tuning in advantage form: [1 - alpha] above the mean, [- alpha] below it, 0 if all are equal. *)
Definition f_isft (alpha : F) : outcome_rule F G := fun b i =>
  if mean_reward b < reward b i then 1 - alpha else if reward b i < mean_reward b then - alpha else 0.
End Rules.

(** The binomial law. *)
Definition binomial_law (F : rcfType) (n : nat) (p : F) (k : nat) : F := p ^+ k * (1 - p) ^+ (n - k) *+ 'C(n, k).
