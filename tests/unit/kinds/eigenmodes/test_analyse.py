"""From networks to modes, fits and words, on a small study; predictions by numpy alone."""

from pathlib import Path

import numpy as np
import pytest

from ntkpipe import store, tables
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.figures import style
from ntkpipe.kinds.eigenmodes import fit_rows, population, report, report_answers, report_words
from ntkpipe.kinds.eigenmodes.figures import FIGURES
from ntkpipe.networks import Network
from ntkpipe.theory import circle
from ntkpipe.topics import sentences

STEPS = 60


@pytest.fixture(scope="module")
def study(made, tmp_path_factory):
    """Four networks in each of five cells."""
    grid = [
        {"width": 24, "depth": 1, "bias_init": "zero", "scale": [0.1, 1.0]},
        {"width": 48, "depth": 1, "bias_init": "zero", "scale": 0.1},
        {"width": 24, "depth": 1, "bias_init": "zero", "density": "halves:4"},
        {"width": 24, "depth": 1},
    ]
    settings = {"frequencies": [1, 2, 3], "modes": 5, "train": 16, "evaluate": 64, "steps": STEPS, "share": 0.5}
    network = {"output_bias": False}
    folder = tmp_path_factory.mktemp("eigenmodes")
    return made(folder, kind="eigenmodes", grid=grid, seeds=4, network=network, eigenmodes=settings)


@pytest.fixture(scope="module")
def found(study):
    return {
        name: store.read_rows(Path(study.folder) / f"{name}.zarr").load() for name in ("networks", "modes", "density")
    }


@pytest.fixture(scope="module")
def fits(study):
    return tables.load(study, "fits")


def test_coefficients_are_those_of_the_outputs_drawn(found):
    """Uniform: Fourier sums over the points; the mode of target t is number 2 q - 1."""
    networks, modes = found["networks"].isel(cell=1), found["modes"].isel(cell=1)
    theta = 2 * np.pi * (np.arange(16) + 0.5) / 16
    apart = 2 * np.pi * (np.arange(64) + 0.5) / 64
    scale = float(modes["scale"])
    for t, q in enumerate((1, 2, 3)):
        r = networks["f_train"].values[:, t, :, :16] - scale * np.cos(q * theta)
        np.testing.assert_allclose(
            modes["c_train"].values[:, t, :, 2 * q - 1], r @ np.cos(q * theta) * np.sqrt(2) / 16, atol=1e-13
        )
        held = networks["f_held_out"].values[:, t] - scale * np.cos(q * apart)
        np.testing.assert_allclose(
            modes["c_held_out"].values[:, t, :, 3], held @ np.cos(2 * apart) * np.sqrt(2) / 64, atol=1e-13
        )
        assert modes["target_of"].values[2 * q - 1] == t
    assert (modes["target_of"].values[2::2] == -1).all()  # sines


def test_predictions_are_powers_of_kernels(found):
    """T_p by closed-form eigenvalues, K_0 by matrix powers."""
    networks, modes = found["networks"].isel(cell=0), found["modes"].isel(cell=0)
    lam = circle.relu_eigenvalues(np.arange(4), hidden_bias=1.0)
    np.testing.assert_allclose(modes["eigenvalue"].values[[0, 1, 3, 5]], lam, rtol=1e-10)
    rate, steps = networks["rate"].values, networks["step"].values
    left = modes["c_operator"].values[:, 2, :, 5] / modes["c_operator"].values[:, 2, :1, 5]
    np.testing.assert_allclose(left, (1 - rate[:, None] * 16 * lam[3]) ** steps, rtol=1e-9)
    ntk = networks["ntk_path"].values[1, 0, 0, :16, :16]
    theta = 2 * np.pi * (np.arange(16) + 0.5) / 16
    r = -float(modes["scale"]) * np.cos(2 * theta)
    end = np.linalg.matrix_power(np.eye(16) - rate[1] * ntk, STEPS) @ r
    expected = end @ np.cos(2 * theta) * np.sqrt(2) / 16
    np.testing.assert_allclose(modes["c_frozen"].values[1, 1, -1, 3], expected, atol=1e-12)
    apart, now, f = 2 * np.pi * (np.arange(64) + 0.5) / 64, r.copy(), np.zeros(64)

    def kernel(one):
        angle = np.abs(one[:, None] - theta)
        return circle.relu_kernel(np.minimum(angle, 2 * np.pi - angle), hidden_bias=1.0)

    for _ in range(STEPS):
        f, now = f - rate[1] * kernel(apart) @ now, now - rate[1] * kernel(theta) @ now
    off = (f - float(modes["scale"]) * np.cos(2 * apart)) @ np.cos(2 * apart) * np.sqrt(2) / 64
    np.testing.assert_allclose(modes["c_limit_held_out"].values[1, 1, -1, 3], off, atol=1e-12)


def test_ratios_and_rates_are_read_from_what_is_left(found, fits):
    modes = found["modes"].isel(cell=0)
    steps, rate = modes["step"].values, modes["rate"].values
    left = {n: modes[f"c_{n}"].values[:, 2, :, 5] / modes[f"c_{n}"].values[:, 2, :1, 5] for n in ("train", "frozen")}
    for seed in range(4):
        before = np.flatnonzero(left["train"][seed] > 0.5)
        after = np.flatnonzero(left["train"][seed] <= 0.5)
        k = max(1, after[0] - 1) if len(after) else before[-1]
        lam = (1 - left["train"][seed, k] ** (1 / steps[k])) / (16 * rate[seed])
        assert modes["learned"].values[seed, 5] == pytest.approx(lam, rel=1e-10)
        ratio = np.log(left["train"][seed, k]) / np.log(left["frozen"][seed, k])
        assert modes["rate_over_frozen"].values[seed, 5] == pytest.approx(ratio, rel=1e-10)
    row = fits[(fits.quantity == "ratio") & (fits.of == "measured / frozen") & (fits.frequency == 3)].iloc[0]
    assert (row.estimate, row.low, row.high) == pytest.approx(
        geometric_mean(modes["rate_over_frozen"].values[:, 5], 0.95)
    )


def test_bend_is_the_root_mean_square_of_logs():
    ratio = np.array([[np.e, 1.0, np.nan], [np.nan, np.nan, np.nan], [1.0, np.exp(-2), 1.0]])
    np.testing.assert_allclose(fit_rows.bend(ratio), [np.sqrt(0.5), np.nan, np.sqrt(4 / 3)])


def test_odd_modes_without_biases_are_flagged_and_enter_no_mean(found, fits):
    last = fits[(fits.bias_init == "none") & (fits.frequency == 3)]
    assert float(last[last.quantity == "unlearned"].estimate.iloc[0]) < 1e-11
    assert last[last.quantity.isin(["rate", "ratio"])].empty
    assert int(found["modes"]["n_unlearned"][-1]) == 1
    assert np.isfinite(fits[(fits.bias_init == "none") & (fits.quantity == "bend")].estimate).all()


def test_eigenvalues_on_equal_points_are_aliased():
    """By the closed form summed over the modes that N points do not tell apart."""
    network, n = Network(2, (7,), bias_init="zero", output_bias=False), 16
    got = population.aliased(network, n, 8)
    m = np.arange(-4000, 4001)
    expected = [circle.relu_eigenvalues(np.abs(q + m * n), hidden_bias=1.0).sum() for q in range(9)]
    np.testing.assert_allclose(got, expected, rtol=2e-4)  # the tail of q^-2 beyond 4000 N
    eigen, _ = population.on_points(network, "uniform", n, 64)
    np.testing.assert_allclose(eigen.values[0, 0] / n, got.max(), rtol=1e-12)


def test_kinks_are_those_of_the_closed_form():
    for bias, at_pi in (("zero", 0.0), ("none", 1 / (2 * np.pi))):
        kinks = population.kinks(Network(2, (7,), bias_init=bias))
        assert kinks.at_0 == pytest.approx(-(1 + (bias == "zero")) / (2 * np.pi), abs=1e-6)
        assert kinks.at_pi == pytest.approx(at_pi, abs=1e-6) and kinks.local == (bias == "zero")
    assert not population.kinks(Network(2, (7,), "tanh")).local


def test_modes_of_a_density_are_orthonormal_where_they_are_held_out(found):
    density = found["density"].isel(cell=-2)
    u, p = density["function"].values, density["density_at"].values
    np.testing.assert_allclose(u * p * (2 * np.pi / 64) @ u.T, np.eye(len(u)), atol=0.02)  # the jump: m^-2
    assert float(density["mass_dense"]) == pytest.approx(0.8, rel=1e-9)
    assert 0.3 < float(density["frequency_exponent"]) < 0.7


def test_times_on_regions_rise_with_frequency_and_against_density(fits):
    here = fits[(fits.density == "halves:4") & (fits.quantity == "fit_time")]
    by = here.pivot(index="frequency", columns="region", values="predicted")
    assert (by["sparse"].dropna() > by["dense"].loc[by["sparse"].dropna().index]).all()
    assert by["dense"].is_monotonic_increasing
    assert here[here.region == "sparse"].local.iloc[0] / here[here.region == "dense"].local.iloc[0] == pytest.approx(
        4.0
    )


def test_slopes_and_ratios_of_times_are_those_of_the_times(fits):
    """Means of logs: what holds of each network holds of them. The slope begins at q = 2."""
    times = fits[(fits.quantity == "fit_time") & (fits.density == "halves:4")]
    by = times.pivot(index="frequency", columns="region", values="predicted")
    ratio = fits[fits.quantity == "fit_ratio"].set_index("frequency").predicted.dropna()
    assert len(ratio) and ratio.gt(1).all()
    np.testing.assert_allclose(ratio, (by["sparse"] / by["dense"])[ratio.index], rtol=1e-9)
    q, size = np.arange(1, 5), np.exp(-np.linspace(0, 12, 25) / np.array([9.0, 2.0, 4.0, 8.0])[:, None])
    slopes = fit_rows._slopes(q, fit_rows.modes.fit_steps(size[None], np.arange(25), 0.5))
    np.testing.assert_allclose(slopes, [np.polyfit(np.log(q[1:]), np.log([2.0, 4.0, 8.0]), 1)[0]], rtol=1e-9)


def test_no_time_is_given_where_a_network_does_not_come_to_it():
    """The others would be no sample."""
    assert np.isnan(fit_rows._reached(np.array([3.0, np.inf]))).all()
    np.testing.assert_array_equal(fit_rows._reached(np.array([3.0, np.nan])), [3.0, np.nan])


def test_modes_slower_and_faster_than_the_limit_are_counted_by_whole_intervals(study, fits):
    fits, cells = (frame.assign(cell="one") for frame in (fits, tables.load(study, "modes")))
    ratio = (fits.quantity == "ratio") & (fits.of == "measured / limit") & np.isfinite(fits.estimate)
    for ends, words in (
        ((0.5, 0.4, 0.6), f"Of {ratio.sum()} cells and modes {ratio.sum()} are learned more slowly"),
        ((1.5, 1.4, 1.6), f"interval, {ratio.sum()} faster"),
        ((1 - 2e-13, 1 - 3e-13, 1 - 1e-13), f"Of {ratio.sum()} cells and modes 0 are"),  # rounding
        ((1.5, np.nan, np.nan), None),
    ):
        turned = fits.copy()
        turned.loc[ratio, ["estimate", "low", "high"]] = ends
        said = [text for text in report_answers._bend(turned, cells) if "more slowly" in text]
        assert words in said[0] if words else not said


def test_the_report_answers_and_verifies(study):
    tables.run(study)
    section = report.section(study)
    said = sentences(section["topics"])
    assert [topic.question for topic in section["topics"] if topic.said] == [
        "At which rate is each mode learned?",
        "How does finite beta bend the rates?",
        "What does the density do?",
        "Do the modes generalise off the training set?",
    ]
    assert not [text for text in said if "nan" in text.lower()]
    rows = section["verification"]
    limit = [row for row in rows if row["sampler"] == "limit kernel"]
    assert limit and all(row["inside"] == "yes" for row in limit)
    assert any("Never learned" in text and "q = 3" in text for text in said)


def test_modes_of_one_target_are_told_apart(fits):
    """Two modes may hold a quarter of one cosine each where the density is uneven."""
    rate = fits[(fits.quantity == "rate") & (fits.of == "train") & (fits.density == "uniform")]
    rate = rate[rate.cell == rate.cell.iloc[0]] if "cell" in rate else rate.iloc[:3]
    assert report_words.modes_of(rate) == ["1", "2", "3"]
    twice = rate.assign(frequency=[1, 3, 3], mode=[1, 5, 7])
    assert report_words.modes_of(twice) == ["1", "3 (mode 5)", "3 (mode 7)"]
    table = report.rate_table(twice.assign(cell="one"))
    assert [row["q"] for row in table] == ["1", "3 (mode 5)", "3 (mode 7)"]


def test_rounding_is_called_rounding(fits):
    """A kernel that stays: coefficients leave the prediction by rounding alone, and so does their quotient."""
    names = report_words.varying(fits)
    fits = fits.assign(cell=[report_words.setting(row, names) for row in fits.itertuples()])
    exact = fits.quantity.str.match("(deviation|rest)_(train|held_out)$")
    for size, words in ((3.3e-13, "to rounding"), (0.02, "at the same rate")):
        said = list(report_answers._held_out(fits.assign(estimate=fits.estimate.where(~exact, size))))
        assert words in said[0] and ("rounding" in said[0]) == (size < 1e-9)
        assert size > 1e-9 or not [text for text in said if "not learned alike" in text]


def test_it_is_said_that_limit_times_have_the_networks_steps(study, fits):
    density, settings = tables.load(study, "density"), study.config.settings
    fits, density = fits.assign(cell="one"), density.assign(cell="one")
    for unit in ("critical", "absolute"):
        said = list(report_answers._density(fits, density, settings.model_copy(update={"eta_unit": unit})))
        assert any("K_0" in text for text in said) == (unit == "critical")


def test_tables_have_words_and_no_nan(fits):
    rows = report.exponent_table(fits.assign(cell="one"))
    assert rows and not any("nan" in value or "_held_out" in value for row in rows for value in row.values())


def test_every_variable_says_what_it_is(found):
    for name in ("modes", "density"):
        alone = [v.attrs["long_name"] for v in found[name].data_vars.values() if "long_name" in v.attrs]
        assert not [text for text in alone if text.startswith("the same")]
        assert set(found[name].dims) - {"cell", "seed", "snapshot"} <= set(found[name].coords)


def test_a_study_of_one_cell_is_silent_on_what_it_cannot_say(made, tmp_path):
    """One uniform cell, one network, a run that diverges or that a frozen kernel would not survive: no word of it."""
    for eta in (0.5, 3.0, 60.0):
        settings = {
            "frequencies": [1, 2],
            "modes": 3,
            "train": 8,
            "evaluate": 16,
            "steps": 8,
            "eta": eta,
            "divergence": 10.0,
        }
        grid = {"width": 6, "depth": 1, "bias_init": "zero"}
        one = made(tmp_path / str(eta), kind="eigenmodes", grid=grid, seeds=1, eigenmodes=settings)
        section = report.section(one)
        assert not [text for text in sentences(section["topics"]) if "nan" in text.lower() or "e+" in text]
        assert eta < 1 or not section["topics"][3].said  # T_p predicts nothing
        assert not section["topics"][2].said  # no density but the uniform one
        folder = Path(one.folder)
        data = {name: store.read_rows(folder / f"{name}.zarr") for name in ("modes", "density", "fits")}
        for name in ("eigenfunctions", "fit_times"):
            with pytest.raises(style.NothingToDraw):
                FIGURES[name](data)
