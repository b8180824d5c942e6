"""Results -> one zip that a journal or repository takes: RO-Crate 1.1 metadata and checksums, the same bytes each time.

The crate (https://w3id.org/ro/crate/1.1) says in ``ro-crate-metadata.json`` what each part is, from which config and by
which software it was made; ``manifest-sha256.txt`` is read by ``sha256sum -c``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ntkpipe import config, provenance, verify
from ntkpipe.errors import ConfigError, UserError
from ntkpipe.files import beside, printable, sha256, why_not
from ntkpipe.shards import EPOCH

_FORMATS = {
    ".csv": "text/csv",
    ".html": "text/html",
    ".json": "application/json",
    ".md": "text/markdown",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".sha256": "text/plain",
    ".svg": "image/svg+xml",
    ".tex": "application/x-tex",
    ".yaml": "application/yaml",
    ".zip": "application/zip",
}
CRATE, MANIFEST = "ro-crate-metadata.json", "manifest-sha256.txt"


def run(
    folder: str | Path,
    output: str | Path | None = None,
    license_: str | None = None,
    authors: Iterable[str] = (),
    with_shards: bool = False,
) -> str:
    """Archive a results folder, or one study of it; what was written. To be started where the run was.

    Data files are looked for as the config names them, from the working directory. Links are refused, as they could
    put any file of this machine into the archive.

    Raises
    ------
    UserError: there is nothing to archive, a file is a link, or the zip cannot lie where it is to.
    ConfigError: the config.yaml of the run is damaged.
    DamagedFile: a dataset is missing or altered, or does not tell where it comes from.
    """
    folder = Path(folder).resolve()
    target = Path(output) if output else Path(f"{folder.name}.crate.zip")
    if not folder.is_dir():
        raise UserError(f"archive: must be given a results or study folder; {folder} is none")
    if target.resolve().is_relative_to(folder):
        raise UserError(f"--output: must be outside the archived folder; it was {str(target)!r}")
    if target.is_dir() or not target.parent.is_dir():
        raise UserError(f"--output: must be a file in a folder that exists; it was {str(target)!r}")
    root = folder if (folder / "config.yaml").is_file() else folder.parent
    if not (root / "config.yaml").is_file():
        raise UserError(f"archive: must be given a folder of a run, which keeps its config.yaml; {folder} has none")
    files = {path.relative_to(root).as_posix(): path for path in _kept(folder, with_shards)}
    files["config.yaml"] = root / "config.yaml"
    if links := sorted(str(path) for path in files.values() if path.is_symlink()):
        raise UserError(f"archive: must be given a folder without links; {links[0]} is one")
    datasets = sorted({name.split(".zarr/")[0] + ".zarr" for name in files if ".zarr/" in name})
    if not datasets:
        raise UserError(f"archive: must be given a folder with datasets; {folder} has none")
    for name in datasets:
        verify.dataset(root / name)
    data, without = _data({item for name in datasets for item in provenance.data_files(root / name).items()})
    files |= data
    texts = {CRATE: _json(crate(root, files, datasets, license_, authors))}
    digests = {name: sha256(path) for name, path in files.items()}
    digests |= {name: hashlib.sha256(text).hexdigest() for name, text in texts.items()}
    texts[MANIFEST] = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests)).encode()
    with beside(target) as temporary:
        _write(temporary, files, texts)
        os.replace(temporary, target)
    size = target.stat().st_size / 2**20
    told = f"{target}: {len(datasets)} datasets, {len(files)} files, {size:.1f} MiB, sha256 {sha256(target)}"
    return "".join([told, *(f"\nnot in it: data file {printable(text)}" for text in without)])


def _data(named: set[tuple[str, str]]) -> tuple[dict[str, Path], list[str]]:
    """Data files (name, digest) that are here unchanged, by their place in the archive; what to say of others."""
    held: dict[str, Path] = {}
    without = []
    for name, due in sorted(named):
        path = Path(name)
        if why := why_not(path, due):
            without.append(f"{name}, which {why}" + " since the run" * (why == "has changed"))
        elif path.is_file():
            held[provenance.archived(name, due)] = path
        else:
            held |= {
                f"{provenance.archived(name, due)}/{file.relative_to(path).as_posix()}": file
                for file in path.rglob("*")
                if file.is_file()
            }
    return held, without


def _kept(folder: Path, with_shards: bool) -> list[Path]:
    """Results, without logs (which hold times) and what a run keeps for itself."""
    left_out = {"logs"} if with_shards else {"logs", "shards"}
    kept = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        apart = any(part.startswith(".") for part in parts) or left_out & set(parts)
        if (
            (path.is_file() or path.is_symlink())
            and not apart
            and path.suffix not in (".log", ".tsv")
            and path.name != "published.txt"
        ):
            kept.append(path)
    return kept


def crate(
    root: Path, files: dict[str, Path], datasets: list[str], license_: str | None, authors: Iterable[str]
) -> dict[str, Any]:
    """The metadata document: the parts, the runs that made them, the software, the people."""
    from ntkpipe import store

    tree = config.read_tree(root / "config.yaml")
    if not isinstance(tree, dict):
        raise ConfigError(str(root / "config.yaml"), "a mapping of keys", tree)
    title = str(tree.get("title", "NTK beta-scaling study"))
    people = [_person(author) for author in authors]
    within = tuple(f"{name}/" for name in datasets)
    loose = sorted([name for name in files if not name.startswith(within)] + [MANIFEST])
    described, made, software, dates = [], {}, {}, []
    for name in datasets:
        held = store.read_rows(root / name)
        described.append(
            {
                "@id": quote(f"{name}/"),
                "@type": "Dataset",
                "name": name,
                "description": f"Zarr 3 store of study {held.attrs['study']}; dimensions {dict(held.sizes)}",
                "encodingFormat": "application/vnd+zarr",
                "variableMeasured": [f"{key}: {held[key].attrs.get('long_name', key)}" for key in map(str, held)],
            }
        )
        tool = _software(held.attrs)
        software[tool["@id"]] = tool
        dates.append(held.attrs["created"])
        made.setdefault((held.attrs["study"], tool["@id"]), []).append((name, held.attrs))
    rights = license_ or "Not stated; ask the authors before use"
    whole = {
        "@id": "./",
        "@type": "Dataset",
        "name": title,
        "description": "Datasets, figures and tables of a study of the finite-width neural tangent kernel, by ntkpipe",
        "datePublished": max(dates)[:10],
        "license": {"@id": rights} if rights.startswith("http") else rights,
        "hasPart": [{"@id": quote(name)} for name in [*(f"{name}/" for name in datasets), *loose]],
        "mentions": [{"@id": f"#run-{number}"} for number in range(len(made))],
        **({"author": [{"@id": person["@id"]} for person in people]} if people else {}),
    }
    runs = [_run(number, *key, made[key], files) for number, key in enumerate(sorted(made))]
    licences = [{"@id": rights, "@type": "CreativeWork", "name": rights.rsplit("/", 1)[-1]}]
    about = {
        "@id": CRATE,
        "@type": "CreativeWork",
        "about": {"@id": "./"},
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
    }
    parts = [_file(name, files.get(name)) for name in loose]
    tools = [software[key] for key in sorted(software)]
    graph = [about, whole, *described, *parts, *runs, *tools, *people, *licences * rights.startswith("http")]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [_plain(entity) for entity in graph]}


def _plain(entity: dict[str, Any]) -> dict[str, Any]:
    """A list of one is written as that one."""
    return {key: value[0] if isinstance(value, list) and len(value) == 1 else value for key, value in entity.items()}


def _software(attrs: dict[str, Any]) -> dict[str, Any]:
    stated = attrs["versions"]
    packages = [f"{name} {stated[name]}" for name in sorted(stated) if name != "ntkpipe"]
    text = json.dumps([attrs["git_commit"], stated], sort_keys=True)
    return {
        "@id": f"#ntkpipe-{hashlib.sha256(text.encode()).hexdigest()[:12]}",
        "@type": "SoftwareApplication",
        "name": "ntkpipe",
        "version": stated["ntkpipe"],
        "softwareVersion": f"{stated['ntkpipe']}, commit {attrs['git_commit']}",
        "softwareRequirements": packages,
    }


def _run(
    number: int, study: str, tool: str, made: list[tuple[str, dict[str, Any]]], files: Iterable[str]
) -> dict[str, Any]:
    places = tuple(provenance.archived(*item) for item in sorted(made[0][1].get("data_files", {}).items()))
    read = sorted(name for name in files if places and name.startswith(places))
    return {
        "@id": f"#run-{number}",
        "@type": "CreateAction",
        "name": f"study {study}",
        "description": f"sha256 of the study's resolved config: {made[0][1]['config_sha256']}",
        "instrument": {"@id": tool},
        "object": [{"@id": quote(name)} for name in ("config.yaml", *read)],
        "result": [{"@id": quote(f"{name}/")} for name, _ in made],
        "endTime": max(attrs["created"] for _, attrs in made),
    }


def _person(author: str) -> dict[str, Any]:
    name, _, address = author.strip().partition(" http")
    return {
        "@id": f"http{address}" if address else quote(f"#{name.replace(' ', '-')}", "#"),
        "@type": "Person",
        "name": name,
    }


def _file(name: str, path: Path | None) -> dict[str, Any]:
    entry = {"@id": quote(name), "@type": "File", "name": name}
    if path is None:
        return entry | {"description": "sha256 of every file, for sha256sum -c", "encodingFormat": "text/plain"}
    form = _FORMATS.get(Path(name).suffix, "application/octet-stream")
    return entry | {"contentSize": str(path.stat().st_size), "encodingFormat": form}


def _json(tree: dict[str, Any]) -> bytes:
    return (json.dumps(tree, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _write(target: Path, files: dict[str, Path], texts: dict[str, bytes]) -> None:
    """A zip without compression (chunks are compressed, and zlib's bytes differ by version), in the order of names."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in [CRATE, MANIFEST, *sorted(files)]:
            info = zipfile.ZipInfo(name, EPOCH)
            if name in texts:
                archive.writestr(info, texts[name])
                continue
            with open(files[name], "rb") as source:
                info.file_size = os.fstat(source.fileno()).st_size
                with archive.open(info, "w") as to:
                    shutil.copyfileobj(source, to, 1 << 20)
