"""Short trainings: the same as one step after another, each run by itself; divergence is marked."""

import jax
import jax.numpy as jnp
import numpy as np

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training import descent, paths

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
