"""A config or data file from a stranger runs no code and names no place outside the results folder."""

import ast
import gc
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml

import ntkpipe
from ntkpipe import config, layout, plan, shards, store, tabular
from ntkpipe.errors import ConfigError, DamagedFile, UserError

SOURCE = Path(ntkpipe.__file__).parent


class Payload:
    """What runs a command once it is unpickled."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.mkdir, (str(self.proof),)


@pytest.fixture
def proof(tmp_path):
    """A folder that exists once foreign code has run."""
    folder = tmp_path / "code_ran"
    yield folder
    assert not folder.exists()
    gc.collect()  # zarr's tasks that failed are not to be cleared away while Python compiles something


def test_the_payload_would_run(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def _zarr_v2(path, proof, dtype, filters, compressor):
    pickled = {"id": "pickle", "protocol": 5}
    known = {"pickle": pickled, "utf8": {"id": "vlen-utf8"}, None: None}
    for name in "xy":
        (path / name).mkdir(parents=True)
        fill = "" if dtype == "|O" else 0
        meta = {"zarr_format": 2, "shape": [1], "chunks": [1], "dtype": dtype, "fill_value": fill, "order": "C"}
        meta |= {"filters": [known[f] for f in filters] or None, "compressor": known[compressor]}
        (path / name / ".zarray").write_text(json.dumps(meta))
        (path / name / "0").write_bytes(pickle.dumps(Payload(proof)))
    (path / ".zgroup").write_text('{"zarr_format": 2}')


def _hostile(folder, proof, kind):
    pickled = np.array([Payload(proof)], dtype=object)
    match kind:
        case "npy":
            np.save(path := folder / "x.npy", pickled, allow_pickle=True)
        case "npz":
            np.savez(path := folder / "x.npz", x=pickled, y=pickled)
        case "raw pickle":
            (path := folder / "x.npy").write_bytes(pickle.dumps(Payload(proof)))
        case "zarr filter":
            _zarr_v2(path := folder / "x.zarr", proof, "<f8", ["pickle"], None)
        case "zarr compressor":
            _zarr_v2(path := folder / "x.zarr", proof, "<f8", [], "pickle")
        case "zarr disguised":
            _zarr_v2(path := folder / "x.zarr", proof, "|O", ["utf8", "pickle"], None)
    return path


KINDS = ["npy", "npz", "raw pickle", "zarr filter", "zarr compressor", "zarr disguised"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_pickle_in_training_data_is_refused(tmp_path, proof, kind):
    with pytest.raises(tabular.UNREADABLE):
        tabular.load(_hostile(tmp_path, proof, kind))


@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_pickle_in_input_points_is_one_line_that_names_the_key(tmp_path, proof, kind, make_study):
    path = _hostile(tmp_path, proof, kind)
    with pytest.raises(ConfigError, match=r"inputs\.path"):
        make_study(inputs={"kind": "file", "path": str(path)})


def test_a_pickle_in_a_dataset_is_not_read(tmp_path, proof):
    path = _hostile(tmp_path, proof, "zarr disguised")
    lines = (f"{store.sha256(file)}  {file.relative_to(tmp_path)}\n" for file in path.rglob("*") if file.is_file())
    path.with_name("x.zarr.sha256").write_text("".join(lines))
    with pytest.raises(FileNotFoundError):
        ntkpipe.open(path)


def test_a_shard_that_names_files_outside_writes_none(tmp_path, proof):
    path = tmp_path / "shelf/a.zarr.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zarr.json", json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {}}))
        archive.writestr("../../code_ran/x", b"")
    with pytest.raises(DamagedFile, match="damaged"):
        shards.read(path)
    assert os.listdir(tmp_path) == ["shelf"]


@pytest.mark.parametrize(
    "text",
    [
        "title: !!python/object/apply:os.mkdir ['{proof}']\nstudies: {{}}\n",
        "__use_yte__: true\n?__import__('os').mkdir('{proof}'): 1\n",
        "__definitions__: [\"__import__('os').mkdir('{proof}')\"]\n__use_yte__: true\n",
        'results: \'{{__import__("os").mkdir("{proof}")}}\'\nstudies: {{s: {{grid: {{width: 4, depth: 1}}}}}}\n',
    ],
)
def test_a_config_that_holds_code_is_refused(tmp_path, proof, text):
    """Snakemake's own loader runs yte templates: ours, which `ntkpipe plan` and `make` use first, does not."""
    (path := tmp_path / "c.yaml").write_text(text.format(proof=proof))
    with pytest.raises(ConfigError, match=r"c\.yaml: "):
        plan.make(config.load(path), str(path))


@pytest.mark.parametrize("key", ["dask", "memory_gib", "remote"])
def test_a_text_of_execution_that_snakemake_hands_on_makes_no_object(proof, study_tree, key):
    """These texts are read as YAML once more, as numbers of a profile come as texts."""
    tree = study_tree(execution={key: f"!!python/object/apply:os.mkdir ['{proof}']"})
    with pytest.raises(UserError):
        layout.plan_from(tree, [])


@pytest.mark.parametrize(
    "name", ["..", ".", "../x", "/tmp/x", "a/../../x", "a\\b", "a\n", "a;b", "$(a)", "{a}", "-", "_"]
)
def test_a_study_s_name_is_no_path_and_no_command(name, study_tree):
    tree = study_tree()
    tree["studies"] = {name: tree["studies"]["s"]}
    with pytest.raises(ConfigError, match="studies"):
        config.parse(tree)


def test_what_a_study_writes_lies_in_its_folder(make_plan, tmp_path):
    for study in make_plan(results=tmp_path / "r").studies.values():
        assert study.folder == str(tmp_path / "r" / study.name)
        for shard in study.shards:
            assert Path(shard.path).resolve().is_relative_to(tmp_path / "r")


@pytest.mark.parametrize(
    ("results", "must"),
    [
        ("s3://bucket/a", "execution.remote"),
        ("a{wildcard}", "without braces"),
        ("a\nb", "line breaks"),
        (" ", "the path of a folder"),
    ],
)
def test_results_that_can_be_no_folder(make_plan, results, must):
    with pytest.raises(ConfigError, match=rf"^c\.yaml: results: must be .*{must}"):
        make_plan(results=results)


def test_results_that_are_a_file_or_lie_in_one(make_plan, tmp_path):
    (file := tmp_path / "file").write_text("")
    for results in (file, file / "below/it"):
        with pytest.raises(ConfigError) as caught:
            make_plan(results=results)
        assert str(caught.value) == (
            f"c.yaml: results: must be a folder, or none yet; {file} is a file; it was {str(results)!r}"
        )
    make_plan(results=tmp_path / "not/there/yet")


@pytest.mark.parametrize(
    "url",
    [
        "bucket/a",
        "http://bucket",
        "s3://",
        "s3://B/a",
        "s3://ab",
        "s3://bucket//a",
        "s3://bucket/../a",
        "s3://bucket/a b",
    ],
)
def test_a_remote_that_is_no_address_in_a_bucket(study_tree, url):
    with pytest.raises(ConfigError, match=r"execution\.remote: must be s3://bucket"):
        config.parse(study_tree(execution={"remote": url}))


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3://my.bucket-1/runs/2026_a=b"])
def test_a_remote_that_is_one(study_tree, url):
    assert config.parse(study_tree(execution={"remote": url})).execution.remote == url


@pytest.mark.parametrize("address", ["tcp://stranger.example:8786", "local", True])
def test_a_config_cannot_say_which_scheduler_is_believed(study_tree, address):
    """dask talks in pickles: its address comes from the user's environment."""
    with pytest.raises(UserError, match=r"execution\.dask: must be 'embedded' or 'scheduler'"):
        config.parse(study_tree(execution={"dask": address}))


SAFE_YAML = [("yaml.safe_load", {}), ("yaml.load", {"Loader": "_UniqueKeyLoader"})]


def _calls(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}


def test_no_module_unpickles_evaluates_or_asks_a_shell():
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import | ast.ImportFrom) else set()
            if {"pickle", "cloudpickle", "marshal", "shelve", "joblib"} & {getattr(node, "module", None), *names}:
                found.append((file.name, "imports", sorted(names)))
        for name, keys in _calls(tree):
            bad = name in ("eval", "exec", "os.system", "os.popen", "pd.read_pickle", "pandas.read_pickle")
            bad |= keys.get("shell", "False") != "False"
            bad |= name in ("np.load", "numpy.load") and keys.get("allow_pickle") != "False"
            bad |= name.startswith("yaml.") and "load" in name and (name, keys) not in SAFE_YAML
            if bad:
                found.append((file.name, name, keys))
    assert found == []
    assert issubclass(config.reading._UniqueKeyLoader, yaml.SafeLoader)
