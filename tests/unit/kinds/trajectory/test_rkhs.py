"""The datasets ``rkhs`` and ``norms`` of a small study: summaries are those of the runs."""

import numpy as np
import pytest

from ntkpipe.analysis import rkhs as maths
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.kinds.trajectory import report_rkhs, rkhs


@pytest.fixture
def done(data):
    return data["trajectories"].status.values == 0


def test_norms_are_those_of_the_kernels(data, done):
    found, runs = data["rkhs"], data["trajectories"]
    cell, seed = np.argwhere(done)[0]
    y, reg = runs.y_train.values, found.diag_reg.values
    for snapshot in (0, -1):
        ntk = runs.ntk_train.values[cell, seed, snapshot]
        for r, each in enumerate(reg):
            ridge = each * np.trace(ntk) / len(ntk) * np.eye(len(ntk))
            expected = y @ np.linalg.solve(ntk + ridge, y)
            assert found.target_norm.values[cell, seed, snapshot, r] == pytest.approx(expected, rel=1e-8)
    assert set(maths.PATHS) <= set(found.data_vars)


def test_diverged_runs_are_in_no_mean(study, data, done):
    found, confidence = data["rkhs"], study.config.tolerances.confidence
    assert not done.all()
    for cell in range(found.sizes["cell"]):
        values = found.target_norm.values[cell, done[cell], :, 1]
        expected = geometric_mean(values[:, -1] / values[:, 0], confidence)
        got = [float(found[f"target_norm_change{end}"][cell]) for end in ("", "_low", "_high")]
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_rows_are_means_over_runs_at_four_times(data, done):
    rows, found = data["norms"].to_dataframe(), data["rkhs"]
    assert set(rows.step) == set(found.step.values[rkhs.shown(found.sizes["snapshot"])])
    last = rows[(rows.quantity == "log_det_ratio") & (rows.step == rows.step.max())]
    cell = next(i for i in range(found.sizes["cell"]) if done[i].all())
    here = last[(last.width == int(found.width[cell])) & (last.depth == int(found.depth[cell]))]
    here = here[(here.eta == float(found.eta[cell])) & (here.diag_reg == 1e-2)]
    values = found.log_det_ratio.values[cell, :, -1, 1]
    assert here.estimate.item() == pytest.approx(values.mean(), rel=1e-10) and here.n_runs.item() == len(values)
    start = rows[(rows.quantity == "target_norm / start") & (rows.step == 0)]
    np.testing.assert_allclose(start.estimate[start.n_runs > 0], 1.0, rtol=1e-12)


def test_the_report_says_the_table(study, data):
    from ntkpipe import tables

    cells = tables.load(study, "rkhs")
    said = report_rkhs.rkhs_said(cells, study.config.regimes, [])
    assert len(said) == 3 and "ridge 0.01" in said[0]
    shown = cells[(cells.eta == cells.eta.mode().iloc[0]) & np.isfinite(cells.inclusion)].sort_values(["beta", "width"])
    assert f"{shown.inclusion.iloc[-1]:.3g}" in said[0] and f"{shown.rank_change.iloc[0]:.3g}" in said[1]
