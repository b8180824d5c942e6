"""phi and phi': derivatives against finite differences, NumPy against JAX, and the kinks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.activations import jax_activation, numpy_activation
from ntkpipe.networks import ACTIVATIONS

Z = np.linspace(-4, 4, 161) + 0.0125  # no point within a step of the kink at 0
STEP = 1e-5


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_against_central_difference(name):
    act = numpy_activation(name, 0.2)
    numerical = (act.phi(Z + STEP) - act.phi(Z - STEP)) / (2 * STEP)
    # Truncation h^2 |phi'''|/6 < 1e-10 (|phi'''| < 3 for all six); rounding 2^-52 |phi|/h < 1e-10.
    np.testing.assert_allclose(act.dphi(Z), numerical, rtol=0, atol=3e-10)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_against_autodiff(name):
    act = jax_activation(name, 0.2)
    grad = jax.vmap(jax.grad(act.phi))(jnp.asarray(Z))
    np.testing.assert_allclose(act.dphi(jnp.asarray(Z)), grad, rtol=0, atol=1e-14)  # a few ulp of values below 2


@pytest.mark.parametrize("part", ["phi", "dphi"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_numpy_is_jax(name, part):
    mine = getattr(numpy_activation(name, 0.2), part)(Z)
    theirs = getattr(jax_activation(name, 0.2), part)(jnp.asarray(Z))
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-14)  # a few ulp of values below 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("build", [numpy_activation, jax_activation])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_dtype_is_kept(name, build, dtype):
    z = np.asarray(Z, dtype) if build is numpy_activation else jnp.asarray(Z, dtype)
    act = build(name)
    assert act.phi(z).dtype == act.dphi(z).dtype == dtype


def test_values_at_zero_and_one():
    zero_one = np.array([0.0, 1.0, -1.0])
    values = {name: numpy_activation(name, 0.2).phi(zero_one) for name in ACTIVATIONS}
    np.testing.assert_allclose(values["relu"], [0, 1, 0])
    np.testing.assert_allclose(values["leaky_relu"], [0, 1, -0.2])
    np.testing.assert_allclose(values["tanh"], [0, 0.7615941559557649, -0.7615941559557649])
    np.testing.assert_allclose(values["erf"], [0, 0.8427007929497149, -0.8427007929497149])
    np.testing.assert_allclose(values["gelu"], [0, 0.8413447460685429, -0.15865525393145707])
    np.testing.assert_allclose(values["linear"], zero_one)


def test_relu_gates_are_closed_at_the_kink():
    # A dead unit has z = 0 exactly: both engines must agree that its gate is closed.
    assert numpy_activation("relu").dphi(np.zeros(1)) == 0 == jax_activation("relu").dphi(jnp.zeros(1))
    assert numpy_activation("leaky_relu", 0.2).dphi(np.zeros(1)) == 0.2


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_autodiff_agrees_with_the_derivative_at_zero(name):
    """Above a dead layer z = 0 exactly; jax.grad(maximum(z, 0)) would say 1/2 there, the theory says 0."""
    act = jax_activation(name, 0.2)
    assert jax.grad(act.phi)(0.0) == pytest.approx(float(act.dphi(jnp.zeros(()))), rel=1e-15)
