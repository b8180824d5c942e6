"""Layer-wise kernels add up to the kernel; the readout's is that of its features."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training.layers import layer_kernels


@pytest.mark.parametrize("bias_init", ["none", "zero"])
@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_layers_add_up_to_the_kernel(bias_init, parametrization):
    network = Network(3, (5, 5, 4), bias_init=bias_init, parametrization=parametrization, sigma_b=0.4)
    params = dense.init(jax.random.key(0), network)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((6, 3)))
    parts = layer_kernels(params, x, network)
    assert parts.shape == (4, 6, 6)
    np.testing.assert_allclose(parts.sum(axis=0), dense.ntk_and_output(params, x, network)[0], rtol=1e-12)


def test_the_readout_has_the_last_features_and_is_nothing_where_frozen():
    network = Network(3, (5, 4))
    params = dense.init(jax.random.key(0), network)
    x = jnp.asarray(np.random.default_rng(0).standard_normal((6, 3)))
    h = x.T
    for w, _ in params[:-1]:
        for layer in w:
            h = jnp.maximum(layer @ h, 0)
    np.testing.assert_allclose(layer_kernels(params, x, network)[-1], network.weight_gain[-1] * h.T @ h, rtol=1e-12)
    frozen = dataclasses.replace(network, readout="frozen")
    np.testing.assert_array_equal(layer_kernels(params, x, frozen)[-1], 0.0)
