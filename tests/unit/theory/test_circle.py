"""The circle: closed forms against the recursion and against each other, and the quadrature's own error."""

import numpy as np
import pytest
from scipy import integrate

from ntkpipe.networks import Network
from ntkpipe.theory import circle

T = np.linspace(0, np.pi, 101)
MODES = np.arange(13)
BIASES = [("none", False), ("zero", False), ("zero", True)]


def gains(bias_init, output_bias, sigma_b=0.7):
    """The closed forms' arguments."""
    hidden = sigma_b**2 if bias_init == "zero" else 0.0
    return {"hidden_bias": hidden, "output_bias": hidden * output_bias}


@pytest.mark.parametrize(("bias_init", "output_bias"), BIASES)
def test_closed_kernel_is_the_recursion(bias_init, output_bias):
    net = Network(2, (1,), bias_init=bias_init, output_bias=output_bias, sigma_b=0.7)
    found, closed = circle.profile(net, T).ntk[0], circle.relu_kernel(T, **gains(bias_init, output_bias))
    # At pi the angle is known to 1e-16 over the distance from pi, in steps of pi/100
    np.testing.assert_allclose(found, closed, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("bias_init", "output_bias"), BIASES)
def test_closed_eigenvalues_are_integrals_of_the_closed_kernel(bias_init, output_bias):
    biases = gains(bias_init, output_bias)
    closed = circle.relu_eigenvalues(MODES, **biases)
    for q in MODES:
        integral, error = integrate.quad(
            lambda t, q=q: float(circle.relu_kernel(np.array(t), **biases)) * np.cos(q * t) / np.pi,
            0,
            np.pi,
            epsabs=1e-13,
        )
        assert error < 1e-11
        assert abs(closed[q] - integral) <= error


def test_closed_eigenvalues_sum_to_the_diagonal():
    """lambda_0 + 2 sum lambda_q = Theta(0); the tail beyond Q is 2 sum 1/(2 pi^2 q^2) = 1/(pi^2 Q) with both kinds."""
    modes = np.arange(10**6)
    eigenvalues = circle.relu_eigenvalues(modes, hidden_bias=1.0, output_bias=1.0)
    total = eigenvalues[0] + 2 * eigenvalues[1:].sum()
    tail = 2 / (np.pi**2 * len(modes))  # 2 (1/2) (1 + 1)/(pi^2 Q): even modes without biases, odd ones with
    assert total + tail == pytest.approx(
        float(circle.relu_kernel(np.array(0.0), hidden_bias=1.0, output_bias=1.0)), abs=1e-10
    )


@pytest.mark.parametrize(("bias_init", "output_bias"), BIASES)
def test_spectrum_of_one_hidden_layer(bias_init, output_bias):
    net = Network(2, (1,), bias_init=bias_init, output_bias=output_bias, sigma_b=0.7)
    found = circle.spectrum(lambda t: circle.profile(net, t).ntk[0], MODES)
    np.testing.assert_allclose(
        found.eigenvalues, circle.relu_eigenvalues(MODES, **gains(bias_init, output_bias)), atol=1e-14
    )
    assert found.error < 1e-14


def test_spectrum_of_high_modes():
    modes = np.array([1000, 2001, 3000])
    found = circle.spectrum(circle.relu_kernel, modes)
    rounding = 3000 * np.spacing(1.0)  # of the phase q t
    assert np.max(np.abs(found.eigenvalues - circle.relu_eigenvalues(modes))) <= found.error + rounding
    assert found.error < 1e-12


def test_spectrum_says_its_error():
    """A kink inside (0, pi) is seen; |t - 1| converges, but slowly."""
    with pytest.raises(ValueError, match="tolerance"):
        circle.spectrum(lambda t: np.sqrt(np.abs(t - 1.0)), MODES, tolerance=1e-14)
    found = circle.spectrum(lambda t: np.abs(t - 1.0), MODES, tolerance=1e-6)
    exact = np.array(
        [integrate.quad(lambda t, q=q: abs(t - 1) * np.cos(q * t) / np.pi, 0, np.pi, points=[1])[0] for q in MODES]
    )
    assert np.max(np.abs(found.eigenvalues - exact)) <= 2 * found.error
    assert found.error > 1e-12
