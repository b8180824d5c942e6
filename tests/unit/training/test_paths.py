"""Short trainings: the same as one step after another, each run by itself; divergence is marked."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training import checkpoint, descent, paths

NETWORK = Network(2, (6, 6), activation="tanh", bias_init="normal", sigma_b=0.3)
X = jnp.asarray(np.random.default_rng(0).standard_normal((5, 2)))
Y = jnp.asarray(np.random.default_rng(1).standard_normal((3, 5)))


def start(runs: int):
    return jax.vmap(lambda key: dense.init(key, NETWORK))(jax.random.split(jax.random.key(2), runs))


def test_runs_are_those_of_single_steps_on_their_own_labels():
    eta = np.array([0.02, 0.05, 0.1])
    seen = list(paths.follow(NETWORK, start(3), (0, 1, 4), X, Y, jnp.asarray(eta), 1e4))
    for run in range(3):
        params = jax.tree.map(lambda leaf, run=run: leaf[run], start(3))
        for step in range(5):
            if step in (0, 1, 4):
                found = jax.tree.map(lambda leaf, run=run: leaf[run], seen[(0, 1, 4).index(step)].params)
                for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(params), strict=True):
                    np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)
            residual = dense.forward(params, X, NETWORK) - Y[run]
            params = descent.moved(params, descent.direction(params, X, residual, NETWORK), eta[run])
    assert [int(state.step[0]) for state in seen] == [0, 1, 4]
    assert (np.asarray(seen[-1].diverged) == -1).all()


def test_a_run_that_leaves_is_marked_with_its_step_and_leaves_the_others():
    eta = jnp.array([0.02, 50.0, 0.02])
    *_, last = paths.follow(NETWORK, start(3), (0, 2, 6), X, Y, eta, 10.0)
    calm = list(paths.follow(NETWORK, start(3), (0, 2, 6), X, Y, jnp.full(3, 0.02), 10.0))[-1]
    diverged = np.asarray(last.diverged)
    assert diverged[1] >= 1 and (diverged[[0, 2]] == -1).all()
    for a, b in zip(jax.tree.leaves(last.params), jax.tree.leaves(calm.params), strict=True):
        np.testing.assert_array_equal(a[0], b[0])


def _observed(folder, stop=None, eta=0.05):
    """What is seen at four steps, and the end; killed at snapshot ``stop``. The snapshots that were looked at."""
    looked = []

    def look(number, state):
        if number == stop:
            raise KeyboardInterrupt
        looked.append(number)
        return {"f": np.asarray(jax.vmap(lambda p: dense.forward(p, X, NETWORK))(state.params))}

    rates = jnp.full(3, eta).at[1].set(eta if eta < 1 else 0.05)
    try:
        rows, end = paths.observe(NETWORK, start(3), (0, 30, 500, 1000), X, Y, rates, 1e4, look, folder)
    except KeyboardInterrupt:
        return looked, None, None
    return looked, [row["f"] for row in rows], end


@pytest.mark.parametrize("eta", [0.05, 50.0])
def test_a_training_that_was_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch, eta):
    """From between two snapshots too, and where runs have diverged; nothing that is kept is looked at again."""
    looked, expected, end = _observed(None, eta=eta)
    assert looked == [0, 1, 2, 3] and len(expected) == 4
    assert ((np.asarray(end.diverged) >= 0) == [eta > 1, False, eta > 1]).all()
    monkeypatch.setattr(paths, "SECONDS", 0.0)
    assert _observed(tmp_path, stop=2, eta=eta)[0] == [0, 1]
    kept = checkpoint.load(tmp_path, paths.at_start(start(3), 3))[1]
    assert int(kept.step[0]) == 480  # the last of the pauses before snapshot 2, which is step 500
    assert _observed(tmp_path, stop=3, eta=eta)[0] == [2]
    looked, rows, last = _observed(tmp_path, eta=eta)
    assert looked == [3]
    for a, b in zip(jax.tree.leaves((rows, last)), jax.tree.leaves((expected, end)), strict=True):
        np.testing.assert_array_equal(a, b)
    looked, again, _ = _observed(tmp_path, eta=eta)
    assert looked == [] and all(np.array_equal(a, b, equal_nan=True) for a, b in zip(again, expected, strict=True))


def test_what_is_kept_waits_for_its_time(tmp_path, monkeypatch):
    """A disk is not written at every pause."""
    clock = iter(np.arange(0, 1000, 3.0))
    monkeypatch.setattr(paths.time, "monotonic", lambda: next(clock))
    saved = []
    monkeypatch.setattr(checkpoint, "save", lambda folder, number, rows, state: saved.append((number, len(rows))))
    _observed(tmp_path)
    assert saved == [(number, 4) for number in range(3, 52, 4)]  # 52 pauses, three seconds each
