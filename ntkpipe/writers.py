"""One writer at a time: of a shard, of a dataset. A second process waits; what killed ones left is cleared away.

After ``kill -9`` of Snakemake a step runs on by itself, and the next run may start the same step beside it.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextmanager
def alone(target: Path) -> Iterator[bool]:
    """Wait until no other process writes the target, and keep others from it within; whether that is sure.

    By flock of ``.<target>.lock``, which on NFS is a lock at the server. The kernel lets go of it however a process
    ends, so that none is stale; the file goes with the writer, and stays where one was killed (:func:`killed`). It is
    not sure where the file system has no locks: then a writer must work in files of its own name.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    note = _note(target)
    while True:
        handle = os.open(note, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            sure = _locked(handle, target)
            if _same(handle, note):  # else the writer before us took the file away: nobody else would see our lock
                break
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)
    try:
        if sure:
            _clear(target)
        yield sure
    finally:
        note.unlink(missing_ok=True)
        os.close(handle)


def killed(folder: Path) -> list[str]:
    """Names of the files in the folder whose writer did not live to end."""
    names = []
    for note in sorted(folder.glob(".*.lock")):
        try:
            handle = os.open(note, os.O_RDWR)
        except OSError:
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # its writer lives, or nobody can tell
            continue
        else:
            names.append(note.name.removeprefix(".").removesuffix(".lock"))
        finally:
            os.close(handle)
    return names


def _note(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _locked(handle: int, target: Path) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"another process writes {target}; waiting for it to end", file=sys.stderr, flush=True)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def _same(handle: int, note: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(note))
    except FileNotFoundError:
        return False


def _clear(target: Path) -> None:
    """Temporary files (:func:`ntkpipe.files.beside`) of writers that were killed."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.tmp"):
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()
