"""Where a dataset comes from: source hashes, versions, git commit, config."""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import json
import platform
import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from ntkpipe import __version__
from ntkpipe.files import digest

_PACKAGE = Path(__file__).parent
_TOLD = {"config": dict, "config_sha256": str, "created": str, "data_files": dict, "git_commit": str, "study": str,
         "versions": dict}  # fmt: skip
_STATED = ("jax", "jaxlib", "numpy", "scipy", "xarray", "zarr", "dask", "snakemake")


@cache
def source_hash(*modules: str) -> str:
    """Hash of the code of modules of this package and of what they import from it.

    Comments and layout do not count, nor does the version of Python. Snakemake compares it, so that
    changed code reruns what it changed and nothing else.
    """
    digest = hashlib.sha256()
    for name, text in sorted(_closure(modules).items()):
        digest.update(f"{name}\n{text}\n".encode())
    return digest.hexdigest()[:16]


def text_hash(*files: Path) -> str:
    """Hash of text files beside the code: templates, captions."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.name}\n{file.read_text()}\n".encode())
    return digest.hexdigest()[:16]


def _closure(modules: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        file = _file_of(name)
        if file is None:
            continue
        tree = ast.parse(file.read_text())
        tree.body = [node for node in tree.body if not _is_typing_only(node)]
        found[name] = _canonical(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ntkpipe"):
                waiting.append(node.module)
                waiting += [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Import):
                waiting += [alias.name for alias in node.names if alias.name.startswith("ntkpipe.")]
    return found


def _canonical(node: Any) -> str:
    """A syntax tree as text; without what is empty, which some versions of Python leave out."""
    if isinstance(node, list):
        return f"[{', '.join(map(_canonical, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    if isinstance(node, ast.JoinedStr):
        fields = [("values", [part for part in node.values if getattr(part, "value", None) != ""])]
    return f"{type(node).__name__}({', '.join(f'{name}={_canonical(value)}' for name, value in fields)})"


def _is_typing_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _file_of(module: str) -> Path | None:
    base = _PACKAGE.joinpath(*module.split(".")[1:])
    for candidate in (base.parent / f"{base.name}.py", base / "__init__.py"):
        if module != "ntkpipe" and candidate.is_file():
            return candidate
    return None


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that the numbers depend on."""
    stated = {name: importlib.metadata.version(name) for name in _STATED}
    return {"ntkpipe": __version__, "python": platform.python_version(), **stated}


def git_commit() -> str:
    """Commit of the source tree, with ``-dirty`` where it is changed; ``unknown`` outside git."""
    command = ["git", "-C", str(_PACKAGE), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def config_hash(tree: dict[str, Any]) -> str:
    """sha256 of a resolved config."""
    return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def attributes(study_config: Any, name: str) -> dict[str, Any]:
    """Attributes of every public dataset."""
    tree = study_config.model_dump(mode="json")
    return {
        "study": name,
        "config": tree,
        "config_sha256": config_hash(tree),
        "data_files": {name: digest(Path(name)) for name in study_config.files},
        "versions": versions(),
        "git_commit": git_commit(),
        "backend": "numpy on cpu; engine dense: jax on its default backend",
        "dtype": "float64",
        "network_precision": f"{study_config.precision} in the engines matrix_free and dense, else float64",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "conventions": "depth = hidden layers; beta = sum of 1/width over hidden layers",
    }


def data_files(dataset: str | Path) -> dict[str, str]:
    """Data file -> digest, of what a dataset was made from; nothing of one that cannot be read."""
    try:
        attrs = json.loads((Path(dataset) / "zarr.json").read_text())["attributes"]
        return {str(name): str(digest) for name, digest in attrs.get("data_files", {}).items()}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}


def archived(name: str, due: str) -> str:
    """Where a data file with this digest is in an archive."""
    return f"data/{due[:8]}-{Path(name).name}"


def said(attrs: dict[str, Any]) -> str:
    """What a dataset's attributes tell of where it comes from.

    Raises
    ------
    ValueError: they are not those of a dataset of this package, or the hash is not that of the config.
    """
    attrs = {"data_files": {}} | attrs
    for key, form in _TOLD.items():
        if not isinstance(attrs.get(key), form):
            raise ValueError(f"it has no attribute {key!r} that is a {'text' if form is str else 'mapping'}")
    stated, commit = attrs["versions"], attrs["git_commit"]
    if "ntkpipe" not in stated:
        raise ValueError("its attribute 'versions' does not name ntkpipe")
    if config_hash(attrs["config"]) != attrs["config_sha256"]:
        raise ValueError("its config_sha256 is not that of its config")
    head = commit.removesuffix("-dirty")
    tree = "no git" if commit == "unknown" else f"commit {head[:12]} {'clean' if head == commit else 'dirty'}"
    packages = " ".join(f"{name} {version}" for name, version in stated.items())
    return f"config {attrs['config_sha256'][:12]}, {tree}, {packages}, {attrs['created']}"
