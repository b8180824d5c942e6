"""Deep linear networks: closed forms against numerical integration, differences and wide random networks."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ntkpipe.theory import deep_linear as exact

RNG = np.random.default_rng(0)
TARGET = np.array([[2.0, 0.0, 0.0, 0.0], [0.0, 0.7, 0.0, 0.0]])


def network(depth: int, width: int = 5):
    sizes = [4, *[width] * depth, 2]
    return [RNG.standard_normal((b, a)) / width**0.5 for a, b in pairwise(sizes)]


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_gradient_is_a_difference_quotient(depth):
    weights, h = network(depth), 1e-6
    slopes = exact.gradient(weights, exact.product(weights) - TARGET)
    for layer, slope in enumerate(slopes):
        at = (1, 2 % slope.shape[1])
        losses = []
        for sign in (1, -1):
            moved = [w.copy() for w in weights]
            moved[layer][at] += sign * h
            losses.append(0.5 * np.sum((exact.product(moved) - TARGET) ** 2))
        assert slope[at] == pytest.approx((losses[0] - losses[1]) / (2 * h), rel=1e-6, abs=1e-8)


def test_kernel_moves_the_map():
    """dA/dt = -K[E] for weights that follow their gradients with gains."""
    weights, gains, h = network(2), (0.5, 1.0, 2.0), 1e-7
    error = exact.product(weights) - TARGET
    slopes = exact.gradient(weights, error)
    moved = [w - h * g * s for w, g, s in zip(weights, gains, slopes, strict=True)]
    change = (exact.product(moved) - exact.product(weights)) / h
    expected = -(exact.kernel(weights, gains) @ error.ravel()).reshape(error.shape)
    np.testing.assert_allclose(change, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_mode_solves_its_equation(layers):
    times = np.linspace(0, 12, 40)
    solved = solve_ivp(
        lambda _, s: layers * s ** (2 - 2 / layers) * (1.5 - s), (0, 12), [0.05], t_eval=times, rtol=1e-11, atol=1e-13
    )
    np.testing.assert_allclose(exact.mode(times, 0.05, 1.5, layers), solved.y[0], rtol=1e-8)


def test_mode_of_two_layers_is_saxes_sigmoid():
    times, s0, s = np.linspace(0, 5, 30), 0.02, 1.3
    curve = s * np.exp(2 * s * times) / (np.exp(2 * s * times) - 1 + s / s0)
    np.testing.assert_allclose(exact.mode(times, s0, s, 2), curve, rtol=1e-12)


@pytest.mark.parametrize("start", [0.0, -1.0, 1.0, 2.0])
def test_mode_starts_below_its_target(start):
    with pytest.raises(ValueError, match=r"between 0 and the target 1\.0; it was"):
        exact.mode(np.array([1.0]), start, 1.0, 2)


def test_mode_descent_is_first_order_in_the_step():
    gaps = [abs(exact.mode_descent(0.1, 1.0, 3, 4 / n, [0, n])[-1] - exact.mode(np.array([4.0]), 0.1, 1.0, 3)[0])
            for n in (800, 1600, 3200)]  # fmt: skip
    assert gaps[0] / gaps[1] == pytest.approx(2, abs=0.02) and gaps[1] / gaps[2] == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_balanced_kernel_has_these_eigenvalues(layers):
    values = np.array([1.7, 0.4])
    frames = [np.linalg.qr(RNG.standard_normal((n, 2)))[0] for n in [4, *[6] * (layers - 1), 3]]
    weights = [above * values ** (1 / layers) @ below.T for below, above in pairwise(frames)]
    found = np.linalg.eigvalsh(exact.kernel(weights, (1.0,) * layers))
    np.testing.assert_allclose(found, np.sort(exact.balanced_kernel(values, 3, 4, layers).ravel()), atol=1e-12)
    assert exact.sharpness(layers, 1.7) == pytest.approx(found[-1])


def test_limit_network_of_one_hidden_layer_is_the_mixed_dynamics():
    """Tu et al. 2024: A under small steps follows dA/dt = -(C_out E + E C_in)."""
    weights, steps, eta = exact.limit_network(1, 4, 2, 0.8), 4000, 1e-3
    run = exact.descend(weights, (1.0, 1.0), TARGET, eta, [0, steps // 2, steps])
    solved = solve_ivp(
        lambda _, a: exact.mixed_slope(a.reshape(2, 4), a.reshape(2, 4) - TARGET, 0.8).ravel(),
        (0, eta * steps), np.zeros(8), t_eval=[0, eta * steps / 2, eta * steps], rtol=1e-10, atol=1e-12,
    )  # fmt: skip
    np.testing.assert_allclose(run.maps, solved.y.T.reshape(3, 2, 4), atol=3e-3)  # of order eta
    halved = exact.descend(weights, (1.0, 1.0), TARGET, eta / 2, [0, steps, 2 * steps])
    better = 2 * halved.maps - run.maps  # extrapolated: of order eta^2
    np.testing.assert_allclose(better, solved.y.T.reshape(3, 2, 4), atol=1e-5)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_limit_network_starts_with_the_kernel_of_infinite_width(depth):
    weights = exact.limit_network(depth, 4, 2, 0.7)
    kernel = exact.kernel(weights, (1.0,) * (depth + 1))
    value = exact.limit_eigenvalue(depth + 1, 4, 0.7, "standard")
    assert np.abs(exact.product(weights)).max() == 0
    np.testing.assert_allclose(kernel, value * np.eye(8), atol=1e-14)
    assert exact.limit_eigenvalue(depth + 1, 4, 0.7, "ntk") == pytest.approx(value / 4)


@pytest.mark.parametrize("depth", [2, 3])
def test_longer_words_change_ever_less(depth):
    runs = [
        exact.descend(
            exact.limit_network(depth, 4, 2, 1.0, words), (1.0,) * (depth + 1), TARGET, 0.03, range(0, 200, 20)
        )
        for words in (2, 4, 6, 8)
    ]
    changes = [np.abs(a.maps - b.maps).max() for a, b in pairwise(runs)]
    assert changes[0] > 10 * changes[1] > 100 * changes[2] and changes[2] < 1e-5


def test_limit_network_of_two_hidden_layers_is_what_wide_networks_approach():
    """Widths 50 and 450: the distance falls by a factor of 3, within the scatter of 3 networks."""
    steps, gains, rng = range(0, 30, 6), (1.0,) * 3, np.random.default_rng(3)
    limit = exact.descend(exact.limit_network(2, 4, 2, 1.0), gains, TARGET, 0.05, steps)
    found = []
    for width in (50, 450):
        gaps = []
        for _ in range(3):
            shapes = [(width, 4), (width, width), (2, width)]
            weights = [rng.standard_normal(shape) / width**0.5 for shape in shapes]
            gaps.append(np.abs(exact.descend(weights, gains, TARGET, 0.05, steps).maps - limit.maps).max())
        found.append(np.mean(gaps))
    assert 1.5 < found[0] / found[1] < 6 and found[1] < 0.25


def test_lazy_is_descent_with_a_frozen_kernel():
    start = RNG.standard_normal((3, 2, 4))
    found = exact.lazy(start, TARGET, 0.2, [0, 1, 3])
    a = start.copy()
    for _ in range(3):
        a = a - 0.2 * (a - TARGET)
    np.testing.assert_allclose(found[:, 0], start)
    np.testing.assert_allclose(found[:, 2], a)
