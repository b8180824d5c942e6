"""One zip of a study: the same bytes each time, every file in it checked, metadata that RO-Crate 1.1 asks for."""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml
import zarr

from ntkpipe import archive, collect, config, files, kinds, layout, plan, store, tables, verify
from ntkpipe.errors import ConfigError, DamagedFile, UserError


@pytest.fixture(scope="module")
def results(tmp_path_factory, study_tree, draw_study):
    """A results folder with one study: datasets, shards, tables, the config of the run; and what runs leave."""
    folder = tmp_path_factory.mktemp("run") / "results"
    tree = study_tree(results=folder, grid={"width": 8, "depth": [2, 3]}, seeds=1024)
    planned = plan.make(config.parse(tree | {"title": "Größe <of> K"}))
    study = planned.studies["s"]
    layout.write_resolved(planned)
    draw_study(study)
    collect.run(study)
    kinds.load(study, "analyse").run(study)
    tables.run(study)
    (folder / "s/logs").mkdir(exist_ok=True)
    (folder / "s/logs/seconds.tsv").write_text("a\t1\t2\n")
    (folder / ".jax_cache").mkdir()
    (folder / ".jax_cache/x").write_text("compiled")
    (folder / "s/moments.zarr/.snakemake_timestamp").write_text("")
    return folder


@pytest.fixture(scope="module")
def packed(results, tmp_path_factory):
    """The archive of it, unpacked."""
    to = tmp_path_factory.mktemp("packed")
    authors = ("Ada Lovelace https://orcid.org/0000-0000-0000-0001", "B. Riemann")
    archive.run(results, to / "a.zip", "https://spdx.org/licenses/CC-BY-4.0", authors)
    with zipfile.ZipFile(to / "a.zip") as held:
        held.extractall(to / "a")
    return to / "a"


def test_the_same_bytes_each_time_and_wherever_the_folder_is(results, tmp_path, monkeypatch):
    archive.run(results, tmp_path / "a.zip")
    monkeypatch.chdir(results.parent)
    for file in results.rglob("*"):
        os.utime(file)
    told = archive.run("results", tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert hashlib.sha256((tmp_path / "b.zip").read_bytes()).hexdigest() in told
    assert sorted(os.listdir(tmp_path)) == ["a.zip", "b.zip"]


def test_every_file_is_there_with_its_checksum(packed, results):
    done = subprocess.run(["sha256sum", "--strict", "-c", archive.MANIFEST], cwd=packed, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = {str(file.relative_to(packed)) for file in packed.rglob("*") if file.is_file()}
    assert done.stdout.count(": OK") == len(files) - 1  # but its own
    due = {str(file.relative_to(results)) for file in results.rglob("*") if file.is_file()}
    left_out = {name for name in due if "/logs/" in name or "/shards/" in name or "/." in f"/{name}"}
    assert files == due - left_out | {archive.MANIFEST, archive.CRATE}
    assert left_out > {"s/logs/seconds.tsv", ".jax_cache/x", "s/moments.zarr/.snakemake_timestamp"}


def test_datasets_open_from_the_archive(packed, results):
    for name in ("moments", "samples", "sums", "fits"):
        opened = xr.open_zarr(packed / f"s/{name}.zarr").load()
        xr.testing.assert_identical(opened, xr.open_zarr(results / f"s/{name}.zarr").load())
    lines = list(verify.lines(str(packed / "s")))
    assert [whole for whole, _ in lines if "zarr: whole" in _] == [True] * 4


def _graph(packed):
    tree = json.loads((packed / archive.CRATE).read_text())
    assert tree["@context"] == "https://w3id.org/ro/crate/1.1/context"
    found = {entity["@id"]: entity for entity in tree["@graph"]}
    assert len(found) == len(tree["@graph"])
    return found


def _list(value):
    return value if isinstance(value, list) else [value]


def test_metadata_have_what_ro_crate_requires(packed):
    """https://www.researchobject.org/ro-crate/specification/1.1: metadata descriptor, root, data entities."""
    graph = _graph(packed)
    assert all(entity.get("@type") for entity in graph.values())
    descriptor, root = graph["ro-crate-metadata.json"], graph["./"]
    assert descriptor["@type"] == "CreativeWork" and descriptor["about"] == {"@id": "./"}
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["@type"] == "Dataset" and root["name"] == "Größe <of> K" and root["description"]
    assert len(root["datePublished"]) == len("2026-01-01")
    assert root["license"] == {"@id": "https://spdx.org/licenses/CC-BY-4.0"} and root["license"]["@id"] in graph
    parts = [part["@id"] for part in root["hasPart"]]
    for name in parts:
        if name.endswith("/"):
            assert graph[name]["@type"] == "Dataset" and (packed / name).is_dir()
        else:
            assert graph[name]["@type"] == "File" and (packed / name).is_file()
            assert int(graph[name].get("contentSize", (packed / name).stat().st_size)) == (packed / name).stat().st_size
    for file in packed.rglob("*"):  # every file is a part, or within one
        name = str(file.relative_to(packed))
        covered = name in parts or any(name.startswith(part) for part in parts if part.endswith("/"))
        assert covered or file.is_dir() or name == archive.CRATE


def test_every_reference_leads_somewhere(packed):
    graph = _graph(packed)

    def references(value):
        if isinstance(value, dict):
            if set(value) == {"@id"}:
                yield value["@id"]
            for one in value.values():
                yield from references(one)
        elif isinstance(value, list):
            for one in value:
                yield from references(one)

    outside = {"https://w3id.org/ro/crate/1.1"}
    assert {name for entity in graph.values() for name in references(entity)} - outside <= graph.keys()


def test_metadata_say_who_and_what_made_it(packed, results):
    graph = _graph(packed)
    attrs = xr.open_zarr(results / "s/moments.zarr").attrs
    people = [graph[author["@id"]]["name"] for author in graph["./"]["author"]]
    assert people == ["Ada Lovelace", "B. Riemann"] and "https://orcid.org/0000-0000-0000-0001" in graph
    made = [entity for entity in graph.values() if entity["@type"] == "CreateAction"]
    assert {part["@id"] for run in made for part in _list(run["result"])} == {
        f"s/{name}.zarr/" for name in ("moments", "samples", "sums", "fits")
    }
    for run in made:
        assert attrs["config_sha256"] in run["description"] and run["object"] == {"@id": "config.yaml"}
        tool = graph[run["instrument"]["@id"]]
        assert attrs["git_commit"] in tool["softwareVersion"]
        assert f"jax {attrs['versions']['jax']}" in tool["softwareRequirements"]
    assert any(text.startswith("s2: ") for text in graph["s/moments.zarr/"]["variableMeasured"])


def test_data_files_go_with_it(tmp_path, monkeypatch, study_tree, draw_study):
    """At a place of its own, told with what read it; a changed one is told, not taken."""
    monkeypatch.chdir(tmp_path)
    np.savetxt("points.csv", [[1.0, 0.0], [0.0, 1.0]], delimiter=",")
    tree = study_tree(results="results", grid={"width": 8, "depth": 2}, inputs={"kind": "file", "path": "points.csv"})
    tree["studies"]["u"] = tree["studies"]["s"] | {"inputs": {"kind": "sphere"}}
    planned = plan.make(config.parse(tree))
    layout.write_resolved(planned)
    for study in planned.studies.values():
        draw_study(study)
        collect.run(study)
    assert "not in it" not in archive.run("results", "a.zip")
    shutil.unpack_archive("a.zip", "a")
    place = f"data/{files.digest(Path('points.csv'))[:8]}-points.csv"
    assert Path("a", place).read_bytes() == Path("points.csv").read_bytes()
    runs = {one["name"]: one for one in _graph(Path("a")).values() if one["@type"] == "CreateAction"}
    assert runs["study s"]["object"] == [{"@id": "config.yaml"}, {"@id": place}]
    assert runs["study u"]["object"] == {"@id": "config.yaml"}
    Path("points.csv").write_text("1.0,0.0\n0.6,0.8\n")
    assert "not in it: data file points.csv, which has changed since the run" in archive.run("results", "b.zip")
    shutil.unpack_archive("b.zip", "b")
    assert not Path("b/data").exists()
    Path("points.csv").unlink()
    assert "not in it: data file points.csv, which is not here" in archive.run("results", "c.zip")


def test_names_are_escaped_where_they_are_addresses(results, tmp_path):
    """https://www.researchobject.org/ro-crate/specification/1.1: an @id is a URI, with %20 for a space."""
    name = "data/0123-my data 100%.csv"
    (tmp_path / "my data.csv").write_text("1\n")
    places = {"config.yaml": results / "config.yaml", name: tmp_path / "my data.csv"}
    tree = archive.crate(results, places, ["s/moments.zarr"], None, ["Bernhard Größe"])
    found = {entity["@id"]: entity for entity in tree["@graph"]}
    assert found["data/0123-my%20data%20100%25.csv"]["name"] == name
    assert {"@id": "data/0123-my%20data%20100%25.csv"} in found["./"]["hasPart"]
    assert found["./"]["author"]["@id"] in found and found[found["./"]["author"]["@id"]]["name"] == "Bernhard Größe"
    assert all(set(key).isdisjoint(' "<>\\^`{|}') and key.isascii() for key in found)


def test_a_run_says_which_data_files_it_read_by_their_addresses(results, tmp_path):
    due = "0123456789"
    attrs = {"data_files": {"my data.csv": due}, "config_sha256": "a", "created": "2026"}
    run = archive._run(0, "s", "#tool", [("s/moments.zarr", attrs)], {"data/01234567-my data.csv"})
    assert run["object"] == [{"@id": "config.yaml"}, {"@id": "data/01234567-my%20data.csv"}]


@pytest.fixture
def copied(results, tmp_path):
    return shutil.copytree(results, tmp_path / "results")


@pytest.mark.parametrize("link", ["s/note.txt", "s/moments.zarr/note.txt", "t", "gone.txt", "config.yaml"])
def test_a_link_is_refused(copied, tmp_path, link):
    """It could put any file of this machine into what is to be made public."""
    (secret := tmp_path / "secret").write_text("mine")
    (folder := tmp_path / "folder").mkdir()
    (copied / link).unlink(missing_ok=True)
    (copied / link).symlink_to({"t": folder, "gone.txt": tmp_path / "none"}.get(link, secret))
    with pytest.raises(UserError, match=rf"^archive: must be given a folder without links; .*/{link} is one$"):
        archive.run(copied, tmp_path / "a.zip")
    if link == "config.yaml":
        with pytest.raises(UserError, match=r"without links; .*/config\.yaml is one$"):
            archive.run(copied / "s", tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_links_among_what_is_left_out_are_none_of_its_business(copied, tmp_path):
    shutil.move(copied / "s/shards", tmp_path / "scratch")
    (copied / "s/shards").symlink_to(tmp_path / "scratch")
    archive.run(copied, tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("text", "must"), [("title: [", "valid YAML"), ("[1, 2]", "a mapping of keys"), ("", "a mapping of keys")]
)
def test_a_damaged_config_is_one_error(copied, tmp_path, text, must):
    (copied / "config.yaml").write_text(text)
    with pytest.raises(ConfigError, match=rf"results/config\.yaml: must be {must}"):
        archive.run(copied, tmp_path / "a.zip")


def test_a_dataset_that_does_not_tell_where_it_comes_from_is_not_archived(copied, tmp_path):
    path = copied / "s/extra.zarr"
    store.write_dataset(path, xr.Dataset({"a": ("x", [1.0])}))
    with pytest.raises(DamagedFile, match=r"s/extra\.zarr does not tell where it comes from: it has no attribute"):
        archive.run(copied, tmp_path / "a.zip")
    attrs = xr.open_zarr(copied / "s/moments.zarr").attrs
    del attrs["study"]
    store.write_dataset(path, xr.Dataset({"a": ("x", [1.0])}, attrs=attrs))
    with pytest.raises(DamagedFile, match=r"it has no attribute 'study'"):
        archive.run(copied, tmp_path / "a.zip")


@pytest.mark.parametrize("output", ["none/a.zip", "none/at/all/a.zip", "."])
def test_an_output_that_cannot_be_is_one_error_and_makes_no_folder(results, tmp_path, output):
    with pytest.raises(UserError, match=r"^--output: must be a file in a folder that exists; it was "):
        archive.run(results, tmp_path / output)
    assert os.listdir(tmp_path) == []


def test_a_data_file_may_be_a_folder(tmp_path):
    zarr.save_array(tmp_path / "points.zarr", np.eye(2))
    due = files.digest(tmp_path / "points.zarr")
    held, without = archive._data({(str(tmp_path / "points.zarr"), due)})
    assert not without and set(held.values()) == {p for p in (tmp_path / "points.zarr").rglob("*") if p.is_file()}
    assert all(place.startswith(f"data/{due[:8]}-points.zarr/") for place in held)
    (tmp_path / "points.zarr/zarr.json").unlink()
    held, without = archive._data({(str(tmp_path / "points.zarr"), due)})
    assert not held and without == [f"{tmp_path}/points.zarr, which has changed since the run"]


def test_one_study_with_its_shards(results, tmp_path):
    archive.run(results / "s", tmp_path / "s.zip", with_shards=True)
    with zipfile.ZipFile(tmp_path / "s.zip") as held:
        names = held.namelist()
        assert yaml.safe_load(held.read("config.yaml"))["title"] == "Größe <of> K"
    assert sum(name.startswith("s/shards/") for name in names) == 2
    assert all(info.startswith("s/") or info in ("config.yaml", archive.CRATE, archive.MANIFEST) for info in names)


def test_a_damaged_dataset_is_not_archived(results, tmp_path):
    chunk = results / "s/moments.zarr/s2/c/0"
    good = chunk.read_bytes()
    chunk.write_bytes(good + b"x")
    try:
        with pytest.raises(DamagedFile, match="s2/c/0 is altered"):
            archive.run(results, tmp_path / "a.zip")
    finally:
        chunk.write_bytes(good)
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_archived_is_said(results, tmp_path):
    with pytest.raises(UserError, match=r"--output: must be outside the archived folder"):
        archive.run(results, results / "a.zip")
    for folder, why in ((tmp_path, "keeps its config.yaml"), (tmp_path / "none", "results or study folder")):
        with pytest.raises(UserError, match=why):
            archive.run(folder, tmp_path.parent / "a.zip")
    (tmp_path / "config.yaml").write_text("title: t\n")
    with pytest.raises(UserError, match="a folder with datasets"):
        archive.run(tmp_path, tmp_path.parent / "a.zip")
