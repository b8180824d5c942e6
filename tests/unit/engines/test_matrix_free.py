"""Matrix-free draws: degenerate inputs and the float32 arithmetic."""

import numpy as np
import pytest

from ntkpipe.engines import dense, matrix_free
from ntkpipe.networks import ACTIVATIONS, Network
from ntkpipe.streams import Stream

X = np.random.default_rng(0).standard_normal((3, 5))


def _draw(engine, net, x, n=64, **keys):
    return engine.sample(net, x, Stream(0, "a"), 0, n, **keys)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_repeated_inputs_have_repeated_rows_and_opposite_ones_their_sign(activation):
    net = Network(5, (6, 7), activation)
    k, f, _ = _draw(matrix_free, net, np.stack([X[0], X[1], X[0], -X[0]]))
    scale = np.abs(k).max(axis=(1, 2), keepdims=True)
    # Householder QR keeps equal columns equal to a few ulp
    assert np.all(np.abs(k[:, 0] - k[:, 2]) <= 1e-13 * scale[:, 0])
    np.testing.assert_allclose(f[:, 0], f[:, 2], rtol=0, atol=1e-13 * np.abs(f).max())
    if activation in ("tanh", "erf", "linear"):  # odd
        np.testing.assert_allclose(f[:, 0], -f[:, 3], rtol=0, atol=1e-13 * np.abs(f).max())


@pytest.mark.parametrize("engine", [matrix_free, dense], ids=["matrix_free", "dense"])
def test_gram_matrices_are_symmetric_and_positive(engine):
    k, _, _ = _draw(engine, Network(5, (4, 6), "tanh", bias_init="normal"), X)
    np.testing.assert_allclose(k, k.transpose(0, 2, 1), rtol=0, atol=1e-13 * np.abs(k).max())
    eigenvalues = np.linalg.eigvalsh(k)
    assert np.all(eigenvalues[:, 0] > -1e-13 * eigenvalues[:, -1])


@pytest.mark.parametrize("engine", [matrix_free, dense], ids=["matrix_free", "dense"])
def test_shapes_by_inputs_and_mode(engine):
    net = Network(5, (4,))
    for x, gram, ntk, output in (
        (X, True, (8, 3, 3), (8, 3)),
        (X, False, (8, 3), (8, 3)),
        (X[:1], True, (8,), (8,)),
        (X[:1], False, (8,), (8,)),
    ):
        draws = _draw(engine, net, x, 8, gram=gram)
        assert (draws.ntk.shape, draws.output.shape, draws.log_weight.shape) == (ntk, output, (8,))
        assert draws.ntk.dtype == draws.output.dtype == np.float64


def test_depth_zero_is_the_linear_kernel():
    """K = sigma_v^2/n_0 x.x' + sigma_b^2 with certainty; f is Gaussian with that covariance."""
    net = Network(5, (), sigma_v=1.5, bias_init="normal", sigma_b=0.3)
    expected = 2.25 / 5 * X @ X.T + 0.09
    for engine in (matrix_free, dense):
        draws = _draw(engine, net, X, 1024)
        np.testing.assert_allclose(draws.ntk, np.broadcast_to(expected, (1024, 3, 3)), rtol=1e-13)
        covariance = draws.output.T @ draws.output / 1024
        error = np.sqrt((np.outer(np.diag(expected), np.diag(expected)) + expected**2) / 1024)  # Wishart
        assert np.all(np.abs(covariance - expected) < 4.5 * error)


@pytest.mark.parametrize("engine", [matrix_free, dense], ids=["matrix_free", "dense"])
def test_float32_is_float32_arithmetic_with_float64_statistics(engine):
    """Kernels that ought to be equal differ by float32 rounding, which float64 arithmetic would not show."""
    x = np.stack([X[0], X[0]])
    for precision, least, most in (("float32", 0.0, 1e-5), ("float64", 0.0, 1e-13)):
        draws = _draw(engine, Network(5, (32, 32), "tanh"), x, 256, precision=precision)
        assert draws.ntk.dtype == np.float64
        gap = np.abs(draws.ntk[:, 0, 1] / draws.ntk[:, 0, 0] - 1).max()
        assert least <= gap < most
    single = _draw(engine, Network(5, (32, 32), "tanh"), x, 256, precision="float32").ntk
    np.testing.assert_array_equal(single, single.astype(np.float32))
    double = _draw(engine, Network(5, (32, 32), "tanh"), x, 256).ntk
    assert np.any(double != double.astype(np.float32))
