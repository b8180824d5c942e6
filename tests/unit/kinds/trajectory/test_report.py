"""Sentences of the report: verdicts follow the intervals, whatever side they lie on."""

import numpy as np
import pandas as pd
import pytest

from ntkpipe.kinds.trajectory import report_answers, report_words


def fits(**rows) -> pd.DataFrame:
    """Fits of one step size: (quantity, at, method) -> (estimate, low, high)."""
    frame = pd.DataFrame(
        [
            {
                "eta": 0.5,
                "eta_unit": "critical",
                "quantity": q,
                "at": at,
                "method": m,
                "estimate": e,
                "low": lo,
                "high": hi,
            }
            for (q, at, m), (e, lo, hi) in rows["rows"].items()
        ]
    )
    return frame.assign(n_cells=9, n_runs=72, r2=0.9, width=np.nan, depth=np.nan, tolerance=np.nan)


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        ([(-0.5, -0.6, -0.4)] * 3, "below 0 by every clock: width counts beyond beta"),
        ([(0.5, 0.4, 0.6)] * 3, "above 0 by every clock: depth counts beyond beta"),
        ([(0.1, -0.4, 0.6)] * 3, "0 is in all of them: beta alone is not ruled out"),
        ([(0.5, 0.4, 0.6), (-0.5, -0.6, -0.4), (0.0, -1.0, 1.0)], "the clocks disagree"),
    ],
)
def test_the_verdict_on_the_collapse(ends, verdict):
    rows = {("drift", at, "total_exponent"): end for at, end in zip(("end", "time", "loss"), ends, strict=True)}
    for name in ("width_exponent", "depth_exponent", "beta_power"):
        rows["drift", "end", name] = (1.0, 0.9, 1.1)
    (said,) = report_answers.scaling_said(fits(rows=rows))
    assert verdict in said and f"{ends[0][0]:.2f} [{ends[0][1]:.2f}" in said


@pytest.mark.parametrize(("low", "verdict"), [(0.01, "better than beta, drift"), (-0.01, "none is shown to be better")])
def test_the_verdict_on_the_predictors(low, verdict):
    rows = {("forcing", "run", "roc_area"): (0.99, 0.98, 1.0)}
    for rival in ("beta", "drift"):
        rows[rival, "run", "roc_area"] = (0.9, 0.8, 0.95)
        rows[f"forcing less {rival}", "run", "roc_area"] = (0.09, low, 0.2)
    rows["order 1", "run", "forcing_star"] = (0.8, 0.5, 1.2)
    area, star = report_answers.predictors_said(fits(rows=rows))
    assert verdict in area and "0.990 [0.980, 1.000]" in area
    assert "0.8 [0.5, 1.2] for order 1" in star


def test_thresholds_beyond_the_grid_are_bounds():
    row = fits(rows={("drift", "end", "beta_star"): (np.inf, 0.1, np.inf)}).iloc[0]
    assert report_words.threshold(row, 0.01, 0.5) == "> 0.5 [0.1, > 0.5]"
    row = fits(rows={("drift", "end", "beta_star"): (0.0, 0.0, 0.0)}).iloc[0]
    assert report_words.threshold(row, 0.01, 0.5) == "< 0.01"
