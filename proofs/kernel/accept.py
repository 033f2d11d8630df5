"""`python -m proofs.kernel.accept`: check everything, and put the statements that Coq accepts on record."""

from proofs.kernel import record
from proofs.kernel.check import check
from proofs.kernel.source import FOLDER
from rino_base.messages import InputError


def main() -> None:
    """Write `statements.txt`; nothing is written if a file is refused."""
    reports = check(on_record=False)
    for report in reports:
        if not report.verified:
            reasons = [report.refused, *(verdict.refused for verdict in report.verdicts)]
            words = f"{report.source.path.name}: {' '.join(filter(None, reasons))}"
            raise InputError(words, mend="mend the proof first")
    record.write(FOLDER, {one.claim.name: one.statement for report in reports for one in report.verdicts})


if __name__ == "__main__":
    main()
