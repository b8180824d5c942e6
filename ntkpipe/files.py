"""Files that are whole or not there: written beside their target, then renamed."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from contextlib import contextmanager
from pathlib import Path

from ntkpipe.errors import ConfigError


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
    for part in (Path(path), *Path(path).parents):
        if part.exists():
            if not part.is_dir():
                raise ConfigError(key, f"a folder, or none yet; {part} is a file", path)
            return


def sha256(file: Path) -> str:
    """Hexadecimal digest of a file."""
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def digest(path: Path) -> str:
    """sha256 of a file; of a folder (a zarr store), that of its manifest as ``sha256sum`` writes it."""
    if path.is_file():
        return sha256(path)
    lines = (f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in path.rglob("*") if file.is_file())
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def parsed(manifest: str) -> dict[str, str]:
    """File -> sha256 of a manifest as ``sha256sum`` writes it; files are named as seen from the manifest's folder."""
    return dict(reversed(line.split("  ", 1)) for line in manifest.splitlines() if "  " in line)
