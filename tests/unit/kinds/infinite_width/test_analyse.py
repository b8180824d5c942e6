"""From trajectories to distances from the limit, on a small study: by matrix products of their own, and scipy."""

import numpy as np
import pytest
import xarray as xr
from scipy import linalg, stats

from ntkpipe.kinds.infinite_width import analyse, rates
from ntkpipe.theory.infinite_width import kernels

CELLS = range(6)


def limit_of(study, cell):
    """Theta and Sigma between all points, train points first."""
    data = study.data
    return kernels(study.cells[cell].network, np.concatenate([data.x_train, data.x_eval]))


def outputs(runs, cell):
    part = runs.isel(cell=cell)
    return np.concatenate([part.f_train.values, part.f_eval.values], axis=-1)


def trained(study, runs, cell, seed, ntk, start):
    """f_0 trained with this kernel (all points, train points) as the network was: at every snapshot."""
    y, method = study.data.y_train, study.cells[cell].settings.method
    part = runs.isel(cell=cell, seed=seed)
    rate, rows, f = float(part.eta_used) / len(y), [], start
    generator = np.zeros((len(ntk) + 1,) * 2)
    generator[:-1, : len(y)], generator[:-1, -1] = -ntk, ntk @ y
    done = 0
    for step, time in zip(runs.step.values, part.time.values, strict=True):
        if method == "flow":
            f = (linalg.expm(time * generator) @ np.append(start, 1.0))[:-1]
        else:
            for _ in range(step - done):
                f = f + rate * ntk @ (y - f[: len(y)])
            done = step
        rows.append(f)
    return np.array(rows)


def test_kernels_are_compared_with_the_limit_of_their_network(study, found, runs):
    for cell in CELLS:
        theta = limit_of(study, cell).ntk[:6, :6]
        ntk = runs.ntk_train.isel(cell=cell).values
        size = np.linalg.norm(theta)
        part = found.isel(cell=cell)
        np.testing.assert_allclose(part.distance, np.linalg.norm(ntk - theta, axis=(2, 3)) / size, rtol=1e-12)
        moved = np.linalg.norm(ntk - ntk[:, :1], axis=(2, 3)) / size
        np.testing.assert_allclose(part.movement, moved, rtol=1e-12, atol=1e-15)
        mean = ntk.mean(axis=0)
        fluctuation = np.sum((ntk - mean) ** 2, axis=(0, 2, 3)) / 7 / size**2
        np.testing.assert_allclose(part.fluctuation, fluctuation, rtol=1e-10)
        bias = np.linalg.norm(mean - theta, axis=(1, 2)) ** 2 / size**2 - fluctuation / 8
        np.testing.assert_allclose(part.bias, bias, rtol=1e-8, atol=1e-12)


def test_functions_are_compared_with_their_own_limit(study, found, runs):
    """f_0 + A_t (y - f_0(X)) with Theta, and with K_0, by recursion and by matrix exponentials, at every snapshot."""
    size = np.sqrt(np.mean(study.data.y_train**2))
    for cell in CELLS:
        theta, f = limit_of(study, cell).ntk[:, :6], outputs(runs, cell)
        first = runs.isel(cell=cell, snapshot=0)
        for seed in (0, 5):
            own = np.concatenate([first.ntk_train[seed].values, first.ntk_eval_train[seed].values])
            limit = trained(study, runs, cell, seed, theta, f[seed, 0])
            frozen = trained(study, runs, cell, seed, own, f[seed, 0])
            mean = trained(study, runs, cell, seed, theta, np.zeros(11))
            part = found.isel(cell=cell, seed=seed)
            for name, gap in (("function", f[seed] - limit), ("start", frozen - limit), ("moved", f[seed] - frozen)):
                for on, points in (("train", slice(0, 6)), ("eval", slice(6, 11))):
                    expected = np.sqrt(np.mean(gap[:, points] ** 2, axis=1)) / size
                    np.testing.assert_allclose(part[f"{name}_error"].sel(on=on), expected, rtol=1e-6, atol=1e-11)
                    m, word = mean[1:, points], {"function": "shift"}.get(name, f"{name}_shift")
                    along = np.sum(gap[1:, points] * m, axis=1) / np.sum(m * m, axis=1)
                    np.testing.assert_allclose(part[word].sel(on=on)[1:], along, rtol=1e-6, atol=1e-11)


def test_the_law_over_networks_is_compared_with_that_of_the_limit(study, found, runs):
    """Means, variances and errors; each network's limit at its own step size (critical units)."""
    for cell in CELLS:
        both, f = limit_of(study, cell), outputs(runs, cell)
        means, variances = [], []
        for seed in range(8):
            start = trained(study, runs, cell, seed, both.ntk[:, :6], np.zeros(11))
            columns = np.stack(
                [trained(study, runs, cell, seed, both.ntk[:, :6], e) - start for e in np.eye(11)], axis=-1
            )  # f_t less its mean, linear in f_0
            means.append(start)
            variances.append(np.einsum("tij,jk,tik->ti", columns, both.nngp, columns))
        part, means = found.isel(cell=cell), np.array(means)
        np.testing.assert_allclose(part.f_mean_limit, np.mean(means, axis=0), rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(part.f_variance_limit, np.mean(variances, axis=0), rtol=1e-7, atol=1e-12)
        np.testing.assert_allclose(part.f_mean, f.mean(axis=0), rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(part.f_variance, f.var(axis=0, ddof=1), rtol=1e-10)
        gap = (f - means)[..., 6:]
        ratio = gap.var(axis=0, ddof=1).sum(axis=1) / np.mean(variances, axis=0)[:, 6:].sum(axis=1)
        np.testing.assert_allclose(part.variance_ratio.sel(on="eval"), ratio, rtol=1e-7)
        error = np.mean((f[..., 6:] - study.data.y_eval) ** 2, axis=-1)
        np.testing.assert_allclose(part.error.sel(on="eval"), error.mean(axis=0), rtol=1e-10)
        bias = np.mean(means, axis=0)[:, 6:] - study.data.y_eval
        expected = np.mean(bias**2 + np.mean(variances, axis=0)[:, 6:], axis=1)
        np.testing.assert_allclose(part.error_limit.sel(on="eval"), expected, rtol=1e-8)
        assert np.all(part.error_low <= part.error) and np.all(part.variance_ratio_high >= part.variance_ratio)


def test_profiles_are_rows_of_the_kernels(study, found, runs):
    for cell in CELLS:
        both, part = limit_of(study, cell).ntk, runs.isel(cell=cell)
        for at, name in ((0, "profile_start"), (-1, "profile_end")):
            here = part.isel(snapshot=at)
            row = np.concatenate([here.ntk_train[:, 0], here.ntk_eval_train[:, :, 0]], axis=1) / both[0, 0]
            np.testing.assert_allclose(found[name][cell], row.mean(axis=0), rtol=1e-10)
            half = stats.t.ppf(0.975, 7) * row.std(axis=0, ddof=1) / np.sqrt(8)
            np.testing.assert_allclose(found[f"{name}_high"][cell], row.mean(axis=0) + half, rtol=1e-9)
        np.testing.assert_allclose(found.profile_limit[cell], both[0] / both[0, 0], rtol=1e-12)
    theta = np.concatenate([2 * np.pi * np.arange(6) / 6, 2 * np.pi * np.arange(5) / 5 + np.pi / 30])
    np.testing.assert_allclose(found.angle, np.pi - (np.pi - theta) % (2 * np.pi), atol=1e-12)


@pytest.mark.parametrize(("lost", "given"), [(4, True), (5, False)])
def test_an_end_is_estimated_from_half_of_the_runs_or_more(study, runs, lost, given):
    """Fewer would be the survivors; the start is known of all."""
    part = runs.isel(cell=0).copy(deep=True)
    for name in ("ntk_train", "ntk_eval_train", "f_train", "f_eval"):
        part[name][{"seed": slice(0, lost), "snapshot": -1}] = np.nan
    cell = analyse.cell_found(study, study.cells[0], part)
    assert cell["n_runs"] == 8 - lost and np.isfinite(cell["distance_start"])
    for name in ("distance_end", "mean_shift_end", "error_end", "peak_end"):
        assert np.isfinite(cell[name]) == given, name


def test_exponents_are_slopes_of_mean_logs(found, fits):
    """Two widths and two depths: the plane of least squares through the cells' means, and each edge by itself."""
    relu = found.isel(cell=slice(0, 4))
    log = np.log(relu.distance.values[:, :, 0]).mean(axis=1)
    design = np.column_stack([np.ones(4), np.log(relu.width), np.log(relu.depth)])
    p, q = np.linalg.lstsq(design, log, rcond=None)[0][1:]
    rows = fits[(fits.quantity == "kernel distance") & (fits["at"] == "start")]

    def estimate(method, **where):
        chosen = rows[rows.method == method]
        for name in ("width", "depth"):
            chosen = chosen[chosen[name] == where[name]] if name in where else chosen[chosen[name].isna()]
        (row,) = chosen.itertuples()
        assert row.low <= row.estimate <= row.high
        return row.estimate

    assert estimate("width_exponent") == pytest.approx(p, rel=1e-9)
    assert estimate("depth_exponent") == pytest.approx(q, rel=1e-9)
    assert estimate("total_exponent") == pytest.approx(p + q, rel=1e-9)
    by_depth = dict(zip(zip(relu.depth.values, relu.width.values, strict=True), log, strict=True))
    for depth in (1, 2):
        slope = (by_depth[depth, 16] - by_depth[depth, 8]) / np.log(2)
        assert estimate("width_exponent", depth=depth) == pytest.approx(slope, rel=1e-9)
    for width in (8, 16):
        slope = (by_depth[2, width] - by_depth[1, width]) / np.log(2)
        assert estimate("depth_exponent", width=width) == pytest.approx(slope, rel=1e-9)


def test_the_last_exponent_is_that_of_the_two_largest_widths(study, found):
    """Cells of ReLU at depth 1, and the widest again four times as wide and half as far."""
    relu = found.isel(cell=[i for i in range(4) if found.depth[i] == 1]).sortby("width")
    more = relu.isel(cell=[1]).assign(distance=relu.distance[[1]] / 2)
    more = more.assign_coords(width=4 * more.width, beta=more.beta / 4)
    rows = rates.dataset(study, xr.concat([relu, more], "cell")).to_dataframe()
    (last,) = rows[(rows.method == "last_exponent") & (rows.quantity == "kernel distance") & (rows["at"] == "start")]\
        .itertuples()  # fmt: skip
    assert last.estimate == pytest.approx(-0.5, abs=1e-12) and last.n_cells == 2 and last.expected == -0.5


def test_exponents_are_expected_where_theory_has_them(fits):
    width = fits[fits.method == "width_exponent"]
    for quantity, expected in (("kernel distance", -0.5), ("function error", -0.5), ("kernel movement", np.nan)):
        values = width.expected[width.quantity == quantity].to_numpy()  # all of ReLU here
        np.testing.assert_array_equal(values, np.full(len(values), expected))
    assert set(fits["at"]) > {"start", "end", "step 12"}
    means = fits[(fits.method == "mean_exponent") & (fits.quantity == "mean kernel") & (fits["at"] == "start")]
    assert (means.expected == -1).all() and len(means) == 2
