"""One law, four engines: they are compared with each other, never with stored numbers.

Kolmogorov-Smirnov tests: this file makes about 800 of them with fixed seeds. Each must give
p > 1e-4, so that for correct engines the chance of any failure was 800 x 1e-4 = 8 % when the
seeds were chosen, and is 0 or 1 since. ``test_comparison_has_power`` shows what they can see.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ntkpipe.engines import dense, matrix_free, scalar
from ntkpipe.networks import ACTIVATIONS, BIAS_INITS, PARAMETRIZATIONS, Network
from ntkpipe.streams import QUANTUM, Stream, quanta
from ntkpipe.theory import moments

pytestmark = pytest.mark.law

P_VALUE = 1e-4


def _draw(engine, net, x, n, *, seed=0, gram=True):
    """(K, f) of n draws; every engine and seed has a stream of its own."""
    stream = Stream(seed, engine.__name__)
    parts = [engine.sample(net, x, stream, quantum, count, gram=gram) for quantum, count in quanta(0, n)]
    return tuple(np.concatenate([getattr(part, name) for part in parts]) for name in ("ntk", "output"))


def _assert_same_law(first, second, what):
    scale = np.abs(second).max() or 1.0  # engines round differently: what is constant must be a tie
    result = stats.ks_2samp(np.round(first / scale, 12), np.round(second / scale, 12))
    assert result.pvalue > P_VALUE, f"{what}: KS D = {result.statistic:.3f}, p = {result.pvalue:.1e}"


def _spectrum(ntk):
    """Eigenvalues, below 1e-13 of the largest (rounding) set to 0, and the log-determinant of the rest."""
    values = np.linalg.eigvalsh(ntk)
    values = np.where(values > 1e-13 * values[:, -1:], values, 0.0)
    with np.errstate(divide="ignore"):
        return values, np.maximum(np.log(values).sum(axis=1), -100.0)  # singular matrices are ties, below all others


def _assert_same_gram_law(first, second):
    (k1, f1), (k2, f2) = first, second
    size = k1.shape[1]
    for i in range(size):
        _assert_same_law(f1[:, i], f2[:, i], f"f({i})")
        for j in range(i, size):
            _assert_same_law(k1[:, i, j], k2[:, i, j], f"K[{i}, {j}]")
    (e1, d1), (e2, d2) = _spectrum(k1), _spectrum(k2)
    for i in range(size):
        _assert_same_law(e1[:, i], e2[:, i], f"eigenvalue {i}")
    _assert_same_law(d1, d2, "log-determinant")


# --- scalar against the exact moments ---------------------------------------------------------


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
@pytest.mark.parametrize("bias_init", ["none", "zero"])
@pytest.mark.parametrize(
    "widths",
    [(), (1,), (2, 1), (1, 3), (3, 2, 3), (16, 64, 4, 32), (300, 20, 257), (40,) * 6],
    ids=str,
)
def test_scalar_moments_agree_with_exact(widths, bias_init, parametrization):
    """Means of K and K^2 within 4 *exact* standard errors sqrt((E[K^2p]/E[K^p]^2 - 1)/n)."""
    keys = {"parametrization": parametrization, "bias_init": bias_init, "sigma_b": 0.6, "sigma_v": 1.2}
    net, x, n = Network(5, widths, **keys), np.full((1, 5), 0.5), 100 * QUANTUM
    k, f = _draw(scalar, net, x, n)
    logs = moments.log_moments(net, float(np.sum(x**2)), 4)
    for p in (1, 2):
        error = np.sqrt(max(np.expm1(logs[2 * p - 1] - 2 * logs[p - 1]), 0) / n)
        assert error < 0.1  # the comparison says something
        assert abs(np.mean(k**p) / np.exp(logs[p - 1]) - 1) <= 4 * error + 1e-12
    dead = moments.dead_fraction(net)
    assert abs(np.mean(f == 0) - dead) <= 4 * np.sqrt(dead * (1 - dead) / n)
    alive_value = 0.0 if bias_init == "none" else net.bias_gain[-1]
    assert np.all(k[f == 0] == alive_value)  # a dead layer leaves the output bias, exactly


def test_scalar_output_has_the_second_and_fourth_moment_of_a_deep_relu_network():
    """E[f^2] = sigma_v^2 |x|^2/n_0 and E[f^4]/(3 E[f^2]^2) = prod (1 + 5/n_l); f is even."""
    net, x, n = Network(5, (16, 32, 24)), np.full((1, 5), 0.5), 200 * QUANTUM
    _, f = _draw(scalar, net, x, n)
    second, fourth = 1.25 / 5, 3 * (1.25 / 5) ** 2 * (1 + 5 / 16) * (1 + 5 / 32) * (1 + 5 / 24)
    assert abs(np.mean(f**2) - second) <= 4 * np.sqrt((fourth - second**2) / n)
    # the error of the fourth moment from the sample: E[f^8] is finite and n large
    assert abs(np.mean(f**4) - fourth) <= 4 * np.std(f**4) / np.sqrt(n)
    assert abs(np.mean(f)) <= 4 * np.sqrt(second / n)


@pytest.mark.parametrize("bias_init", ["none", "zero"])
@pytest.mark.parametrize("engine", [matrix_free, dense], ids=["matrix_free", "dense"])
def test_gram_engines_agree_with_exact_moments(engine, bias_init, quick_compile):
    """The exact theory against networks with weights, at widths where dead layers show."""
    net, x, n = Network(3, (3, 4, 3), bias_init=bias_init), np.array([[1.0, 0.5, -0.5]]), 40 * QUANTUM
    k, f = _draw(engine, net, x, n)
    logs = moments.log_moments(net, 1.5, 4)
    for p in (1, 2):
        error = np.sqrt(np.expm1(logs[2 * p - 1] - 2 * logs[p - 1]) / n)
        assert error < 0.1
        assert abs(np.mean(k**p) / np.exp(logs[p - 1]) - 1) <= 4 * error
    dead = moments.dead_fraction(net)
    assert abs(np.mean(f == 0) - dead) <= 4 * np.sqrt(dead * (1 - dead) / n)


# --- matrix_free against dense ----------------------------------------------------------------

X3 = np.random.default_rng(0).standard_normal((3, 5))
REPEATED = np.stack([X3[0], X3[1], X3[0], -X3[1]])
GRAM_CASES = {
    **{f"{a} {b} ntk": (Network(5, (5, 5), a, bias_init=b, sigma_b=0.7), X3) for a in ACTIVATIONS for b in BIAS_INITS},
    **{
        f"{a} {b} standard": (Network(5, (5, 5), a, bias_init=b, sigma_b=0.7, parametrization="standard"), X3)
        for a in ACTIVATIONS
        for b in BIAS_INITS
    },
    "repeated and opposite inputs": (Network(5, (6, 6)), REPEATED),
    "repeated inputs, tanh, biases": (Network(5, (6, 6), "tanh", bias_init="normal"), REPEATED),
    "more inputs than width": (Network(4, (3, 3), "erf"), np.random.default_rng(1).standard_normal((6, 4))),
    "more inputs than width, relu": (Network(2, (2, 3)), np.random.default_rng(2).standard_normal((5, 2))),
    "width 1": (Network(5, (1, 1), "leaky_relu", negative_slope=0.3), X3),
    "width 1, relu": (Network(5, (1,), bias_init="zero", output_bias=False), X3),
    "a neck": (Network(5, (8, 1, 8), "tanh", bias_init="normal"), X3),
    "depth 0": (Network(5, (), bias_init="normal"), X3),
    "depth 6": (Network(5, (5,) * 6), X3),
    "scales": (Network(5, (5, 9), "tanh", sigma_w=0.8, sigma_v=2.0, sigma_b=0.3, bias_init="normal"), X3),
}


@pytest.mark.parametrize("case", GRAM_CASES)
def test_gram_engines_agree(case, quick_compile):
    net, x = GRAM_CASES[case]
    n = 4 * QUANTUM
    _assert_same_gram_law(_draw(matrix_free, net, x, n), _draw(dense, net, x, n))


def test_diagonal_mode_is_the_diagonal_of_the_gram_matrix(quick_compile):
    """The same stream, with and without the rest of the matrix: the same numbers to rounding."""
    net = Network(5, (5, 5), "gelu", bias_init="normal")
    for engine in (matrix_free, dense):
        whole, f = _draw(engine, net, X3, 200)
        diagonal, g = _draw(engine, net, X3, 200, gram=False)
        expected = np.diagonal(whole, axis1=1, axis2=2)
        assert np.all(np.abs(diagonal - expected) <= 1e-13 * expected.max(axis=1, keepdims=True))
        np.testing.assert_allclose(f, g, rtol=0, atol=1e-13 * np.abs(f).max())


def test_comparison_has_power():
    """What the comparison sees: sigma_w 10 % larger, biases of half the scale, one layer of 8 for 5."""
    keys, n = {"activation": "tanh", "bias_init": "normal"}, 4 * QUANTUM
    good = _draw(matrix_free, Network(5, (5, 5), sigma_b=0.7, **keys), X3, n)
    for wrong in (
        Network(5, (5, 5), sigma_b=0.7, sigma_w=2**0.5 * 1.1, **keys),
        Network(5, (5, 5), sigma_b=0.35, **keys),
        Network(5, (5, 8), sigma_b=0.7, **keys),
    ):
        with pytest.raises(AssertionError, match="KS D"):
            _assert_same_gram_law(good, _draw(matrix_free, wrong, X3, n, seed=1))


def test_wrong_backward_pass_would_be_seen():
    """Leaving out what the forward pass has fixed of W (fresh weights backwards) is another law."""
    net, x, n = Network(5, (2,) * 5, "linear"), X3[:1], 4 * QUANTUM
    rng = np.random.default_rng(0)
    ntk = np.zeros(n)
    for draw in range(n):
        h, inner = x[0], []
        for width in net.widths:
            inner.append(h @ h)
            h = rng.standard_normal((width, len(h))) @ h * np.sqrt(2 / len(h))
        ntk[draw] = h @ h / 2
        delta = rng.standard_normal(2) / np.sqrt(2)
        for layer in range(4, -1, -1):
            ntk[draw] += 2 / net.fan_in[layer] * inner[layer] * (delta @ delta)
            delta = rng.standard_normal((2, 2)) @ delta  # sqrt(2/2) = 1
    right, _ = _draw(matrix_free, net, x, n)
    assert stats.ks_2samp(ntk, right).pvalue < P_VALUE


# --- scalar against the engines with weights --------------------------------------------------


@pytest.mark.parametrize("bias_init", ["none", "zero"])
@pytest.mark.parametrize("widths", [(1,), (3, 2, 4), (9, 30, 6)], ids=str)
def test_scalar_and_matrix_free_agree(widths, bias_init):
    """The joint law of (K, f) at small widths: K, f, and f^2/K (dead layers are ties at 0)."""
    net, x, n = Network(5, widths, bias_init=bias_init, sigma_b=0.6), X3[:1], 8 * QUANTUM
    (k1, f1), (k2, f2) = (_draw(engine, net, x, n) for engine in (scalar, matrix_free))
    _assert_same_law(k1, k2, "K")
    _assert_same_law(f1, f2, "f")
    _assert_same_law(f1**2 / np.where(k1 > 0, k1, 1), f2**2 / np.where(k2 > 0, k2, 1), "f^2/K")


def test_scalar_and_dense_agree():
    """K and f at (depth 32, width 64): scalar 20 000, matrix_free 20 000, dense 4 096 draws.

    log K is compared (KS does not see the difference: it is invariant). Two samples of 20 000
    see a distance of the distribution functions of 0.022 at p = 1e-4, 20 000 and 4 096 of 0.039.
    """
    net, x = Network(10, (64,) * 32), np.full((1, 10), 10**-0.5)
    k1, f1 = _draw(scalar, net, x, 20_000)
    for engine, n in ((matrix_free, 20_000), (dense, 4 * QUANTUM)):
        k2, f2 = _draw(engine, net, x, n)
        _assert_same_law(np.log(k1), np.log(k2), f"log K, {engine.__name__}")
        _assert_same_law(f1, f2, f"f, {engine.__name__}")


def test_scalar_and_dense_agree_deep_and_wide():
    """The same at (depth 128, width 256): scalar 20 000 draws, matrix_free 1 024, dense 300.

    A dense draw costs 0.2 to 0.5 s there. 300 against 20 000 see a distance of 0.13 at p = 1e-4,
    1 024 of matrix_free 0.072.
    """
    net, x = Network(10, (256,) * 128), np.full((1, 10), 10**-0.5)
    k1, f1 = _draw(scalar, net, x, 20_000)
    for engine, n in ((matrix_free, QUANTUM), (dense, 300)):
        k2, f2 = _draw(engine, net, x, n)
        _assert_same_law(np.log(k1), np.log(k2), f"log K, {engine.__name__}")
        _assert_same_law(f1, f2, f"f, {engine.__name__}")


# --- the identity behind dense ----------------------------------------------------------------


@pytest.mark.parametrize("parametrization", PARAMETRIZATIONS)
@pytest.mark.parametrize("bias_init", BIAS_INITS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_identity_kernel_is_the_autodiff_jacobian_kernel(activation, bias_init, parametrization, quick_compile):
    """K = J C J^T, J = df/d(W, b) by jax.jacobian of the plain forward pass, C the squared scales.

    In ``ntk`` W = s w and b = sigma_b beta with w, beta trained, so df/dw = s df/dW; in ``standard`` C = 1.
    With these weights a layer is dead for one input, so that z = 0 above it: there phi'(0) counts too.
    """
    net = Network(
        5, (5, 5, 3), activation, negative_slope=0.2, bias_init=bias_init, sigma_b=0.7, parametrization=parametrization
    )
    x = jnp.asarray(X3)
    params = dense.init(Stream(0, "identity").key(0), net)

    @jax.jit  # one compilation instead of one an operation
    def both(params, x):
        identity = dense.ntk_and_output(params, x, net), dense.ntk_and_output(params, x, net, gram=False)[0]
        return *identity, dense.forward(params, x, net), jax.jacobian(dense.forward)(params, x, net)

    (ntk, output), diagonal, forward, jacobian = both(params, x)
    expected = np.zeros((3, 3))
    for (first, stop), (weights, biases) in zip(dense.runs(net), jacobian, strict=True):
        for layer in range(first, stop):
            j = np.asarray(weights[:, layer - first]).reshape(3, -1)
            expected += (net.weight_variance[layer] if parametrization == "ntk" else 1.0) * j @ j.T
            if bias_init != "none":
                j = np.asarray(biases[:, layer - first]).reshape(3, -1)
                expected += (0.49 if parametrization == "ntk" else 1.0) * j @ j.T
    # Sums of a few hundred products over 4 layers, each with a relative error of some ulp.
    np.testing.assert_allclose(ntk, expected, rtol=0, atol=1e-13 * np.abs(expected).max())
    np.testing.assert_allclose(output, forward, rtol=0, atol=1e-14 * np.abs(output).max())
    np.testing.assert_allclose(diagonal, np.diag(expected), rtol=0, atol=1e-13 * np.abs(expected).max())


def test_dense_weights_have_the_scales_of_the_config():
    """Var W = c/fan_in and Var b = sigma_b^2, layer by layer, and no two layers share numbers."""
    net = Network(40, (60, 60, 60, 30), sigma_w=0.9, sigma_v=1.7, bias_init="normal", sigma_b=0.4)
    params = dense.init(Stream(0, "scales").key(0), net)
    layers = [(w, b) for ws, bs in params for w, b in zip(ws, bs, strict=True)]
    assert [w.shape for w, _ in layers] == [(60, 40), (60, 60), (60, 60), (30, 60), (1, 30)]
    for (w, b), variance, scale in zip(layers, net.weight_variance, net.bias_scale, strict=True):
        for values, sd in ((np.asarray(w), variance**0.5), (np.asarray(b), scale)):
            n = values.size
            if n > 1:
                assert stats.kstest(values.ravel() / sd, "norm").pvalue > P_VALUE
                assert stats.chi2.cdf(np.sum(values**2) / sd**2, n) > P_VALUE
    assert abs(np.corrcoef(np.ravel(layers[1][0]), np.ravel(layers[2][0]))[0, 1]) < 4 / 60
