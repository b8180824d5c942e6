"""The plan: which cells, which shards, which streams, which jobs."""

import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkpipe import config, plan
from ntkpipe.errors import ConfigError
from ntkpipe.labels import cell_coords
from ntkpipe.streams import QUANTUM


def test_cells_are_the_full_product_of_the_axes(make_study):
    study = make_study(grid={"width": [4, 8], "depth": [1, 2, 3], "bias_init": ["none", "zero"]})
    found = {(c.coords["width"], c.coords["depth"], c.coords["bias_init"]) for c in study.cells}
    assert found == {(w, d, b) for w in (4, 8) for d in (1, 2, 3) for b in ("none", "zero")}
    assert len(study.cells) == 12
    for cell in study.cells:
        assert cell.network.widths == (cell.coords["width"],) * cell.coords["depth"]
        assert cell.network.bias_init == cell.coords["bias_init"]
        assert cell.coords["beta"] == cell.network.beta == cell.coords["depth"] / cell.coords["width"]


def test_widths_layer_by_layer(make_study):
    cells = make_study(grid={"widths": [[4, 8], [16, 16], []]}).cells
    assert [c.network.widths for c in cells] == [(4, 8), (16, 16), ()]
    assert [c.coords["width"] for c in cells] == [0, 16, 0]
    assert [c.coords["widths"] for c in cells] == ["4x8", "16^2", ""]


def test_beta_gives_rounded_depths_and_notes_what_it_leaves_out(make_study):
    study = make_study(grid={"width": [10, 100], "beta": [0.04, 0.5, 0.52, 3], "max_depth": 60})
    assert [(c.coords["width"], c.coords["depth"]) for c in study.cells] == [
        (10, 5),
        (10, 30),
        (100, 4),
        (100, 50),
        (100, 52),
    ]
    assert len(study.notes) == 3
    for width, beta, reason in (
        (10, "0.04", "less than one layer"),
        (10, "0.52", "there already"),
        (100, "3", "max_depth"),
    ):
        assert any(f"width {width}" in n and f"beta {beta}" in n and reason in n for n in study.notes)


@pytest.mark.parametrize(
    ("keys", "engine"),
    [
        ({}, "scalar"),
        ({"network": {"bias_init": "zero"}}, "scalar"),
        ({"network": {"bias_init": "normal"}}, "matrix_free"),
        ({"network": {"activation": "gelu"}}, "matrix_free"),
        ({"inputs": {"points": 2}}, "matrix_free"),
        ({"precision": "float32"}, "matrix_free"),
        ({"sampling": "guided"}, "scalar"),
    ],
)
def test_auto_takes_the_cheapest_engine_that_applies(make_study, keys, engine):
    assert make_study(**keys).cells[0].engine == engine


def test_exact_needs_no_shards(make_study):
    study = make_study(engine="exact")
    assert len(study.cells) == 1 and not study.shards and not study.jobs and not study.keeps_draws


@settings(max_examples=50, deadline=None)
@given(
    seeds=st.integers(1, 300_000),
    points=st.integers(1, 40),
    keep=st.sampled_from(["full", "spectra", "moments"]),
    engine=st.sampled_from(["matrix_free", "dense"]),
)
def test_shards_cover_the_draws_without_gap(seeds, points, keep, engine):
    study = {"kind": "initialization", "grid": {"width": [64, 256], "depth": 20}, "seeds": seeds, "keep": keep}
    study |= {"inputs": {"points": points}, "engine": engine}
    planned = plan.make(config.parse({"studies": {"s": study}})).studies["s"]
    for cell in planned.cells:
        bounds = [(s.start, s.stop) for s in planned.shards if s.cell == cell]
        assert bounds[0][0] == 0 and bounds[-1][1] == seeds
        assert all(before[1] == after[0] for before, after in itertools.pairwise(bounds))
        assert all(start % QUANTUM == 0 and start < stop for start, stop in bounds)
    assert len({s.path for s in planned.shards}) == len(planned.shards)


@settings(max_examples=30, deadline=None)
@given(seeds=st.integers(1, 50_000), job_seconds=st.floats(0.01, 100), widths=st.sets(st.integers(1, 300), min_size=1))
def test_jobs_cover_every_shard_once_and_keep_to_their_length(seeds, job_seconds, widths):
    grid = {"width": sorted(widths), "depth": 5, "engine": ["scalar", "matrix_free", "dense"]}
    tree = {
        "studies": {"s": {"kind": "initialization", "grid": grid, "seeds": seeds}},
        "execution": {"job_seconds": job_seconds},
    }
    study = plan.make(config.parse(tree)).studies["s"]
    assert [path for job in study.jobs for path in job.paths] == [shard.path for shard in study.shards]
    for job in study.jobs:
        assert len({shard.cell.engine for shard in job.shards}) == 1
        assert len(job.shards) == 1 or sum(s.seconds for s in job.shards) <= job_seconds
        assert job.memory_mb > 0


def _identity(study):
    return {shard.path: (shard.cell.text, shard.start, shard.stop) for shard in study.shards}


@pytest.mark.parametrize(
    "longer",
    [
        {"width": [4, 8, 16], "depth": [1, 2]},
        {"width": [8, 4, 2], "depth": [2, 3, 1]},
        {"width": [4, 8], "depth": [1, 2], "activation": ["tanh", "relu"], "bias_init": ["zero", "none"]},
        [{"width": 64, "depth": 64}, {"width": [4, 8], "depth": [1, 2]}],
    ],
)
def test_extending_the_grid_keeps_old_shards(make_study, longer):
    engine = {"engine": "matrix_free", "seeds": 3000}
    before = _identity(make_study(grid={"width": [4, 8], "depth": [1, 2]}, **engine))
    after = _identity(make_study(grid=longer, **engine))
    assert before.items() <= after.items() and len(after) > len(before)


def test_more_seeds_keep_whole_old_shards(make_study, monkeypatch):
    monkeypatch.setattr(plan, "SHARD_BYTES", 32 * 2048)  # a small limit: two quanta a shard
    before = _identity(make_study(seeds=9 * 1024))
    after = _identity(make_study(seeds=20_000))
    assert len(before) == 5
    assert len(before.keys() & after.keys()) == 4  # all but the cut last one


def test_the_same_cell_has_the_same_stream_in_any_study(study_tree):
    tree = study_tree(grid={"width": [4, 8], "depth": 2})
    tree["studies"]["other"] = study_tree(grid={"depth": [2, 3], "width": 8})["studies"]["s"] | {"seeds": 77}
    planned = plan.make(config.parse(tree)).studies
    by_text = {c.text: planned["s"].stream(c) for c in planned["s"].cells}
    shared = [c for c in planned["other"].cells if c.text in by_text]
    assert len(shared) == 1
    assert planned["other"].stream(shared[0]) == by_text[shared[0].text]


@pytest.mark.parametrize(
    "keys",
    [
        {"grid": {"width": 4, "depth": 3}},
        {"network": {"activation": "tanh"}},
        {"network": {"parametrization": "standard"}},
        {"network": {"sigma_w": 1.0}},
        {"network": {"output_bias": False, "bias_init": "zero"}},
        {"inputs": {"dim": 5}},
        {"inputs": {"norm": 2.0}},
        {"engine": "dense"},
        {"sampling": "guided"},
        {"precision": "float32"},
        {"seed": 1},
    ],
)
def test_what_changes_the_law_or_the_numbers_changes_text_or_seed(make_study, keys):
    base = make_study(grid={"width": 4, "depth": 2})
    other = make_study(**({"grid": {"width": 4, "depth": 2}} | keys))
    assert base.stream(base.cells[0]) != other.stream(other.cells[0])
    assert base.shards[0].path != other.shards[0].path
    json.loads(other.cells[0].text)


@pytest.mark.parametrize("keys", [{"seeds": 7}, {"keep": "moments"}, {"tolerances": {"ess": 1.0}}])
def test_what_changes_no_number_keeps_the_stream(make_study, keys):
    base, other = make_study(), make_study(**keys)
    assert base.stream(base.cells[0]) == other.stream(other.cells[0])


def test_changed_data_means_changed_cells(make_study, tmp_path):
    texts = []
    for content in ("1,2\n", "1,3\n"):
        (tmp_path / "x.csv").write_text(content)
        texts.append(make_study(inputs={"kind": "file", "path": str(tmp_path / "x.csv")}).cells[0].text)
    assert texts[0] != texts[1]


def test_grids_with_different_axes_share_their_coordinates(make_study):
    """A list of grids of which only one has the axis sigma_w: every cell still has that coordinate."""
    grids = [{"width": 4, "depth": 1, "sigma_w": [1.0, 2.0]}, {"width": 8, "depth": 1}]
    for order in (grids, grids[::-1]):
        cells = make_study(grid=order).cells
        coords = cell_coords(list(cells))
        assert list(coords["sigma_w"][1]) == [c.network.sigma_w for c in cells]


def test_a_shard_is_found_by_its_path(make_plan):
    planned = make_plan()
    shard = planned.studies["s"].shards[0]
    assert planned.shard(shard.path) == (planned.studies["s"], shard)
    with pytest.raises(ConfigError, match="shard paths that belong to the config; it was 'nowhere'"):
        planned.shard("nowhere")


def test_summary_counts_cells_jobs_and_draws(make_plan):
    planned = make_plan(grid={"width": [4, 1000], "beta": [0.001, 0.5]}, seeds=2048)
    text = plan.summary(planned, cores=2)
    row = next(line for line in text.splitlines() if line.startswith("s "))
    assert row.split()[:4] == ["s", "3", str(len(planned.studies["s"].jobs)), "6.14e+03"]
    (note,) = [line for line in text.splitlines() if line.startswith("note: studies.s.grid: ")]
    assert "width 4" in note and "beta 0.001" in note and "less than one layer" in note


@pytest.mark.parametrize(("seconds", "text"), [(89, "89 s"), (90, "1.5 min"), (5400, "1.5 h")])
def test_duration(seconds, text):
    assert plan.duration(seconds) == text


@pytest.mark.parametrize(
    "keys",
    [
        {"seeds": 200_000, "keep": "moments", "grid": {"width": 32, "depth": 4}},
        {"seeds": 40_000, "grid": {"width": 32, "depth": 4}},
        {"seeds": 40_000, "grid": {"width": 32, "depth": 4, "sampling": "guided"}},
        {"seeds": 4096, "keep": "moments", "inputs": {"points": 6}},
        {"seeds": 4096, "keep": "spectra", "inputs": {"points": 6}},
        {"seeds": 4096, "inputs": {"points": 6}},
        {"seeds": 4096, "inputs": {"points": 6, "keep": "diagonal"}},
        {"seeds": 4096, "kind": "first_step"},
    ],
)
def test_the_expected_size_is_that_of_the_files_within_a_factor_of_two(make_study, draw_study, tmp_path, keys):
    study = make_study(results=tmp_path, **({"grid": {"width": 8, "depth": 2}} | keys))
    draw_study(study)
    found = sum(Path(shard.path).stat().st_size for shard in study.shards)
    assert 0.5 < study.disk_bytes / 2 / found < 2


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"grid": {"width": list(range(1, 1002)), "depth": list(range(1, 1001))}}, "grid of at most 1000000 cells"),
        ({"grid": {"width": [8, 16], "depth": list(range(50_001, 52_002))}}, "at most 100000000 layers together"),
        ({"grid": {"width": 10**6, "beta": 1e300}}, r"grid\.beta: must be given values, or max_depth, for .* 1e\+300"),
        ({"seeds": 10**15}, r"seeds: must be a number whose draws make at most 1000000 files .*'1000000000000000, "),
    ],
)
def test_plans_of_any_size_are_refused_before_they_fill_the_memory(make_study, keys, said):
    with pytest.raises(ConfigError, match=said):
        make_study(**keys)


def test_derived_depths_beyond_all_bounds_are_left_out_by_max_depth(make_study):
    study = make_study(grid={"width": 16, "beta": [0.5, 1e300], "max_depth": 100})
    assert len(study.cells) == 1 and "left out beta 1e+300" in study.notes[0]


def test_the_summary_tells_of_gpus_where_jobs_ask_for_them(make_plan):
    for engine, gpus, said in (("dense", 2, True), ("dense", 0, False), ("scalar", 2, False)):
        planned = make_plan(engine=engine, execution={"gpus": gpus})
        asked = "note: execution.gpus: 1 jobs of engine dense ask for 2 GPUs each" in plan.summary(planned, cores=2)
        assert asked == said
