"""What the report says of the limit: the numbers of its tables, and nothing where runs diverged or a cell is alone."""

import numpy as np
import pandas as pd
import pytest

from ntkpipe import tables
from ntkpipe.figures import style
from ntkpipe.kinds.infinite_width import report, report_answers, report_words
from ntkpipe.kinds.infinite_width.figures import FIGURES
from ntkpipe.topics import sentences


@pytest.fixture(scope="module")
def section(study):
    return report.section(study)


def test_every_question_is_answered_with_the_numbers_of_the_tables(section, found):
    questions = [topic.question for topic in section["topics"]]
    assert questions == [
        report_answers.KERNELS, report_answers.RATES, report_answers.BETA, report_answers.FUNCTIONS,
        report_answers.PROFILE,
    ]  # fmt: skip
    assert all(topic.said for topic in section["topics"])
    text = " ".join(sentences(section["topics"]))
    assert "nan" not in text and "inf]" not in text
    cell = found.isel(cell=0)
    assert f"{float(cell.distance_start):.3g} [{float(cell.distance_start_low):.3g}" in text
    inside = (found.variance_ratio_end_low <= 1) & (found.variance_ratio_end_high >= 1)
    assert f"1 is inside in {int(inside.sum())} of 6 cells" in text


def test_verification_names_what_is_exact(section, found):
    rows = section["verification"]
    exact = [row for row in rows if "E K_0" in row["cell"] and "depth 1" in row["cell"]]
    assert len(exact) == 3  # one hidden layer: both ReLU widths and tanh
    for row in rows:
        value, low, high = (
            float(v) for v in row["estimate"].replace("[", "").replace("]", "").replace(",", "").split()
        )
        assert row["inside"] == ("yes" if low <= float(row["exact"]) <= high else "no")
        assert low <= value <= high


def test_figures_are_drawn(found, fits, study):
    from ntkpipe import store

    data = {"infinite_width": found, "fits": store.read_rows(f"{study.folder}/fits.zarr").load()}
    for name, draw in FIGURES.items():
        figure = draw(data)
        assert len(figure.axes) == 3, name
    lines = {line.get_label(): line for line in FIGURES["limit_profile"](data).axes[0].get_lines()}
    part = found.isel(cell=2).sortby("angle")  # depth 1 or 2, whichever: the limit of the widest depth
    np.testing.assert_allclose(lines["infinite width"].get_xdata(), part.angle)
    with pytest.raises(style.NothingToDraw):
        FIGURES["limit_distance"](data | {"infinite_width": found.assign_coords(width=("cell", np.zeros(6, int)))})


def row(**values):
    return next(pd.DataFrame([values]).itertuples())


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((-0.6, -0.4), "holds the expected -0.5"),
        ((-0.4, -0.3), "flatter than the expected -0.5"),
        ((-0.9, -0.6), "steeper than the expected -0.5"),
        ((-1.5, 0.5), "too wide to judge the expected -0.5"),
        ((np.nan, np.nan), ""),
    ],
)
def test_verdicts(ends, said):
    assert report_words.verdict(row(low=ends[0], high=ends[1], expected=-0.5)) == said
    assert report_words.verdict(row(low=ends[0], high=ends[1], expected=np.nan)) == ""


def test_answers_turn_with_the_numbers(fits):
    """p + q on either side of 0, or around it."""
    for low, high, words in ((0.1, 0.3, "grows with depth more"), (-0.3, -0.1, "falls with width more"),
                             (-0.1, 0.1, "may depend on depth/width alone")):  # fmt: skip
        chosen = fits[fits.method == "total_exponent"].assign(estimate=(low + high) / 2, low=low, high=high)
        said = report_answers.beta_said(chosen)
        assert len(said) == len(report_answers.RATED) and all(words in text for text in said)


def test_profiles_and_biases_are_judged_by_whole_intervals(study, found):
    cells = tables.load(study, "infinite_width")
    for sign, words in ((1, "raises it beyond the interval in 6 and lowers it in 0"), (-1, "in 0 and lowers it in 6")):
        low, high = sorted((sign * 0.1, sign * 0.3))
        ends = {"peak_change": sign * 0.2, "peak_change_low": low, "peak_change_high": high}
        assert words in report_answers.profile_said(cells.assign(**ends))[0]
    for low, words in ((-0.1, "beyond its noise in 0 of 6 cells"), (0.1, "beyond its noise in 6 of 6 cells")):
        one = found.assign(bias=0 * found.bias + 0.2, bias_low=0 * found.bias + low)
        said = report_answers.kernels_said(cells.assign(place=np.arange(6)), one)
        assert sum(words in text for text in said) == 2  # at the start, and after training


def test_diverged_runs_and_a_single_cell_are_no_reason_to_fail(make_study, draw_study, quickly, tmp_path):
    """One cell on the sphere whose runs all diverge: no number is given of them, and no exponent."""
    from ntkpipe import collect, kinds

    study = make_study(
        results=tmp_path, kind="infinite_width", grid={"width": 8, "depth": 1}, seeds=8,
        data={"kind": "sphere", "train": 4, "eval": 3, "dim": 3},
        train={"steps": 60, "eta": 40.0, "divergence": 2.0, "at": [1, 60]},
    )  # fmt: skip
    with quickly():
        draw_study(study)
    collect.run(study)
    kinds.load(study, "analyse").run(study)
    cells = tables.load(study, "infinite_width")
    assert cells.n_runs[0] == 0 and np.isnan(cells.distance_end[0]) and np.isfinite(cells.distance_start[0])
    assert tables.load(study, "fits").empty
    section = report.section(study)
    text = " ".join(sentences(section["topics"]))
    assert "not known (runs diverged)" in text and "nan" not in text
    assert "0 of 8 runs finished" in section["coverage"]
    from ntkpipe import figures

    tables.run(study)
    figures.run(study)
