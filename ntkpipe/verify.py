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

    Where the folder has the ``config.yaml`` of its run, what that plans and is not there is missing.
    """
    if path.endswith(".zip"):
        yield _checked(path, lambda: _shard(path))
    elif remote.is_url(path) or path.rstrip("/").endswith(".zarr"):
        yield _checked(path, lambda: dataset(path))
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
    attrs = dict(zarr.open_group(str(path), mode="r", zarr_format=3).attrs)
    try:
        return provenance.said(attrs)
    except ValueError as error:
        raise DamagedFile(f"{path} does not tell where it comes from: {error}") from None


def _shard(path: str | Path) -> str:
    with shards.Reader(path) as shard:
        for name in shard.arrays:
            shard.read(name)
        return f"code {shard.attrs.get('source', 'unknown')}"


def _folder(folder: Path) -> Iterator[Line]:
    root = folder if (folder / "config.yaml").is_file() else folder.parent
    planned, note = _planned(root)
    if note:
        yield True, note
    within = [root / path for path in planned if (root / path).is_relative_to(folder)]
    found = [path for path in folder.rglob("*.zarr") if path.is_dir() and not _hidden(path, folder)]
    noted = [path.with_suffix("") for path in folder.rglob("*.zarr.sha256") if not _hidden(path, folder)]
    due = [path for path in within if path.suffix == ".zarr"]
    for path in sorted({*found, *noted, *due}):
        yield _checked(str(path), lambda path=path: dataset(path))
    for name, made in _changed_data(found):
        yield True, f"data file {name} has changed since {made} was made; what is planned of it has other names"
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


def _changed_data(datasets: list[Path]) -> Iterator[tuple[str, Path]]:
    """Data files that are there and are not what a dataset was made from, each with one such dataset."""
    told: set[str] = set()
    for path in sorted(datasets):
        for name, digest in provenance.data_files(path).items():
            if name not in told and Path(name).exists() and files.digest(Path(name)) != digest:
                told.add(name)
                yield name, path


def _planned(root: Path) -> tuple[list[str], str]:
    """Datasets and shards that the folder's own config plans, as seen from it; or why that cannot be told."""
    if not (root / "config.yaml").is_file():
        return [], f"{root}: no config.yaml, so only what is there is checked, not what should be"
    try:
        studies = plan.make(config.load(root / "config.yaml")).studies.values()
    except UserError as error:
        return [], f"{root}: only what is there is checked, not what should be ({error})"
    paths = [(study, path) for study in studies for path in layout.datasets(study) + layout.collected(study)]
    paths += [(study, shard.path) for study in studies for shard in study.shards]
    return [f"{study.name}/{Path(path).relative_to(study.folder)}" for study, path in paths], ""


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _checked(path: str, check) -> Line:
    try:
        return True, f"{path}: whole, {check()}"
    except DamagedFile as error:
        return False, str(error)
