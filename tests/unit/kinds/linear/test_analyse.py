"""Datasets and report of linear studies: values beside their exact ones; sentences on studies that know less."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from ntkpipe import figures, kinds, store, tables, topics
from ntkpipe.analysis import linear as analysis
from ntkpipe.config.linear import LinearConfig
from ntkpipe.figures import style
from ntkpipe.kinds.linear import report_answers

SETTINGS = {
    "dim": 4, "outputs": 2, "singular_values": [1.5, 0.5], "steps": 60, "snapshots": 12, "points": [2, 6],
    "flow_width": 4,
}  # fmt: skip
KEYS = {"kind": "linear", "network": {"activation": "linear"}, "linear": SETTINGS, "seeds": 6}


@pytest.fixture(scope="module")
def study(made, tmp_path_factory):
    grid = [
        {"width": 1, "depth": 0},
        {"width": [4, 24], "depth": 1, "parametrization": "standard", "scale": [0.5, 2.0]},
        {"width": [8, 24], "depth": 1},
    ]
    study = made(tmp_path_factory.mktemp("linear"), grid=grid, **KEYS)
    tables.run(study)
    return study


def read(study, name):
    return store.read_rows(f"{study.folder}/{name}.zarr").load()


def said(study) -> list[str]:
    return topics.sentences(kinds.load(study, "report").section(study)["topics"])


def test_means_are_those_of_the_draws(study):
    draws, found = read(study, "linear_runs"), read(study, "linear")
    logs = np.log(draws["drift"].values[1:, :, -1])
    np.testing.assert_allclose(found["drift_end"].values[1:], np.exp(logs.mean(axis=1)))
    assert (
        ((found["drift_end_low"] < found["drift_end"]) & (found["drift_end"] < found["drift_end_high"]))
        .values[1:]
        .all()
    )
    np.testing.assert_allclose(found["factor"].values[0, 1], found["factor_exact"].values[0, 1], atol=1e-12)
    errors = draws["teacher_error"].values[0]
    np.testing.assert_allclose(found["teacher_error"].values[0], errors.mean(axis=0))


def test_fits_stand_beside_their_exact_values(study):
    fits = tables.load(study, "fits").set_index("quantity")
    np.testing.assert_allclose(fits.loc["threshold"].estimate, 1, rtol=1e-6)
    np.testing.assert_allclose(fits.loc["decay_factor"].estimate, fits.loc["decay_factor"].expected, atol=1e-6)
    for name in ("balance_order", "flow_order", "mode_order"):
        rows = fits.loc[name]
        assert ((rows.low <= 1 + 1e-9) & (rows.high >= 1 - 1e-9)).all(), rows[["estimate", "low", "high"]]
    assert set(fits.loc["limit_width_exponent"].expected) == {-0.5}
    assert (fits.loc["drift_scale_exponent"].expected < 0).all()


def test_every_verified_number_holds_its_exact_value(study):
    rows = kinds.load(study, "report").verification(tables.load(study, "fits"))
    exact = [row for row in rows if "teacher error" not in row["cell"]]  # 95 % intervals of random means may miss
    assert len(exact) > 10 and {row["inside"] for row in exact} == {"yes"}


def test_the_report_answers_with_numbers_of_the_tables(study):
    text, cells = "\n".join(said(study)), tables.load(study, "linear")
    widest = cells[(cells.width == 24) & (cells.parametrization == "standard") & (cells.scale == 0.5)].iloc[0]
    assert f"{widest.drift_end:.3g}" in text and f"infinite width {widest.drift_limit:.3g}" in text
    assert "diverges from 2/lambda_max(A) on: by bisection, to within" in text and "theory -1/2" in text


@pytest.mark.parametrize(
    ("grid", "silent"),
    [
        ({"width": 1, "depth": 0}, ("Gradient flow", "infinite width", "singular values evolve")),
        ({"width": 12, "depth": 1}, ("Gradient flow", "exponent", "ker A")),
        (
            {"width": [4, 8], "depth": 1, "eta": 9.0, "scale": [0.5, 2.0], "parametrization": "standard"},
            ("ker A", "lazy", "has a limit"),
        ),  # diverges
    ],
)
def test_what_a_study_does_not_know_is_left_out(grid, silent, made, tmp_path):
    study = made(tmp_path, grid=grid, **(KEYS | {"seeds": 3}))
    tables.run(study)
    text = "\n".join(said(study))
    assert not [words for words in silent if words in text] and "nan" not in text
    figures.run(study)  # some say that there is nothing to draw


def test_legends_lie_within_figures_of_one_panel(study):
    data = {"linear": read(study, "linear").isel(points=[0]), "fits": read(study, "fits")}
    with style.applied():
        for name, draw in kinds.load(study, "figures").FIGURES.items():
            figure = draw(data)
            style.settle(figure)
            box = figure.legends[0].get_window_extent()
            assert box.x0 >= 0 and box.x1 <= figure.bbox.x1, name


def test_a_threshold_is_said_once_whatever_the_scales(made, tmp_path):
    grid = {"width": 1, "depth": 0, "scale": [0.5, 2.0]}
    text = "\n".join(said(made(tmp_path, grid=grid, **(KEYS | {"seeds": 2}))))
    assert text.count("Descent on 2 points diverges") == text.count("Descent on 6 points diverges") == 1


def test_lazy_scales_that_are_known_and_that_are_not():
    rows = [(4, np.nan, 1), (8, 1.2, 5)]
    cells = pd.DataFrame([
        {"depth": 1, "parametrization": "standard", "width": w, "eta": 0.1, "scale": s, "drift_end": 1.0,
         "drift_end_low": 0.9, "drift_end_high": 1.1, "drift_limit": 1.0} for w in (4, 8) for s in (0.5, 2.0)
    ])  # fmt: skip
    head = {"depth": 1, "parametrization": "standard", "eta": 0.1, "scale": np.nan, "n_all": 6}
    fits = pd.DataFrame(
        [head | {"quantity": "lazy_scale", "width": w, "estimate": e, "low": np.nan, "high": np.nan, "expected": 1.4,
                 "n_runs": n} for w, e, n in rows]
        + [head | {"quantity": "drift_scale_exponent", "width": 8, "estimate": -2.0, "low": -2.1, "high": -1.9,
                   "expected": -2.0, "n_runs": 6}]
    )  # fmt: skip
    _, known, unknown = report_answers.scale_said(fits, cells, LinearConfig())
    assert "beyond the scale 1.2 at width 8 (5 of 6 networks), 1.4 at infinite width." in known
    assert unknown.startswith("At width 4 (1 of 6 networks cross it) the scale") and "not known" in unknown


def test_order_removes_the_first_correction():
    eta = 0.1 / 2.0 ** np.arange(5)
    estimate, runs = analysis.order(np.stack([eta**1.5 * (1 + eta), 2 * eta**1.5 * (1 - 2 * eta)]), 0.95)
    assert runs == pytest.approx(1.5, abs=1e-3) and estimate.low < 1.5 < estimate.high


def test_decay_factor_stops_at_rounding_and_keeps_the_sign():
    steps = np.array([0, 1, 2, 30, 60])
    path = np.array([(-0.5) ** k if k < 60 else 1e-16 for k in steps])
    assert analysis.decay_factor(path[None], steps) == pytest.approx([-0.5])


def test_crossing_is_exact_for_a_power_law():
    x = np.array([0.5, 1.0, 2.0])
    found = analysis.crossing(x, np.stack([0.3 * x**-2, 1e-3 * x**-2], axis=1), 0.1)
    assert found[0] == pytest.approx(3**0.5) and np.isnan(found[1])
    assert analysis.exponents_of_runs(x, 0.3 * x[:, None] ** -2) == pytest.approx([-2])


def test_distance_counts_from_when_the_limit_has_learned_half():
    target = np.eye(2)
    limit = np.array([0.0, 0.4, 0.6, 1.0])[:, None, None] * target
    off = np.array([[5.0, 3.0, 0.2, 0.1], [5.0, 3.0, 0.1, np.nan]])[..., None, None] * target
    found = analysis.largest_distance(limit + off, limit, target)
    assert found[0] == pytest.approx(0.2) and np.isnan(found[1])
    assert analysis.largest_distance(limit[None, :2] + off[:1, :2], limit[:2], target) == pytest.approx(
        [3.0]
    )  # the end


def test_a_diverged_model_says_so_and_gives_no_rates_of_drowned_directions(made, tmp_path):
    keys = KEYS | {"seeds": 2, "linear": SETTINGS | {"eta": 1.4, "steps": 30}}
    study = made(tmp_path, grid={"width": 1, "depth": 0}, **keys)
    tables.run(study)
    text = "\n".join(said(study))
    assert "beyond 2/lambda_max(A)" in text and "differs from its closed form" not in text
    fits = tables.load(study, "fits")
    rows = fits[fits.quantity == "decay_factor"]
    assert len(rows) and (rows.expected.abs() > 1).all()
    np.testing.assert_allclose(rows.estimate, rows.expected, rtol=1e-3)
