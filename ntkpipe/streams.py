"""Random streams: the same numbers whatever the cores, blocks, machine or order of work.

Draws come in quanta of 1024. A quantum's generator is derived from the study seed, a hash of
the cell's canonical text and the quantum's number, and from nothing else. Only
:mod:`ntkpipe.plan` makes streams; engines only use them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import jax

QUANTUM = 1024


@dataclass(frozen=True)
class Stream:
    """The randomness of one cell: ``seed`` from the config, ``text`` the cell's canonical text."""

    seed: int
    text: str

    @property
    def words(self) -> tuple[int, ...]:
        """Four 32-bit words of sha256(text)."""
        digest = hashlib.sha256(self.text.encode()).digest()
        return tuple(int.from_bytes(digest[4 * i : 4 * i + 4], "big") for i in range(4))

    def generator(self, quantum: int, draw: int | None = None) -> np.random.Generator:
        """NumPy generator of a quantum, or of one draw in it."""
        tail = (quantum,) if draw is None else (quantum, draw)
        sequence = np.random.SeedSequence(self.seed, spawn_key=(*self.words, *tail))
        return np.random.Generator(np.random.SFC64(sequence))

    def key(self, quantum: int) -> jax.Array:
        """JAX key of a quantum (fold_in of the hash words, then of the quantum)."""
        import jax

        key = jax.random.key(self.seed, impl="threefry2x32")
        for word in (*self.words, quantum):
            key = jax.random.fold_in(key, word)
        return key


def quanta(start: int, stop: int, size: int = QUANTUM) -> list[tuple[int, int]]:
    """(quantum, draws) pairs that cover draws start..stop; start is a multiple of the quantum's size."""
    if start % size:
        raise ValueError(f"start must be a multiple of {size}; it was {start}")
    return [(first // size, min(size, stop - first)) for first in range(start, stop, size)]
