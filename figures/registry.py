"""Every figure and table by id: what it is called, what it is made from, how it is drawn, and what is said of it.

To add a figure: a function that takes what it needs from `Results` (and raises `MissingData` with the reason where that
is not there), a function that draws it, and an entry here.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from figures import beyond, critics, dynamics, levels, tables, theory, training, verdicts
from figures.captions import ablated_on, checked_on, swept_on, trained_on
from figures.credit import credit_variances, draw_credit_variances
from figures.entries import THEORY, TRAINING, Plot, TableEntry
from figures.factorial import length_factorial
from figures.heatmap import draw_weights, token_numbers, weight_pairs
from figures.length import draw_scaled_advantages, scaled_advantages
from figures.panels import draw_panels
from figures.prediction import predicted_changes
from figures.runs import Results
from figures.tree import draw_tree, node_numbers, trees


def _steps(measurements: training.Measurements) -> Callable[[Results], Mapping[str, Any]]:
    return partial(training.against_step, measurements=measurements)


def _by_itself(results: Results, suffix: str) -> str:
    """Of figures that depend on no problem."""
    return "Exact computation on a family of problems of its own."


def _by_model(results: Results, suffix: str) -> str:
    """Of predictions: model, group size and responses."""
    found = [row for row in results.predictions if suffix.startswith(str(row["model"]))] or list(results.predictions)
    return " ".join(
        f"{row['model']}, {row['task']}: {len(row['prompts'])} prompts, G = {row['num_generations']}, gradients from "
        f"{row['responses']} responses a prompt, steps averaged over {row['batches']} batches."
        for row in found
    )


_BANDS = (
    "Lines are means over seeds; from five seeds bands are 95 % t intervals, of fewer the thin lines are the seeds "
    "themselves."
)

PLOTS = (
    Plot(
        id="mdp-and-bandit",
        section=THEORY,
        context=checked_on,
        title="A token MDP and the bandit it is",
        caption="Left: states are prefixes, so each has one history and the MDP is a tree. Right: the same problem "
        "with one arm a response, in the same rows. Edges are as wide as the prefix is likely.",
        prepare=trees,
        draw=draw_tree,
        numbers=node_numbers,
        judge=verdicts.reductions,
    ),
    Plot(
        id="effective-objective",
        section=THEORY,
        context=checked_on,
        title="Coefficient c(p) and effective objective Φ(p)",
        caption="On-policy, binary reward, no division by the length: the expected gradient of a method is c(p) ∇p, "
        "and ascent climbs Φ with Φ' = c. Methods on one line have the same c. Circles: exact gradients of the "
        "checked problems, by projection on ∇p. Right: GRPO at several group sizes; ∞ is 1/√(p(1−p)).",
        prepare=theory.coefficients,
        draw=theory.draw_coefficients,
        judge=verdicts.directions,
    ),
    Plot(
        id="inner-steps",
        section=THEORY,
        context=checked_on,
        title="Several optimiser steps on one batch",
        caption="Each method takes gradient steps on one batch of a small MDP; before each step its gradient, by "
        "autodiff, is held against that of outcome-weighted SFT with the same advantages. Step 0 is on-policy. Lines "
        "are means over batches, bands the range over them; 0 stands for errors of rounding.",
        prepare=theory.inner_steps,
        draw=draw_panels,
        judge=verdicts.off_policy,
    ),
    Plot(
        id="departures",
        section=THEORY,
        context=checked_on,
        title="What else ends the equality",
        caption="Above: the policy moves away from the one that sampled, by noise on every logit. Below: a KL term "
        "with coefficient β in GRPO's loss, on-policy, in its three estimators. Both against outcome-weighted SFT. "
        "Lines are means over batches, bands the range over them; 0 stands for errors of rounding.",
        prepare=theory.departures,
        draw=theory.draw_departures,
    ),
    Plot(
        id="credit-variance",
        section=THEORY,
        context=checked_on,
        title="What uniform credit costs",
        caption="Exact variance of one response's gradient, summed over all logits and prompts, relative to that of "
        "crediting each token with its own advantage A(s, a). All four have the same mean.",
        prepare=credit_variances,
        draw=draw_credit_variances,
        judge=verdicts.credit,
    ),
    Plot(
        id="critic",
        section=THEORY,
        context=checked_on,
        title="What a critic gains where states recombine",
        caption="Where several histories lead to one state (A1 dropped), a critic of states learns from all of them. "
        "The error is that of one further response's gradient, bias and variance together; uniform credit with the "
        "exact baseline is 1.",
        prepare=dynamics.critics,
        draw=dynamics.draw_critics,
        judge=verdicts.critics,
    ),
    Plot(
        id="learned-critic",
        section=THEORY,
        context=checked_on,
        title="What the error of a critic costs",
        caption="Squared error (bias and variance) of the gradient of G responses, tokens credited by generalised "
        "advantages of a critic whose values are wrong by independent normal errors. λ = 1 has no bias, a smaller λ "
        "less variance. The horizontal line is a group with leave-one-out baselines at the same G.",
        prepare=critics.learned_critics,
        draw=critics.draw_shaded,
        judge=critics.judge_critics,
    ),
    Plot(
        id="fitted-critic",
        section=THEORY,
        context=checked_on,
        title="How many responses a critic has to learn from",
        caption="The same squared error with a critic that is the mean of the rewards-to-go of sampled responses to "
        "each prompt, by their number; mean over eight samples of them. On a graph all histories of a state teach one "
        "value; on a tree each has its own.",
        prepare=critics.fitted_critics,
        draw=critics.draw_shaded,
    ),
    Plot(
        id="critic-map",
        section=THEORY,
        context=_by_itself,
        title="Where a critic beats groups",
        caption="Below a line, G responses credited by a critic with this error have a smaller squared error than a "
        "leave-one-out group of G. The running sum modulo 5 at several horizons, ended with probability 2/H a token.",
        prepare=critics.critic_map,
        draw=critics.draw_shaded,
    ),
    Plot(
        id="reward-levels",
        section=THEORY,
        context=_by_itself,
        title="What GRPO makes of many reward levels",
        caption="Expected advantage of a response by its reward, for eleven levels, each 0.7 times as likely as the "
        "one below. In small groups the rare high rewards saturate; the limit of large ones is the standardised "
        "reward. Right: rewards with normal noise, as of a reward model.",
        prepare=levels.reward_levels,
        draw=critics.draw_shaded,
    ),
    Plot(
        id="staleness",
        section=THEORY,
        context=checked_on,
        title="From on-policy training to supervised fine-tuning",
        caption="Exact training from one policy, whose samples are refreshed at every step, every few steps, or never: "
        "supervised fine-tuning on a fixed data set.",
        prepare=dynamics.staleness,
        draw=dynamics.draw_staleness,
        judge=verdicts.staleness,
    ),
    Plot(
        id="noise",
        section=THEORY,
        context=checked_on,
        title="The noise that no model can avoid",
        caption="Left: the part of the noise of a group's gradient that the outcomes alone cause, over the squared "
        "gradient (theorem T17). Right: group size times that, the samples at which noise and signal are equal. No "
        "division by lengths. Noise within an outcome comes on top: rules that push down alone only look quiet here.",
        prepare=beyond.noise_floors,
        draw=beyond.draw_noise_floors,
    ),
    Plot(
        id="rollouts",
        section=THEORY,
        context=checked_on,
        title="Flat groups, trees of rollouts, VinePPO",
        caption="All have the same mean. Tokens that the policy has to generate for equal noise, relative to the flat "
        "group; below 1 is cheaper. A shared prefix is generated once. Exact, mean over prompts.",
        prepare=beyond.rollouts,
        draw=beyond.draw_rollouts,
    ),
    Plot(
        id="rates",
        section=THEORY,
        context=checked_on,
        title="How fast a rule learns one prompt",
        caption="Gradient flow of a tabular softmax with many responses, one right (theorem T16); time in learning "
        "rates. Right: time is divided by what the rule itself needs for an easy prompt, so that no learning rate "
        "makes a difference.",
        prepare=beyond.rates,
        draw=beyond.draw_rates,
    ),
    Plot(
        id="optimisers",
        section=THEORY,
        context=checked_on,
        title="What an optimiser sees of c(p)",
        caption="Exact training without division by lengths. F-ISFT± is twice REINFORCE in expectation: gradient "
        "ascent tells the two apart, Adam does not (theorem T15).",
        prepare=beyond.optimisers,
        draw=draw_panels,
    ),
    Plot(
        id="accuracy",
        section=TRAINING,
        context=trained_on,
        title="Reward in training and success on held-out prompts",
        caption=_BANDS,
        prepare=training.accuracy,
        draw=draw_panels,
        judge=verdicts.success,
    ),
    Plot(
        id="pass-at-k",
        section=TRAINING,
        context=trained_on,
        title="pass@k after training",
        caption=f"Unbiased estimate from several samples a prompt, at the last evaluation. {_BANDS}",
        prepare=training.pass_at_k,
        draw=draw_panels,
        judge=verdicts.passes,
    ),
    Plot(
        id="length",
        section=TRAINING,
        context=trained_on,
        title="Mean response length",
        caption=_BANDS,
        prepare=_steps(training.LENGTH),
        draw=draw_panels,
        judge=verdicts.lengths,
    ),
    Plot(
        id="length-by-outcome",
        section=TRAINING,
        context=trained_on,
        title="Length of correct and of incorrect responses",
        caption="In training the pools of correct and incorrect responses change with the prompts of the step; on "
        f"held-out prompts the prompts are fixed, the pools still change as the model learns. {_BANDS}",
        prepare=_steps(training.LENGTH_BY_OUTCOME),
        draw=draw_panels,
        judge=verdicts.lengths_by_outcome,
    ),
    Plot(
        id="length-factorial",
        section=TRAINING,
        context=trained_on,
        title="Effects on the length",
        caption="How much the choice of method, the averaging of the loss, and both together change what training does "
        "to the length, each against the first; means over the other factor, paired by seed, 95 % t intervals. A star: "
        "below 0.05 by Holm's rule for all effects.",
        prepare=length_factorial,
        draw=draw_panels,
    ),
    Plot(
        id="predicted-change",
        section=TRAINING,
        context=_by_model,
        title="What theory predicts of a step, and what it did",
        caption="A point a prompt. Predicted: the learning rate times the product of the prompt's sampled gradient "
        "with the method's expected update, in which the weight of every outcome is the exact one. Measured: after the "
        "learner's own steps of plain SGD, on other responses. The line is where both are equal; noise of the sampled "
        "gradients flattens the slope.",
        prepare=predicted_changes,
        draw=draw_panels,
    ),
    Plot(
        id="scaled-advantage",
        section=TRAINING,
        context=trained_on,
        title="Scaled advantage against length",
        caption="Every point is a response sampled in training: the weight of its tokens times the number of responses "
        "in the batch. With a mean over the tokens of each response this is A/L.",
        prepare=scaled_advantages,
        draw=draw_scaled_advantages,
    ),
    Plot(
        id="token-weights",
        section=TRAINING,
        context=trained_on,
        title="The weight of every token",
        caption="Responses to one prompt under two methods, the same responses where both sampled them. Blue tokens "
        "are made likelier, red ones less likely.",
        prepare=weight_pairs,
        draw=draw_weights,
        numbers=token_numbers,
        judge=verdicts.weights,
    ),
    Plot(
        id="probe",
        section=TRAINING,
        context=trained_on,
        title="The equivalence, measured on the model being trained",
        caption=f"The method's gradient against that of outcome-weighted SFT, on the batch of the step. In "
        f"float32, errors of about 1e-7 are rounding. {_BANDS}",
        prepare=_steps(training.PROBE),
        draw=draw_panels,
        judge=verdicts.probes,
    ),
    Plot(
        id="probe-by-layer",
        section=TRAINING,
        context=trained_on,
        title="The equivalence, layer by layer",
        caption=f"The same comparison for the gradient of every layer, averaged over the probes of a run. {_BANDS}",
        prepare=training.by_layer,
        draw=draw_panels,
    ),
    Plot(
        id="off-policy",
        section=TRAINING,
        context=ablated_on,
        title="The equivalence when a batch is used several times",
        caption=f"The probe of the last update of each step, for runs that differ in nothing else. {_BANDS}",
        prepare=training.off_policy,
        draw=draw_panels,
    ),
    Plot(
        id="dial",
        section=TRAINING,
        context=trained_on,
        title="Success and equivalence against inner steps or staleness",
        caption=f"At the end of training; samples that are never refreshed stand at the number of steps. {_BANDS}",
        prepare=training.dials,
        draw=draw_panels,
    ),
    Plot(
        id="entropy",
        section=TRAINING,
        context=trained_on,
        title="Entropy",
        caption=_BANDS,
        prepare=_steps(training.ENTROPY),
        draw=draw_panels,
        judge=verdicts.entropies,
    ),
    Plot(
        id="diagnostics",
        section=TRAINING,
        context=trained_on,
        title="Diagnostics of training",
        caption=_BANDS,
        prepare=_steps(training.DIAGNOSTICS),
        draw=draw_panels,
    ),
    Plot(
        id="learning-rate",
        section=TRAINING,
        context=swept_on,
        title="The sweep that chose learning rates",
        caption="Mean training reward over the last quarter of the steps, on seeds of the sweep's own.",
        prepare=training.learning_rates,
        draw=draw_panels,
    ),
)

TABLES = (
    TableEntry("exact", tables.exact),
    TableEntry("final-results", tables.final_results),
    TableEntry("overview", tables.overview),
    TableEntry("differences", tables.differences),
    TableEntry("hyperparameters", tables.hyperparameters),
)
