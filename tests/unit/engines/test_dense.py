"""Runs of equal layers: how the dense engine cuts a network into scans."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.streams import Stream


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (Network(3, ()), [(0, 1)]),
        (Network(3, (4,)), [(0, 1), (1, 2)]),
        (Network(3, (4, 4, 4)), [(0, 1), (1, 3), (3, 4)]),
        (Network(4, (4, 4)), [(0, 2), (2, 3)]),
        (Network(3, (4, 4, 5, 5, 5, 1)), [(0, 1), (1, 2), (2, 3), (3, 5), (5, 6), (6, 7)]),
        (Network(1, (1, 1)), [(0, 2), (2, 3)]),
    ],
)
def test_runs_are_equal_layers_and_the_output_stands_alone(net, expected):
    assert dense.runs(net) == expected


def test_scanned_layers_are_the_layers_one_by_one():
    """The forward pass by hand from the drawn weights, at depth 4 with runs of equal shape."""
    net = Network(3, (4, 4, 4, 2), "tanh", bias_init="normal")
    x = np.random.default_rng(0).standard_normal((5, 3))
    params = dense.init(Stream(0, "a").key(0), net)
    h = x.T
    layers = [(np.asarray(w), np.asarray(b)) for ws, bs in params for w, b in zip(ws, bs, strict=True)]
    for w, b in layers[:-1]:
        h = np.tanh(w @ h + b)
    expected = (layers[-1][0] @ h + layers[-1][1])[0]
    got = dense.forward(params, jnp.asarray(x), net)
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-13)


def test_numbers_do_not_depend_on_the_x64_flag_of_the_caller():
    """The engine is float64 whatever jax's default is, for no test or notebook need set it."""
    found = []
    for flag in (True, False):
        with jax.enable_x64(flag):
            found.append(dense.sample(Network(3, (4, 4)), np.ones((2, 3)), Stream(2**32 - 1, "a"), 3, 16))
    np.testing.assert_array_equal(found[0].ntk, found[1].ntk)
    np.testing.assert_array_equal(found[0].output, found[1].output)
