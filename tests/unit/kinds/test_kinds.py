"""Every kind has its rooms; what it says of itself is what it draws, writes and shows."""

import subprocess
import sys
from pathlib import Path

import pytest

from ntkpipe import collect, config, figures, kinds, layout, provenance, shards, store, tables
from ntkpipe.engines import catalogue
from ntkpipe.errors import ConfigError

STUDIES = {
    "initialization": {"seeds": 1100, "inputs": {"kind": "circle", "points": 3}, "engine": "matrix_free"},
    "first_step": {"seeds": 64, "inputs": {"kind": "circle", "points": 3}},
    "trajectory": {
        "seeds": 8,
        "data": {"train": 4, "eval": 3, "frequencies": 1},
        "train": {"steps": 20, "snapshots": 6},
    },
    "infinite_width": {
        "seeds": 8,
        "data": {"train": 4, "eval": 3, "frequencies": 1},
        "train": {"steps": 20, "snapshots": 6},
    },
    "membership": {"seeds": 8, "membership": {"points": [8, 16, 32], "train": 8, "steps": 5}},
    "linear": {"seeds": 8, "network": {"activation": "linear"}, "linear": {"dim": 4, "steps": 20, "snapshots": 8}},
    "spectral_bias": {
        "seeds": 8,
        "network": {"bias_init": "normal"},
        "spectral_bias": {"frequencies": [1, 2, 3], "points": 8, "steps": 20, "snapshots": 8, "directions": 2},
    },
    "mean_field": {
        "grid": {"width": [8, 16], "depth": 1, "parametrization": ["mean_field", "ntk"]},
        "seeds": 8,
        "mean_field": {"train": 12, "steps": 10, "snapshots": 4, "limit_angles": 32},
    },
    "eigenmodes": {
        "seeds": 8,
        "eigenmodes": {"frequencies": [1, 2], "modes": 3, "train": 8, "evaluate": 16, "steps": 5},
    },
    "finite_sample": {"seeds": 8, "finite_sample": {"train": 16, "modes": 2, "omega": [1.5], "eval": 8}},
}


@pytest.fixture(params=kinds.NAMES)
def study(request, make_study, tmp_path):
    """A small study of several points, planned."""
    keys = {"grid": {"width": 8, "depth": [1, 2]}} | STUDIES[request.param]
    return make_study(results=tmp_path, kind=request.param, **keys)


def test_a_kind_is_found_by_study_config_and_name(study):
    name = study.config.kind
    assert kinds.of(study) is kinds.of(study.config) is kinds.of(name)
    assert kinds.of(study).name == name
    assert kinds.module(study, "draw") == f"ntkpipe.kinds.{name}.draw"


def test_kinds_are_light_to_import(tmp_path):
    """The Snakefile is parsed anew by every cluster job."""
    heavy = ("jax", "matplotlib", "xarray", "scipy", "pandas", "zarr", "dask")
    code = (
        f"import sys; sys.path.insert(0, {str(Path(kinds.__file__).parents[2])!r})\n"
        "from ntkpipe import kinds\n[kinds.of(name) for name in kinds.NAMES]\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_study_is_what_its_kind_says(study, draw_study, quickly):
    """From draws to figures: every variable, dataset, table and figure that the kind names, and no other."""
    kind, folder = kinds.of(study), Path(study.folder)
    with quickly():
        draw_study(study)
    arrays = shards.read(study.shards[0].path)[0]
    assert arrays.keys() <= kind.draws.keys() | kind.sums.keys()
    assert not kind.draws.keys() & kind.sums.keys()
    assert all("seed" in dims for name, (dims, _) in arrays.items() if name in kind.draws)
    collect.run(study)
    assert set(store.read_rows(folder / f"{kind.collection}.zarr").data_vars) >= arrays.keys() & kind.draws.keys()
    assert bool(kind.sums) == bool(kind.statistics)
    if kind.sums:
        sums = store.read_rows(folder / "sums.zarr")
        assert tuple(sums.statistic.values) == kind.statistics
        assert (sums["sums"].sel(statistic="count").sum("block") == study.config.seeds).all()
    assert layout.collected(study) == [
        f"{folder}/{name}.zarr" for name in ["sums"] * bool(kind.sums) + [kind.collection]
    ]
    kinds.load(study, "analyse").run(study)
    written = {f"{path.name}" for path in folder.glob("*.zarr")}
    assert written == {Path(path).name for path in (*layout.collected(study), *layout.datasets(study))}
    tables.run(study)
    figures.run(study)
    for _, path in layout.shown(study):
        assert Path(path).is_file()
    for path in layout.files(study):
        assert Path(path).is_file()


def test_names_have_captions_columns_and_drawers(study):
    kind = kinds.of(study)
    for name, _ in layout.shown(study):
        assert Path(layout.caption(study, name)).read_text().strip()
    assert kind.columns.keys() >= set(kind.tables(study))
    assert kinds.load(study, "figures").FIGURES.keys() >= set(kind.figures(study))
    assert {"section", "METHODS"} <= set(dir(kinds.load(study, "report")))


def test_the_hash_of_a_step_covers_the_rooms_of_its_kind(study):
    own, cell = f"ntkpipe.kinds.{study.config.kind}", study.cells[0]
    drawn = provenance._closure(catalogue.code(cell.engine, cell.sampling, cell.kind))
    rooms = {f"{own}.draw", "ntkpipe.streams"}
    assert rooms | ({f"{own}.statistics"} if kinds.of(study).statistics else set()) <= drawn.keys()
    others = [f"ntkpipe.kinds.{name}" for name in kinds.NAMES if name != study.config.kind]
    not_drawn = (own, "ntkpipe.config", "ntkpipe.plan", f"{own}.figures", f"{own}.analyse", *others)
    assert not [name for name in drawn if name in not_drawn or name.startswith(tuple(others))]
    for room in ("analyse", "figures", "report"):
        assert layout.code("ntkpipe.tables", studies=[study], rooms=(room,)) == provenance.source_hash(
            "ntkpipe.tables", own, f"{own}.{room}"
        )


def test_settings_of_another_kind_are_refused(study_tree):
    for keys, must in (
        ({"step": {"eta": 0.1}}, "without step unless kind is 'first_step'; it had step"),
        (
            {"grid": {"width": 4, "depth": 1, "eta": 0.1}},
            r"without grid axis eta unless kind is 'first_step' or 'trajectory'( or '\w+')*; it had eta",
        ),
    ):
        with pytest.raises(ConfigError, match=must):
            config.parse(study_tree(**keys))
        config.parse(study_tree(kind="first_step", **keys))
