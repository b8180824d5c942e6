"""From kernels to norms, exponents and words, on a small study; the limit kernel by Fourier sums."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
from scipy.stats import gmean

from ntkpipe import angles, store, tables
from ntkpipe.analysis import growth as growths
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.figures import style
from ntkpipe.kinds.membership import analyse, exponents, report, report_answers, report_words, targets
from ntkpipe.kinds.membership.figures import FIGURES
from ntkpipe.theory import circle
from ntkpipe.topics import sentences

POINTS = [8, 16, 32, 64]


@pytest.fixture(scope="module")
def study(made, tmp_path_factory):
    """Four networks in each of seven cells; the last trains those of the sixth anew."""
    grid = [
        {"width": 96, "depth": [1, 2]},
        {"width": 96, "depth": [1, 2], "bias_init": "zero", "sigma_b": [0.2, 1.0]},
        {"width": 96, "depth": 2, "bias_init": "zero", "steps": 5, "train": 8},
    ]
    settings = {"points": POINTS, "train": 16, "steps": 20, "diag_reg": [0.0, 1e-3]}
    return made(tmp_path_factory.mktemp("membership"), kind="membership", grid=grid, seeds=4, membership=settings)


@pytest.fixture(scope="module")
def norms(study):
    return store.read_rows(Path(study.folder) / "membership.zarr").load()


@pytest.fixture(scope="module")
def growth(study):
    return tables.load(study, "growth")


@pytest.fixture(scope="module")
def kernels(study):
    return store.read_rows(Path(study.folder) / "kernels.zarr").load()


def place(norms, depth, bias_init, sigma_b=1.0):
    here = (norms.depth == depth) & (norms.bias_init == bias_init) & (norms.sigma_b == sigma_b)
    return int(np.flatnonzero(here.values)[0])


def test_norms_are_solves_with_the_kernels_drawn(norms, kernels):
    """Cells of full rank; the interpolant is read at the points that only the finest have."""
    assert int(norms["rank"].isel(cell=3, points=-1, diag_reg=0).min()) == 64
    other = kernels.ntk_trained.isel(target=0)  # of the third target the next is the first
    at_end = kernels.ntk_trained.isel(target=2)
    for kernel, source in (("start", kernels.ntk_start), ("trained", at_end), ("other", other)):
        for seed in range(4):
            ntk, y = source.isel(cell=3, seed=seed).values, kernels.y.values[2]
            for i, n in enumerate(POINTS):
                index = np.arange(0, 64, 64 // n)
                part = norms.isel(cell=3, seed=seed, points=i, target=2).sel(kernel=kernel)
                for r, reg in enumerate((0.0, 1e-3)):
                    inner = ntk[np.ix_(index, index)]
                    alpha = np.linalg.solve(inner + reg * np.trace(inner) / n * np.eye(n), y[index])
                    assert float(part["norm"][r]) == pytest.approx(y[index] @ alpha, rel=1e-6)
                    error = np.mean((ntk[1::2][:, index] @ alpha - y[1::2]) ** 2)
                    expected = error if n < 64 else np.nan
                    assert float(part["eval_mse"][r]) == pytest.approx(expected, rel=1e-5, nan_ok=True)


def test_inclusion_constants_are_generalized_eigenvalues(norms, kernels):
    """Of the kernels drawn, both ways and between networks; those that differ in training alone start alike."""
    cell, step = 3, 2
    start, trained = kernels.ntk_start.isel(cell=cell).values, kernels.ntk_trained.isel(cell=cell, target=step).values
    found, redrawn = norms["inclusion"].isel(cell=cell, target=step), norms["redrawn"].isel(cell=cell)
    for i, n in enumerate(POINTS):
        index = np.ix_(np.arange(0, 64, 64 // n), np.arange(0, 64, 64 // n))
        for r, reg in enumerate((0.0, 1e-3)):
            for got, above, below in (
                (found.sel(space="trained in start")[0], trained[0], start[0]),
                (found.sel(space="start in trained")[1], start[1], trained[1]),
                (redrawn[2, 3], start[3], start[2]),
            ):
                ridge = reg * np.trace(below[index]) / n * np.eye(n)
                expected = scipy.linalg.eigh(above[index], below[index] + ridge, eigvals_only=True)[-1]
                assert float(got[i, r]) == pytest.approx(expected, rel=1e-7)
    free = norms["inclusion"].isel(diag_reg=0)
    assert (free.diff("points") > -1e-9).where(np.isfinite(free.diff("points")), True).all()
    np.testing.assert_array_equal(norms["redrawn"][5], norms["redrawn"][6])
    np.testing.assert_array_equal(kernels.ntk_start[5], kernels.ntk_start[6])
    assert (abs(kernels.ntk_trained[5] - kernels.ntk_trained[6]) > 0).any()


def test_pairs_of_networks_have_the_jackknife_interval():
    """By hand: the mean over ordered pairs, and Student's t over pseudo-values without a network each."""
    rng = np.random.default_rng(0)
    logs = rng.normal(size=(5, 5, 2)) + rng.normal(size=(5, 1, 1))
    off = ~np.eye(5, dtype=bool)

    def mean(kept):
        return logs[np.ix_(kept, kept)][off[np.ix_(kept, kept)]].mean(axis=0)

    every = list(range(5))
    expected = [5 * mean(every) - 4 * mean([i for i in every if i != k]) for k in every]
    found = exponents.apart(np.exp(logs))
    np.testing.assert_allclose(np.log(found), expected, rtol=1e-10)
    np.testing.assert_allclose(np.log(found).mean(axis=0), mean(every), rtol=1e-10)
    gone = np.exp(logs)
    gone[2] = np.nan  # as base it is singular: out, and no pair with it counts
    np.testing.assert_array_equal(np.isfinite(exponents.apart(gone)[:, 0]), np.arange(5) != 2)
    kept = [0, 1, 3, 4]
    np.testing.assert_allclose(np.log(exponents.apart(gone)[kept]).mean(axis=0), mean(kept), rtol=1e-10)
    assert np.isnan(exponents.apart(np.exp(logs[:2, :2]))).all()


def test_intervals_over_pairs_cover():
    """log c = a_i + b_j + noise: dependent pairs, 8 networks."""
    rng, hits = np.random.default_rng(1), 0
    for _ in range(400):
        logs = rng.normal(size=(8, 1, 1)) + rng.normal(size=(1, 8, 1)) + 0.3 * rng.normal(size=(8, 8, 1))
        estimate = geometric_mean(exponents.apart(np.exp(logs))[:, 0], 0.95)
        hits += estimate.low <= 1.0 <= estimate.high
    assert hits >= 366, hits  # the 0.1 % quantile of Binomial(400, 0.95)


def test_norms_never_fall_as_points_are_added(norms):
    free = norms.isel(diag_reg=0)
    for name in ("norm", "norm_limit"):
        steps = free[name].diff("points").values / free[name].values[..., :-1]
        assert (steps[np.isfinite(steps)] > -1e-9).all() and np.isfinite(steps).any()
    assert (norms["norm"].isel(diag_reg=1) < norms["norm"].isel(diag_reg=0)).sum() > 500  # a ridge lowers it


def test_the_limit_norms_are_fourier_sums(norms):
    solved, exact = norms["norm_limit"].isel(diag_reg=0).values, norms["norm_fourier"].values
    np.testing.assert_array_equal(np.isnan(solved), np.isnan(exact))
    np.testing.assert_allclose(solved, exact, rtol=1e-8)
    plain = place(norms, 1, "none")
    modes = np.arange(32)
    np.testing.assert_allclose(norms.eigenvalue[plain], circle.relu_eigenvalues(modes), atol=1e-13)
    biased = circle.relu_eigenvalues(modes, hidden_bias=0.04, output_bias=0.04)
    np.testing.assert_allclose(norms.eigenvalue[place(norms, 1, "zero", 0.2)], biased, atol=1e-13)


def test_parity_is_flagged_not_printed(norms, growth):
    """One layer without biases: cos 3 theta and the step are outside at start, after training and in the limit."""
    plain = norms.isel(cell=place(norms, 1, "none"), diag_reg=0).sel(target=["odd", "step"])
    assert plain["singular"].values.all() and plain["singular_limit"].values.all()
    assert np.isnan(plain["norm"].values).all() and np.isnan(plain["norm_limit"].values).all()
    assert (plain["outside"].sel(target="odd") > 1 - 1e-9).all()
    rows = growth[
        (growth.depth == 1) & (growth.bias_init == "none") & (growth.target == "odd") & (growth.diag_reg == 0)
    ]
    rows = rows[rows.of == "norm"]
    assert rows.estimate.isna().all() and (rows.n_runs == 0).all() and (rows.n_singular > 0).all()
    smooth = norms.isel(cell=place(norms, 1, "none"), diag_reg=0, points=slice(0, 3)).sel(target="smooth")
    assert np.isfinite(smooth["norm_limit"]).all()  # the kernel is singular, but not on this
    assert float(smooth["norm_limit"][-1]) == pytest.approx(0.5 / 0.25 + 0.5 * 9 * np.pi**2 / 7, rel=5e-3)
    for cell in (place(norms, 2, "none"), place(norms, 1, "zero", 0.2)):
        assert not norms["singular_limit"].isel(cell=cell).values.any()


def test_exponents_are_slopes_of_the_norms(norms, growth):
    rows = growth[(growth.quantity == "gamma") & (growth.diag_reg == 0) & (growth.points_min == 16)]
    rows = rows[(rows.of == "norm") & (rows.steps == 20)]
    for cell in (1, 3):
        at = rows[(rows.depth == int(norms.depth[cell])) & (rows.sigma_b == float(norms.sigma_b[cell]))
                  & (rows.bias_init == str(norms.bias_init[cell].values))]  # fmt: skip
        for target in ("smooth", "step"):
            values = np.log(norms["norm"].isel(cell=cell, diag_reg=0).sel(target=target).values[:, :2, 1:])
            slopes = np.polyfit(np.log(POINTS[1:]), values.reshape(-1, 3).T, 1)[0].reshape(4, 2)
            local = np.diff(values, axis=-1) / np.log(2)
            found = at[at.target == target].set_index("kernel")
            for k, kernel in enumerate(("start", "trained")):
                assert found.estimate[kernel] == pytest.approx(slopes[:, k].mean(), rel=1e-9)
                assert found["last"][kernel] == pytest.approx(local[:, k, 1].mean(), rel=1e-9)
                assert found.bend[kernel] == pytest.approx((local[:, k, 1] - local[:, k, 0]).mean(), abs=1e-9)
            paired = slopes[:, 1] - slopes[:, 0]
            assert found.estimate["trained / start"] == pytest.approx(paired.mean(), abs=1e-9)
            half = 3.182446 * paired.std(ddof=1) / 2  # Student's t, 3 degrees of freedom
            assert found.high["trained / start"] == pytest.approx(paired.mean() + half, rel=1e-5, abs=1e-8)


def test_values_are_geometric_means(norms, growth):
    rows = growth[(growth.quantity == "value") & (growth.diag_reg == 0) & (growth.target == "step")]
    rows = rows[(rows.depth == 2) & (rows.bias_init == "none")].set_index(["of", "kernel", "points_max"]).estimate
    part = norms.isel(cell=1, diag_reg=0).sel(target="step")
    both, errors = part["norm"].isel(points=1).values, part["eval_mse"].isel(points=2).values
    assert rows["norm", "trained / start", 16] == pytest.approx(gmean(both[:, 1] / both[:, 0]), rel=1e-9)
    assert rows["error", "trained", 32] == pytest.approx(gmean(errors[:, 1]), rel=1e-9)
    assert rows["error", "network", 16] == pytest.approx(gmean(part["network_mse"].values), rel=1e-9)
    assert rows["error", "limit", 32] == pytest.approx(float(part["eval_mse_limit"][2]), rel=1e-9)
    assert rows["error", "other / start", 32] == pytest.approx(gmean(errors[:, 2] / errors[:, 0]), rel=1e-9)
    forth, back = (part["inclusion"].sel(space=s).values[:, 3] for s in ("trained in start", "start in trained"))
    assert rows["inclusion", "trained in start", 64] == pytest.approx(gmean(forth), rel=1e-9)
    ratio = rows["inclusion", "start in trained / trained in start", 64]
    assert ratio == pytest.approx(gmean(back / forth), rel=1e-9) and ratio > 1
    off = ~np.eye(4, dtype=bool)
    redrawn = gmean(part["redrawn"].values[:, :, 3][off])
    assert rows["inclusion", "redrawn in start", 64] == pytest.approx(redrawn, rel=1e-9)
    excess = rows["inclusion", "trained in start / redrawn in start", 64]
    assert excess == pytest.approx(gmean(forth) / redrawn, rel=1e-9)


def test_the_limit_kernel_predicts_growth(growth):
    """Of a step alpha - 1 = 1 for ReLU; of finitely many modes 0. Over finite N to what the edges cost."""
    limit = growth[
        (growth.kernel == "limit") & (growth.quantity == "gamma") & (growth.of == "norm") & (growth.points_min == 16)
        & (growth.diag_reg == 0) & (growth.depth == 2)
    ]  # fmt: skip
    step, smooth = limit[limit.target == "step"], limit[limit.target == "smooth"]
    assert (abs(step.asymptotic - 1) < 0.015).all()
    assert (abs(step.estimate - 1) < 0.2).all() and (abs(step["last"] - 1) < abs(step.estimate - 1)).all()
    assert (
        (smooth.asymptotic == 0).all() and (abs(smooth.predicted) < 1e-9).all() and (abs(smooth.estimate) < 0.03).all()
    )
    assert limit.low.isna().all() and set(step.verdict) == {"grows"} and set(smooth.verdict) == {"bounded"}


def test_decay_is_read_parity_by_parity():
    q = np.arange(65)
    power = np.where(q % 2 == 0, 1.0, 1e-4) / np.maximum(q, 1) ** 2.0
    assert analyse.decay(power, 0) == pytest.approx(2) and analyse.decay(power, 1) == pytest.approx(2)
    assert np.isnan(analyse.decay(np.exp(-q / 4.0), 0))  # analytic: no power
    assert np.isnan(analyse.decay(np.where(q % 2 == 0, power, 0.0), 1))


def test_dead_or_diverged_networks_have_no_number():
    ntk = np.zeros((2, 8, 8))
    ntk[1] = np.nan
    nested = analyse.subsets((2, 4, 8))
    found = growths.norms(growths.decompositions(ntk, nested), ntk, nested, np.ones(8), np.zeros(1))
    assert np.isnan(found.norm).all() and found.singular[0].all() and not found.singular[1].any()


def test_verdicts():
    def verdict(low, high, last_low, last_high, bend=(-1.0, 1.0), gone=0, kernel="start"):
        row = {"estimate": (low + high) / 2, "low": low, "high": high, "n_singular": gone, "n_all": 8}
        row |= {"last": (last_low + last_high) / 2, "last_low": last_low, "last_high": last_high}
        return exponents.verdict(row | dict(zip(("bend_low", "bend_high"), bend, strict=True)), 0.5, kernel)

    assert verdict(0.0, 0.2, 0.1, 0.3) == "bounded"
    assert verdict(0.0, 0.2, 0.1, 0.6) == "open"  # bending upwards
    assert verdict(0.8, 1.2, 0.7, 1.5) == "grows" and verdict(0.8, 1.2, 0.4, 1.5) == "open"
    assert verdict(0.3, 0.7, 0.3, 0.7) == "open"
    assert verdict(0.0, 0.2, 0.1, 0.3, gone=5) == "singular" and verdict(0.0, 0.2, 0.1, 0.3, gone=4) == "bounded"
    assert verdict(*[np.nan] * 4) == "open"  # fewer than three networks
    assert verdict(0.1, 0.1, 0.2, 0.2, kernel="limit") == "bounded"
    quotient = {"kernel": "trained / start"}
    assert verdict(0.3, 0.7, 0.1, 0.7, **quotient) == "rises" and verdict(-0.3, -0.2, -0.7, -0.1, **quotient) == "falls"
    assert verdict(0.3, 0.7, -0.1, 0.7, (-0.9, -0.1), **quotient) == "rises, slowing"
    assert verdict(-0.7, -0.3, -0.7, 0.1, (0.1, 0.9), **quotient) == "falls, slowing"
    assert verdict(-0.1, 0.2, -0.2, 0.1, **quotient) == "level" and verdict(-0.1, 0.2, -0.3, 0.1, **quotient) == "open"
    assert verdict(0.3, 0.7, -0.1, 0.7, (-0.9, 0.1), **quotient) == "open"


def test_the_report_says_what_the_rows_say(study, growth):
    section = report.section(study)
    said = " ".join(sentences(section["topics"]))
    rows = growth[(growth.quantity == "gamma") & (growth.points_min == 16) & (growth.diag_reg == 0)]
    steps = rows[(rows.target == "step") & rows.estimate.notna()]
    for of, kernel in (("norm", "start"), ("norm", "trained"), ("inclusion", "trained in start")):
        for _, group in steps[(steps.of == of) & (steps.kernel == kernel)].groupby("verdict"):
            ordered = group.sort_values("estimate")
            for row in (ordered.iloc[0], ordered.iloc[-1]):
                assert tables.interval(row.estimate, row.low, row.high, ".2f") in said
    assert "Infinite width: outside, K_N being singular on it, for depth 1, no biases" in said
    grew = steps[(steps.of == "norm") & (steps.kernel == "start") & (steps.verdict == "grows")]
    assert f"of {len(grew)} cells in which its norm grows with K_0, training on it bounds the norm in 0" in said
    assert "by 5, 20 steps" in section["methods"] and "over 8, 16 equal angles" in section["methods"]
    assert "nan" not in said
    assert {row["inside"] for row in section["verification"]} == {"yes"}
    assert len(section["verification"]) == 6 * 3  # of infinite width: two cells have the same kernel
    assert all(len({tuple(row) for row in rows}) == 1 for _, rows in section["tables"])
    assert {row["kernel"] for row in dict(section["tables"])["Growth exponents of the inclusion constants"]} >= {
        "trained in start", "start in trained", "redrawn in start",
    }  # fmt: skip


def rows_of(of, kernel, estimates, verdicts=None, target="step", quantity="value", **more):
    """Rows of ``growth`` with these estimates, intervals 10 % to both sides, a cell each."""
    frame = pd.DataFrame({"estimate": estimates, "of": of, "kernel": kernel, "target": target, "quantity": quantity})
    frame = frame.assign(low=0.9 * frame.estimate, high=1.1 * frame.estimate, last=frame.estimate, points_max=32)
    frame = frame.assign(last_low=frame.low, last_high=frame.high, n_singular=0, n_all=8, asymptotic=np.nan)
    frame = frame.assign(verdict=verdicts or "", width=[4, 8, 16][: len(frame)], depth=1, widths="")
    return frame.assign(cell=[f"width {w}" for w in frame.width], steps=5, train_points=8, **more)


def test_the_answer_on_inclusion_follows_from_the_quotients():
    def said(more, back):
        kinds = {"trained in start / redrawn in start": more, "start in trained / trained in start": back}
        kinds |= {"trained in start": [3.0] * 3, "start in trained": [5.0] * 3, "redrawn in start": [7.0] * 3}
        values = pd.concat([rows_of("inclusion", kernel, numbers) for kernel, numbers in kinds.items()])
        exponents = rows_of("inclusion", "trained in start", [1.0] * 3, "grows", quantity="gamma")
        return report_answers._inclusion_said(exponents, values, ["width"])

    first, second, *rest = said([0.5, 2.0, 3.0], [0.5, 0.6, 4.0])
    assert first.startswith("Yes: c, the smallest with K_t <= c K_0 on 32 points")
    assert "is above 1 in 2 of 3 cells and below in 1, 0.5 [0.45, 0.55] (width 4) to 3 [2.7, 3.3] (width 16)" in first
    assert "is above 1 in 1 of 3 cells and below in 2, 0.5 [0.45, 0.55] (width 4)" in second
    assert said([0.5, 1.0, 3.0], [1.0])[0].startswith("In some cells: ")
    assert said([0.5, 1.0, 1.0], [1.0])[0].startswith("No more than drawing it anew does: ")
    by_width = next(text for text in rest if text.startswith("c by width 4, 8, 16"))
    assert "H_t in H_0 3 [2.7, 3.3]" in by_width and "H_0 in H_t 5 [4.5, 5.5]" in by_width
    assert "redrawn network in H_0 7 [6.3, 7.7]" in by_width


def test_the_answer_on_learning_counts_cells_on_each_side():
    kinds = {"start": [0.3, 0.2, 0.1], "trained / start": [0.5, 0.6, 2.0], "other / start": [1.0, 3.0, 4.0]}
    values = pd.concat([rows_of("error", kernel, numbers) for kernel, numbers in kinds.items()])
    lead, text = report_answers._errors_said(values)
    assert "Trained on itself, K_t errs less than K_0 in 2 and more in 1 of 3" in lead
    assert "trained on another, K_t errs less than K_0 in 0 and more in 2 of 3" in lead
    assert "over that with K_0 is above 1 in 1 of 3 cells and below in 2, 0.5 [0.45, 0.55] (width 4) to 2 [1.8" in text
    assert "with K_t trained on another function above 1 in 2 of 3 cells and below in 0" in text
    assert "Error with K_0 0.1 [0.09, 0.11] (width 16) to 0.3 [0.27, 0.33] (width 4)" in text


def test_the_answer_on_bounding_counts_cells_whose_norm_grew():
    def said(after):
        start = rows_of("norm", "start", [1.0, 1.0, 0.1], ["grows", "grows", "bounded"])
        trained = rows_of("norm", "trained", [0.1, 0.1, 3.0], after)
        quotient = rows_of("norm", "trained / start", [-0.9, -0.8, 2.9], ["falls", "falls", "rises"])
        return list(report_answers._bounded_by_training("step", pd.concat([start, trained, quotient]), ["width"]))

    first, second, *_ = said(["bounded", "open", "grows"])
    assert first.startswith("In part: of 2 cells") and "bounds the norm in 1 (open in 1)" in first
    assert "falls in 2 (exponent -0.90" in second and "rises" not in second
    assert said(["bounded", "bounded", "grows"])[0].startswith("Yes: of 2 cells")
    assert said(["grows", "open", "bounded"])[0].startswith("No: of 2 cells")


def test_what_training_does_not_touch_is_counted_once():
    rows = pd.concat([rows_of("norm", kernel, [1.0, 2.0]) for kernel in ("start", "trained", "limit")])
    rows = pd.concat([rows, rows.assign(steps=50)])
    names = ["width", "steps"]
    assert len(report_words.own(rows, "trained", names)) == 4
    assert list(report_words.own(rows, "start", names).cell) == ["width 4", "width 8"]
    assert list(report_words.own(rows, "limit", names).cell) == ["the one cell"]
    both = pd.concat([rows.assign(activation=name) for name in ("relu", "tanh")])
    assert list(report_words.own(both, "limit", [*names, "activation"]).cell) == ["activation relu", "activation tanh"]


def test_cells_that_differ_in_one_setting_stand_side_by_side():
    frame = pd.DataFrame({"width": [8, 4, 8, 16], "depth": [1, 1, 2, 1], "steps": 5})
    groups = list(report_words.along(frame, "width", ["depth", "width"]))
    assert [list(group.width) for group in groups] == [[4, 8, 16]]
    assert not list(report_words.along(frame, "steps", ["depth", "width"]))
    row = next(frame.iloc[[0]].itertuples())
    assert report_words.setting(row, ["width", "steps"], {"steps": 5}) == "width 8"
    assert report_words.setting(row, ["width", "steps"], {"steps": 9}) == "width 8, steps 5"


@pytest.mark.parametrize(("seeds", "settings"), [(1, {}), (3, {"eta": 5.0}), (2, {"targets": "step"})])
def test_a_report_of_singular_few_or_diverged_networks(made, tmp_path, seeds, settings):
    """Bias-free depth 1: no K_N has an inverse at 32 points; one network has no interval; all diverge."""
    settings = {"points": [8, 16, 32], "train": 16, "steps": 20} | settings
    planned = made(tmp_path, kind="membership", grid={"width": 8, "depth": 1}, seeds=seeds, membership=settings)
    section = report.section(planned)
    said = " ".join([*sentences(section["topics"]), section["coverage"]])
    assert "Not known: at this ridge every K_N is singular, or no training finished" in said and "nan" not in said
    assert f"{0 if 'eta' in settings else 3 * seeds if 'targets' not in settings else seeds} of" in section["coverage"]


def test_without_scales_of_biases_a_figure_says_so(norms):
    with pytest.raises(style.NothingToDraw, match="sigma_b"):
        FIGURES["membership_sigma_b"]({"membership": norms.isel(cell=[0, 1])})


def test_targets_are_what_they_are_called():
    theta = angles.equal(64)
    np.testing.assert_allclose(targets.values("smooth", theta), np.cos(theta) + np.cos(2 * theta))
    np.testing.assert_allclose(targets.values("odd", theta), np.cos(3 * theta))
    step = targets.values("step", theta)
    assert set(step) == {-1.0, 1.0} and abs(np.sum(step > 0) / 64 - 2 / (2 * np.pi)) < 1 / 64
