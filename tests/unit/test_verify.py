"""One line a dataset, with where it comes from; whatever is missing or altered is said, and the rest goes on."""

import shutil

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner

from ntkpipe import collect, config, kinds, layout, plan, provenance, verify
from ntkpipe.__main__ import cli


@pytest.fixture(scope="module")
def made(tmp_path_factory, study_tree, draw_study):
    """A results folder of two studies, which tests copy."""
    folder = tmp_path_factory.mktemp("run") / "results"
    tree = study_tree(results=folder, grid={"width": 8, "depth": [2, 3]}, seeds=1024)
    tree["studies"]["t"] = tree["studies"]["s"] | {"keep": "moments"}
    planned = plan.make(config.parse(tree))
    layout.write_resolved(planned)
    for study in planned.studies.values():
        draw_study(study)
        collect.run(study)
        kinds.load(study, "analyse").run(study)
    return folder


@pytest.fixture
def results(made, tmp_path):
    return shutil.copytree(made, tmp_path / "elsewhere")


def _said(*paths):
    done = CliRunner().invoke(cli, ["verify", *map(str, paths)])
    return done.exit_code, done.output


def test_one_line_a_dataset_with_config_commit_and_versions(results):
    code, said = _said(results)
    assert code == 0, said
    lines = said.splitlines()
    datasets = ["s/fits", "s/moments", "s/samples", "s/sums", "t/fits", "t/moments", "t/sums"]
    assert [line.split(": ")[0] for line in lines[:7]] == [f"{results}/{name}.zarr" for name in datasets]
    for name, line in zip(datasets, lines, strict=False):
        attrs = xr.open_zarr(results / f"{name}.zarr").attrs
        commit, _, dirty = attrs["git_commit"].partition("-")
        assert f"whole, config {attrs['config_sha256'][:12]}" in line
        assert "no git" in line if commit == "unknown" else f"commit {commit[:12]} {dirty or 'clean'}" in line
        assert all(f"{name} {version}" in line for name, version in attrs["versions"].items())
    assert lines[7:] == [f"{results}/{name}/shards: 2 of 2 shards whole" for name in "st"]


def test_a_study_alone_and_a_dataset_alone(results):
    code, said = _said(results / "t")
    assert code == 0 and said.count("zarr: whole") == 3 and "2 of 2 shards" in said and "/s/" not in said
    shard = next((results / "s/shards").glob("*.zip"))
    code, said = _said(results / "s/moments.zarr", shard)
    assert code == 0 and said.count("\n") == 2 and f"{shard}: whole, code " in said


@pytest.mark.parametrize("damage", ["dataset gone", "dataset and manifest gone", "shard gone", "shard cut", "chunk"])
def test_all_that_is_missing_or_altered_is_said_and_the_rest_is_checked(results, damage):
    shard, chunk = sorted((results / "s/shards").glob("*.zip"))[0], results / "s/moments.zarr/s2/c/0"
    match damage:
        case "dataset gone":
            shutil.rmtree(results / "s/fits.zarr")
            why = f"dataset {results}/s/fits.zarr is missing"
        case "dataset and manifest gone":
            shutil.rmtree(results / "s/fits.zarr")
            (results / "s/fits.zarr.sha256").unlink()
            why = f"dataset {results}/s/fits.zarr is missing"
        case "shard gone":
            shard.unlink()
            why = f"shard {shard} is missing"
        case "shard cut":
            shard.write_bytes(shard.read_bytes()[:-30])
            why = f"shard {shard} is damaged"
        case "chunk":
            chunk.write_bytes(chunk.read_bytes()[::-1])
            why = f"{chunk} is altered"
    code, said = _said(results)
    assert code == 2 and f"error: {why}" in said
    assert said.count("zarr: whole") == (7 if "shard" in damage else 6)
    assert f"{results}/s/shards: {1 if 'shard' in damage else 2} of 2 shards whole" in said


def test_a_data_file_that_has_changed_is_named(tmp_path, monkeypatch, study_tree, draw_study):
    monkeypatch.chdir(tmp_path)
    np.savetxt("points.csv", [[1.0, 0.0], [0.0, 1.0]], delimiter=",")
    inputs = {"kind": "file", "path": "points.csv"}
    planned = plan.make(config.parse(study_tree(results="results", grid={"width": 8, "depth": 2}, inputs=inputs)))
    layout.write_resolved(planned)
    draw_study(planned.studies["s"])
    collect.run(planned.studies["s"])
    code, said = _said("results")
    assert "points.csv" not in said
    np.savetxt("points.csv", [[1.0, 0.0], [0.6, 0.8]], delimiter=",")
    code, said = _said("results")
    assert code != 0 and "data file points.csv has changed since results/s/samples.zarr was made" in said
    assert "results/s/samples.zarr: whole" in said and "other shards are there instead" in said


def test_shards_of_another_config_are_told_from_lost_ones(results):
    shards = sorted((results / "s/shards").glob("*.zip"))
    lost = "other shards are there instead"
    shards[0].rename(shards[0].with_name(f"other-{shards[0].name}"))
    code, said = _said(results / "s")
    assert code != 0 and f"shard {shards[0]} is missing" in said and lost in said
    shards[0].with_name(f"other-{shards[0].name}").unlink()
    code, said = _said(results / "s")
    assert code != 0 and f"shard {shards[0]} is missing" in said and lost not in said


def test_a_config_that_is_not_that_of_its_hash_is_damage(results):
    import zarr

    group = zarr.open_group(results / "s/moments.zarr", mode="r+")
    group.attrs["config_sha256"] = "0" * 64
    manifest = results / "s/moments.zarr.sha256"
    lines = [
        f"{verify.store.sha256(results / 's' / name)}  {name}\n" for name in verify.store.parsed(manifest.read_text())
    ]
    manifest.write_text("".join(lines))
    code, said = _said(results / "s/moments.zarr")
    assert code == 2 and "config_sha256 is not that of its config" in said


def test_a_folder_without_config_or_results_is_told(results, tmp_path):
    (results / "config.yaml").unlink()
    code, said = _said(results)
    assert code == 0 and "only what is there is checked" in said and said.count("zarr: whole") == 7
    code, said = _said(tmp_path / "nothing")
    assert code == 2 and "it is not there" in said
    (tmp_path / "empty").mkdir()
    code, said = _said(tmp_path / "empty")
    assert code == 2 and "holds no dataset and no shard" in said


@pytest.mark.parametrize(
    ("commit", "tree"), [("a" * 40, f"commit {'a' * 12} clean"), ("b" * 40 + "-dirty", f"commit {'b' * 12} dirty"),
                         ("unknown", "no git")]
)  # fmt: skip
def test_a_clean_tree_is_told_from_a_dirty_one(make_study, monkeypatch, commit, tree):
    monkeypatch.setattr(provenance, "git_commit", lambda: commit)
    assert f", {tree}, ntkpipe " in provenance.said(provenance.attributes(make_study().config, "s"))
