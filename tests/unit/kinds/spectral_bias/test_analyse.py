"""Datasets and report of spectral_bias against plain NumPy, on small studies, diverged ones and single cells."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

from ntkpipe import kinds, store, tables
from ntkpipe.figures import style
from ntkpipe.kinds.spectral_bias import analyse, cells, fits, predict, report_answers, targets
from ntkpipe.theory import infinite_width

KEYS = {
    "kind": "spectral_bias",
    "network": {"bias_init": "normal", "sigma_b": 0.3},
    "seeds": 4,
    "spectral_bias": {
        "frequencies": [1, 2, 3], "points": 8, "steps": 300, "snapshots": 30, "directions": 3, "radii": [0.001, 0.3],
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def study(made, tmp_path_factory):
    return made(tmp_path_factory.mktemp("sb"), grid={"width": [8, 24], "depth": 1}, **KEYS)


@pytest.fixture(scope="module")
def data(study):
    return {name: store.read_rows(Path(study.folder) / f"{name}.zarr").load()
            for name in ("spectra", "modes", "robustness", "fits")}  # fmt: skip


def test_errors_and_predictions_are_those_of_plain_loops(study, data):
    spectra, modes = data["spectra"], data["modes"]
    z, steps = np.arange(8) / 8, modes["step"].values
    wave = np.exp(-2j * np.pi * 2 * z) * 2 / 8  # k = 2
    for cell, seed, t in ((0, 0, 0), (1, 2, 1)):
        y = spectra["y"].values[t]
        amplitude = [1.0, 2 / 3][t]
        f = spectra["f"].values[cell, seed, t]
        here = modes.isel(cell=cell, seed=seed, target=t).sel(frequency=2)
        np.testing.assert_allclose(here["error"].sel(kernel="network"), np.abs((f - y) @ wave) / amplitude, rtol=1e-9)
        np.testing.assert_allclose(here["amplitude"].sel(kernel="network"), np.abs(f @ wave) / amplitude, rtol=1e-9)
        eta = float(spectra["eta_used"][cell, seed])
        network = study.cells[cell].network
        limit = infinite_width.kernels(network, z[:, None]).ntk
        for kernel, k, rate in (
            ("frozen", spectra["ntk_start"].values[cell, seed], eta),
            ("limit", limit, 0.25 * 2 / np.linalg.eigvalsh(limit)[-1]),
        ):
            expected = []
            for step in steps:
                left = np.linalg.matrix_power(np.eye(8) - rate * k, int(step)) @ (f[0] - y)
                expected.append(np.abs(left @ wave) / amplitude)
            np.testing.assert_allclose(here["error"].sel(kernel=kernel), expected, atol=1e-9)


def test_a_mode_is_fitted_from_where_its_error_stays_small(data):
    modes = data["modes"]
    error = modes["error"].sel(kernel="network").transpose("cell", "seed", "target", "frequency", "snapshot").values
    fitted = modes["fit_step"].sel(kernel="network").transpose("cell", "seed", "target", "frequency").values
    steps = modes["step"].values
    for path, at in zip(error.reshape(-1, error.shape[-1]), fitted.ravel(), strict=True):
        above = np.flatnonzero(path > 0.5)
        if not len(above):
            assert at == 0
        elif above[-1] == len(steps) - 1:
            assert np.isinf(at)
        else:
            assert steps[above[-1]] < at <= steps[above[-1] + 1]
    assert np.isfinite(fitted).any() and np.isinf(fitted).any()
    predicted = modes["fit_step"].sel(kernel=["frozen", "limit"])
    assert np.isfinite(predicted).mean() > np.isfinite(fitted).mean()  # predictions go on beyond the run


def test_robustness_is_that_of_plain_loops(data):
    spectra, firm = data["spectra"], data["robustness"]
    wave = np.exp(-2j * np.pi * 1 * np.arange(8) / 8) * 2 / 8
    end = spectra["f"].values[..., -1, :] @ wave
    away = spectra["f_perturbed"].values @ wave
    kept = np.mean((away * end.conj()[..., None, None]).real, axis=-1) / np.abs(end)[..., None] ** 2
    fitted = np.isfinite(data["modes"]["fit_step"].sel(kernel="network", frequency=1).values)
    found = firm["kept"].sel(frequency=1).values
    np.testing.assert_array_equal(np.isfinite(found), np.broadcast_to(fitted[..., None], found.shape))
    np.testing.assert_allclose(found[fitted], kept[fitted], rtol=1e-9)
    amplitude = np.array([1.0, 1 / 3])[:, None]
    moved = np.sqrt(np.mean(np.abs(away - end[..., None, None]) ** 2, axis=-1)) / amplitude
    np.testing.assert_allclose(firm["displacement"].sel(frequency=1), moved, rtol=1e-9)
    assert firm["n_trained"].values.tolist() == [3 * 8 + 1, 3 * 24 + 1]


def test_fits_are_means_over_networks_with_their_predictions(data):
    frame = data["fits"].to_dataframe().reset_index(drop=True)
    modes = data["modes"].isel(cell=1)
    rows = frame[(frame.width == 24) & (frame.target == "equal")].set_index(["quantity", "of", "frequency"])
    step = modes["fit_step"].sel(target="equal", frequency=1).transpose("kernel", "seed").values
    known = np.isfinite(step[0]) & (step[0] > 0)
    row = rows.loc[("time", "fitted", 1)]
    assert row.n_runs.item() == known.sum() and row.n_all.item() == 4
    ratio = rows.loc[("ratio", "frozen", 1)].estimate.item()
    if 2 * known.sum() >= 4:
        assert row.estimate.item() == pytest.approx(np.exp(np.log(step[0][known]).mean()))
        assert ratio == pytest.approx(np.exp(np.log(step[0][known] / step[1][known]).mean()))
    else:
        assert np.isnan(ratio)
    rate = frame[(frame.width == 24) & (frame.quantity == "rate") & (frame.frequency == 2)]
    assert rate.estimate.item() == pytest.approx(modes["quotient_start"].sel(frequency=2).mean().item())
    assert frame.low.dropna().le(frame.estimate[frame.low.notna()] + 1e-12).all()
    assert set(frame.quantity) <= set(fits.METHODS)


def test_exponents_are_of_the_modes_that_the_network_fits_and_departures_of_sizes():
    """Three networks of two cells: the last mode of the first is not fitted, and K_0 errs in both directions."""
    step = np.full((2, 3, 3, 1, 3), np.inf)  # cell, seed, kernel, target, frequency
    step[:, :, 0, 0] = [[1.0, 4.0, np.inf], [2.0, 4.0, 8.0], [2.0, 8.0, 16.0]]
    step[:, :, 1, 0] = [[2.0, 2.0, 900.0], [1.0, 8.0, 8.0], [2.0, 4.0, 32.0]]
    step[1, :, 1] = step[1, :, 0] * np.array([2.0, 0.5, 2.0])
    dims = ("cell", "seed", "kernel", "target", "frequency")
    modes = xr.Dataset({"fit_step": (dims, step), "reach_step": (dims, step)})
    modes = modes.assign_coords(frequency=[1, 2, 4], kernel=list(analyse.KERNELS), target=["equal"])
    rows = {row[:2]: row[4] for row in fits._times(modes.isel(cell=0, target=0), 0.95)}
    log = np.log(np.array([1, 2, 4]))
    slopes = [np.polyfit(log[:k], np.log(v[:k]), 1)[0] for k, v in zip((2, 3, 3), step[0, :, 1, 0], strict=True)]
    assert rows["exponent", "fitted"]["frozen"] == pytest.approx(np.mean(slopes), rel=1e-9)
    head = {name: ("cell", [0, 0]) for name in fits.HEAD} | {"depth": ("cell", [1, 1])}
    head |= {"width": ("cell", [8, 16]), "beta": ("cell", [1 / 8, 1 / 16])}
    law = {row["quantity"]: row for row in fits._over_cells(modes.assign_coords(head), 0.95) if row["of"] == "frozen"}
    size = [np.mean([np.log(np.mean(np.abs(np.log(a[:k] / b[:k])))) for k, a, b in
                     zip((2, 3, 3), cell[:, 0, 0], cell[:, 1, 0], strict=True)]) for cell in step]  # fmt: skip
    assert law["width_exponent"]["estimate"] == pytest.approx((size[1] - size[0]) / np.log(2), rel=1e-9)


def test_a_mean_is_given_for_half_of_the_networks_or_more():
    values = np.array([1.0, 2.0, np.nan, np.nan])
    assert fits.of_most(fits.mean, values, 0.95).value == 1.5
    assert np.isnan(fits.of_most(fits.mean, np.append(values, np.nan), 0.95).value)
    ratio = np.array([[2.0, 8.0, np.nan], [2.0, np.nan, np.nan]])
    np.testing.assert_allclose(fits.overall(ratio), [np.log(4.0), np.nan])


def test_predictions_of_kernels_that_cannot_descend_are_not_given():
    y, steps = np.ones((1, 2)), np.array([0, 5])
    for ntk, rate in ((np.eye(2), 2.5), (np.full((2, 2), np.nan), 0.1), (np.eye(2), 0.0)):
        assert np.isnan(predict.trained(ntk, rate, steps, np.zeros(2), y)).all()
    longer = predict.steps(np.array([0, 1, 10]))
    assert longer[:3].tolist() == [0, 1, 10] and longer[-1] == 10_000 and (np.diff(longer) > 0).all()


def test_the_report_answers_from_the_table(study):
    tables.run(study)
    section = kinds.load(study, "report").section(study)
    assert [len(topic.said) > 0 for topic in section["topics"]] == [True] * 4
    assert all("nan" not in text for topic in section["topics"] for text in topic.said)
    linear = [row for row in section["verification"] if "radius" in row["cell"]]
    assert len(linear) == 4 and len(section["verification"]) == 4 + 6
    assert all(rows for _, rows in section["tables"])


@pytest.mark.parametrize(
    ("quantity", "ends", "words"),
    [
        ("rank_correlation", (0.8, 0.6, 1.0), "Low ones first. Rank"),
        ("rank_correlation", (-0.8, -1.0, -0.6), "High ones first. Rank"),
        ("rank_correlation", (0.1, -0.5, 0.7), "No order is seen beyond the intervals. Rank"),
        ("kept_slope", (-0.8, -1.0, -0.6), "Low ones (equal"),
        ("kept_slope", (0.8, 0.6, 1.0), "High ones (equal"),
        ("kept_slope", (0.1, -0.5, 0.7), "No frequency more than another (equal"),
        ("quotient_ratio", (2.0, 1.5, 3.0), "it grows in 6 and shrinks in 0 of 6 modes"),
        ("quotient_ratio", (0.5, 0.4, 0.6), "it grows in 0 and shrinks in 6 of 6 modes"),
        ("ratio", (2.0, 1.5, 3.0), "is above 1 with its whole interval for 12 of 12 modes"),
        ("ratio", (1.0, 0.5, 3.0), "Yes, within the intervals"),
    ],
)
def test_answers_turn_with_the_numbers(study, quantity, ends, words):
    table = tables.load(study, "fits")
    table.loc[table.quantity == quantity, ["estimate", "low", "high"]] = ends
    said = [text for topic in report_answers.topics(table, 0.5) for text in topic.said]
    assert any(words in text for text in said)


@pytest.mark.parametrize(
    ("grid", "settings"),
    [
        ({"width": 8, "depth": 1}, {"eta": 40.0}),  # every run diverges
        ({"widths": [[8, 4]]}, {"steps": 3, "snapshots": 3}),  # one cell of unequal widths, nothing fitted
    ],
)
def test_the_report_is_silent_where_nothing_is_known(made, tmp_path, grid, settings):
    keys = KEYS | {"spectral_bias": KEYS["spectral_bias"] | settings, "grid": grid}
    study = made(tmp_path, **keys)
    section = kinds.load(study, "report").section(study)
    said = [text for topic in section["topics"] for text in topic.said]
    assert not [text for text in said if "nan" in text or "inf" in text.split()]
    table = tables.load(study, "fits")
    if settings.get("eta"):
        assert (tables.load(study, "modes").n_runs == 0).all()
        assert np.isnan(table[(table.quantity == "time") & (table.of == "fitted")].estimate).all()
        assert report_answers.of(table, "ratio").empty
    assert targets.amplitudes(study.config.settings).shape == (2, 3) and analyse.KERNELS[0] == "network"


def drawn(study) -> dict:
    """Every figure of a study: name -> its texts, laid out."""
    data = {name: store.read_rows(Path(study.folder) / f"{name}.zarr") for name in ("modes", "robustness", "fits")}
    found = {}
    with style.applied():
        for name, draw in kinds.load(study, "figures").FIGURES.items():
            figure = draw(data)
            figure.draw_without_rendering()
            found[name] = figure.get_suptitle() + "".join(axes.get_ylabel() for axes in figure.axes)
            plt.close(figure)
    return found


@pytest.mark.parametrize(
    "settings",
    [{"steps": 1, "snapshots": 2}, {"steps": 5, "at": [5]}, {"eta": 40.0}],  # one step; one look; all runs diverge
)
def test_figures_of_short_and_of_diverged_runs_are_drawn(made, tmp_path, settings):
    keys = KEYS["spectral_bias"] | settings
    if "at" in keys:
        del keys["snapshots"]
    drawn(made(tmp_path, **KEYS | {"seeds": 2, "spectral_bias": keys, "grid": {"width": 8, "depth": 1}}))


@pytest.fixture(scope="module")
def varied(made, tmp_path_factory):
    """Two settings, each with a cell without hidden layers."""
    settings = {"parametrization": ["ntk", "standard"]}
    keys = KEYS | {"seeds": 2, "spectral_bias": KEYS["spectral_bias"] | {"steps": 20, "snapshots": 5}}
    return made(tmp_path_factory.mktemp("varied"), grid={"width": [8], "depth": [0, 1, 2], **settings}, **keys)


def test_what_is_left_out_is_said(varied, study):
    for name, texts in drawn(varied).items():
        assert "parametrization ntk; 2 of 6 cells shown" in texts, name
    said = kinds.load(varied, "report").section(varied)["topics"][0].said[-1]
    assert said.startswith("The figures show 2 of 6 cells, those with parametrization ntk and hidden")
    assert not any("cells shown" in texts for texts in drawn(study).values())
    assert not any("The figures show" in text for text in kinds.load(study, "report").section(study)["topics"][0].said)


def test_a_constant_kernel_neither_grows_nor_shrinks_and_has_no_width(varied):
    table = tables.load(varied, "fits")
    table.loc[table.depth == 2, "width"] = 12  # widths vary too
    said = table.assign(said=cells.named(table))
    assert set(said.said[(said.depth == 0) & said.beta.notna()]) == {
        f"depth 0, parametrization {name}" for name in ("ntk", "standard")
    }
    assert "depth 2, width 12, parametrization ntk" in set(said.said)
    said = [text for topic in report_answers.topics(table, 0.5) for text in topic.said]
    assert not any("width )" in text or "width ," in text for text in said)
    assert any("its kernel does not move" in text for text in said)
    flat = table[table.depth == 0].assign(estimate=1 + 1e-13, low=1 + 0.9e-13, high=1 + 1.1e-13)
    said = [text for topic in report_answers.topics(flat, 0.5) for text in topic.said]
    assert not any("it grows in" in text for text in said)
    assert any("Yes, within the intervals" in text and "above 1" not in text for text in said)


def test_only_what_is_seen_is_counted(study):
    table = tables.load(study, "fits")
    ratio = table.quantity == "ratio"
    table.loc[ratio, ["estimate", "low", "high"]] = (1.0, 0.5, 2.0)
    table.loc[ratio & (table.frequency == 3), ["estimate", "low", "high"]] = (0.5, 0.4, 0.6)
    text = next(text for text in report_answers.topics(table, 0.5)[1].said if "K_0 frozen" in text)
    assert text.startswith("In part:") and "above 1" not in text
    assert "below 1 with its whole interval for 4 of 12 modes and 1 within its interval for 8 of 12 modes" in text
