"""Source hashes follow code and nothing else; attributes say where numbers come from."""

import json
import os
import subprocess
import sys

import pytest

from ntkpipe import provenance

MODULES = {
    "__init__": '"""Package."""\n',
    "top": "from ntkpipe import middle\n\ndef f():\n    return middle.g() + 1\n",
    "middle": "from ntkpipe.low import h\n\ndef g():\n    return h()\n",
    "low": "def h():\n    return 1\n",
    "apart": "def other():\n    return 1\n",
    "lazy": "def f():\n    from ntkpipe.low import h\n    return h()\n",
    "typed": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ntkpipe import apart\n\ndef f(x: 'apart.X'):\n"
        "    return x\n"
    ),
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small package in place of ours; a function that hashes afresh."""
    for name, text in MODULES.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(provenance, "_PACKAGE", tmp_path)
    return tmp_path, provenance.source_hash.__wrapped__


def _edit(folder, module, text):
    (folder / f"{module}.py").write_text(text)


@pytest.mark.parametrize("edited", ["top", "middle", "low"])
def test_changed_code_below_changes_the_hash(package, edited):
    folder, source_hash = package
    before = source_hash("ntkpipe.top")
    _edit(folder, edited, MODULES[edited].replace("return", "return 1 +"))
    assert source_hash("ntkpipe.top") != before


def test_every_constant_counts(package):
    """Of what a hash that leaves empty fields out may not take for one."""
    folder, source_hash = package
    texts = [
        "x = ''",
        "x = ['', 1]",
        "x = [1]",
        "x = None",
        "x = []",
        "x = [None]",
        "x = f'{1}'",
        "x = f'{1: }'",
        "x = 0",
    ]
    assert len({_edit(folder, "low", text) or source_hash("ntkpipe.top") for text in texts}) == len(texts)


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\n" + MODULES["low"],
        MODULES["low"].replace("    return 1", "\n    return 1  # why"),
        MODULES["low"].replace("return 1", "return (1)"),
    ],
)
def test_comments_and_layout_do_not_count(package, text):
    folder, source_hash = package
    before = source_hash("ntkpipe.top")
    _edit(folder, "low", text)
    assert source_hash("ntkpipe.top") == before


def test_code_that_is_not_imported_does_not_count(package):
    folder, source_hash = package
    before = source_hash("ntkpipe.top"), source_hash("ntkpipe.typed")
    _edit(folder, "apart", "def other():\n    return 2\n")
    assert (source_hash("ntkpipe.top"), source_hash("ntkpipe.typed")) == before


def test_imports_inside_functions_count(package):
    folder, source_hash = package
    before = source_hash("ntkpipe.lazy")
    _edit(folder, "low", "def h():\n    return 2\n")
    assert source_hash("ntkpipe.lazy") != before


def test_hash_depends_on_the_set_of_modules_only(package):
    _, source_hash = package
    assert source_hash("ntkpipe.top", "ntkpipe.apart") == source_hash("ntkpipe.apart", "ntkpipe.top")
    assert source_hash("ntkpipe.top") == source_hash("ntkpipe.top", "ntkpipe.low")
    assert source_hash("ntkpipe.top") != source_hash("ntkpipe.top", "ntkpipe.apart")


def test_samplers_have_hashes_of_their_own_and_know_the_law():
    """An edit to figures must not redraw anything; an edit to the recursion must."""
    for engine, law in (("scalar", "networks"), ("guided", "theory.recursion"), ("dense", "activations")):
        found = provenance._closure((f"ntkpipe.engines.{engine}",))
        assert f"ntkpipe.{law}" in found and "ntkpipe.streams" in found
        assert not [name for name in found if "figures" in name or "report" in name or "config" in name]


def test_hash_is_the_same_in_a_fresh_process(tmp_path):
    code = "from ntkpipe.provenance import source_hash; print(source_hash('ntkpipe.drawing'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(provenance._PACKAGE.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == provenance.source_hash("ntkpipe.drawing")


def test_git_commit_outside_git_is_unknown(package):
    assert provenance.git_commit() == "unknown"


def test_git_commit_is_that_of_the_tree(package):
    folder, _ = package
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert provenance.git_commit() == head
    _edit(folder, "low", "")
    assert provenance.git_commit() == f"{head}-dirty"


def test_a_tag_changes_nothing(package):
    """`git describe` would say v0.1-1-g8f1d9e0 after an annotated tag, which is neither a commit nor clean."""
    folder, _ = package
    git = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for arguments in (
        ["init", "-q"], ["add", "."], ["commit", "-q", "-m", "all"], ["tag", "-a", "v0.1", "-m", "first"],
        ["commit", "-q", "--allow-empty", "-m", "more"],
    ):  # fmt: skip
        subprocess.run([*git, *arguments], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
    assert provenance.git_commit() == head
    _edit(folder, "low", "")
    assert provenance.git_commit() == f"{head}-dirty"


def test_config_hash_ignores_the_order_of_keys_only():
    assert provenance.config_hash({"a": 1, "b": [2]}) == provenance.config_hash({"b": [2], "a": 1})
    assert provenance.config_hash({"a": 1}) != provenance.config_hash({"a": 2})


def test_attributes_are_json_and_state_config_versions_and_commit(make_study):
    config = make_study(seeds=77).config
    attributes = provenance.attributes(config, "s")
    assert json.loads(json.dumps(attributes)) == attributes
    assert attributes["config"]["seeds"] == 77
    assert attributes["config_sha256"] == provenance.config_hash(attributes["config"])
    assert {"python", "numpy", "jax", "zarr", "ntkpipe"} <= attributes["versions"].keys()
    assert attributes["git_commit"] == provenance.git_commit()


@pytest.mark.parametrize(
    ("key", "value"),
    [("git_commit", 5), ("versions", [1]), ("versions", {"python": "3"}), ("config_sha256", None), ("created", 1),
     ("config", [1]), ("study", {}), ("data_files", ["a.csv"])],
)  # fmt: skip
def test_attributes_of_another_form_are_a_value_error_that_names_them(make_study, key, value):
    attributes = provenance.attributes(make_study().config, "s")
    provenance.said(attributes)
    with pytest.raises(ValueError, match=f"'{key}'"):
        provenance.said(attributes | {key: value})


def test_datasets_from_before_data_files_were_noted_are_told(make_study):
    attributes = provenance.attributes(make_study().config, "s")
    del attributes["data_files"]
    assert provenance.said(attributes).startswith("config ")


@pytest.mark.parametrize(
    ("commit", "tree"),
    [("v0.1-1-g8f1d9e0", "commit v0.1-1-g8f1d clean"), ("v0.1-1-g8f1d9e0-dirty", "commit v0.1-1-g8f1d dirty")],
)
def test_only_dirty_at_the_end_is_dirty(make_study, commit, tree):
    """Datasets of earlier versions may name a tag."""
    attributes = provenance.attributes(make_study().config, "s") | {"git_commit": commit}
    assert f", {tree}, ntkpipe " in provenance.said(attributes)
