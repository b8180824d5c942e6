"""Kernels of infinite width against the recursion with expectations by quadrature, and where rounding matters."""

import numpy as np
import pytest

from ntkpipe.activations import numpy_activation
from ntkpipe.networks import ACTIVATIONS, BIAS_INITS, PARAMETRIZATIONS, Network
from ntkpipe.theory import infinite_width, moments
from ntkpipe.theory.infinite_width import kernels

X = np.random.default_rng(0).standard_normal((3, 4))
Y = np.random.default_rng(1).standard_normal((2, 4)) * np.array([[0.3], [1.5]])
_GAUSS = np.polynomial.legendre.leggauss(64)


def expectation(function, q1, q2, covariance):
    """E[function(u, v)] in polar coordinates, panels between the kinks at u = 0 and v = 0; r to 13."""
    theta = np.arccos(np.clip(covariance / np.sqrt(q1 * q2), -1, 1))
    ends = np.sort([-np.pi / 2, np.pi / 2, theta - np.pi / 2, theta + np.pi / 2, 3 * np.pi / 2])
    psi, over_psi = (np.concatenate(parts) for parts in zip(*map(_panel, ends[:-1], ends[1:]), strict=True))
    edges = np.linspace(0, 13, 9)
    r, over_r = (np.concatenate(parts) for parts in zip(*map(_panel, edges[:-1], edges[1:]), strict=True))
    u = np.sqrt(q1) * np.outer(np.cos(psi), r)
    v = np.sqrt(q2) * np.outer(np.cos(psi - theta), r)
    return float((over_psi / (2 * np.pi)) @ function(u, v) @ (over_r * r * np.exp(-(r**2) / 2)))


def _panel(a, b):
    nodes, weights = _GAUSS
    return (a + b) / 2 + (b - a) / 2 * nodes, (b - a) / 2 * weights


def recursion(net, x, y):
    """NNGP and NTK of two points, written down as in the module's formula."""
    phi, dphi, _ = numpy_activation(net.activation, net.negative_slope)

    def product(f):
        return lambda u, v: f(u) * f(v)

    n, v, s = net.fan_in, net.weight_variance, net.bias_scale
    q1, q2, covariance = (v[0] * float(p @ q) + s[0] ** 2 for p, q in ((x, x), (y, y), (x, y)))
    ntk = net.weight_gain[0] * float(x @ y) + net.bias_gain[0]
    for i in range(1, net.depth + 1):
        slope = expectation(product(dphi), q1, q2, covariance)
        inner = [expectation(product(phi), *pair) for pair in ((q1, q1, q1), (q2, q2, q2), (q1, q2, covariance))]
        ntk = n[i] * net.weight_gain[i] * inner[2] + net.bias_gain[i] + n[i] * v[i] * slope * ntk
        q1, q2, covariance = (n[i] * v[i] * e + s[i] ** 2 for e in inner)
    return covariance, ntk


CASES = [
    *({"activation": a, "bias_init": b} for a in ACTIVATIONS for b in BIAS_INITS),
    *({"activation": a, "bias_init": "normal", "parametrization": "standard"} for a in ACTIVATIONS),
    *({"bias_init": b, "output_bias": False, "readout": "frozen"} for b in BIAS_INITS),
]


@pytest.mark.parametrize("widths", [(), (3,), (3, 7, 2)], ids=str)
@pytest.mark.parametrize("keys", CASES, ids=lambda keys: " ".join(map(str, keys.values())))
def test_recursion(keys, widths):
    net = Network(4, widths, sigma_w=1.3, sigma_v=0.8, sigma_b=0.6, negative_slope=0.2, **keys)
    found = kernels(net, X, Y)
    for i, x in enumerate(X):
        for j, y in enumerate(Y):
            nngp, ntk = recursion(net, x, y)
            assert found.nngp[i, j] == pytest.approx(nngp, rel=1e-11, abs=1e-12)
            assert found.ntk[i, j] == pytest.approx(ntk, rel=1e-11, abs=1e-12)


@pytest.mark.parametrize("bias_init", ["none", "zero"])
@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_diagonal_is_the_exact_mean_at_any_width(bias_init, parametrization):
    """ReLU: E[K(x, x)] depends on the width by dead layers alone, 2^-64 here."""
    net = Network(4, (64,) * 5, bias_init=bias_init, parametrization=parametrization, sigma_w=1.2, sigma_b=0.5)
    exact = [np.exp(moments.log_moments(net, float(x @ x), 1)[0]) for x in X]
    np.testing.assert_allclose(np.diag(kernels(net, X).ntk), exact, rtol=1e-12)


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
def test_hidden_widths_matter_in_the_standard_parametrization_only(parametrization):
    narrow, wide = (kernels(Network(4, (n,) * 3, parametrization=parametrization), X) for n in (8, 8000))
    np.testing.assert_allclose(narrow.nngp, wide.nngp, rtol=1e-14)
    if parametrization == "ntk":
        np.testing.assert_allclose(narrow.ntk, wide.ntk, rtol=1e-14)
    else:
        huge = kernels(Network(4, (8 * 10**9,) * 3, parametrization="standard"), X).ntk / 10**6
        np.testing.assert_allclose(wide.ntk, huge, rtol=2e-3)  # the first layer's share, 1/n


def test_close_points_keep_their_angle():
    """K(0) - K(t) = t/pi sum_l Theta^l(0) + O(t^2): an arccos of a rounded cosine would miss it by 1e-8 > t."""
    t, depth = 1e-9, 6
    points = np.array([[np.sqrt(2), 0.0], [np.sqrt(2) * np.cos(t), np.sqrt(2) * np.sin(t)]])
    ntk = kernels(Network(2, (1,) * depth, sigma_v=2**0.5), points).ntk
    # Theta^l(0) = 2 l with c = 2 in all layers, and every T' = (1 - theta/pi) loses theta/pi of what is below
    expected = t / np.pi * sum(2 * layer for layer in range(1, depth + 1))
    rounding = 16 * np.spacing(ntk[0, 0]) / expected
    assert ntk[0, 0] - ntk[0, 1] == pytest.approx(expected, rel=rounding + 10 * t)
    assert rounding < 1e-5


@pytest.mark.parametrize(
    ("activation", "depth"), [("relu", 64), ("linear", 64), ("gelu", 4), ("erf", 32), ("tanh", 24)]
)
def test_equal_points_stay_equal_at_any_depth(activation, depth):
    """tanh and erf with sigma_w = 2.5 part close points; the rounding of a correlation would grow likewise."""
    net = Network(4, (1,) * depth, activation, sigma_w=2.5, bias_init="normal", sigma_b=0.3)
    x = X / np.array([[1.0], [2.0], [3.0]])
    one, two = kernels(net, x), kernels(net, x, x.copy())
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(np.diag(b), np.diag(a), rtol=1e-13)
    if activation in ("erf", "tanh"):
        apart = 1 - np.diag(kernels(net, x, x + 1e-6).nngp) / np.diag(one.nngp)
        assert np.all(apart > 1e-8)  # 10^4 times the defect that they started with, and 10^5 times the tolerance


def test_opposite_and_collinear_points():
    x = X[:1]
    ntk = kernels(Network(4, (1,)), x, np.concatenate([-x, -3 * x, 3 * x])).ntk[0]
    assert np.all(np.abs(ntk[:2]) < 1e-15)  # Theta(pi) = 0
    assert ntk[2] == pytest.approx(3 * kernels(Network(4, (1,)), x).ntk[0, 0], rel=1e-14)


@pytest.mark.parametrize("activation", ["relu", "erf", "tanh"])
def test_blocks_and_spheres_change_nothing(activation, monkeypatch):
    net = Network(4, (1,) * 3, activation, bias_init="normal", sigma_b=0.4)
    x = np.random.default_rng(2).standard_normal((23, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    whole = kernels(net, x)
    together = kernels(net, np.concatenate([x, 2 * x[:1]]))  # one point off the sphere
    monkeypatch.setattr(infinite_width, "_BLOCK", 5)
    blocks, pairs = kernels(net, x), kernels(net, x, x[:7])
    for a, b, c, d in zip(whole, together, blocks, pairs, strict=True):
        np.testing.assert_array_equal(c, c.T)
        np.testing.assert_allclose(c, a, rtol=1e-13)
        np.testing.assert_allclose(b[:-1, :-1], a, rtol=1e-12)
        np.testing.assert_allclose(d, a[:, :7], rtol=1e-13)
        assert np.linalg.eigvalsh(a)[0] > -1e-13 * np.trace(a)


def test_errors():
    with pytest.raises(ValueError, match="input_dim = 5"):
        kernels(Network(5, (1,)), X)
    with pytest.raises(ValueError, match=r"zero.*row 1"):
        kernels(Network(4, (1,)), X * np.array([[1.0], [0.0], [1.0]]))
    with pytest.raises(ValueError, match="Hermite terms"):
        kernels(Network(4, (1,), "tanh"), 100 * X)
    assert np.isfinite(kernels(Network(4, (1,), bias_init="normal"), 0 * X).ntk).all()
