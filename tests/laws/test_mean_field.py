"""Thesis section 2.2 as tests, one a numbered equation: two layers as particles, and their limit.

(2.15) and (2.16) define the empirical measure and its integrals and claim nothing that a computation could miss but
that an integral is a mean over particles, which the test of (2.17) uses.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from ntkpipe import angles
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.config.mean_field import MeanFieldConfig
from ntkpipe.engines import dense
from ntkpipe.kinds.mean_field import draw, limits
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.theory import mean_field
from ntkpipe.training import descent

pytestmark = pytest.mark.law

M, N = 6, 8
THETA = angles.equal(N)
X, Y = jnp.asarray(angles.on_circle(THETA)), jnp.asarray(np.cos(THETA) + np.sin(2 * THETA))
SETTINGS = MeanFieldConfig(
    train=16, frequencies=[1, 2], amplitudes=[1.0, 0.5], eta=0.05, steps=100, snapshots=4, limit_angles=256
)
WIDTHS = (16, 64, 256)
SEEDS = 16


def net(activation: str = "relu", m: int = M, parametrization: str = "mean_field") -> Network:
    return Network(2, (m,), activation, parametrization=parametrization, sigma_v=1.3, sigma_w=1.7)


def output(theta, x, activation: str):
    """(2.14) as it stands, with sigma_v = 1.3 and s_w^2 = 1.7^2/2 put in; theta: (a, w) of each unit."""
    phi = {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation]
    return 1.3 * phi(jnp.sqrt(1.7**2 / 2) * theta[:, 1:] @ x.T).T @ theta[:, 0] / len(theta)


def loss(theta, activation: str):
    return 0.5 * jnp.sum((output(theta, X, activation) - Y) ** 2)


def start(network: Network):
    return dense.init(jax.random.key(3), network)


@pytest.fixture(scope="module")
def runs(quickly):
    """parametrization -> (arrays of each width, limit)."""
    found = {}
    with quickly():
        for parametrization in ("mean_field", "ntk"):
            parts = []
            for m in WIDTHS:
                network, stream = Network(2, (m,), parametrization=parametrization), Stream(5, f"{parametrization} {m}")
                blocks = [draw.train(network, SETTINGS, stream, quantum, 8) for quantum in range(SEEDS // 8)]
                parts.append({k: np.concatenate([block[k][1] for block in blocks]) for k in blocks[0]})
            cell = type("Cell", (), {"network": network, "settings": SETTINGS})()
            found[parametrization] = parts, limits.of(cell)
    return found


def exponent(values: list[np.ndarray]) -> tuple[float, float]:
    """p of size ~ m^p by least squares over all networks, and four standard errors."""
    fit = stats.linregress(np.log(np.repeat(WIDTHS, SEEDS)), np.log(np.concatenate(values)))
    return fit.slope, 4 * fit.stderr


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_thesis_2_14_the_network_is_an_average_and_a_step_is_one_of_m_times_the_gradient(activation):
    network, step = net(activation), 0.01
    params = start(network)
    theta = draw.particles_of(params, network)
    np.testing.assert_allclose(dense.forward(params, X, network), output(theta, X, activation), rtol=1e-12, atol=1e-14)
    residual = dense.forward(params, X, network) - Y
    moved = descent.moved(params, descent.direction(params, X, residual, network), step)
    plain = theta - step * M * jax.grad(loss)(theta, activation)
    np.testing.assert_allclose(draw.particles_of(moved, network), plain, rtol=1e-12, atol=1e-14)
    distance = descent.distance(moved, params, network)
    assert float(distance) == pytest.approx(float(jnp.linalg.norm(plain - theta)) / M**0.5, rel=1e-10)


def test_thesis_2_14_particles_start_as_standard_normal_numbers():
    for parametrization in ("mean_field", "ntk"):
        network = net(m=4096, parametrization=parametrization)
        theta = np.asarray(draw.particles_of(start(network), network))
        assert (np.abs(theta.mean(axis=0)) < 4 / 64).all()
        np.testing.assert_allclose(theta.T @ theta / 4096, np.eye(3), atol=4 * 2**0.5 / 64)


def test_thesis_2_17_the_output_is_an_observable_pushed_forward(runs):
    """f_t = int a phi(w.x) d mu_{m,t}, of particles that have moved, to rounding."""
    x = angles.on_circle(angles.equal(16))
    for m, part in zip(WIDTHS, runs["mean_field"][0], strict=True):
        a, w = part["particles"][..., 0], part["particles"][..., 1:]
        f = np.mean(a[..., None] * np.maximum(w @ x.T, 0), axis=2)
        np.testing.assert_allclose(f[:, 0], part["f_train"][:, 0], atol=1e-13)
        np.testing.assert_allclose(f[:, 1], part["f_train"][:, -1], atol=1e-13)
        assert np.abs(w[:, 1] - w[:, 0]).max() > 1 and a.shape[2] == m


def test_initial_measures_converge_weakly_at_the_rate_of_means(runs):
    """Means of test functions over m particles: exact mean, and exact variance over m."""
    exact = np.array(list(mean_field.at_start(2).values()))
    for parts, _ in runs.values():
        for m, part in zip(WIDTHS, parts, strict=True):
            z = np.sqrt(m / exact[:, 1]) * (part["moment"][:, 0] - exact[:, 0])
            assert (np.abs(z.mean(axis=0)) < 4 / SEEDS**0.5).all()
            assert ((z**2).sum(axis=0) < 45).all() and ((z**2).sum(axis=0) > 3).all()  # chi-squared of 16, 1e-4 a side


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("parametrization", ["mean_field", "ntk"])
def test_thesis_2_18_and_2_19_velocities_are_scaled_gradients(activation, parametrization):
    network = net(activation, parametrization=parametrization)
    theta = draw.particles_of(start(network), network)
    root = M**0.5

    def ntk_loss(theta):
        return 0.5 * jnp.sum((root * output(theta, X, activation) - Y) ** 2)

    mean = parametrization == "mean_field"
    gradient = M * jax.grad(loss)(theta, activation) if mean else jax.grad(ntk_loss)(theta)
    found, _ = draw.velocity(theta, X, Y, network)
    np.testing.assert_allclose(found, -gradient, rtol=1e-11, atol=1e-13)
    if mean:
        one = mean_field.Particles(np.full(M, 1 / M), np.asarray(theta[:, 0]), np.asarray(theta[:, 1:]))
        a, w = mean_field.velocity(network, one, np.asarray(X), np.asarray(Y))
        np.testing.assert_allclose(np.column_stack([a, w]), -gradient, rtol=1e-11, atol=1e-13)


def test_thesis_2_20_means_of_test_functions_follow_the_continuity_equation():
    """Along the flow of 30 particles: change of a mean = time integral (trapezoid, O(h^2)) of mean grad psi . b."""
    network, x, y, errors, h = net("tanh", m=30), np.asarray(X), np.asarray(Y), [], 1e-5
    rng = np.random.default_rng(0)
    begin = mean_field.Particles(np.full(30, 1 / 30), rng.normal(size=30), rng.normal(size=(30, 2)))
    smooth = [i for i, name in enumerate(mean_field.TESTS) if name != "|a||w|"]
    psis = [list(mean_field.TESTS.values())[i] for i in smooth]
    for count in (20, 40):
        path, eta = mean_field.follow(network, begin, range(count + 1), x, y, 0.4 / count, flow=True), 0.4 / count
        rates_of = []
        for p, a, w in path.particles:
            da, dw = mean_field.velocity(network, mean_field.Particles(p, a, w), x, y)
            slopes = [(psi(a + h * da, w + h * dw) - psi(a - h * da, w - h * dw)) / (2 * h) for psi in psis]
            rates_of.append([p @ slope for slope in slopes])
        change = (path.moments - path.moments[0])[:, smooth]
        errors.append(np.abs(change[-1] - np.trapezoid(rates_of, dx=eta, axis=0)).max())
    assert errors[0] < 2e-3 * np.abs(change).max() and errors[0] / errors[1] == pytest.approx(4, rel=0.2), errors


def test_thesis_2_20_along_trained_networks(runs):
    for parts, _ in runs.values():
        for part in parts[1:]:
            rate, step = part["moment_rate"], part["moment_step"]
            assert np.median(np.abs(step - rate).max(axis=(1, 2)) / np.abs(rate).max(axis=(1, 2))) < 0.02


def test_thesis_2_21_measures_tend_to_one_deterministic_path(runs):
    """At a fixed time (half way) f and K of m particles are off the quadrature's by m^{-1/2}."""
    parts, limit = runs["mean_field"]
    assert limit.error.max() < 1e-2
    for values in (
        [np.sqrt(np.mean((part["f_train"][:, 2] - limit.f[2]) ** 2, axis=1)) for part in parts],
        [np.linalg.norm(part["ntk_train"][:, 2] - limit.ntk[2], axis=(1, 2)) for part in parts],
    ):
        slope, error = exponent(values)
        assert abs(slope + 0.5) < error < 0.4, (slope, error)
    widest = parts[-1]["f_train"][:, 2]
    error = widest.std(axis=0, ddof=1) / SEEDS**0.5
    assert np.sqrt(np.mean(((widest.mean(axis=0) - limit.f[2]) / error) ** 2)) < 3


def test_thesis_2_22_the_kernel_is_that_of_the_gradients_and_falls_like_1_over_m(runs):
    """Theta^(m) = K/m by autodiff of (2.14); m Theta^(m) has the limit's mean at the start and its exact spread."""
    for activation in ("relu", "tanh"):
        network = net(activation)
        params = start(network)
        theta = draw.particles_of(params, network)
        jacobian = np.asarray(jax.jacrev(output)(theta, X, activation)).reshape(N, -1)
        found = dense.ntk_and_output(params, X, network)[0]
        np.testing.assert_allclose(found, M * jacobian @ jacobian.T, rtol=1e-11, atol=1e-13)
    parts, limit = [*runs["mean_field"][0], *runs["ntk"][0]], runs["mean_field"][1]
    nodes = mean_field.quadrature("relu", 256, 16)
    variance = mean_field.kernel_variance(Network(2, (1,)), nodes, angles.on_circle(angles.equal(16)))
    squares = np.concatenate(
        [
            m * np.sum((p["ntk_train"][:, 0] - limit.ntk[0]) ** 2, axis=(1, 2))
            for m, p in zip(2 * WIDTHS, parts, strict=True)
        ]
    )
    assert abs(squares.mean() - variance) < 4 * squares.std() / len(squares) ** 0.5


def test_thesis_after_2_22_outputs_move_by_the_scaled_kernel():
    """d f/dt = -eta Theta^(m) (f - y), eta = m: one small step, to second order."""
    network, errors = net("tanh"), []
    params = start(network)
    ntk, f = dense.ntk_and_output(params, X, network)
    change = descent.direction(params, X, f - Y, network)
    for step in (1e-3, 5e-4):
        after = dense.forward(descent.moved(params, change, step), X, network)
        errors.append(float(jnp.abs((after - f) / step + ntk @ (f - Y)).max()))
    assert errors[0] < 1e-2 and errors[0] / errors[1] == pytest.approx(2, rel=0.05)


def test_the_kernel_moves_in_mean_field_at_any_width_and_not_in_ntk(runs):
    """Exponents of the drift with intervals; the limit's drift at the widest."""
    drifts = {}
    for name, (parts, _) in runs.items():
        drifts[name] = [
            np.linalg.norm(p["ntk_train"][:, -1] - p["ntk_train"][:, 0], axis=(1, 2))
            / np.linalg.norm(p["ntk_train"][:, 0], axis=(1, 2))
            for p in parts
        ]
    limit = runs["mean_field"][1].ntk
    expected = np.linalg.norm(limit[-1] - limit[0]) / np.linalg.norm(limit[0])
    wide = geometric_mean(drifts["mean_field"][-1], 0.999)
    assert wide.low <= expected <= wide.high
    (stays, error), (falls, error_ntk) = exponent(drifts["mean_field"]), exponent(drifts["ntk"])
    assert abs(stays) < error < 0.2, (stays, error)
    assert -1 - error_ntk < falls < -0.5 + error_ntk and falls + error_ntk < -0.25, (falls, error_ntk)


def test_particles_repel_each_other_by_order_1_over_m(runs):
    """Training pins the mean of a^2: (m - 1) rho goes to near -1 from 0, at every width."""
    from ntkpipe.analysis.particles import dependence

    parts, _ = runs["mean_field"]
    for m, part in zip(WIDTHS, parts, strict=True):
        mean, square = part["moment"][..., 1], part["moment_square"][..., 1]
        before, after = (dependence(mean[:, k], (square - mean**2)[:, k], m, 0.999).excess for k in (0, -1))
        assert before.low < 0 < before.high
        assert after.low > -1 and after.high < 0, (m, after)
