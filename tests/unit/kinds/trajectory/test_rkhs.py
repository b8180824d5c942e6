"""The datasets ``rkhs`` and ``norms`` of a small study: summaries are those of the runs."""

import re
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import scipy.linalg
from scipy import stats

from ntkpipe.analysis import rkhs as maths
from ntkpipe.analysis.drift import eigenpairs
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.config.train import RegimesConfig
from ntkpipe.figures import style
from ntkpipe.kinds.trajectory import figures_cells, figures_rkhs, report_rkhs, report_words, rkhs
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


def by_hand(run, diag_reg: np.ndarray) -> dict[str, np.ndarray]:
    """Every entry of ``ENDS`` of each run of a cell, and ``decay_to``, from its raw arrays by numpy and scipy."""
    y, y_eval, reg, rows = run["y_train"], run["y_eval"], diag_reg[len(diag_reg) // 2], []
    n = len(y)

    def shifted(ntk: np.ndarray, each: float = reg) -> np.ndarray:
        return ntk + each * np.trace(ntk) / n * np.eye(n)

    def error(ntk: np.ndarray, cross: np.ndarray) -> float:
        """Of the interpolant from zero whose ridge is of least leave-one-out error, each point left out in turn."""
        found = []
        for each in diag_reg:
            k, missed = shifted(ntk, each), []
            for i in range(n):
                rest = np.arange(n) != i
                missed.append(y[i] - k[i, rest] @ np.linalg.solve(k[np.ix_(rest, rest)], y[rest]))
            found.append((np.sum(np.square(missed)), np.mean((cross @ np.linalg.solve(k, y) - y_eval) ** 2)))
        return min(found)[1]

    def rank(values: np.ndarray) -> float:
        share = np.maximum(values, 0) / values.sum()
        return np.exp(-np.sum([p * np.log(p) for p in share if p > 0]))

    for seed in range(len(run["ntk_train"])):
        first, last = run["ntk_train"][seed, [0, -1]]
        cross = run["ntk_eval_train"][seed, [0, -1]]
        values = [np.linalg.eigvalsh(ntk)[::-1] for ntk in (first, last)]
        above = [np.sum(v > n * np.finfo(float).eps / 1e-3 * v[0]) for v in values]
        to = min(*above, max(3, n // 2))
        k = np.log(np.arange(2, to + 1))
        start, end = (np.polyfit(k, np.log(v[1:to]), 1) if to > 2 else np.full(2, np.nan) for v in values)
        network = np.mean((run["f_eval"][seed, -1] - y_eval) ** 2)
        rows.append(
            {
                "target_norm_change": y @ np.linalg.solve(shifted(last), y) / (y @ np.linalg.solve(shifted(first), y)),
                "inclusion": scipy.linalg.eigh(last, shifted(first), eigvals_only=True)[-1],
                "inclusion_back": scipy.linalg.eigh(first, shifted(last), eigvals_only=True)[-1],
                "decay_start": -start[0],
                "decay_end": -end[0],
                "decay_misfit": np.sqrt(np.mean((np.log(values[1][1:to]) - np.polyval(end, k)) ** 2)),
                "rank_change": rank(values[1]) / rank(values[0]),
                "network_error": network,
                "kernel_error_start": error(first, cross[0]) / network,
                "kernel_error_end": error(last, cross[1]) / network,
                "loss_left": run["loss"][seed, -1] / run["loss"][seed, 0],
                "decay_to": to,
            }
        )
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def check_ends(found, expected: dict[str, np.ndarray], confidence: float, leave: tuple[str, ...] = ()) -> None:
    """Means and intervals of :func:`by_hand`: those of Student on the logarithms."""
    assert expected.keys() == {*rkhs.ENDS, "decay_to"}
    for name in set(rkhs.ENDS) - set(leave):
        assert np.isfinite(expected[name]).all(), name
        logs = np.log(expected[name])
        low, high = stats.t.interval(confidence, len(logs) - 1, logs.mean(), stats.sem(logs))
        got = [float(found[f"{name}{end}"]) for end in ("", "_low", "_high")]
        np.testing.assert_allclose(got, np.exp([logs.mean(), low, high]), rtol=1e-5, err_msg=name)


def test_every_end_is_that_of_the_raw_kernels(data, done, study):
    confidence, regs = study.config.tolerances.confidence, np.array(study.config.reading.diag_reg)
    cells = [i for i in range(len(done)) if done[i].all()]
    assert len(cells) > 2
    for cell in cells:
        run = {name: variable.values for name, variable in data["trajectories"].isel(cell=cell).items()}
        found = data["rkhs"].isel(cell=cell)
        no_line = ("decay_start", "decay_end", "decay_misfit")  # of four points k = 2, 3 are too few
        check_ends(found, by_hand(run, regs), confidence, leave=no_line)
        assert int(found.n_runs) == len(done[cell]) and all(np.isnan(found[name]) for name in (*no_line, "decay_to"))


def moving_runs(n: int = 12, runs: int = 6) -> dict[str, np.ndarray]:
    """Raw arrays of a cell, three snapshots: K_T of run 4 has rank 4, and run 5 diverges."""
    rng = np.random.default_rng(2)
    size = np.arange(1.0, 41.0) ** -1.2
    phi = rng.normal(size=(runs, 1, n + 5, 40)) * size
    phi = phi + 0.4 * np.arange(3)[:, None, None] * rng.normal(size=(runs, 1, n + 5, 40)) * size**1.5
    phi[4, -1, :, 4:] = 0
    phi[5, 0, :, 2:] = 0  # outside from the start, but not counted
    whole = phi @ np.swapaxes(phi, -2, -1)
    f, y = rng.normal(size=(runs, 3, n + 5)), rng.normal(size=n + 5)
    run = {"ntk_train": whole[..., :n, :n].copy(), "ntk_eval_train": whole[..., n:, :n].copy()}
    run |= {"f_train": f[..., :n].copy(), "f_eval": f[..., n:].copy()}
    run["loss"] = rng.uniform(0.1, 1, (runs, 3))
    for values in run.values():
        values[5, 1:] = np.nan
    return run | {"y_train": y[:n], "y_eval": y[n:]}


def test_every_end_over_many_points_of_the_runs_that_finished(study):
    run, config = moving_runs(), study.config
    found = rkhs.of_cell(study, SimpleNamespace(arrays=run, eigen=eigenpairs(run["ntk_train"])))
    finished = {name: values if name.startswith("y") else values[:5] for name, values in run.items()}
    expected = by_hand(finished, np.array(config.reading.diag_reg))
    check_ends(found, expected, config.tolerances.confidence)
    assert sorted(expected["decay_to"]) == [4, 6, 6, 6, 6] and found["decay_to"] == 4
    assert found["n_runs"] == 5 and found["target_singular"] == 1 / 5
    assert len({f"{found[name]:.6g}" for name in rkhs.ENDS}) == len(rkhs.ENDS)
    assert len(set(found["kernel_reg"][:5].ravel())) > 1  # ridges differ: not one for all


def test_labels_outside_the_space_are_counted_not_averaged(study):
    """One hidden ReLU layer without biases has no odd mode: its kernel is singular on cos(3 theta)."""
    theta = 2 * np.pi * np.arange(16) / 16
    gap = np.abs((theta[:, None] - theta + np.pi) % (2 * np.pi) - np.pi)
    relu, full = circle.relu_kernel(gap), np.eye(16)
    even, odd = np.cos(2 * theta), np.cos(2 * theta) + np.cos(3 * theta)
    for y, kernels, share in (
        (even, [(relu, relu)] * 3, 0.0),
        (odd, [(relu, relu)] * 3, 1.0),
        (odd, [(full, relu), (relu, full), (full, full)], 2 / 3),  # at the end, at the start, never
    ):
        ntk = np.array(kernels)
        run = {"ntk_train": ntk, "ntk_eval_train": ntk[:, :, :4], "f_train": np.zeros((3, 2, 16)), "y_train": y}
        run |= {"f_eval": np.zeros((3, 2, 4)), "y_eval": y[:4], "loss": np.ones((3, 2))}
        found = rkhs.of_cell(study, SimpleNamespace(arrays=run, eigen=eigenpairs(ntk)))
        assert found["target_singular"] == pytest.approx(share) and found["n_runs"] == 3 and found["decay_to"] == 8
        assert rkhs.inside(found["target_singular"]) == (share == 0)
        run["loss"] = np.full((3, 2), np.nan)
        none = rkhs.of_cell(study, SimpleNamespace(arrays=run, eigen=eigenpairs(ntk)))
        assert np.isnan(none["target_singular"]) and np.isnan(none["decay_to"]) and none["n_runs"] == 0


def test_rows_hold_constants_both_ways_angles_and_distances(data):
    rows = data["norms"].to_dataframe()
    names = set(rows.quantity)
    assert {"pencil_largest", "pencil_back", "principal_angle", "kernel_mse", "target_norm / start"} <= names
    assert {"distance_initial (zero)", "distance_initial (initial)"} <= names and "pencil_smallest" not in names
    angle = rows[(rows.quantity == "principal_angle") & (rows.step == 0) & (rows.n_runs > 0)]
    assert (angle.estimate < 1e-14).all() and len(angle)  # a space with itself, to rounding


def test_few_known_runs_make_no_summary():
    kept = rkhs.summary(np.array([1.0, 2.0, np.nan, np.nan]), 0.95)
    assert kept.value == pytest.approx(2**0.5)
    assert np.isnan(rkhs.summary(np.array([1.0, np.nan, np.nan]), 0.95).value)
    assert np.isnan(rkhs.summary(np.array([]), 0.95).value)


def test_the_report_says_the_table(study, data):
    from ntkpipe import tables

    cells, norms = tables.load(study, "rkhs"), tables.load(study, "norms")
    said = report_rkhs.rkhs_said(cells, norms, study.config.reading, [])
    assert len(said) == 4 and all("ridge 0.01" in text for text in said[:2])
    for reg in study.config.reading.diag_reg:
        assert f"{reg:g}: " in said[0]
    assert not any("nan" in text for text in said)


REGS = (1e-8, 1e-4, 1e-2)
SHAPES = ((256, 1), (64, 1), (16, 1), (64, 2), (16, 2))
"""(width, depth) of the cells below: most at depth 1, the largest beta at depth 2."""
NAMES = list(rkhs.ENDS)


def value(cell: int, name: str) -> int:
    """A number of its own for each cell and entry of ``ENDS``, three digits; that of the decay changes most at 1."""
    return 100 + 150 * cell + 10 * NAMES.index(name) + (35 if (cell, name) == (1, "decay_end") else 0)


def numbers(cell: int, name: str) -> str:
    v = value(cell, name)
    return f"{v} [{v - 1}, {v + 2}]"


def constant(cell: int, name: str, reg: float) -> str:
    names = ("pencil_largest", "pencil_back", "target_norm / start")
    return f"{100 + 180 * cell + 10 * REGS.index(reg) + names.index(name)}"


@pytest.fixture
def by_cell() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tables ``rkhs`` and ``norms`` of five cells, every number another."""
    same = dict.fromkeys(report_rkhs.HEAD, "x") | {"eta": 0.5, "eta_unit": "critical", "widths": ""}
    rows, norms = [], []
    for i, (width, depth) in enumerate(SHAPES):
        cell = same | {"width": width, "depth": depth}
        counts = {"n_runs": 6 + i, "target_singular": 0.0, "decay_to": 20.0 + i}
        row = cell | counts | {"beta": depth / width}
        for name in NAMES:
            ends = (value(i, name), value(i, name) - 1, value(i, name) + 2)
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), map(float, ends), strict=True))
        rows.append(row)
        for step in (0, 10):
            for name in ("pencil_largest", "pencil_back", "target_norm / start"):
                for reg in REGS:
                    estimate = float(constant(i, name, reg)) if step else -1.0
                    of = {"quantity": name, "diag_reg": reg, "step": step, "low": np.nan, "high": np.nan}
                    norms.append(cell | of | {"estimate": estimate})
    rows[1]["kernel_error_start_low"] = 0.5  # cells that no sentence shows, told apart by the side of 1 they are on
    rows[1]["kernel_error_end_low"], rows[1]["kernel_error_end_high"], rows[3]["rank_change_low"] = 0.2, 0.5, 0.5
    return pd.DataFrame(rows), pd.DataFrame(norms)


def test_each_number_stands_in_its_place(by_cell):
    def at(name: str, cells: tuple[int, int, int] = (0, 2, 4)) -> str:
        first, second, last = (re.escape(numbers(i, name)) for i in cells)
        return rf"{first} to {second}, then {last}"

    def sides(first: str, second: str) -> str:
        return re.escape(
            f" (cells below and above 1 by whole intervals, depth 1: {first} of 3, depth 2: {second} of 2)"
        )

    said = report_rkhs.rkhs_said(*by_cell, RegimesConfig(diag_reg=list(REGS)), [])
    where = (
        r"from beta 0\.00391 \(width 256\) to 0\.0625 \(width 16\) at depth 1, "
        r"then at beta 0\.125 \(width 16, depth 2\): "
    )
    head = re.escape(f"At {report_words.step(0.5, 'critical')} (6 to 10 runs a cell)")
    largest = r"; at beta 0\.125 \(width 16, depth 2\) by ridge, "
    both = ", ".join(
        f"{reg:g}: {constant(4, 'pencil_largest', reg)} and {constant(4, 'pencil_back', reg)}" for reg in REGS
    )
    misfit = re.escape(f"{value(4, 'decay_misfit'):.2g}")
    one = ", ".join(f"{reg:g}: {constant(4, 'target_norm / start', reg)}" for reg in REGS)
    ridge = rf"{head} and the ridge 0\.0001 tr K/N, {where}"
    patterns = [
        rf"{ridge}K_T <= c \(K_0 \+ lambda\) on the train points with c = {at('inclusion')}, and K_0 <= c \(K_T \+ "
        rf"lambda\) with c = {at('inclusion_back')}{largest}{re.escape(both)}\. On finitely many points .*",
        rf"{ridge}the norm of the labels in H_T, over that in H_0, is {at('target_norm_change')}"
        rf"{sides('0 and 3', '0 and 2')}{largest}{re.escape(one)}\.",
        rf"{head}, {where}the eigenvalues decay like k\^-a, from k = 2 to the last k \(at most N/2\) that K_0 and K_T "
        rf"both have, 20 to 24; a of K_0 is {at('decay_start')}, of K_T {at('decay_end')} \(residuals of log lambda_k "
        rf"of K_T up to {misfit}, so a power only so far\)\. It changes most at beta 0\.0156 "
        rf"\(width 64, depth 1\), from {re.escape(numbers(1, 'decay_start'))} to "
        rf"{re.escape(numbers(1, 'decay_end'))}; the effective rank is, over its first value, {at('rank_change')}"
        rf"{sides('0 and 3', '0 and 1')}\.",
        rf"{head}, {where}the eval error of the interpolant from zero \(each kernel's ridge by its leave-one-out "
        r"error on the train labels\) is, over that of the network at the end, with K_0 "
        rf"{at('kernel_error_start')}{sides('0 and 2', '0 and 2')}, and with K_T "
        rf"{at('kernel_error_end')}{sides('1 and 2', '0 and 2')}\. The networks stop "
        rf"with {at('loss_left')} of their first training loss: they have not ended as the interpolants have\.",
    ]
    for text, pattern in zip(said, patterns, strict=True):
        assert re.fullmatch(pattern, text), text


def test_norms_are_said_of_cells_whose_labels_lie_inside(by_cell):
    cells, norms = by_cell
    config = RegimesConfig(diag_reg=list(REGS))
    cells["target_singular"] = [0.2, 0.0, 0.0, 0.0, 1.0]
    text = report_rkhs.rkhs_said(cells, norms, config, ["training"])[1]
    assert text.startswith("(x) At eta") and "left out 2 of 5 cells (depth 1, 2) whose labels lie, in some run" in text
    first, second, last = (numbers(i, "target_norm_change") for i in (1, 2, 3))
    assert (
        f"from beta 0.0156 (width 64) to 0.0625 (width 16) at depth 1: the norm of the labels in H_T, over that in "
        f"H_0, is {first} to {second} (cells" in text
    )  # 0.03125 at depth 2 is not the largest beta
    assert last not in text and "depth 1: 0 and 2 of 2, depth 2: 0 and 1 of 1" in text
    assert f"at beta 0.0625 (width 16, depth 1) by ridge, 1e-08: {constant(2, 'target_norm / start', 1e-8)}" in text
    text = report_rkhs.rkhs_said(cells.assign(target_singular=1.0), norms, config, [])[1]
    assert "that of the ridge in every cell; left out 5 of 5 cells" in text and "by ridge" not in text


def test_too_few_points_have_no_decay(by_cell):
    cells, norms = by_cell
    gone = {name: np.nan for name in cells if name.startswith("decay_")}
    text = report_rkhs.rkhs_said(cells.assign(**gone), norms, RegimesConfig(diag_reg=list(REGS)), [])[2]
    assert "k^-a" not in text and f"the effective rank is, over its first value, {numbers(0, 'rank_change')}" in text
    assert report_rkhs.rkhs_said(cells[:2], norms, RegimesConfig(diag_reg=list(REGS)), []) == []


def test_norms_are_drawn_of_cells_whose_labels_lie_inside(data):
    rows = figures_cells.base(data)
    assert len(rows) > 1
    for singular in (np.ones(data["rkhs"].sizes["cell"]), np.zeros(data["rkhs"].sizes["cell"])):
        if not singular.any():
            singular[rows.cell.iloc[0]] = 0.2
        spaces = data["rkhs"].assign(target_singular=("cell", singular))
        kept = figures_rkhs.in_the_space(rows, spaces)
        assert (singular[kept.cell] == 0).all() and kept.empty == singular.all()
        with style.applied():
            for name, panels in (("rkhs", [1]), ("spaces", [0, 1, 2])):
                figure = getattr(figures_rkhs, name)(data | {"rkhs": spaces})
                for panel in panels:
                    axis = figure.axes[panel]
                    curves = [line for line in axis.lines if line.get_linestyle() == "-"]
                    assert len(curves) == len(kept)
                    assert [text.get_text() for text in axis.texts] == ([figures_rkhs.OUTSIDE] if kept.empty else [])
                plt.close(figure)


def test_cells_are_counted_by_depth_and_whole_interval():
    rows = pd.DataFrame({"depth": [1, 1, 1, 2], "x_low": [0.5, 0.9, 1.1, 1.2], "x_high": [0.8, 1.1, 1.3, np.nan]})
    assert report_rkhs._sides(rows, "x").endswith("depth 1: 1 and 1 of 3, depth 2: 0 and 1 of 1")
