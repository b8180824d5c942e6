"""One line a dataset, with where it comes from; whatever is missing or altered is said, and the rest goes on."""

import os
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner

from ntkpipe import archive, collect, config, files, kinds, layout, plan, provenance, verify
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
        commit = attrs["git_commit"].removesuffix("-dirty")
        dirty = "dirty" if commit != attrs["git_commit"] else ""
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
            why = f"shard {shard} is missing; run snakemake\n"
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


@pytest.fixture
def of_a_file(tmp_path, monkeypatch, study_tree, draw_study):
    """Results of a study that reads points.csv, in the working directory."""
    monkeypatch.chdir(tmp_path)
    np.savetxt("points.csv", [[1.0, 0.0], [0.0, 1.0]], delimiter=",")
    inputs = {"kind": "file", "path": "points.csv"}
    planned = plan.make(config.parse(study_tree(results="results", grid={"width": 8, "depth": 2}, inputs=inputs)))
    layout.write_resolved(planned)
    draw_study(planned.studies["s"])
    collect.run(planned.studies["s"])
    kinds.load(planned.studies["s"], "analyse").run(planned.studies["s"])
    return tmp_path


def test_a_data_file_that_has_changed_is_one_error(of_a_file):
    """Shards have other names by then: that those are not there is no news."""
    code, said = _said("results")
    assert code == 0 and "points.csv" not in said
    np.savetxt("points.csv", [[1.0, 0.0], [0.6, 0.8]], delimiter=",")
    code, said = _said("results")
    (error,) = (line for line in said.splitlines() if line.startswith("error: "))
    changed = "data file points.csv has changed since results/s/fits.zarr was made"
    assert code == 2 and error == f"error: {changed}; run snakemake, or put the file back"
    assert said.count("zarr: whole") == 5 and "results/s/shards: 1 of 1 shards whole" in said


def test_a_data_file_that_is_gone_is_an_error(of_a_file):
    (of_a_file / "points.csv").unlink()
    code, said = _said("results")
    assert code == 2 and "error: data file points.csv, of which results/s/fits.zarr was made, is not here; " in said
    assert said.count("error: ") == 1 and said.count("zarr: whole") == 5


def test_data_files_of_an_unpacked_archive_are_found_in_it(of_a_file, monkeypatch):
    archive.run("results", "a.zip")
    shutil.unpack_archive("a.zip", "elsewhere/a")
    monkeypatch.chdir("elsewhere")
    code, said = _said("a")
    assert code == 0 and said.count("zarr: whole") == 5
    (held,) = (of_a_file / "elsewhere/a/data").iterdir()
    held.unlink()
    code, said = _said("a")
    assert code == 2 and "error: data file points.csv" in said


def _rewrite(path, **attributes):
    """Attributes of a stranger's dataset, with the manifest of it."""
    group = zarr.open_group(path, mode="r+")
    group.attrs.update(attributes)
    files = (file for file in path.rglob("*") if file.is_file())
    lines = [f"{verify.store.sha256(file)}  {path.name}/{file.relative_to(path)}\n" for file in files]
    path.with_name(f"{path.name}.sha256").write_text("".join(lines))


def test_a_stranger_s_dataset_has_no_folder_read_and_no_pipe(results, tmp_path, monkeypatch):
    """Of what it names as a data file only a regular file is hashed, or a folder *.zarr, as a study may read."""
    (folder := tmp_path / "private").mkdir()
    (folder / "file").write_text("mine")
    os.mkfifo(tmp_path / "pipe")
    named = [str(folder), str(tmp_path / "pipe"), "/dev/zero", "a\0b"]
    _rewrite(results / "s/fits.zarr", data_files=dict.fromkeys(named, "x"))
    read, real = [], files.digest
    monkeypatch.setattr(files, "digest", lambda path: read.append(path) or real(path))
    told = [line for whole, line in verify.lines(str(results / "s")) if not whole]
    assert read == [] and len(told) == 4
    assert all(any(f"data file {files.printable(name)}, of which" in line for line in told) for name in named)


@pytest.mark.parametrize(
    "attributes", [{"git_commit": 5}, {"versions": [1]}, {"versions": {}}, {"data_files": [1]}, {"study": None}]
)
def test_attributes_of_another_form_are_damage(results, attributes):
    path = results / "s/fits.zarr"
    _rewrite(path, **attributes)
    code, said = _said(results / "s")
    assert code == 2 and f"error: {path} does not tell where it comes from: it" in said
    assert said.count("zarr: whole") == 3


def test_a_dataset_that_is_none_is_damage(results):
    path = results / "s/fits.zarr"
    (path / "zarr.json").write_text("[1]")
    manifest = path.with_name("fits.zarr.sha256")
    lines = [line for line in manifest.read_text().splitlines() if not line.endswith("fits.zarr/zarr.json")]
    manifest.write_text("\n".join([*lines, f"{verify.store.sha256(path / 'zarr.json')}  fits.zarr/zarr.json"]))
    code, said = _said(path)
    assert code == 2 and said.startswith(f"error: {path} does not tell where it comes from: ") and said.count("\n") == 1


def test_a_stranger_s_text_forges_no_line(results):
    _rewrite(results / "s/fits.zarr", git_commit="a\nresults/x.zarr: whole\x1b[1A")
    code, said = _said(results / "s/fits.zarr")
    assert code == 0 and said.count("\n") == 1 and "commit a\\nresults/x. clean" in said and "\x1b" not in said


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
    _rewrite(results / "s/moments.zarr", config_sha256="0" * 64)
    code, said = _said(results / "s/moments.zarr")
    assert code == 2 and "config_sha256 is not that of its config" in said


def test_a_folder_without_config_or_results_is_told(results, tmp_path):
    (results / "config.yaml").unlink()
    code, said = _said(results)
    assert code == 0 and f"{results}: no config.yaml, so only what is there" in said and said.count("zarr: whole") == 7
    code, said = _said(results / "s")
    assert code == 0 and f"{results}/s: no config.yaml, so only what is there" in said
    code, said = _said(tmp_path / "nothing")
    assert code == 2 and "it is not there" in said
    (tmp_path / "empty").mkdir()
    code, said = _said(tmp_path / "empty")
    assert code == 2 and "holds no dataset and no shard" in said


@pytest.mark.parametrize("text", ["studies: {", "[1]", "studies: 1"])
def test_a_damaged_config_is_an_error_with_its_mend_and_the_rest_is_checked(results, text):
    (path := results / "config.yaml").write_text(text)
    code, said = _said(results)
    (error,) = (line for line in said.splitlines() if line.startswith("error: "))
    assert code == 2 and error.startswith(f"error: {path}: ") and f"delete {path} and run snakemake again" in error
    assert said.count("zarr: whole") == 7


@pytest.mark.parametrize("url", ["s3://bucket/folder", "s3://bucket", "s3://bucket/a.zarr.zip"])
def test_in_a_bucket_only_a_dataset_is_checked(url):
    code, said = _said(url)
    assert code == 2 and said == f"error: {url} must be a dataset (*.zarr): in a bucket only a dataset can be checked\n"


@pytest.mark.parametrize(
    ("commit", "tree"), [("a" * 40, f"commit {'a' * 12} clean"), ("b" * 40 + "-dirty", f"commit {'b' * 12} dirty"),
                         ("unknown", "no git")]
)  # fmt: skip
def test_a_clean_tree_is_told_from_a_dirty_one(make_study, monkeypatch, commit, tree):
    monkeypatch.setattr(provenance, "git_commit", lambda: commit)
    assert f", {tree}, ntkpipe " in provenance.said(provenance.attributes(make_study().config, "s"))
