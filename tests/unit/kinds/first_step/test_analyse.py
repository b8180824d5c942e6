"""From draws to datasets, fits, figures and words, on a small study with every engine, label and unit."""

import dataclasses
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from ntkpipe import figures, kinds, store, tables
from ntkpipe.figures import style
from ntkpipe.kinds.first_step import analyse, report, scaling
from ntkpipe.kinds.first_step.figures import FIGURES
from ntkpipe.topics import sentences


@pytest.fixture(scope="module")
def study(made, tmp_path_factory):
    """600 networks in 14 cells."""
    grid = [
        {"width": [8, 16, 32], "beta": 0.125, "label": [0.0, 1.0]},
        {"width": 16, "depth": 2, "eta": [0.01, 0.3, 3.0]},
        {"width": 16, "depth": 2, "eta": [0.1, 1.0], "eta_unit": "critical", "label": "normal"},
        {"width": 32, "depth": [2, 4], "engine": ["scalar", "exact"]},
    ]
    return made(tmp_path_factory.mktemp("steps"), kind="first_step", grid=grid, seeds=600, inputs={"dim": 4})


@pytest.fixture(scope="module")
def cells(study):
    return tables.load(study, "first_step")


def test_rows_are_the_cells_in_order(study, cells):
    assert list(cells.engine) == [cell.engine for cell in study.cells]
    samples = store.read_rows(Path(study.folder) / "samples.zarr")
    drawn = cells[cells.n_samples > 0].reset_index(drop=True)
    assert len(drawn) == samples.sizes["cell"] == len(study.cells) - 2
    np.testing.assert_allclose(drawn.delta_ntk_mean, samples.delta_ntk.mean("seed", skipna=False), rtol=1e-9)
    np.testing.assert_allclose(drawn.linear_mean, samples.delta_ntk_linear.mean("seed"), rtol=1e-9)


def test_exact_values_stand_at_every_solvable_cell(cells):
    absolute = cells.eta_unit == "absolute"
    assert cells.delta_ntk_exact[absolute].notna().all() and cells.delta_ntk_exact[~absolute].isna().all()
    assert cells.linear_z[absolute & (cells.n_samples > 0)].abs().max() < 4.5


def test_scaling_has_one_row_a_network_and_label(study, cells):
    scaling = tables.load(study, "scaling")
    assert len(scaling) == 6 + 1 + 4
    many = scaling[scaling.eta_max > scaling.eta_min]
    assert len(many) == 2 and set(many.eta_unit) == {"absolute", "critical"}
    known = many[many.eta_unit == "absolute"]  # in critical units the slope of a kinked network at 0 is not known
    assert known.eta_star.notna().all() and (known.eta_star_low <= known.eta_star_high).all()
    assert many[many.eta_unit == "critical"].eta_star.isna().all()
    assert scaling[scaling.eta_max == scaling.eta_min].eta_star.isna().all()
    row = scaling[(scaling.width == 16) & (scaling.label == "0.0") & (scaling.eta_unit == "absolute")].iloc[0]
    cell = cells[(cells.width == 16) & (cells.label == "0.0") & (cells.eta == 0.1) & (cells.eta_unit == "absolute")]
    assert (row.eta, row.eta_min, row.eta_max) == (0.1, 0.01, 3.0)
    assert row.flip_share == cell.flip_share.iloc[0] and row.scaling_ratio == cell.scaling_ratio.iloc[0]


def test_within_two_compares_the_whole_step_with_its_derivative():
    """The five ways in which an interval of whole/order can lie about the derivative's 1."""
    said = {}
    for low, high in ((0.9, 1.9), (2.1, 3.0), (0.1, 0.4), (1.5, 2.5), (np.nan, np.nan)):
        cell = pd.Series({"scaling_ratio_exact": 1.0, "scaling_ratio_low": low, "scaling_ratio_high": high})
        said[low, high] = scaling._within_two(cell)
    assert list(said.values()) == [1, 0, 0, -1, -1]


def test_smooth_activations_have_no_flips(made, tmp_path):
    """tanh: beyond the derivative there are higher orders only; no share of flips, and eta* against each derivative."""
    study = made(
        tmp_path,
        kind="first_step",
        grid={"width": [8, 16], "depth": 2, "eta": [0.1, 1.0, 10.0]},
        network={"activation": "tanh"},
        seeds=200,
    )
    rows = tables.load(study, "scaling")
    assert rows.flip_share.isna().all() and rows.rest_share.notna().all() and (rows.within_two == -1).all()
    assert rows.eta_star.notna().all()
    assert not set(tables.load(study, "fits").quantity) & {"flips", "flips over derivative"}
    assert not any("flips" in said for said in sentences(report.section(study)["topics"]))


def test_fits_find_the_exponents_of_exact_values(study, cells):
    """On the exact values the width's exponent is a plain least squares of their logarithms."""
    trusting = study.config.tolerances.model_copy(update={"step_relative_error": 10.0, "block_ess": 1.0})
    trusting = study.config.model_copy(update={"tolerances": trusting})
    open_study = dataclasses.replace(study, config=trusting)
    sums = store.read_rows(Path(study.folder) / "sums.zarr")
    table = analyse.dataset(open_study, sums, study.points)
    fits = analyse.fits_dataset(open_study, table, study.points).to_dataframe()
    row = fits[(fits.quantity == "flips over derivative") & (fits.method == "width_exponent") & (fits.label == "1.0")]
    part = cells[(cells.label == "1.0") & (cells.eta == 0.1) & (cells.engine == "matrix_free")].sort_values("width")
    slope = np.polyfit(np.log(part.width), np.log(part.flip_predicted / part.delta_ntk_exact), 1)[0]
    assert row.estimate.iloc[0] == pytest.approx(slope, rel=1e-9)
    assert (fits.n_cells <= 4).all()
    assert (fits.method == "equal_width").any()


def test_every_figure_is_drawn(study):
    names = kinds.of(study).tables(study)
    data = {name: store.read_rows(Path(study.folder) / f"{name}.zarr") for name in names}
    with style.applied():
        for name in kinds.of(study).figures(study):
            figure = FIGURES[name](data)
            assert all((axis.get_xlabel() and axis.get_ylabel()) or name == "step_change" for axis in figure.axes)
            plt.close(figure)


def test_figures_say_so_where_there_is_nothing_to_draw(study):
    names = kinds.of(study).tables(study)
    data = {name: store.read_rows(Path(study.folder) / f"{name}.zarr") for name in names}
    exact = {
        name: part.isel({part.engine.dims[0]: np.flatnonzero(part.engine.values == "exact")})
        for name, part in data.items()
    }
    for name in ("step_change", "step_eta"):
        with pytest.raises(style.NothingToDraw):
            FIGURES[name](exact)
    plt.close(FIGURES["step_answer"](exact))  # the exact lines are enough
    figures.style.plt.close("all")


def test_report_answers_with_numbers_of_the_tables(study):
    section = report.section(study)
    scaling = tables.load(study, "scaling")
    widest = scaling[scaling.width == 32].sort_values("beta")
    assert any(
        f"{widest.scaling_ratio_exact.iloc[-1]:.3g} at beta = 0.125" in said for said in sentences(section["topics"])
    )
    ((_, rows),) = section["lead_tables"]
    assert len(rows) == scaling.rest_share.notna().sum()
    assert {row["within 2 x derivative"] for row in rows} <= {"yes", "no", ""}
    assert len(section["verification"]) == 13 and "derivative" in section["coverage"]
