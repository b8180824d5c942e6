"""From kernels to norms, exponents and words, on a small study; the limit kernel by Fourier sums."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ntkpipe import collect, kinds, shards, store, tables
from ntkpipe.figures import style
from ntkpipe.kinds.membership import analyse, report, targets
from ntkpipe.kinds.membership.figures import FIGURES
from ntkpipe.theory import circle

POINTS = [8, 16, 32, 64]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Four networks in each of six cells."""
    from ntkpipe import config, plan

    tree = {
        "results": str(tmp_path_factory.mktemp("membership")),
        "studies": {
            "s": {
                "kind": "membership",
                "grid": [
                    {"width": 96, "depth": [1, 2]},
                    {"width": 96, "depth": [1, 2], "bias_init": "zero", "sigma_b": [0.2, 1.0]},
                ],
                "seeds": 4,
                "membership": {"points": POINTS, "train": 16, "steps": 20, "diag_reg": [0.0, 1e-3]},
            }
        },
    }
    planned = plan.make(config.parse(tree)).studies["s"]
    for shard in planned.shards:
        arrays = kinds.load(planned, "draw").draw(planned, shard)
        shards.write(shard.path, arrays, shards.attrs_of(planned, shard))
    collect.run(planned)
    analyse.run(planned)
    return planned


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
    for kernel, source in (("start", kernels.ntk_start), ("trained", kernels.ntk_trained.isel(target=2))):
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
    assert rows.estimate.isna().all() and (rows.n_runs == 0).all() and (rows.n_singular > 0).all()
    smooth = norms.isel(cell=place(norms, 1, "none"), diag_reg=0, points=slice(0, 3)).sel(target="smooth")
    assert np.isfinite(smooth["norm_limit"]).all()  # the kernel is singular, but not on this
    assert float(smooth["norm_limit"][-1]) == pytest.approx(0.5 / 0.25 + 0.5 * 9 * np.pi**2 / 7, rel=5e-3)
    for cell in (place(norms, 2, "none"), place(norms, 1, "zero", 0.2)):
        assert not norms["singular_limit"].isel(cell=cell).values.any()


def test_exponents_are_slopes_of_the_norms(norms, growth):
    rows = growth[(growth.quantity == "gamma") & (growth.diag_reg == 0) & (growth.points_min == 16)]
    for cell in (1, 3):
        at = rows[(rows.depth == int(norms.depth[cell])) & (rows.sigma_b == float(norms.sigma_b[cell]))
                  & (rows.bias_init == str(norms.bias_init[cell].values))]  # fmt: skip
        for target in ("smooth", "step"):
            values = np.log(norms["norm"].isel(cell=cell, diag_reg=0).sel(target=target).values[:, :, 1:])
            slopes = np.polyfit(np.log(POINTS[1:]), values.reshape(-1, 3).T, 1)[0].reshape(4, 2)
            found = at[at.target == target].set_index("kernel")
            assert found.estimate["start"] == pytest.approx(slopes[:, 0].mean(), rel=1e-9)
            assert found.estimate["trained"] == pytest.approx(slopes[:, 1].mean(), rel=1e-9)
            paired = slopes[:, 1] - slopes[:, 0]
            assert found.estimate["trained - start"] == pytest.approx(paired.mean(), abs=1e-9)
            half = 3.182446 * paired.std(ddof=1) / 2  # Student's t, 3 degrees of freedom
            assert found.high["trained - start"] == pytest.approx(paired.mean() + half, rel=1e-5, abs=1e-8)
    ratios = growth[(growth.quantity == "ratio") & (growth.diag_reg == 0) & (growth.target == "step")]
    row = ratios[(ratios.depth == 2) & (ratios.bias_init == "none") & (ratios.points_max == 16)].iloc[0]
    both = norms["norm"].isel(cell=1, points=1, diag_reg=0).sel(target="step").values
    assert row.estimate == pytest.approx(np.exp(np.mean(np.log(both[:, 1] / both[:, 0]))), rel=1e-9)


def test_the_limit_kernel_predicts_growth(growth):
    """Of a step alpha - 1, about 1 for ReLU; of finitely many modes 0. Over finite N to what the edges cost."""
    limit = growth[
        (growth.kernel == "limit") & (growth.points_min == 16) & (growth.diag_reg == 0) & (growth.depth == 2)
    ]
    step, smooth = limit[limit.target == "step"], limit[limit.target == "smooth"]
    assert (abs(step.estimate - step.asymptotic) < 0.15).all() and (abs(step.predicted - step.asymptotic) < 0.25).all()
    assert (
        (smooth.asymptotic == 0).all() and (abs(smooth.predicted) < 1e-9).all() and (abs(smooth.estimate) < 0.03).all()
    )
    assert limit.low.isna().all()


def test_dead_or_diverged_networks_have_no_number():
    ntk = np.zeros((2, 8, 8))
    ntk[1] = np.nan
    found = analyse._growth(ntk, (2, 4, 8), np.ones(8), np.zeros(1))
    assert np.isnan(found.norm).all() and found.singular[0].all() and not found.singular[1].any()


def test_verdicts():
    def row(estimate, low, high, gone=0, kernel="start"):
        numbers = {"estimate": estimate, "low": low, "high": high, "n_singular": gone, "n_all": 8, "kernel": kernel}
        return pd.DataFrame([numbers]).itertuples()

    cases = {"bounded": (0.1, 0.0, 0.2), "grows": (1.0, 0.8, 1.2), "open": (0.5, 0.3, 0.7)}
    for word, numbers in cases.items():
        assert report.verdict(next(row(*numbers)), 0.5) == word
    assert report.verdict(next(row(0.1, 0.0, 0.2, gone=5)), 0.5) == "singular"
    assert report.verdict(next(row(0.1, np.nan, np.nan)), 0.5) == "open"  # fewer than three networks
    assert report.verdict(next(row(0.1, np.nan, np.nan, kernel="limit")), 0.5) == "bounded"


def test_the_report_says_what_the_rows_say(study, growth):
    section = report.section(study)
    said = " ".join(section["answers"])
    rows = growth[(growth.quantity == "gamma") & (growth.points_min == 16) & (growth.diag_reg == 0)]
    for kernel in ("start", "trained", "trained - start"):
        steps = rows[(rows.kernel == kernel) & (rows.target == "step") & rows.estimate.notna()].sort_values("estimate")
        for row in (steps.iloc[0], steps.iloc[-1]):
            assert f"{row.estimate:.2f} [{row.low:.2f}, {row.high:.2f}]" in said
    assert "cos(3 theta), infinite width: outside, K_N being singular on it, for depth 1, no biases" in said
    assert "nan" not in said
    assert {row["inside"] for row in section["verification"]} == {"yes"}
    assert len(section["verification"]) == 6 * 3
    assert all(len({tuple(row) for row in rows}) == 1 for _, rows in section["tables"])


def test_without_scales_of_biases_a_figure_says_so(norms):
    with pytest.raises(style.NothingToDraw, match="sigma_b"):
        FIGURES["membership_sigma_b"]({"membership": norms.isel(cell=[0, 1])})


def test_targets_are_what_they_are_called():
    theta = targets.probe_angles(64)
    np.testing.assert_allclose(targets.values("smooth", theta), np.cos(theta) + np.cos(2 * theta))
    np.testing.assert_allclose(targets.values("odd", theta), np.cos(3 * theta))
    step = targets.values("step", theta)
    assert set(step) == {-1.0, 1.0} and abs(np.sum(step > 0) / 64 - 2 / (2 * np.pi)) < 1 / 64
