"""`rino verify RUN`: is everything that a finished run held still there and unchanged?"""

from pathlib import Path

from llm_exps.run_directory import RunDirectory
from rino_base.files import write_json
from rino_base.messages import print_table


def verify(run: Path, /, *, json: Path | None = None) -> int:
    """Compare the files of a finished run with the sizes and checksums taken when it ended.

    Exit code 0: all are there and unchanged; 1: some are not; 2: no finished run.

    Args:
        run: a run directory.
        json: write the findings here; - is standard output.
    """
    found = RunDirectory(run).departures()
    rows = [{"file": name, "whole": wrong is None, "problem": wrong} for name, wrong in found.items()]
    print_table(f"rino verify {run}", ["file", "whole", "problem"], [list(row.values()) for row in rows])
    whole = all(row["whole"] for row in rows)
    if json:
        write_json(json, {"run": str(run), "whole": whole, "files": rows})
    return 0 if whole else 1
