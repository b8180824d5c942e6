"""One step's engines, small and exact: quanta, prefixes, critical units, no gates; their laws are in tests/laws."""

import numpy as np
import pytest

from ntkpipe.engines import jumps, step_dense, step_matrix_free, step_scalar
from ntkpipe.networks import Network
from ntkpipe.streams import Stream

X = np.array([[0.6, 0.8, 0.0]])
ENGINES = [step_scalar, step_matrix_free, step_dense]


def sample(engine, network, n=8, etas=(0.1,), relative=False, label=1.0, x=X, n_train=1):
    return engine.sample(network, x, np.full((n, n_train), label), etas, relative, Stream(3, "steps"), 0, n)


@pytest.mark.parametrize("engine", ENGINES)
def test_fewer_draws_are_a_prefix_of_more(engine):
    network = Network(3, (6, 5))
    few, many = sample(engine, network, n=3), sample(engine, network, n=40)
    for one, two in zip(few, many, strict=True):
        np.testing.assert_allclose(one, two[:3], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("engine", ENGINES)
def test_label_enters_through_the_residual_only(engine):
    network = Network(3, (16, 15))  # none is dead
    zero, two = sample(engine, network, label=0.0), sample(engine, network, label=2.0)
    np.testing.assert_allclose(zero.output_0, two.output_0)
    kdot = -zero.derivative[:, 0, 0] / zero.residual[:, 0]
    np.testing.assert_allclose(two.derivative[:, 0, 0], -two.residual[:, 0] * kdot, rtol=1e-9)


@pytest.mark.parametrize("engine", ENGINES)
def test_critical_step_is_in_units_of_two_over_the_kernel(engine):
    draws = sample(engine, Network(3, (16, 15)), etas=(0.5, 1.0), relative=True)  # none is dead
    expected = np.array([0.5, 1.0]) * 2 / draws.ntk_0[:, 0]
    np.testing.assert_allclose(draws.eta, expected, rtol=1e-12)


def test_scalar_knows_no_finite_step():
    draws = sample(step_scalar, Network(3, (6,)))
    assert np.isnan(draws.ntk_1).all() and np.isnan(draws.flipped).all()


@pytest.mark.parametrize("engine", [step_matrix_free, step_dense])
def test_linear_model_steps_exactly(engine):
    """No hidden layer: K never moves, and f moves by -eta K (f - y)."""
    draws = sample(engine, Network(3, ()))
    np.testing.assert_allclose(draws.ntk_1[:, 0], draws.ntk_0, atol=1e-14)
    np.testing.assert_allclose(draws.derivative, 0.0, atol=1e-14)
    assert (draws.flipped == 0).all()


@pytest.mark.parametrize("engine", [step_matrix_free, step_dense])
def test_a_fitted_label_takes_no_step(engine):
    """y = f: the residual is 0, so nothing moves."""
    network = Network(3, (6, 5))
    output = sample(engine, network).output_0
    labels = output.copy()
    draws = engine.sample(network, X, labels, (0.5,), False, Stream(3, "steps"), 0, 8)
    np.testing.assert_allclose(draws.ntk_1[:, 0], draws.ntk_0, atol=1e-13)
    np.testing.assert_allclose(draws.derivative, 0.0, atol=1e-12)


@pytest.mark.parametrize("engine", [step_matrix_free, step_dense])
def test_flipped_fraction_counts_gates(engine):
    """A tiny step flips none; a huge one flips some; always a multiple of 1/(gates of all points)."""
    network, x = Network(3, (6, 5)), np.array([[0.6, 0.8, 0.0], [0.0, 0.6, 0.8]])
    draws = sample(engine, network, etas=(1e-9, 30.0), x=x)
    assert (draws.flipped[:, 0] == 0).all()
    assert (draws.flipped[:, 1] > 0).any()
    counts = draws.flipped * 2 * (6 + 5)
    np.testing.assert_allclose(counts, np.round(counts), atol=1e-9)


def test_jumps_apply_to_kinks_that_can_be_conditioned_on():
    assert jumps.applies(Network(3, (4,)))
    assert jumps.applies(Network(3, (4,), activation="leaky_relu", bias_init="zero"))
    assert not jumps.applies(Network(3, (4,), activation="tanh"))
    assert not jumps.applies(Network(3, (4,), bias_init="normal"))
    assert not jumps.applies(Network(3, ()))


def test_jump_sum_of_one_hidden_layer_draw_by_draw():
    """d = 1, y = 0, no biases: conditioned on z_i = 0, C = 0 off the gate, so each draw is 0 where the on-speed is
    negative, and never positive: a gate that opens adds to K only what gradient descent then takes away."""
    draws = jumps.sample(Network(3, (5,)), X, np.zeros(512), Stream(1, "jumps"), 0)
    assert (draws <= 1e-15).all() and (draws < 0).mean() > 0.2


def test_jump_sum_vanishes_where_leaky_relu_has_no_kink():
    network = Network(3, (5, 4), activation="leaky_relu", negative_slope=1.0)
    np.testing.assert_allclose(jumps.sample(network, X, np.ones(64), Stream(1, "jumps"), 0), 0.0, atol=1e-15)


@pytest.mark.parametrize("slope", [0.0, 0.3])
@pytest.mark.parametrize("residual", [-0.7, 1.2])
@pytest.mark.parametrize("c", [-1.5, 0.0, 0.4])
def test_mean_over_what_arrives_at_a_unit_is_the_integral(slope, residual, c):
    """E over s of J (v_-^+ - v_+^-) against the trapezoidal rule, kinks and all."""
    d, spread = 0.8, 1.3
    s = np.linspace(-12 * spread, 12 * spread, 400_001)
    off, on = -residual * (c + slope * s * d), -residual * (c + s * d)
    jump = 2 * (1 - slope) * s * c + (1 - slope**2) * s**2 * d
    density = np.exp(-0.5 * (s / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
    expected = np.trapezoid(jump * (np.maximum(off, 0) - np.maximum(-on, 0)) * density, s)
    full = np.full((1, 1), 1.0)
    got = jumps._mean_jump_flux(c * full, d * full, residual * full, spread * full, slope)
    assert got[0, 0] == pytest.approx(expected, rel=1e-6, abs=1e-9)
