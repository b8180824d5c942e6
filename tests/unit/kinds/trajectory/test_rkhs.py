"""The datasets ``rkhs`` and ``norms`` of a small study: summaries are those of the runs."""

import numpy as np
import pandas as pd
import pytest
import scipy.linalg

from ntkpipe.analysis import rkhs as maths
from ntkpipe.analysis.drift import eigenpairs
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.kinds.trajectory import report_rkhs, rkhs
from ntkpipe.theory import circle


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


def test_summaries_are_of_first_and_last_snapshot_at_the_middle_ridge(data, done, study):
    found, confidence = data["rkhs"], study.config.tolerances.confidence
    cell = next(i for i in range(found.sizes["cell"]) if done[i].all() and int(found.depth[i]) > 0)
    part = found.isel(cell=cell)
    ntk, y = data["trajectories"].ntk_train.values[cell], data["trajectories"].y_train.values
    largest = []
    for run in ntk:
        ridge = 1e-2 * np.trace(run[0]) / len(y) * np.eye(len(y))
        largest.append(scipy.linalg.eigh(run[-1], run[0] + ridge, eigvals_only=True)[-1])
    expected = {
        "inclusion": np.array(largest),
        "kernel_error_start": part.interpolant_mse.values[:, 0, 0, 1] / part.network_mse.values[:, -1],
        "kernel_error_end": part.interpolant_mse.values[:, -1, 0, 1] / part.network_mse.values[:, -1],
        "loss_left": part.loss.values[:, -1] / part.loss.values[:, 0],
    }
    for name, values in expected.items():
        got = [float(part[f"{name}{end}"]) for end in ("", "_low", "_high")]
        np.testing.assert_allclose(got, geometric_mean(values, confidence), rtol=1e-7)
    assert int(part.n_runs) == len(ntk)


def test_labels_outside_the_space_are_counted_not_averaged(study, data):
    """One hidden ReLU layer without biases has no odd mode: its kernel is singular on cos(3 theta)."""
    from types import SimpleNamespace

    theta = 2 * np.pi * np.arange(16) / 16
    gap = np.abs((theta[:, None] - theta + np.pi) % (2 * np.pi) - np.pi)
    ntk = np.broadcast_to(circle.relu_kernel(gap), (3, 2, 16, 16))
    for y, share in ((np.cos(2 * theta), 0.0), (np.cos(2 * theta) + np.cos(3 * theta), 1.0)):
        run = {"ntk_train": ntk, "ntk_eval_train": ntk[:, :, :4], "f_train": np.zeros((3, 2, 16)), "y_train": y}
        run |= {"f_eval": np.zeros((3, 2, 4)), "y_eval": y[:4], "loss": np.ones((3, 2))}
        found = rkhs.of_cell(study, SimpleNamespace(arrays=run, eigen=eigenpairs(ntk)))
        assert found["target_singular"] == share and found["n_runs"] == 3 and found["decay_to"] == 8


def test_few_known_runs_make_no_summary():
    kept = rkhs.summary(np.array([1.0, 2.0, np.nan, np.nan]), 0.95)
    assert kept.value == pytest.approx(2**0.5)
    assert np.isnan(rkhs.summary(np.array([1.0, np.nan, np.nan]), 0.95).value)
    assert np.isnan(rkhs.summary(np.array([]), 0.95).value)


def test_the_report_says_the_table(study, data):
    from ntkpipe import tables

    cells, norms = tables.load(study, "rkhs"), tables.load(study, "norms")
    said = report_rkhs.rkhs_said(cells, norms, study.config.reading, [])
    assert len(said) == 4 and all("ridge 0.01" in text for text in (said[0], said[1], said[3]))
    shown = cells[(cells.eta == cells.eta.mode().iloc[0]) & np.isfinite(cells.inclusion)].sort_values(["beta", "width"])
    assert f"{shown.inclusion.iloc[-1]:.3g}" in said[0] and f"{shown.rank_change.iloc[0]:.3g}" in said[2]
    for reg in study.config.reading.diag_reg:
        assert f"{reg:g}: " in said[0]
    last = norms[(norms.quantity == "pencil_largest") & (norms.step == norms.step.max()) & (norms.diag_reg == 1e-2)]
    for column in ("width", "depth", "eta"):
        last = last[last[column] == shown[column].iloc[-1]]
    assert f"0.01: {last.estimate.item():.3g}" in said[0]
    singular = report_rkhs.rkhs_said(cells.assign(target_singular=1.0), norms, study.config.reading, [])
    assert "that of the ridge in every cell" in singular[1] and "labels lie partly in ker K_0" in singular[1]


def test_cells_are_counted_by_depth_and_whole_interval():
    rows = pd.DataFrame({"depth": [1, 1, 1, 2], "x_low": [0.5, 0.9, 1.1, 1.2], "x_high": [0.8, 1.1, 1.3, np.nan]})
    assert report_rkhs._sides(rows, "x").endswith("depth 1: 1 and 1 of 3, depth 2: 0 and 1 of 1")
