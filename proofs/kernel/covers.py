"""Which results of a theorem, as SymPy proves them, claims in Coq state too. What is open is computed from this.

A result counts as covered only if Coq accepted every claim that is named for it. Results that are not named here, or
whose claims are missing or refused, are open.
"""

from collections.abc import Collection, Iterable, Mapping

COVERS: Mapping[str, Mapping[str, str]] = {
    "T1": {
        "trajectory": "t1_trajectories",
        "return-to-go": "t1_per_sample",
        "score": "t1_score",
        "per sample": "t1_per_sample",
        "gradient": "t1_value t1_gradient",
        "shortfall": "t1_open_loop",
        "best response": "t1_open_loop",
    },
    "T2": {
        "total return": "t2_total_return",
        "reward-to-go": "t2_reward_to_go",
        "left out": "t2_bias",
        "baseline": "t2_baseline",
        "bias": "t2_bias",
    },
    "T3": {
        "clip": "t3_surrogate",
        "slope": "t3_surrogate",
        "ratio": "t3_surrogate",
        "cross-entropy": "t3_weighted_likelihood",
        "weight": "t3_surrogate t3_log_likelihood",
    },
    "T4": {
        "mean": "t4_moments",
        "variance": "t4_moments",
        "plus by the share": "t4_advantages",
        "minus by the share": "t4_advantages",
        "plus": "t4_counts",
        "minus": "t4_counts",
        "sum": "t4_zero_sum",
        "plus with ddof 1": "t4_counts t4_ddof",
        "minus with ddof 1": "t4_counts t4_ddof",
        "equal rewards": "t4_uniform_groups",
        "differences": "t4_differences",
    },
    "T5": {
        "counting": "t5_counting",
        "total probability": "t5_reinforce",
        "conditioning": "t5_counting",
        "direction": "t5_one_direction t5_counting",
        "whole-response ratios": "t5_whole_response_ratios",
        "REINFORCE": "t5_reinforce",
        "negatives": "t5_negatives",
        "cross-entropy ±": "t5_cross_entropy_pm",
        "Dr. GRPO": "t5_dr_grpo",
        "RLOO": "t5_rloo t5_leave_one_out",
        "r − mean at G = 1": "t5_dr_grpo",
        "GRPO w1": "t5_grpo_weights",
        "GRPO w0": "t5_grpo_weights",
        "GRPO": "t5_grpo",
        "F-ISFT, advantage form": "t5_f_isft",
        "mean over positives": "t5_mean_over_positives",
        "MaxRL": "t5_maxrl",
        "GRPO, upper bound": "t5_grpo_upper",
        "GRPO, lower bound": "t5_grpo_lower",
        "GRPO, G → ∞": "t5_grpo_limit",
    },
    "T6": {
        "chain rule": "t6_gradient",
        "REINFORCE": "t6_reinforce",
        "Dr. GRPO": "t6_dr_grpo",
        "F-ISFT, advantage form": "t6_f_isft",
        "mean over positives": "t6_mean_over_positives",
        "MaxRL": "t6_maxrl",
        "tail": "t6_tail",
        "GRPO": "t6_climbed t6_grpo",
    },
    "T7": {
        "passes below": "t7_positive_advantage",
        "constant above": "t7_positive_advantage",
        "constant below": "t7_negative_advantage",
        "passes above": "t7_negative_advantage",
        "weight": "t7_weight",
        "clipped weight": "t7_weight",
        "index": "t7_index",
        "sign of the index": "t7_index_ge0",
        "first inner step": "t7_first_inner_step",
    },
    "T8": {
        "mean score": "t8_k1_in_the_loss",
        "k1": "t8_slopes",
        "k2": "t8_slopes",
        "k3": "t8_slopes",
        "k1 in the loss": "t8_k1_in_the_loss",
        "reverse": "t8_k2_in_the_loss",
        "forward": "t8_k3_in_the_loss",
        "k1 in the reward": "t8_k1_in_the_reward",
        "wrong sign": "t8_wrong_sign",
    },
    "T9": {
        "gradient": "t9_any_rule t9_grpo",
        "zero sum": "t9_zero_sum",
        "score of ending": "t9_scores",
        "score of going on": "t9_scores",
        "score of a response": "t9_score_of_response",
        "shared hazard": "t9_shared_hazard",
        "hazard of right responses": "t9_separate_hazards",
        "hazard of wrong responses": "t9_separate_hazards",
        "separate hazards": "t9_separate_hazards",
    },
    "T10": {
        "above the mean": "t10_lead",
        "lead": "t10_lead t10_above_mean",
        "chance of the group": "t10_chance",
        "direction": "t10_levels",
        "GRPO": "t10_grpo",
        "growth": "t10_growth",
        "others alike": "t10_others_alike",
    },
    "T11": {
        "probability": "t11_softmax",
        "value": "t11_softmax",
        "gradient": "t11_one_state t11_tabular",
        "estimator": "t11_outcome_rules",
        "shared prefix": "t11_shared_prefix",
        "branch": "t11_branch",
    },
    "T12": {
        "mean of the weight": "t12_mean_with_value t12_mean_with_advantage",
        "excess": "t12_excess",
        "never less": "t12_rao_blackwell",
        "against plain": "t12_against_plain",
        "last token": "t12_two_actions",
    },
    "T13": {
        "GSPO": "t13_gspo",
        "GSPO weight": "t13_gspo_weight",
        "MaxRL objective": "t13_truncated_log t13_mean_over_positives",
        "Reinforce-Rej ±1": "t13_reinforce_rej_signed",
        "Reinforce-Rej 0/1": "t13_reinforce_rej",
        "RAFT": "t13_raft",
    },
    "T14": {
        "objective": "t14_objective t14_optimum",
        "divergence": "t14_divergence",
        "odds": "t14_odds t14_iteration",
        "above the reference": "t14_above_reference",
    },
}
"""By theorem and result, the names of claims."""


def open_results(theorem: str, results: Iterable[str], accepted: Collection[str]) -> tuple[str, ...]:
    """The results of a theorem that no accepted claim states."""
    covers = COVERS.get(theorem, {})
    return tuple(
        result for result in results if result not in covers or not set(covers[result].split()) <= set(accepted)
    )
