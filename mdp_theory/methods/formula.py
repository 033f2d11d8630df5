"""Objectives in full, as mathematics a person can read: at the start of a training run, in the docs and in an audit.

`describe` prints every constant that decides the loss, so two runs whose descriptions agree minimise the same thing.
`python -m mdp_theory.methods.formula` prints `docs/methods.md`, the whole catalogue.
"""

from itertools import chain

from mdp_theory.methods.catalogue import METHODS, OUTSIDE, Method
from mdp_theory.methods.objectives import KL, Clip, Gate, Objective, TrustRegion

_TOKEN_RATIO = "π(aᵢₜ|sᵢₜ) / π_old(aᵢₜ|sᵢₜ)"


def describe(subject: Method | Objective) -> str:
    """The objective in full, one definition a line; of a method also its title, source, note and names elsewhere.

    i counts responses and t their tokens; π is the policy being trained, and sg[·] stops the gradient.
    """
    if isinstance(subject, Objective):
        definitions = _definitions(subject)
        width = max(len(symbol) for symbol, _ in definitions)
        return "\n".join(f"  {symbol:>{width}} = {value}" for symbol, value in definitions)
    lines = [f"{subject.title} ({subject.key}): {subject.source}", describe(subject.objective)]
    if subject.static:
        lines.append("Samples: drawn once from the initial policy and never refreshed.")
    if subject.note:
        lines.append(f"Note: {subject.note}")
    if subject.aliases:
        lines.append(f"Also called: {', '.join(subject.aliases)}")
    lines += [f"{peer}: {setting}" for peer, setting in subject.peers.items()]
    return "\n".join(lines)


def _definitions(objective: Objective) -> list[tuple[str, str]]:
    """Symbol and definition, from the whole to its parts."""
    needs_ratio = objective.surrogate != "log-likelihood"
    parts = [("J", f"{_aggregation(objective)} {_token_term(objective)}   (maximised: the loss is −J)")]
    if needs_ratio:
        parts.append(_ratio(objective))
    if objective.gate is not None:
        parts.append(_gate(objective.gate))
    if objective.trust is not None:
        parts += _trust(objective.trust)
    parts += _advantage(objective)
    if objective.kl is not None:
        parts += _kl(objective.kl)
    return [*parts, *_counts(objective)]


def _aggregation(objective: Objective) -> str:
    if objective.aggregation == "sequence-mean-token-mean":
        return "1/B Σᵢ 1/Lᵢ Σₜ"
    if objective.aggregation == "token-mean":
        return "1/N Σᵢ Σₜ"
    if objective.aggregation == "sequence-mean-token-sum":
        return "1/B Σᵢ Σₜ"
    return f"1/(B · {objective.max_completion_length or 'max_completion_length'}) Σᵢ Σₜ"


def _token_term(objective: Objective) -> str:
    advantage = "Aᵢₜ" if objective.advantage.estimator == "gae" else "Aᵢ"
    ratio = _ratio(objective)[0]
    if objective.surrogate == "log-likelihood":
        term = f"{advantage} log π(aᵢₜ|sᵢₜ)"
    elif objective.surrogate == "ratio":
        term = f"{ratio} {advantage}"
    elif objective.surrogate == "soft-clip":
        term = f"g({ratio}) {advantage}"
    elif objective.surrogate == "soft-weight":
        term = f"sg[g({ratio})] {advantage} log π(aᵢₜ|sᵢₜ)"
    elif objective.surrogate == "clipped-geometric-mean":
        term = f"{ratio} {advantage}"
    elif objective.surrogate == "truncated-weight":
        term = f"sg[{_clipped(objective.clip, ratio)}] {advantage} log π(aᵢₜ|sᵢₜ)"
    else:
        term = f"min({ratio} {advantage}, {_clipped(objective.clip, ratio)} {advantage})"
        if objective.clip is not None and objective.clip.dual is not None:
            term = f"max({term}, {objective.clip.dual:g} {advantage} where {advantage} < 0)"
    if objective.trust is not None:
        term = f"Mᵢₜ {term}"
    if objective.kl is None or objective.kl.placement != "loss":
        return term
    return f"[{term} {'−' if objective.kl.sign > 0 else '+'} {objective.kl.beta:g} {objective.kl.estimator}ᵢₜ]"


def _gate(gate: Gate) -> tuple[str, str]:
    def sided(pair: tuple[float, float] | None) -> str:
        return "–" if pair is None else f"{pair[0]:g} where A > 0, {pair[1]:g} where A < 0"

    if gate.temperature is not None:
        return "g(ρ)", f"4/τ · 1 / (1 + exp(−τ (ρ − 1)))   (τ = {sided(gate.temperature)})"
    return "g(ρ)", f"exp(λ) ρᵏ exp(−λρ)   (k = {sided(gate.power)}; λ = {sided(gate.decay)})"


def _trust(trust: TrustRegion) -> list[tuple[str, str]]:
    rises, falls = f"Aᵢ > 0, π > π_old and Dᵢₜ > {trust.high:g}", f"Aᵢ < 0, π < π_old and Dᵢₜ > {trust.low:g}"
    distance = {
        "total-variation": "|π(aᵢₜ|sᵢₜ) − π_old(aᵢₜ|sᵢₜ)|",
        "kl": "π_old log (π_old / π) + (1 − π_old) log ((1 − π_old) / (1 − π)) of aᵢₜ given sᵢₜ",
    }[trust.measure]
    return [("Mᵢₜ", f"0 where {rises}, and where {falls}; else 1"), ("Dᵢₜ", distance)]


def _clipped(clip: Clip | None, ratio: str) -> str:
    if clip is None or (clip.low is None and clip.high is None):
        return ratio
    if clip.low is None:
        return f"min({ratio}, 1 + {clip.high:g})"
    if clip.high is None:
        return f"max({ratio}, 1 − {clip.low:g})"
    return f"clip({ratio}, 1 − {clip.low:g}, 1 + {clip.high:g})"


def _ratio(objective: Objective) -> tuple[str, str]:
    mean = f"exp(1/Lᵢ Σₜ log {_TOKEN_RATIO})"
    if objective.surrogate == "clipped-geometric-mean" and objective.clip is not None:
        low, high = objective.clip.low or 0.0, objective.clip.high or 0.0
        mean = f"exp(1/Lᵢ Σₜ cᵢₜ),   cᵢₜ = log {_TOKEN_RATIO}, held ≤ {high:g} where Aᵢ > 0, ≥ −{low:g} where Aᵢ < 0"
    return {
        "token": ("ρᵢₜ", _TOKEN_RATIO),
        "sequence": ("ρᵢ", mean),
        "sequence-token": ("ρᵢₜ", f"sg[{mean}] · π(aᵢₜ|sᵢₜ) / sg[π(aᵢₜ|sᵢₜ)]"),
        "sequence-product": ("ρᵢ", f"Πₜ {_TOKEN_RATIO}"),
    }[objective.importance_sampling_level]


def _advantage(objective: Objective) -> list[tuple[str, str]]:
    rule = objective.advantage
    if rule.estimator == "gae":
        return [
            ("Aᵢₜ", f"Σₖ (γλ)ᵏ δᵢ,ₜ₊ₖ   (γ = {rule.discount:g}, λ = {rule.gae_lambda:g})"),
            ("δᵢₜ", "rᵢ [t = Lᵢ] + γ V(sᵢ,ₜ₊₁) [t < Lᵢ] − V(sᵢₜ)"),
        ]
    symbol = "r" if rule.outcome == "reward" else "u"
    top = f"{symbol}ᵢ"
    if rule.baseline == "group-mean":
        top = f"{symbol}ᵢ − mean_G {symbol}"
    elif rule.baseline == "leave-one-out":
        top = f"{symbol}ᵢ − mean_G∖ᵢ {symbol}"
    elif rule.baseline == "length-weighted":
        top = f"{symbol}ᵢ − Σ_G L {symbol} / Σ_G L"
    bottom = {
        "none": "",
        "group-mean": f"mean_G {symbol}",
        "group-std": f"std_G {symbol}",
        "batch-std": f"std_B {symbol}",
    }[rule.scale]
    parts = [("Aᵢ", top)]
    if bottom:
        over = top if rule.baseline == "none" else f"({top})"
        under = f"({bottom} + {rule.eps:g})" if rule.eps else bottom
        zero = "that is 0" if rule.baseline == "none" and rule.scale == "group-mean" else f"all {symbol} are equal"
        parts = [("Aᵢ", f"{over} / {under}   (0 where {zero})")]
    if rule.whiten != "none":
        parts = [("A'ᵢ" if symbol_ == "Aᵢ" else symbol_, value) for symbol_, value in parts]
        over = {"responses": "the responses", "tokens": "the tokens"}[rule.whiten]
        eps = f" + {rule.eps:g}" if rule.eps else ""
        mean_std = f"mean and standard deviation (ddof {rule.ddof}) over {over} of the batch"
        parts = [("Aᵢ", f"(A'ᵢ − mean A') / (std A'{eps})   ({mean_std})"), *parts]
    if rule.scale.endswith("std"):
        pool = rule.scale[0].upper()
        size = pool if rule.ddof == 0 else f"({pool} − 1)"
        parts.append((f"std_{pool}", f"√(Σ_{pool} ({symbol} − mean_{pool} {symbol})² / {size})   (ddof {rule.ddof})"))
    if rule.outcome == "correct":
        parts.append(("uᵢ", f"{rule.positive:g} where rᵢ ≥ {rule.threshold:g}, −{rule.negative:g} elsewhere"))
    elif rule.outcome == "above-mean":
        parts.append(("uᵢ", f"{rule.positive:g} where rᵢ > mean_G r, −{rule.negative:g} where rᵢ < mean_G r, else 0"))
    if rule.overlong is not None:
        limit, penalty = objective.max_completion_length or "max_completion_length", rule.overlong.penalty
        lost = f"clip(1 − ({limit} − Lᵢ) / ({rule.overlong.share:g} · {limit}), 0, 1)"
        parts.append(("rᵢ", f"reward of i − {'' if penalty == 1 else f'{penalty:g} '}{lost}"))
    return [(symbol, value.replace("−0 ", "0 ")) for symbol, value in parts]


def _kl(term: KL) -> list[tuple[str, str]]:
    parts = []
    policy = "π"
    if term.placement == "reward":
        parts.append(("rᵢ", f"reward of i {'−' if term.sign > 0 else '+'} {term.beta:g} Σₜ {term.estimator}ᵢₜ"))
        policy = "π_old"
    value = {"k1": "−log qᵢₜ", "k2": "(log qᵢₜ)² / 2", "k3": "qᵢₜ − 1 − log qᵢₜ"}[term.estimator]
    parts.append((f"{term.estimator}ᵢₜ", value))
    parts.append(("qᵢₜ", f"π_ref(aᵢₜ|sᵢₜ) / {policy}(aᵢₜ|sᵢₜ)"))
    if term.sign < 0:
        parts.append(("sign", "reversed: this objective maximises the KL, an ablation and no method"))
    return parts


def _counts(objective: Objective) -> list[tuple[str, str]]:
    who = {
        "all": "the responses of the batch",
        "mixed-groups": "the responses of groups whose rewards differ; the rest are dropped",
        "correct": f"the responses with rᵢ ≥ {objective.advantage.threshold:g}; the rest are dropped",
    }[objective.keep]
    counts = [("B", who)]
    if objective.aggregation == "token-mean":
        counts.append(("N", "Σᵢ Lᵢ, the tokens of those responses in the whole batch"))
    rule = objective.advantage
    grouped = rule.baseline != "none" or rule.scale.startswith("group") or rule.outcome == "above-mean"
    if grouped and rule.estimator == "outcome":
        counts.append(("G", "the responses to the prompt of i"))
    return counts


def methods_page() -> str:
    """`docs/methods.md`: every catalogued method in full, and the names of its dials in other code bases."""
    summary = [
        f"| `{method.key}` | {method.title} | {method.source} | {', '.join(f'`{alias}`' for alias in method.aliases)} |"
        for method in METHODS.values()
    ]
    sections = chain.from_iterable(
        (f"### {method.title}", "", "```text", describe(method), "```", "") for method in METHODS.values()
    )
    outside = [f"- `{name}`: {reason}." for name, reason in OUTSIDE.items()]
    return "\n".join([_HEAD, *summary, "", *_OUTSIDE, *outside, "", _DIALS, *sections]).rstrip() + "\n"


_HEAD = """# The methods

Generated from the catalogue (`mdp_theory/methods`) by `python -m mdp_theory.methods.formula`; do not edit.

A method is a rule that gives every sampled token a weight. Each is written out below with every constant that decides
its loss. i counts responses, t their tokens; π is the policy being trained, sg[·] stops the gradient.

| key | method | source | aliases |
|---|---|---|---|"""

_OUTSIDE = (
    "What frameworks ship and no objective here holds; `rino audit` meets it all the same (see frameworks.md):",
    "",
)

_DIALS = """## The dials, and what others call them

The standard deviation is the plain one here (ddof 0, ε 0). Others divide by G − 1 and add a constant: 1e-4 in TRL, 1e-6
in verl, 1e-9 in OpenRLHF. `--ddof` and `--advantage-eps` set both.

| ours | TRL (`GRPOConfig`) | verl | OpenRLHF |
|---|---|---|---|
| `num_generations` | `num_generations` | `actor_rollout_ref.rollout.n` | `--rollout.n_samples_per_prompt` |
| `max_completion_length` | `max_completion_length` | `data.max_response_length` | `--rollout.max_new_tokens` |
| `temperature` | `temperature` | `actor_rollout_ref.rollout.temperature` | `--rollout.temperature` |
| `num_iterations` | `num_iterations` | `actor.ppo_epochs` | `--train.max_epochs` |
| `num_minibatches` | `steps_per_generation` / `gradient_accumulation_steps` | by size: `actor.ppo_mini_batch_size` | by size: `--train.batch_size` |
| `epsilon`, `epsilon_high` | `epsilon`, `epsilon_high` | `actor.clip_ratio_low`, `_high` | `--actor.eps_clip_low_high` |
| dual clip | `delta` | `actor.clip_ratio_c` | `--actor.dual_clip` |
| `importance_sampling_level` | the same | `actor.policy_loss.loss_mode=gspo` | `--actor.policy_loss_type gspo` |
| `beta`, KL in the loss | `beta` (k3; times ρ while `use_bias_correction_kl`) | `actor.use_kl_loss`, `kl_loss_coef` | `--algo.kl.use_loss`, `--algo.kl.init_coef` |
| `beta`, KL in the reward | `RLOOConfig.beta` | `algorithm.use_kl_in_reward`, `kl_ctrl.kl_coef` | `--algo.kl.init_coef` (per token, with returns-to-go) |
| k1, k2, k3 | – | `kl_loss_type=kl`, `mse`, `low_var_kl` | `--algo.kl.estimator k1`, `k2`, `k3` |
| `scale_rewards` = group | the same | `norm_adv_by_std_in_grpo=True` | `--algo.advantage.estimator group_norm` |
| `scale_rewards` = none | the same | `norm_adv_by_std_in_grpo=False` | `--algo.advantage.estimator dr_grpo` |
| `scale_rewards` = batch | the same | – | – |
| `loss_aggregation` = sequence-mean-token-mean | `loss_type=grpo` | `loss_agg_mode=seq-mean-token-mean` | `--actor.loss_agg_mode seq-mean-token-mean`; with `gspo` |
| token-mean | `dapo` (over the generation batch); `bnpo` without gradient accumulation | `token-mean` | the default |
| sequence-mean-token-sum-norm | `loss_type=dr_grpo` | `seq-mean-token-sum-norm` (by `loss_scale_factor`, else by the longest response) | – |
| sequence-mean-token-sum | `luspo` | `seq-mean-token-sum` | – |

## In full
"""  # noqa: E501


if __name__ == "__main__":
    print(methods_page(), end="")
