"""`rino audit`: one page on what a loss really does, and the same as JSON.

What audits is imported when the command runs, so that `--help` is there at once.
"""

from pathlib import Path

from rino_base.messages import InputError


def audit(
    target: str,
    /,
    *,
    all: bool = False,
    signature: Path | None = None,
    expect: str | None = None,
    json: Path | None = None,
) -> int:
    """Say whether a loss is outcome-driven SFT, where it departs from it, and which method it is.

    The loss is a function of jax or torch arrays, `loss(logp, old_logp, ref_logp, rewards, mask, group) -> scalar`: the
    streams and the mask are [batch, time], rewards and group ids [batch], and the mask is 1 on completion tokens. It is
    differentiated in float64 on about sixty small batches. A function with arguments of its own says what they are with
    `@rino.audited` or --signature. Auditing runs the code: a file is imported, a trainer is made and its loss called.

    Losses of released frameworks are audited as installed, in this environment or in one that `rino conformance NAME
    --install` makes. A class after TRL's GRPOTrainer or RLOOTrainer is audited with its generation and model replaced.

    Parameters
    ----------
    target
        FILE.py:FUNCTION, module:function, FILE.py:TRAINER, the key of a catalogued method, or FRAMEWORK:NAME of trl,
        verl, openrlhf, tunix, polgrad. Settings of a framework follow after commas: trl:dapo,beta=0.04.
    all
        Audit every loss of the framework that TARGET names, one line each.
    signature
        A TOML file that declares a function's own arguments (docs/audit.md).
    expect
        Fail with exit code 1 unless the loss is `outcome-driven` on-policy, or the method of this key (its dials may
        differ); a sign error fails either.
    json
        Write every answer to this file.
    """
    from mdp_theory.audit.page import audit_all, audit_one
    from mdp_theory.methods import catalogue

    wanted = expect if expect in (None, "outcome-driven") else catalogue.get(str(expect)).key
    if json is not None and json.is_dir():
        raise InputError(f"--json {json} is a directory", mend="give the file to write")
    if all and (expect is not None or signature is not None):
        raise InputError("--all takes neither --expect nor --signature", mend="audit one loss with them")
    if all:
        return audit_all(target, json)
    return audit_one(target, json, signature=signature, wanted=wanted)
