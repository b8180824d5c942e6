"""Laws of the RKHS of a kernel: norms, symmetries, what is outside the space, an independent judge."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ntkpipe.analysis import frozen, rkhs, spaces, spectrum
from ntkpipe.analysis.drift import Eigen, eigenpairs, principal_angles, target_alignment
from ntkpipe.analysis.frozen import regress
from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.training import descent

pytestmark = pytest.mark.law

FREE = np.zeros(1)
REG = np.array([1e-6, 1e-3, 0.1])


def network_kernel(params, x, network):
    return np.asarray(dense.ntk_and_output(params, jnp.asarray(x), network)[0])


def train(network, params, x, y, steps: int, load: float = 0.5):
    """Gradient descent with a step of ``load`` times 2/lambda_max(K_0)."""
    eta = load * 2 / np.linalg.eigvalsh(network_kernel(params, x, network))[-1]
    state = descent.State(params, jnp.asarray(0), jnp.asarray(-1))
    run = jax.jit(partial(descent.descend, network=network))
    return run(state, steps, jnp.asarray(x), jnp.asarray(y), jnp.asarray(eta), jnp.asarray(jnp.inf)).params


def circle(n: int) -> tuple[np.ndarray, np.ndarray]:
    angles = 2 * np.pi * (np.arange(n) + 0.3) / n
    return angles, np.stack([np.cos(angles), np.sin(angles)], axis=1)


@pytest.fixture(scope="module")
def case():
    """A network of two hidden layers with biases on 12 train and 5 eval points in three dimensions."""
    rng = np.random.default_rng(0)
    network = Network(3, (40, 40), bias_init="normal", sigma_b=0.3)
    params = dense.init(jax.random.key(1), network)
    x, y = rng.standard_normal((17, 3)), rng.standard_normal(12)
    whole = network_kernel(params, x, network)
    return network, params, x, y, whole[:12, :12], whole[12:, :12]


def test_two_points_by_hand():
    """K = (a b; b a): y = (1, 1) has the norm 2/(a + b), y = (1, -1) has 2/(a - b); with a ridge a + lambda."""
    a, b = 3.0, 1.0
    eigen = eigenpairs(np.array([[a, b], [b, a]]))
    for y, value in ((np.array([1.0, 1.0]), a + b), (np.array([1.0, -1.0]), a - b)):
        reg = np.array([0.0, 0.5])
        np.testing.assert_allclose(rkhs.squared_norm(eigen, y, reg), 2 / (value + reg * a), rtol=1e-14)
        own = 2 * value / (value + reg * a) ** 2
        np.testing.assert_allclose(rkhs.interpolant_norm(eigen, y, reg), own, rtol=1e-14)
    # One feature phi: only its multiples are in the space, and c phi has the norm c^2.
    phi = np.array([1.0, 2.0, -1.0])
    small = rkhs.squared_norm(eigenpairs(np.outer(phi, phi)), 3 * phi, np.array([1e-6]))
    np.testing.assert_allclose(small, 9, rtol=1e-5)


def test_the_interpolant_has_the_norm_of_its_target(case):
    """|g|^2_H = alpha^T K alpha = y^T K^{-1} y, and no function of the space with these values has a smaller one.

    Other functions: g plus one that vanishes at the train points, built on all 17 points.
    """
    network, params, x, y, ntk, cross = case
    eigen, whole = eigenpairs(ntk), eigenpairs(network_kernel(params, x, network))
    norm = rkhs.squared_norm(eigen, y, FREE)
    np.testing.assert_allclose(rkhs.interpolant_norm(eigen, y, FREE), norm, rtol=1e-10)
    g = cross @ np.linalg.solve(ntk, y)
    np.testing.assert_allclose(rkhs.squared_norm(whole, np.concatenate([y, g]), FREE), norm, rtol=1e-8)
    for seed in range(20):
        other = np.concatenate([y, g + 0.1 * np.random.default_rng(seed).standard_normal(5)])
        assert rkhs.squared_norm(whole, other, FREE)[0] > norm[0]


def test_rotating_inputs_and_first_weights_changes_nothing(case):
    """f(R x; W R^T) = f(x; W): one RKHS in other coordinates. The law of the network is the same too."""
    network, params, x, y, ntk, _ = case
    turn = np.linalg.qr(np.random.default_rng(5).standard_normal((3, 3)))[0]
    turned = [(params[0][0] @ turn.T, params[0][1]), *params[1:]]
    moved = network_kernel(turned, (x @ turn.T)[:12], network)
    before, after = eigenpairs(ntk), eigenpairs(moved)
    for of in (rkhs.squared_norm, rkhs.interpolant_norm):
        np.testing.assert_allclose(of(after, y, REG), of(before, y, REG), rtol=1e-8)
    np.testing.assert_allclose(
        spaces.pencil(moved, before, REG).largest, [1, 1, 1] / (1 + ridge_share(before)), rtol=1e-8
    )
    np.testing.assert_allclose(principal_angles(before, after, 3), 0, atol=1e-9)
    np.testing.assert_allclose(spectrum.decay(after.values).exponent, spectrum.decay(before.values).exponent, rtol=1e-8)


def ridge_share(eigen: Eigen) -> np.ndarray:
    """lambda/lambda_1: the pencil (K, K + lambda) has the largest eigenvalue 1/(1 + lambda/lambda_1)."""
    return frozen.ridge(eigen.values, REG) / eigen.values[0]


@pytest.mark.parametrize("c", [1e-5, 0.3, 700.0])
def test_a_kernel_that_only_grows(case, c):
    """K -> c K: norms over c, constants c, volume log c, angles 0, decay, ranks and alignment as before."""
    *_, y, ntk, _ = case
    before, after = eigenpairs(ntk), eigenpairs(c * ntk)
    for of in (rkhs.squared_norm, rkhs.interpolant_norm):
        np.testing.assert_allclose(c * of(after, y, REG), of(before, y, REG), rtol=1e-8)
    np.testing.assert_allclose(spaces.pencil(c * ntk, before, FREE), c, rtol=1e-7)
    np.testing.assert_allclose(spaces.log_det_ratio(after.values, before.values, FREE), np.log(c), rtol=1e-9)
    np.testing.assert_allclose(principal_angles(before, after, 3), 0, atol=1e-9)
    for of in (spectrum.effective_rank, spectrum.participation_ratio, lambda v: spectrum.decay(v).exponent):
        np.testing.assert_allclose(of(after.values), of(before.values), rtol=1e-9)
    both = np.stack([ntk, c * ntk])
    np.testing.assert_allclose(np.diff(target_alignment(both, y)), 0, atol=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_a_new_feature_can_only_enlarge_the_space(case, seed):
    """K + phi phi^T: no norm rises (Sherman-Morrison gives by how much), constants are in 1 .. 1 + phi^T K^{-1} phi."""
    *_, y, ntk, _ = case
    phi = np.random.default_rng(seed).standard_normal(12)
    before, larger = eigenpairs(ntk), ntk + np.outer(phi, phi)
    inverse = np.linalg.inv(ntk)
    own = 1 + phi @ inverse @ phi
    fall = rkhs.squared_norm(before, y, FREE) - rkhs.squared_norm(eigenpairs(larger), y, FREE)
    np.testing.assert_allclose(fall, (phi @ inverse @ y) ** 2 / own, rtol=1e-6)
    assert fall[0] > 0
    found = spaces.pencil(larger, before, FREE)
    np.testing.assert_allclose([found.smallest, found.largest], [[1], [own]], rtol=1e-6)
    volume = spaces.log_det_ratio(eigenpairs(larger).values, before.values, FREE)
    np.testing.assert_allclose(volume, np.log(own) / 12, rtol=1e-8)


@pytest.mark.parametrize("width", [8, 64])
def test_conflicting_labels_of_one_input_leave_their_residual(width):
    """Thesis (2.12): what lies in ker K is no function of the space. It stays, to rounding, while the rest is learned.

    Its norm is that of the ridge alone, |y_ker|^2/lambda, however small the ridge; without one it is not given.
    """
    x = np.random.default_rng(2).standard_normal((3, 3))[[0, 0, 1, 2]]
    y = np.array([1.0, -1.0, 0.5, 0.2])
    network = Network(3, (width,))
    params = dense.init(jax.random.key(3), network)
    conflict = np.array([1.0, -1.0, 0.0, 0.0]) / 2**0.5
    learned = train(network, params, x, y, 10_000)
    start, end = (np.asarray(dense.forward(p, jnp.asarray(x), network)) - y for p in (params, learned))
    assert conflict @ start == pytest.approx(-(2**0.5), rel=1e-13)
    assert conflict @ end == pytest.approx(-(2**0.5), rel=1e-13)
    rest = np.eye(4) - np.outer(conflict, conflict)
    assert np.linalg.norm(rest @ end) < 1e-6 < 0.1 < np.linalg.norm(rest @ start)
    for p in (params, learned):
        ntk = network_kernel(p, x, network)
        np.testing.assert_allclose(ntk @ conflict, 0, atol=1e-13 * np.linalg.norm(ntk))
        eigen = eigenpairs(ntk)
        assert np.isnan(rkhs.squared_norm(eigen, y, FREE)).all()
        reg = np.array([1e-7, 1e-5])
        norm = rkhs.squared_norm(eigen, y, reg)
        np.testing.assert_allclose(norm * frozen.ridge(eigen.values, reg), (conflict @ y) ** 2, rtol=1e-2)


@pytest.mark.parametrize("width", [5, 64])
@pytest.mark.parametrize("steps", [0, 1, 40])
def test_one_hidden_relu_layer_never_holds_odd_modes(width, steps):
    """Circle, no biases: K_t has exactly no odd mode q >= 3 at any width and time (ReLU is even plus linear)."""
    angles, x = circle(32)
    network = Network(2, (width,))
    y = np.sign(np.cos(angles)) + np.cos(3 * angles)  # full of odd modes
    params = train(network, dense.init(jax.random.key(width), network), x, y, steps)
    ntk, f = (np.asarray(v) for v in dense.ntk_and_output(params, jnp.asarray(x), network))
    modes = {q: np.exp(1j * q * angles) for q in range(17)}
    for q in range(3, 17, 2):
        assert np.linalg.norm(ntk @ modes[q]) < 1e-13 * np.linalg.norm(ntk) * 32**0.5
        assert abs(f @ modes[q]) < 1e-12 * max(1.0, np.linalg.norm(f)) * 32**0.5
    inside = [np.linalg.norm(ntk @ modes[q]) / np.linalg.norm(ntk) for q in (0, 1, 2, 4)]
    assert min(inside) > 1e-3


@pytest.mark.parametrize("network", [Network(2, (64, 64)), Network(2, (64,), bias_init="zero")], ids=["deep", "biases"])
def test_depth_or_biases_bring_them_in(network):
    angles, x = circle(32)
    ntk = network_kernel(dense.init(jax.random.key(0), network), x, network)
    for q in (3, 5):
        assert np.linalg.norm(ntk @ np.exp(1j * q * angles)) > 1e-2 * np.linalg.norm(ntk)


def test_training_of_the_linear_model_ends_at_the_interpolant():
    """Its kernel does not move: f_t -> g_0 started from f_0, and |f_t - f_0|^2 -> (y - f_0)^T K^{-1} (y - f_0)."""
    rng = np.random.default_rng(4)
    network = Network(9, ())
    x, y, y_eval = rng.standard_normal((11, 9)), rng.standard_normal(6), np.zeros(5)
    start = dense.init(jax.random.key(0), network)
    snapshots = [start, *(train(network, start, x[:6], y, steps) for steps in (10, 100_000))]
    values = [[np.asarray(v) for v in dense.ntk_and_output(p, jnp.asarray(x), network)] for p in snapshots]
    ntk, f = (np.stack(v)[None] for v in zip(*values, strict=True))
    found = rkhs.paths(ntk[..., :6, :6], ntk[..., 6:, :6], f[..., :6], f[..., 6:], y, y_eval, np.array([0.0, 1e-3]))
    network_distance, initial = found["distance_network"][0, :, 1, 0], found["distance_initial"][0, :, 1, 0]
    assert network_distance[0] > 0.1 and not network_distance[2] > 1e-9  # below the rounding of predictions: NaN
    np.testing.assert_allclose(initial[:2], network_distance[:2], rtol=1e-9)
    left = y - f[0, 0, :6]
    for name in ("learned_norm", "learned_norm_initial"):
        np.testing.assert_allclose(found[name][0, 2, 0], left @ np.linalg.solve(ntk[0, 0, :6, :6], left), rtol=1e-9)
    assert (np.diff(found["learned_norm"][0, :, 0]) > 0).all()


def test_against_scikit_learn(case):
    """KernelRidge as an independent judge: dual coefficients, predictions, and norms made of them."""
    judge = pytest.importorskip("sklearn.kernel_ridge")
    *_, y, ntk, cross = case
    eigen = eigenpairs(ntk[None])
    zero = np.zeros((1, 12)), np.zeros((1, 5))
    mine = regress(eigen, cross[None], *zero, y, np.zeros(5), REG)
    for r, alpha in enumerate(REG * np.trace(ntk) / 12):
        theirs = judge.KernelRidge(alpha=alpha, kernel="precomputed").fit(ntk, y)
        np.testing.assert_allclose(mine.f_eval[0, r], theirs.predict(cross), rtol=1e-8, atol=1e-9)
        dual = theirs.dual_coef_
        np.testing.assert_allclose(rkhs.squared_norm(eigen, y, REG)[0, r], y @ dual, rtol=1e-8)
        np.testing.assert_allclose(rkhs.interpolant_norm(eigen, y, REG)[0, r], dual @ ntk @ dual, rtol=1e-8)
