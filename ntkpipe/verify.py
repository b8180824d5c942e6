"""Is all of it there, and whole? One line a dataset, with where it comes from; one line for a study's shards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ntkpipe import config, files, layout, plan, provenance, remote, shards, store
from ntkpipe.errors import DamagedFile, UserError

Line = tuple[bool, str]
"""Whether it is whole, and what to say."""


def lines(path: str) -> Iterator[Line]:
    """Check a results folder, a study's folder, a dataset (here or in a bucket) or a shard; all of it, whatever fails.

    Where the folder has the ``config.yaml`` of its run, what that plans and is not there is missing. Data files are
    looked for where the run had them, as seen from the working directory, and where an archive has them.
    """
    for whole, line in _lines(path):
        yield whole, files.printable(line)


def _lines(path: str) -> Iterator[Line]:
    if path.rstrip("/").endswith(".zarr"):
        yield _checked(path, lambda: dataset(path))
    elif remote.is_url(path):
        yield False, f"{path} must be a dataset (*.zarr): in a bucket only a dataset can be checked"
    elif path.endswith(".zip"):
        yield _checked(path, lambda: _shard(path))
    elif not Path(path).is_dir():
        yield False, f"{path} must be a folder of results, a dataset (*.zarr) or a shard (*.zarr.zip); it is not there"
    else:
        yield from _folder(Path(path))


def dataset(path: str | Path) -> str:
    """Check a dataset byte by byte; where it comes from.

    Raises
    ------
    DamagedFile: something is missing or altered, or its attributes contradict each other.
    """
    import zarr

    store.verify(path)
    try:
        return provenance.said(dict(zarr.open_group(str(path), mode="r", zarr_format=3).attrs))
    except (ValueError, LookupError, TypeError, AttributeError, FileNotFoundError) as error:
        raise DamagedFile(f"{path} does not tell where it comes from: {error}") from None


def _shard(path: str | Path) -> str:
    with shards.Reader(path) as shard:
        for name in shard.arrays:
            shard.read(name)
        return f"code {shard.attrs.get('source', 'unknown')}"


def _folder(folder: Path) -> Iterator[Line]:
    root = next((each for each in (folder, folder.parent) if (each / "config.yaml").is_file()), folder)
    found = [path for path in folder.rglob("*.zarr") if path.is_dir() and not _hidden(path, folder)]
    other_data = _other_data(root, found)
    planned, unknown = _planned(root, set(other_data))
    if unknown:
        yield unknown
    within = [root / path for path in planned if (root / path).is_relative_to(folder)]
    noted = [path.with_suffix("") for path in folder.rglob("*.zarr.sha256") if not _hidden(path, folder)]
    due = [path for path in within if path.suffix == ".zarr"]
    for path in sorted({*found, *noted, *due}):
        yield _checked(str(path), lambda path=path: dataset(path))
    yield from ((False, line) for line in other_data.values())
    kept = [path for path in folder.rglob("*.zarr.zip") if not _hidden(path, folder)]
    by_study: dict[Path, list[Path]] = {}
    for path in sorted({*kept, *(path for path in within if path.suffix == ".zip")}):
        by_study.setdefault(path.parent, []).append(path)
    for shelf, there in by_study.items():
        told = [_checked(str(path), lambda path=path: _shard(path)) for path in there]
        bad = [line for line in told if not line[0]]
        yield from bad
        if set(there) - set(kept) and set(there) - set(within):
            yield True, f"{shelf}: other shards are there instead"
        yield True, f"{shelf}: {len(told) - len(bad)} of {len(told)} shards whole"
    if not found and not by_study:
        yield False, f"{folder} holds no dataset and no shard"


def _other_data(root: Path, datasets: list[Path]) -> dict[str, str]:
    """Data files that are not, or no longer, what a dataset was made from, each with what to say of it."""
    made: dict[tuple[str, str], Path] = {}
    for path in sorted(datasets):
        for item in provenance.data_files(path).items():
            made.setdefault(item, path)
    told = {}
    for (name, due), path in made.items():
        why = files.why_not(Path(name), due)
        if not why or not files.why_not(root / provenance.archived(name, due), due):
            continue
        if why == "has changed":
            told[name] = f"data file {name} has changed since {path} was made; run snakemake, or put the file back"
        else:
            told[name] = f"data file {name}, of which {path} was made, {why}; put it back, or verify where the run was"
    return told


def _planned(root: Path, other_data: set[str]) -> tuple[list[str], Line | None]:
    """Datasets and shards that the folder's own config plans, as seen from it; or why that cannot be told.

    Shards of studies that read ``other_data`` are left out, as they have other names now.
    """
    only = "only what is there is checked, not what should be"
    path = root / "config.yaml"
    if not path.is_file():
        return [], (True, f"{root}: no config.yaml, so {only}")
    try:
        settings = config.load(path)
    except UserError as error:
        return [], (False, f"{error}; mend: delete {path} and run snakemake again; {only}")
    try:
        studies = plan.make(settings).studies.values()
    except UserError as error:
        return [], (True, f"{root}: {only} ({error})")
    paths = [(study, path) for study in studies for path in layout.datasets(study) + layout.collected(study)]
    for study in studies:
        if not other_data & set(study.config.files):
            paths += [(study, shard.path) for shard in study.shards]
    return [f"{study.name}/{Path(path).relative_to(study.folder)}" for study, path in paths], None


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _checked(path: str, check) -> Line:
    try:
        return True, f"{path}: whole, {check()}"
    except DamagedFile as error:
        return False, str(error)
