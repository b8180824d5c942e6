"""Shards -> datasets -> moments: every number ends where its label says; damage is named; memory is bounded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ntkpipe
from ntkpipe import collect, plan, shards, store
from ntkpipe.drawing import LOG_EDGES
from ntkpipe.errors import DamagedFile
from ntkpipe.kinds.initialization import analyse
from ntkpipe.kinds.initialization.statistics import STATISTICS


@pytest.fixture
def study(make_study, tmp_path, monkeypatch, draw_study):
    """Two cells of 10 000 draws in shards of two quanta, collected."""
    monkeypatch.setattr(plan, "SHARD_BYTES", 32 * 2048)  # a small limit: several shards a cell
    planned = make_study(results=tmp_path, grid={"width": [4, 8], "depth": 2}, seeds=10_000)
    draw_study(planned)
    return planned


@pytest.fixture
def gram_study(make_study, tmp_path, draw_study):
    planned = make_study(
        results=tmp_path,
        grid={"width": [4, 8], "depth": 2, "activation": ["relu", "tanh"]},
        seeds=1500,
        inputs={"kind": "circle", "points": 4},
    )
    draw_study(planned)
    return planned


def _drawn(study, cell, name):
    parts = [shards.read(s.path)[0][name][1] for s in study.shards if s.cell == cell]
    return np.concatenate(parts)


def _collected(study):
    folder = Path(study.folder)
    collect.run(study)
    return folder


def test_samples_are_the_shards_in_order(study):
    assert len(study.shards) == 10
    opened = store.read_rows(_collected(study) / "samples.zarr")
    assert opened.ntk.dims == ("cell", "seed")
    for row, cell in enumerate(study.cells):
        one = opened.isel(cell=row).load()
        assert (int(one.width), int(one.depth), float(one.beta)) == (cell.coords["width"], 2, cell.network.beta)
        for name in ("ntk", "output", "log_weight"):
            np.testing.assert_array_equal(one[name].values, _drawn(study, cell, name))


def test_sums_are_the_shards_in_order_and_merge(study):
    opened = store.read_rows(_collected(study) / "sums.zarr").load()
    assert list(opened.statistic.values) == list(STATISTICS)
    for row, cell in enumerate(study.cells):
        one = opened.isel(cell=row)
        np.testing.assert_array_equal(one.sums.values, _drawn(study, cell, "sums"))
        assert one.sums.sel(statistic="count").sum() == 10_000
        k = _drawn(study, cell, "ntk")
        np.testing.assert_allclose(one.largest, np.sort(k**2)[::-1][:16], rtol=1e-15)
        with np.errstate(divide="ignore"):
            logs = np.clip(np.log(k), LOG_EDGES[0], None)
        np.testing.assert_array_equal(one.histogram.sel(quantity="log_ntk"), np.histogram(logs, LOG_EDGES)[0])


def test_moments_are_plain_numpy_on_the_samples(study):
    folder = _collected(study)
    analyse.run(study)
    samples, moments = store.read_rows(folder / "samples.zarr"), store.read_rows(folder / "moments.zarr")
    for cell in range(2):
        k, f = samples.ntk[cell].values, samples.output[cell].values
        row = moments.isel(cell=cell)
        alive = k > 0
        assert not alive.all()  # width 4 and 8 have dead layers among 10 000 draws
        expected = {
            "ntk_mean": k.mean(),
            "ntk_second_moment": (k**2).mean(),
            "s2": (k**2).mean() / k.mean() ** 2,
            "log_ntk_mean": np.log(k[alive]).mean(),
            "log_ntk_variance": np.log(k[alive]).var(),
            "dead_fraction": np.mean(f == 0),
            "n_samples": len(k),
            "ess": (k**2).sum() ** 2 / (k**4).sum(),
            "tail_share": np.sort(k**2)[-16:].sum() / (k**2).sum(),
        }
        for name, value in expected.items():
            assert float(row[name]) == pytest.approx(value, rel=1e-10), name
        assert abs(float(row.log_ntk_median) - np.log(np.median(k))) < 0.03
        assert abs(float(row.s2_z)) < 4
    assert set(json.loads(json.dumps(moments.attrs))) >= {"config", "git_commit", "versions", "config_sha256"}


@pytest.mark.parametrize("keep", ["spectra", "moments"])
def test_keep_changes_no_moment(make_study, tmp_path, draw_study, keep):
    keys = {"grid": {"width": [4, 8], "depth": 2}, "seeds": 3000, "inputs": {"points": 2}, "engine": "matrix_free"}
    tables = []
    for name in ("full", keep):
        planned = make_study(results=tmp_path / name, keep=name, **keys)
        assert planned.keeps_draws == (name != "moments")
        draw_study(planned)
        collect.run(planned)
        assert (Path(planned.folder) / "samples.zarr").exists() == planned.keeps_draws
        analyse.run(planned)
        tables.append(store.read_rows(Path(planned.folder) / "moments.zarr").load())
    assert tables[0].equals(tables[1])


def test_gram_datasets_are_plain_numpy_on_the_samples(gram_study):
    folder = _collected(gram_study)
    analyse.run(gram_study)
    samples = ntkpipe.open(folder / "samples.zarr")
    gram, moments = ntkpipe.open(folder / "gram.zarr"), ntkpipe.open(folder / "moments.zarr")
    assert samples.ntk.dims[-3:] == ("seed", "input", "input_") or set(samples.ntk.dims) >= {"seed", "input", "input_"}
    np.testing.assert_allclose(gram.angle, [0, np.pi / 2, np.pi], atol=1e-8)
    for width in (4, 8):
        for activation in ("relu", "tanh"):
            where = {"width": width, "activation": activation}
            k = samples.ntk.sel(where).transpose("seed", "input", "input_").values
            assert float(gram.ntk_mean.sel(where).sel(angle=np.pi, method="nearest")) == pytest.approx(
                np.mean([k[:, 0, 2], k[:, 1, 3]]), rel=1e-10
            )
            diagonal = np.diagonal(k, axis1=1, axis2=2)
            assert float(moments.ntk_mean.sel(where)) == pytest.approx(diagonal.mean(), rel=1e-10)
            assert float(gram.ntk_variance.sel(where).isel(angle=0)) == pytest.approx(diagonal.var(0).mean(), rel=1e-9)
            eigenvalues = samples.eigenvalues.sel(where).transpose("seed", "mode").values
            low = np.quantile(eigenvalues[:, -1], 0.5)
            if low > 0:
                assert np.log(float(gram.min_eigenvalue_median.sel(where)) / low) == pytest.approx(0, abs=0.06)
            assert float(gram.singular_fraction.sel(where)) == pytest.approx(np.mean(eigenvalues[:, -1] == 0))
    x = store.read_rows(folder / "samples.zarr").x.values
    np.testing.assert_allclose(x, [[1, 0], [0, 1], [-1, 0], [0, -1]], atol=1e-15)


def test_every_variable_has_a_long_name_and_a_unit(gram_study):
    folder = _collected(gram_study)
    analyse.run(gram_study)
    for name in ("samples", "sums", "moments", "fits", "gram"):
        for variable in store.read_rows(folder / f"{name}.zarr").variables.values():
            if variable.dims != ("cell",) or variable.attrs:
                assert variable.attrs.get("long_name") and variable.attrs.get("units")


def test_two_collections_are_the_same_numbers(study):
    folder, found = Path(study.folder), []
    for _ in range(2):
        collect.run(study)
        found.append([store.read_rows(folder / f"{name}.zarr").load() for name in ("samples", "sums")])
    assert all(first.equals(second) for first, second in zip(*found, strict=True))


def test_every_shard_is_read_once_for_both_datasets(study, monkeypatch):
    read, seen = shards.open_planned, []

    def noted(study, shard):
        seen.append(shard.path)
        return read(study, shard)

    monkeypatch.setattr(shards, "open_planned", noted)
    collect.run(study)
    template, *cells = seen  # the first shard is read before the others, for the shapes
    assert template == study.shards[0].path
    assert sorted(cells) == sorted(shard.path for shard in study.shards)


def test_exact_cells_have_no_samples_but_moments(make_study, tmp_path, draw_study):
    study = make_study(results=tmp_path, grid={"width": 4, "depth": [1, 2], "engine": ["exact", "scalar"]}, seeds=1000)
    draw_study(study)
    folder = _collected(study)
    analyse.run(study)
    assert list(store.read_rows(folder / "samples.zarr").engine.values) == ["scalar"] * 2
    moments = store.read_rows(folder / "moments.zarr").load()
    assert sorted(moments.engine.values) == ["exact"] * 2 + ["scalar"] * 2
    for depth in (1, 2):
        rows = moments.where((moments.depth == depth), drop=True)
        drawn, known = rows.where(rows.engine == "scalar", drop=True), rows.where(rows.engine == "exact", drop=True)
        assert float(known.s2[0]) == float(known.s2_exact[0]) == float(drawn.s2_exact[0])
        assert float(drawn.s2[0]) != float(known.s2[0])


@pytest.mark.parametrize("number", [0, 3, 5, 7])
def test_a_damaged_shard_is_named_and_nothing_is_left(study, number):
    """Nothing: while one thread meets the damage, the other may still be writing the row beside it."""
    path = Path(study.shards[number].path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DamagedFile, match=path.name):
        collect.run(study)
    assert os.listdir(study.folder) == ["shards"]


def test_a_missing_shard_is_named(study):
    Path(study.shards[3].path).unlink()
    with pytest.raises(DamagedFile, match=f"{Path(study.shards[3].path).name} is missing"):
        collect.run(study)


def test_a_shard_of_another_range_is_refused(study):
    """Whole, valid, and not what the plan says: numbers would end under the wrong label."""
    first, second = study.shards[:2]
    Path(second.path).write_bytes(Path(first.path).read_bytes())
    with pytest.raises(DamagedFile, match=f"{Path(second.path).name} was made by another config"):
        collect.run(study)


def test_more_seeds_make_the_sums_of_more_seeds(make_study, tmp_path, monkeypatch, draw_study):
    """Blocks of sums are longer beyond 8192 draws: shards of the shorter study must not be mixed in."""
    monkeypatch.setattr(plan, "SHARD_BYTES", 32 * 2048)
    tables = []
    for name, runs in (("grown", (4096, 10_240)), ("fresh", (10_240,))):
        for seeds in runs:
            study = make_study(results=tmp_path / name, grid={"width": 4, "depth": 2}, seeds=seeds)
            draw_study(study, keep_valid=True)
        collect.run(study)
        tables.append(store.read_rows(Path(study.folder) / "sums.zarr").load())
    assert float(tables[0].sums.sel(statistic="count").sum()) == 10_240
    assert tables[0].equals(tables[1])


def test_fits_keep_curves_of_different_laws_apart(make_study, tmp_path, draw_study):
    """Two values of sigma_w are two curves over beta, not one with half of its cells dropped."""
    grid = {"width": 8, "depth": [1, 2, 3], "sigma_w": [1.0, 1.4142135623730951]}
    study = make_study(results=tmp_path, grid=grid, seeds=4096, tolerances={"relative_error": 0.5})
    draw_study(study)
    collect.run(study)
    analyse.run(study)
    fits = store.read_rows(Path(study.folder) / "fits.zarr").load()
    rows = fits.where((fits.quantity == "s2") & (fits.method == "prefactor"), drop=True)
    assert rows.sizes["fit"] == 2
    assert sorted(rows.sigma_w.values) == [1.0, 1.4142135623730951]


MEASURE = """
import resource, sys
from ntkpipe import collect, config, plan
study = plan.make(config.load(sys.argv[1])).studies["s"]
collect.run(study)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def _peak_mib(study_tree, folder, cells):
    """Peak memory of a process that collects ``cells`` cells of 9 MiB each (shards are made up, not drawn)."""
    import yaml

    from ntkpipe import config

    k, seeds = 16, 4096
    tree = study_tree(
        results=folder,
        grid={"width": list(range(8, 8 + cells)), "depth": 1},
        seeds=seeds,
        inputs={"points": k},
        engine="matrix_free",
    )
    folder.mkdir()
    (folder / "c.yaml").write_text(yaml.safe_dump(tree))
    study = plan.make(config.load(folder / "c.yaml")).studies["s"]
    rng = np.random.default_rng(0)
    arrays = {
        "ntk": (("seed", "input", "input_"), rng.integers(0, 256, (seeds, k, k)).astype(float)),
        "output": (("seed", "input"), np.ones((seeds, k))),
        "log_weight": (("seed",), np.zeros(seeds)),
        "sums": (("block", "statistic"), np.ones((seeds, len(STATISTICS)))),
        "largest": (("rank",), np.ones(16)),
        "histogram": (("quantity", "bin"), np.ones((3, len(LOG_EDGES) - 1))),
    }
    for shard in study.shards:
        assert (shard.start, shard.stop) == (0, seeds)
        shards.write(shard.path, arrays, shards.attrs_of(study, shard))
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(folder / "c.yaml")],
        env=os.environ | {"PYTHONPATH": str(Path(ntkpipe.__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout) / 1024


def test_memory_of_collect_does_not_grow_with_the_study(study_tree, tmp_path):
    """3 cells hold 27 MiB of draws, 12 cells 108: 81 MiB more that must not be in memory at once."""
    few, many = (_peak_mib(study_tree, tmp_path / str(cells), cells) for cells in (3, 12))
    # Two threads hold a shard each in both runs; the allocator's noise is a few MiB.
    assert many - few < 40
