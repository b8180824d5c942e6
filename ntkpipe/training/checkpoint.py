"""Snapshots of a run that is under way, so that a killed job goes on from its last one, bit for bit.

Each snapshot is a file of its own and the state a file beside it; both are renamed into place, so that a kill leaves
whole files only. Each begins with the sha256 of its rest (zip's own checksums leave headers of arrays open to a flipped
bit); what does not match it is not there.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

Row = dict[str, np.ndarray]


def save(folder: Path, number: int, kept: Row | list[Row], state: Any) -> None:
    """Keep snapshot ``number`` (or several that end with it) and the state (a pytree of arrays) that follows it."""
    rows = kept if isinstance(kept, list) else [kept]
    folder.mkdir(parents=True, exist_ok=True)
    earlier = list(folder.glob("state*.part"))
    for i, one in enumerate(rows, number + 1 - len(rows)):
        _write(folder / f"row{i}.part", one)
    latest = folder / f"state{number}.part"
    _write(latest, {str(i): np.asarray(leaf) for i, leaf in enumerate(jax.tree.leaves(state))})
    for file in earlier:
        if file != latest:
            file.unlink(missing_ok=True)


def load(folder: Path, state: Any) -> tuple[int, Any]:
    """(number of snapshots so far, the state after the last); 0 and the given state where there is none to go on from.

    All these snapshots are whole: :func:`row` reads them, one at a time.
    """
    numbers = sorted((int(file.stem[5:]) for file in folder.glob("state*.part")), reverse=True)
    for number in numbers:
        try:
            for i in range(number + 1):
                row(folder, i)
            kept = _read(folder / f"state{number}.part")
        except (OSError, ValueError):
            continue
        leaves, tree = jax.tree.flatten(state)
        return number + 1, jax.tree.unflatten(tree, [jax.numpy.asarray(kept[str(i)]) for i in range(len(leaves))])
    return 0, state


def row(folder: Path, number: int) -> Row:
    """Snapshot ``number``.

    Raises
    ------
    OSError, ValueError: it is missing or damaged.
    """
    return _read(folder / f"row{number}.part")


def _write(path: Path, arrays: Row) -> None:
    memory = io.BytesIO()
    np.savez(memory, **arrays)
    content, temporary = memory.getvalue(), path.with_suffix(".tmp")
    with open(temporary, "wb") as handle:
        handle.write(hashlib.sha256(content).digest() + content)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def _read(path: Path) -> Row:
    whole = path.read_bytes()
    digest, content = whole[:32], whole[32:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError(f"{path} is damaged")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
