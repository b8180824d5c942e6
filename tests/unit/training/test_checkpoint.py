"""Checkpoints: what was saved comes back bit for bit, and nothing else ever does."""

import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.training import checkpoint

START = (jnp.zeros((2, 3)), [jnp.zeros(2, int)])


def row(number: int) -> dict[str, np.ndarray]:
    return {"loss": np.array([0.1 + number, np.nan]), "ntk": np.arange(8.0).reshape(2, 2, 2) * number}


def state(number: int):
    return jnp.full((2, 3), 0.1 * number), [jnp.array([number, -1])]


def same(one, two) -> bool:
    return all(
        np.asarray(a).dtype == np.asarray(b).dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()
        for a, b in zip(one, two, strict=True)
    )


def holds(folder, count: int) -> bool:
    """Whether the folder gives the first ``count`` snapshots and the state after them."""
    done, (a, (b,)) = checkpoint.load(folder, START)
    rows = [checkpoint.row(folder, i) for i in range(done)]
    expected = state(count - 1) if count else START
    return (
        done == count
        and all(found.keys() == row(i).keys() for i, found in enumerate(rows))
        and all(same(found.values(), row(i).values()) for i, found in enumerate(rows))
        and same((a, b), (expected[0], *expected[1]))
    )


@pytest.fixture
def folder(tmp_path):
    """Three snapshots."""
    for number in range(3):
        checkpoint.save(tmp_path / "0", number, row(number), state(number))
    return tmp_path / "0"


def test_nothing_is_there_at_first(tmp_path):
    assert holds(tmp_path / "none", 0)
    done, kept = checkpoint.load(tmp_path / "none", START)
    assert done == 0 and kept is START


def test_what_was_saved_comes_back(folder):
    assert holds(folder, 3)
    assert len(list(folder.iterdir())) == 4  # three rows, and the last state alone


def test_every_byte_counts(tmp_path):
    """Flip a bit of any byte of row or state, or cut either anywhere: never other data, never an error."""
    checkpoint.save(tmp_path, 0, {"loss": np.array([0.5, np.nan])}, START)
    for file in sorted(tmp_path.iterdir()):
        content = file.read_bytes()
        for at in range(len(content)):
            file.write_bytes(content[:at] + bytes([content[at] ^ 1 << at % 8]) + content[at + 1 :])
            assert checkpoint.load(tmp_path, START)[0] == 0, (file.name, at)
        for length in range(0, len(content), 50):
            file.write_bytes(content[:length])
            assert checkpoint.load(tmp_path, START)[0] == 0, (file.name, length)
        file.write_bytes(content)
    assert checkpoint.load(tmp_path, START)[0] == 1


@pytest.mark.parametrize("dies", ["row3", "state3"])
def test_a_kill_while_saving_leaves_the_last_snapshot(folder, monkeypatch, dies):
    """At any of the writes: between row and state, or in the middle of a file."""
    replace = checkpoint.os.replace

    def failing(source, target):
        if target.stem == dies:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(checkpoint.os, "replace", failing)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(folder, 3, row(3), state(3))
    assert holds(folder, 3)
    monkeypatch.undo()
    checkpoint.save(folder, 3, row(3), state(3))
    assert holds(folder, 4)


def test_a_kill_before_the_older_state_is_removed_does_no_harm(folder):
    older = {file: file.read_bytes() for file in folder.iterdir() if file.stem == "state2"}
    checkpoint.save(folder, 3, row(3), state(3))
    for file, content in older.items():
        file.write_bytes(content)
    assert holds(folder, 4)
    next(folder.glob("row3.*")).unlink()  # and the older one serves where the last has lost a row
    assert holds(folder, 3)


def test_a_state_of_ten_is_later_than_one_of_nine(tmp_path):
    for number in range(11):
        checkpoint.save(tmp_path, number, row(number), state(number))
    assert holds(tmp_path, 11)
