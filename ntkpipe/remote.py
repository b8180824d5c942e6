"""Results in a bucket: a mirror of the results folder on S3, so that another machine goes on from it or reads it.

A shard is one PUT, so it is there whole or not at all, with its sha256 in its metadata; a machine without it takes it
from there instead of drawing it. A dataset is many objects: its ``zarr.json`` comes after its chunks and its
manifest last, and both go first when it is replaced, so half a dataset opens nowhere. Credentials and endpoint are
facts of a machine, not of a study: they come from the usual ``AWS_*`` environment (or ``~/.aws``), never from a config.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ntkpipe.errors import DamagedFile, UserError
from ntkpipe.files import beside, check_within, parsed, sha256

if TYPE_CHECKING:
    from ntkpipe.config import Config

_REQUESTS = 8
"""How many requests are under way at once."""


class RemoteError(UserError):
    """The bucket cannot be used: names the key, what it must be and what the server said."""


def is_url(path: str | Path) -> bool:
    """Whether a path is an address in a bucket."""
    return str(path).startswith("s3://")


def of(config: Config) -> Bucket | None:
    """The bucket of a config, or None where its results stay on this machine."""
    return None if config.execution.remote is None else Bucket(config.execution.remote, config.results)


class Bucket:
    """The folder ``url`` of a bucket, which mirrors the local folder ``results``."""

    def __init__(self, url: str, results: str | Path) -> None:
        self.url, self.results = url.rstrip("/"), Path(results)
        self._files = file_system()

    def address(self, path: str | Path) -> str:
        """Where a file of the results folder is in the bucket."""
        return f"{self.url}/{Path(path).relative_to(self.results).as_posix()}"

    def check(self) -> None:
        """That the bucket is there and may be listed; writes nothing.

        Raises
        ------
        RemoteError: no such bucket, no or wrong credentials, no server.
        """
        with named(self.url):
            bucket, _, prefix = self.url.removeprefix("s3://").partition("/")
            self._files.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)

    def begin(self, config: str | Path) -> None:
        """Put the config of a run there and read it back: what a run needs of a bucket, before it draws anything.

        Raises
        ------
        RemoteError: as :meth:`check`, or it may not be written or read.
        """
        self.check()
        with named(self.url):
            self._put(Path(config), {})
            held = self._files.cat_file(self.address(config))
        if held != Path(config).read_bytes():
            raise RemoteError(f"execution.remote: must be a bucket that keeps what it is given; {self.url} did not")

    def pull(self, path: str | Path, is_good: Callable[[Path], bool]) -> dict[str, str] | None:
        """Take a file from the bucket, whole or not at all; its notes, or None where no good one is there."""
        target = Path(path)
        with named(self.url):
            if (notes := self._notes(target)) is None:
                return None
            with beside(target) as temporary:
                self._files.get_file(self.address(target), str(temporary))
                if sha256(temporary) != notes.get("sha256") or not is_good(temporary):
                    return None
                os.replace(temporary, target)
        return notes

    def push(self, path: str | Path) -> bool:
        """Put a file there unless it is there; whether it was put."""
        with named(self.url):
            held = self._notes(path)
        if held is not None and held.get("sha256") == sha256(Path(path)):
            return False
        self.put(path)
        return True

    def put(self, path: str | Path, **notes: str) -> None:
        """Put a file there with its sha256 and notes, in one request (or an upload that S3 completes at once)."""
        with named(self.url):
            self._put(Path(path), {"sha256": sha256(Path(path)), **notes})

    def push_all(self, paths: Iterable[str | Path]) -> int:
        """Put files there, several at once; how many were not there yet."""
        return sum(_side_by_side(self.push, paths))

    def push_dataset(self, path: str | Path, names: Iterable[str]) -> bool:
        """Put a dataset, the files ``names`` of it, and its manifest there; False if it was there already.

        Raises
        ------
        DamagedFile: a name lies outside the dataset.
        """
        target, names = Path(path), list(names)
        manifest, head = target.with_name(target.name + ".sha256"), target / "zarr.json"
        check_within(names, manifest, f"mend: delete {target} and run snakemake again")
        files = [target.parent / name for name in names]
        with named(self.url):
            there = _listed(self._files, self.address(target))
            due = {self.address(file) for file in files}
            note = self.address(manifest)
            if there == due and self._files.exists(note) and self._files.cat_file(note) == manifest.read_bytes():
                return False
            for address in (note, self.address(head)):  # first to go, last to come: without them nothing opens
                if self._files.exists(address):
                    self._files.rm_file(address)
            _side_by_side(lambda file: self._put(file, {}), [file for file in files if file != head])
            _side_by_side(self._files.rm_file, sorted(there - due - {self.address(head)}))
            self._put(head, {})
            self._put(manifest, {})
        return True

    def _put(self, file: Path, notes: dict[str, str]) -> None:
        self._files.put_file(str(file), self.address(file), Metadata=notes)

    def _notes(self, path: str | Path) -> dict[str, str] | None:
        try:
            return self._files.metadata(self.address(path))
        except FileNotFoundError:
            return None


def verify(url: str, every_byte: bool = True, storage_options: dict[str, Any] | None = None) -> None:
    """Check a dataset in a bucket against its manifest.

    Without ``every_byte`` chunks are looked for, not read (zarr's crc32c guards them when they are), and only the
    metadata are compared.

    Raises
    ------
    DamagedFile: something is missing or altered.
    """
    url = url.rstrip("/")
    mend = "mend: delete its .sha256 there and publish it again (python -m ntkpipe publish)"
    with named(url, key=url):
        files = file_system(storage_options)
        try:
            noted = parsed(files.cat_file(f"{url}.sha256").decode(errors="replace"))
        except FileNotFoundError as error:
            if type(error.__cause__).__name__ == "NoSuchBucket":
                raise
            raise DamagedFile(f"manifest {url}.sha256 is missing: not published, or only in part; {mend}") from None
        check_within(noted, f"{url}.sha256", mend)
        parent = url.rsplit("/", 1)[0]
        held = _listed(files, url)
        due = {f"{parent}/{name}": digest for name, digest in noted.items()}
        if wrong := sorted(held ^ due.keys()):
            what = "is missing" if wrong[0] in due else f"is not in {url}.sha256"
            raise DamagedFile(f"{wrong[0]} {what}; {mend}")

        def differs(address: str) -> bool:
            return hashlib.sha256(files.cat_file(address)).hexdigest() != due[address]

        read = sorted(address for address in due if every_byte or address.endswith("zarr.json"))
        for address, bad in zip(read, _side_by_side(differs, read), strict=True):
            if bad:
                raise DamagedFile(f"{address} is altered (its sha256 differs from the manifest); {mend}")


def file_system(storage_options: dict[str, Any] | None = None):
    """S3 by way of fsspec; listings are never remembered, since other jobs write."""
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False, **(storage_options or {}))


def _listed(files: Any, url: str) -> set[str]:
    return {f"s3://{name}" for name, info in files.find(url, detail=True).items() if info["type"] == "file"}


def _side_by_side(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    with ThreadPoolExecutor(_REQUESTS) as pool:
        return list(pool.map(function, items))


@contextmanager
def named(url: str, key: str = "execution.remote") -> Iterator[None]:
    """What S3 says when it cannot, as one error that names the key; errors of local files pass."""
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    where = f"{url} at {endpoint or 'AWS'}"
    try:
        yield
    except (BotoCoreError, ClientError, OSError) as error:
        if isinstance(error, OSError) and not isinstance(error.__cause__, (BotoCoreError, ClientError)):
            raise
        match error:
            case NoCredentialsError() | PartialCredentialsError() | PermissionError():
                must = "that your credentials may read and write (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or ~/.aws)"
            case FileNotFoundError():
                must = "that exists"
            case _:
                must = "that can be reached (AWS_ENDPOINT_URL, for a server that is not Amazon's)"
        raise RemoteError(f"{key}: must be a bucket {must}; {where}: {' '.join(str(error).split())}") from None
