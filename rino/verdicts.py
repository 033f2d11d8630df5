"""What the Python API says of losses and of theorems: audits and proofs.

Imports of the rooms are inside the functions, so that `import rino` stays quick.
"""

from collections.abc import Callable
from typing import Any

from rino.results import AuditResult, ProofResult
from rino.rooms import claim
from rino_base.messages import InputError


def audit(loss: str | Callable[..., Any], /) -> AuditResult:
    """What a loss really does: its token weights, where it departs from outcome-driven SFT, which method it is.

    Args:
        loss: a function `loss(logp, old_logp, ref_logp, rewards, mask, group) -> scalar` of jax or of torch arrays, to
            be minimised (log-probabilities and mask `[batch, time]` in nats, rewards and group ids `[batch]`); or
            "FILE.py:FUNCTION", "module:function", "FILE.py:TRAINER"; or the name of a catalogued method; or a
            framework's, such as "trl:dapo" (docs/audit.md). It is called on some sixty small batches.

    Raises:
        InputError: there is nothing to audit: no such function, another signature, a loss that raises, is not finite,
            answers the same batch differently, or does not depend on `logp`.
    """
    claim("mdp_theory")
    from mdp_theory.audit.loss import live_loss
    from mdp_theory.audit.probes import lay
    from mdp_theory.audit.recover import audit_loss
    from mdp_theory.audit.target import opened

    if callable(loss):
        return AuditResult(audit_loss(live_loss(loss, lay())).to_json())
    if not isinstance(loss, str):
        mend = "give a function, 'FILE.py:FUNCTION', the name of a catalogued method, or 'trl:dapo' and the like"
        raise InputError(f"a {type(loss).__name__} is no loss", mend=mend)
    with opened(loss, lay()) as found:
        return AuditResult(audit_loss(found).to_json())


def audited(
    *, returns: int | str | None = None, **arguments: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare a function's own arguments to `rino audit`, as a decorator that changes nothing else about it.

    Args:
        returns: the index or the key of the loss in what the function returns; None where it returns the loss.
        arguments: by the function's names: `"$logp"`, `"$old_logp"`, `"$ref_logp"`, `"$rewards"`, `"$mask"`,
            `"$group"`, `"$advantages"`, `"$token_advantages"`, `"$token_rewards"`, or a value to pass.

    Raises:
        InputError: an unknown `$name`.
    """
    claim("mdp_theory")
    from mdp_theory.audit.signature import audited as declare

    return declare(returns=returns, **arguments)


def prove(theorem: str | None = None, /) -> ProofResult:
    """Check one theorem, or all of them, symbolically and now; each with the witnesses that break it.

    Args:
        theorem: its id, such as `T5` (`rino list theorems`). Default: all.

    Raises:
        InputError: no such theorem; the mend names the nearest.
    """
    claim("proofs")
    from proofs.command import MODULES, as_json, check_all, load

    theorems = [load(str(name)) for name in (MODULES if theorem is None else [theorem])]
    return ProofResult({"theorems": [as_json(report) for report in check_all(theorems)]})
