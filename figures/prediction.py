"""What theory said that a step of training does to every prompt, against what it did."""

from collections.abc import Mapping, Sequence

import numpy as np

from figures.curves import Curve, MissingData, Panel, Sheet
from figures.runs import Results, Row
from figures.statistics import calibration

_COLUMNS = 4
_LABELS = {"success": "chance of success", "length": "length (tokens)"}
_LINE = "as predicted"


def predicted_changes(results: Results) -> Mapping[str, Sheet]:
    """A panel a method, a point a prompt: one picture for each model, quantity and number of steps.

    Raises:
        MissingData: no file of predictions.
    """
    if not results.predictions:
        raise MissingData("no prediction.json (python results/prediction.py MODEL)")
    return {
        f"{found['model']}-{quantity}-{horizon.replace(' ', '-')}": Sheet(_in_rows([_panel(row) for row in rows]))
        for found in results.predictions
        for (quantity, horizon), rows in _grouped(found["rows"]).items()
    }


def _grouped(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        grouped.setdefault((str(row["quantity"]), str(row["horizon"])), []).append(row)
    return grouped


def _panel(row: Row) -> Panel:
    predicted, measured = (np.array(row[name], dtype=float) for name in ("predicted", "measured"))
    slope, _, explained = calibration(predicted, measured)
    ends = np.array([predicted.min(), predicted.max()])
    label = _LABELS.get(str(row["quantity"]), str(row["quantity"]))
    return Panel(
        f"{row['title']}, r² {explained:.2f}\nslope {slope:.2f}",
        "predicted change",
        f"measured change of the\n{label}, {row['horizon']}",
        (
            Curve(_LINE, ends, ends, look="reinforce"),
            Curve(str(row["title"]), predicted, measured, look=str(row["method"]), points=True),
        ),
    )


def _in_rows(panels: Sequence[Panel]) -> tuple[tuple[Panel, ...], ...]:
    return tuple(tuple(panels[start : start + _COLUMNS]) for start in range(0, len(panels), _COLUMNS))
