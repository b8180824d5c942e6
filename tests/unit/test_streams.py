"""Streams: a number depends on seed, cell text, quantum and draw, and on nothing else."""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkpipe.streams import QUANTUM, Stream, quanta


def _numbers(stream, *where):
    return tuple(stream.generator(*where).standard_normal(4))


def test_same_identity_same_numbers():
    assert _numbers(Stream(3, "cell"), 5, 7) == _numbers(Stream(3, "cell"), 5, 7)


def test_any_change_of_identity_changes_the_numbers():
    streams = [Stream(seed, text) for seed in (0, 1, 2**32 - 1) for text in ("cell", "cell ")]
    places = [(0,), (1,), (0, 0), (0, 1), (1, 0)]
    found = [_numbers(stream, *place) for stream, place in itertools.product(streams, places)]
    assert len(set(found)) == len(found) == 30


def test_jax_keys_differ_by_seed_text_and_quantum():
    keys = [
        tuple(np.asarray(jax.random.key_data(Stream(seed, text).key(quantum))))
        for seed in (0, 1, 2**32 - 1)
        for text in ("a", "b")
        for quantum in (0, 1)
    ]
    assert len(set(keys)) == len(keys) == 12


@pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
def test_jax_key_does_not_depend_on_the_x64_flag(seed):
    keys = []
    for flag in (False, True):
        with jax.enable_x64(flag):
            keys.append(np.asarray(jax.random.key_data(Stream(seed, "cell").key(3))))
    np.testing.assert_array_equal(*keys)


def test_words_are_the_sha256_of_the_text():
    # printf '' | sha256sum -> e3b0c44298fc1c149afbf4c8996fb924...
    assert Stream(0, "").words == (0xE3B0C442, 0x98FC1C14, 0x9AFBF4C8, 0x996FB924)


@given(first=st.integers(0, 50), length=st.integers(1, 20 * QUANTUM))
def test_quanta_cover_the_range_once(first, length):
    start = first * QUANTUM
    parts = quanta(start, start + length)
    drawn = [q * QUANTUM + i for q, n in parts for i in (0, n - 1)]
    assert drawn[0] == start and drawn[-1] == start + length - 1
    assert sum(n for _, n in parts) == length
    assert [q for q, _ in parts] == list(range(first, first + len(parts)))
    assert all(n == QUANTUM for _, n in parts[:-1]) and 1 <= parts[-1][1] <= QUANTUM


def test_quanta_must_start_on_a_quantum():
    with pytest.raises(ValueError, match=r"1024.*it was 7"):
        quanta(7, 20)
