"""Files that are whole or not there: written beside their target, then renamed."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

from ntkpipe.errors import ConfigError, DamagedFile


@contextmanager
def beside(target: Path):
    """A temporary path of its own beside the target, gone if not renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex}.tmp"
    try:
        yield temporary
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        elif temporary.exists():
            temporary.unlink()


def check_folder(path: str, key: str) -> None:
    """That a folder is there or can be made, with a name that Snakemake and a log line take as it is.

    Raises
    ------
    ConfigError: names the key.
    """
    if path.startswith("s3:"):
        raise ConfigError(key, "a folder of this machine (a bucket is named in execution.remote)", path)
    if not path.strip() or not path.isprintable() or set(path) & set("{}"):
        raise ConfigError(key, "the path of a folder, without braces and line breaks", path)
    if path.startswith("-"):  # commands would take it for an option
        raise ConfigError(key, "the path of a folder that does not begin with - (./-name does not)", path)
    for part in (Path(path), *Path(path).parents):
        if part.exists():
            if not part.is_dir():
                raise ConfigError(key, f"a folder, or none yet; {part} is a file", path)
            return


def sha256(file: Path) -> str:
    """Hexadecimal digest of a file."""
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def is_data(path: Path) -> bool:
    """Whether a data file is there: a regular file, or a folder ``*.zarr``; no device or pipe, and no other folder."""
    return os.path.isfile(path) or (path.suffix == ".zarr" and os.path.isdir(path))


def why_not(path: Path, due: str) -> str:
    """Why a data file is not the one whose digest was ``due``; empty where it is."""
    if not is_data(path):
        return "is not here"
    try:
        return "" if digest(path) == due else "has changed"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def digest(path: Path) -> str:
    """sha256 of a file; of a folder (a zarr store), that of its manifest as ``sha256sum`` writes it."""
    if path.is_file():
        return sha256(path)
    lines = (f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in path.rglob("*") if file.is_file())
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def parsed(manifest: str) -> dict[str, str]:
    """File -> sha256 of a manifest as ``sha256sum`` writes it; files are named as seen from the manifest's folder."""
    return dict(reversed(line.split("  ", 1)) for line in manifest.splitlines() if "  " in line)


def check_within(names: Iterable[str], manifest: str | Path, mend: str) -> None:
    """That a dataset's manifest names files of the dataset only.

    Raises
    ------
    DamagedFile: names the manifest and the file.
    """
    dataset = str(manifest).rsplit("/", 1)[-1].removesuffix(".sha256")
    for name in names:
        if not name.startswith(f"{dataset}/") or ".." in name.split("/"):
            raise DamagedFile(f"{manifest} names a file outside {dataset}: {name!r}; {mend}")


def printable(text: str) -> str:
    """A text from a stranger as one line, with what steers a terminal escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
