"""Gradients in a policy's parameters, mixed over prompts."""

from mdp_theory.exact.policy import pull_back_to


def parameter_gradient(policy, params, mdp, gradient):
    chance = mdp.prompt_probability[:, None, None]
    return pull_back_to(policy, params, mdp)(tuple(chance * level for level in gradient))
