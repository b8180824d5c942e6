"""One gradient step: exact mean, two engines, the jump sum, limits in eta (docs/theory.md, section 4)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp

from ntkpipe.engines import jumps, step_dense, step_matrix_free, step_scalar
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.theory import first_step as theory

pytestmark = pytest.mark.law

P_MIN = 1e-4
"""Fixed seeds and about a hundred comparisons: a correct pair falls below once in a hundred suites."""


def inputs(k: int, n_0: int) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((k, n_0))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def draw(engine, network, x, label, etas, seed, quanta=1, n_train=1, relative=False):
    labels = np.full((1024, n_train), label)
    parts = [
        engine.sample(network, x, labels, tuple(etas), relative, Stream(seed, "law"), q, 1024) for q in range(quanta)
    ]
    return step_matrix_free.StepDraws(*(np.concatenate(part) for part in zip(*parts, strict=True)))


SOLVABLE = [
    {},
    {"widths": (8, 12, 10)},
    {"widths": (32,) * 4, "parametrization": "standard"},
    {"widths": (3, 5)},
    {"bias_init": "zero", "sigma_b": 0.5},
    {"bias_init": "zero", "parametrization": "standard", "output_bias": False},
    {"readout": "frozen"},
    {"readout": "frozen", "bias_init": "zero", "widths": (10, 6, 8)},
]


@pytest.mark.parametrize(
    "engine", [step_scalar, step_matrix_free, step_dense], ids=lambda e: e.__name__.split("_", 1)[1]
)
@pytest.mark.parametrize("settings", SOLVABLE, ids=str)
def test_derivative_agrees_with_exact(engine, settings):
    """The mean of dK/d eta within 4 exact standard errors of the exact mean, biases and readout on and off."""
    network, x = Network(6, **{"widths": (16, 16), **settings}), inputs(1, 6)
    draws = draw(engine, network, x, 1.0, [0.1], 1, quanta=8 if engine is step_dense else 16).derivative[:, 0, 0]
    exact = theory.derivative(network, 1.0, label_square=1.0)
    assert abs(draws.mean() - exact.mean) < 4 * exact.deviation / np.sqrt(len(draws))


@pytest.mark.parametrize("settings", SOLVABLE, ids=str)
def test_scalar_agrees_with_matrix_free(settings):
    """KS on f, K, the derivative and their quotient: the recursion is exact in law, tails and dead networks too."""
    network, x = Network(6, **{"widths": (16, 16), **settings}), inputs(1, 6)
    one, two = (
        draw(engine, network, x, 1.0, [0.1], seed, quanta=20)
        for seed, engine in ((1, step_scalar), (2, step_matrix_free))
    )
    for pick in (
        lambda d: d.derivative[:, 0, 0],
        lambda d: d.ntk_0[:, 0, 0],
        lambda d: d.output_0[:, 0],
        lambda d: d.derivative[:, 0, 0] / (0.1 + d.ntk_0[:, 0, 0]),
    ):
        # dead networks are exactly 0 in one engine and rounding in the other: one atom, not two
        assert ks_2samp(np.round(pick(one), 12), np.round(pick(two), 12)).pvalue > P_MIN


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_second_moment_of_the_derivative(label):
    """E[(dK/d eta)^2] from 2 x 10^5 draws at width 64, where its tail is light enough, within 4 standard errors."""
    network, x = Network(6, (64, 64)), inputs(1, 6)
    square = draw(step_scalar, network, x, label, [0.1], 8, quanta=200).derivative[:, 0, 0] ** 2
    exact = theory.derivative(network, 1.0, label_square=label**2).second
    assert abs(square.mean() - exact) < 4 * square.std() / np.sqrt(len(square))
    assert square.std() / np.sqrt(len(square)) < 0.05 * exact


@pytest.mark.parametrize("engine", [step_matrix_free, step_dense])
def test_frozen_readout_leaves_one_hidden_layer_to_its_gates(engine):
    """d = 1: only the gates can change delta^1 = D v, so the derivative is 0; flips still move K at O(eta)."""
    network, x = Network(4, (16,), readout="frozen"), inputs(1, 4)
    draws = draw(engine, network, x, 1.0, [0.5], 9)
    change = (draws.ntk_1[:, 0] - draws.ntk_0)[:, 0, 0]
    np.testing.assert_allclose(draws.derivative, 0.0, atol=1e-14)
    flipped = draws.flipped[:, 0] > 0
    assert 0.1 < flipped.mean() < 1.0
    np.testing.assert_allclose(change[~flipped], 0.0, atol=1e-14)
    assert (np.abs(change[flipped]) > 1e-9).all()
    trained = draw(engine, Network(4, (16,)), x, 1.0, [0.5], 9)
    assert (np.abs(trained.derivative) > 1e-9).mean() > 0.9


def test_label_drops_out_of_the_mean_derivative():
    """E[dK/d eta] is the same for labels 0 and 2: the label's part is odd under f -> -f."""
    network, x = Network(6, (16, 16)), inputs(1, 6)
    zero, two = (draw(step_matrix_free, network, x, y, [0.1], 2, quanta=8).derivative[:, 0, 0] for y in (0.0, 2.0))
    difference = two - zero  # the same networks: only the label differs
    assert difference.std() > 0
    assert abs(difference.mean()) < 4 * difference.std() / np.sqrt(len(difference))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"activation": "tanh", "bias_init": "normal", "sigma_b": 0.5},
        {"activation": "gelu", "bias_init": "zero"},
        {"activation": "erf", "parametrization": "standard"},
        {"activation": "leaky_relu", "negative_slope": 0.2, "bias_init": "zero", "parametrization": "standard"},
        {"widths": (5, 7)},
        {"widths": (1, 3, 2)},
        {"activation": "linear", "widths": (6, 6)},
        {"readout": "frozen"},
        {"readout": "frozen", "bias_init": "zero", "activation": "tanh"},
    ],
    ids=str,
)
def test_engines_agree_on_the_change(settings):
    """matrix_free against dense at finite eta: KS on DeltaK (train, eval), derivative and output."""
    network = Network(5, **{"widths": (8, 8, 8), **settings})
    x = inputs(3, 5)
    one, two = (
        draw(engine, network, x, 1.0, [0.3, 1.0], seed, quanta=2, n_train=2)
        for seed, engine in ((1, step_matrix_free), (2, step_dense))
    )
    # dead networks change by exactly 0 in one engine and by rounding in the other: one atom, not two
    one, two = (draws._replace(**{k: np.round(getattr(draws, k), 12) for k in draws._fields}) for draws in (one, two))
    for eta in (0, 1):
        for i, j in ((0, 0), (0, 1), (2, 2), (1, 2)):
            a, b = ((draws.ntk_1[:, eta] - draws.ntk_0)[:, i, j] for draws in (one, two))
            assert ks_2samp(a, b).pvalue > P_MIN, (eta, i, j)
    for i, j in ((0, 0), (1, 2), (2, 2)):
        assert ks_2samp(one.derivative[:, i, j], two.derivative[:, i, j]).pvalue > P_MIN
    assert ks_2samp(one.output_0[:, 2], two.output_0[:, 2]).pvalue > P_MIN


def test_critical_unit_is_two_over_the_largest_eigenvalue():
    network, x = Network(5, (8, 8)), inputs(2, 5)
    for engine in (step_matrix_free, step_dense):
        draws = draw(engine, network, x, 1.0, [0.5], 3, n_train=2, relative=True)
        largest = np.linalg.eigvalsh(draws.ntk_0)[:, -1]
        alive = largest > 1e-12
        np.testing.assert_allclose(draws.eta[alive, 0], 1.0 / largest[alive], rtol=1e-10)


def test_dead_networks_stay_where_they_are():
    """Width 2, 4 layers: 68 % of networks are dead; with critical eta they take no step, and nothing is NaN."""
    network, x = Network(5, (2,) * 4), inputs(1, 5)
    for engine in (step_matrix_free, step_dense):
        draws = draw(engine, network, x, 1.0, [0.5], 3, relative=True)
        dead = draws.ntk_0[:, 0, 0] == 0
        assert 0.5 < dead.mean() < 0.9
        assert all(np.isfinite(part).all() for part in draws)
        assert (draws.eta[dead] == 0).all()
        assert (draws.ntk_1[dead] == 0).all()


@pytest.mark.parametrize("engine", [step_matrix_free, step_dense])
def test_smooth_step_is_its_derivative_as_eta_vanishes(engine):
    """tanh: (DeltaK/eta - derivative) is O(eta), draw by draw; the ratio of errors at eta and eta/10 is 10."""
    network, x = Network(5, (8, 8), activation="tanh"), inputs(1, 5)
    draws = draw(engine, network, x, 1.0, [1e-3, 1e-4], 4)
    change = (draws.ntk_1 - draws.ntk_0[:, None])[:, :, 0, 0] / draws.eta
    error = np.abs(change - draws.derivative[:, 0]).mean(axis=0)
    assert 9.0 < error[0] / error[1] < 11.0


@pytest.mark.parametrize(
    ("settings", "label"),
    [
        ({"widths": (64,)}, 0.0),
        ({"widths": (64,)}, 1.0),
        ({"widths": (16,) * 3}, 0.0),
        ({"widths": (16,) * 3}, 1.0),
        ({"widths": (16,) * 3, "bias_init": "zero", "sigma_b": 0.5}, 0.0),
        ({"widths": (16,) * 2, "bias_init": "zero", "sigma_b": 0.5, "parametrization": "standard"}, 1.0),
        ({"widths": (16,) * 3, "activation": "leaky_relu", "negative_slope": 0.2}, 0.0),
        ({"widths": (16,) * 3, "readout": "frozen"}, 1.0),
    ],
    ids=str,
)
def test_kinked_step_is_derivative_plus_jump_sum(settings, label):
    """DeltaK/eta - derivative at a small eta agrees with the predicted jump sum, and is not 0; biases on and off.

    The next order in eta is about eta times the kernel (2 % in the ntk parametrization), below the standard errors.
    """
    network, x = Network(4, **settings), inputs(1, 4)
    many = network.widths == (16,) * 3 and (label == 1.0 or network.bias_init == "zero")  # three sharp cases
    eta = 0.02 if network.parametrization == "ntk" else 0.001  # there the kernel is some 30 times larger
    draws = draw(step_matrix_free, network, x, label, [eta], 5, quanta=128 if many else 32)
    flips = (draws.ntk_1[:, 0, 0, 0] - draws.ntk_0[:, 0, 0]) / draws.eta[:, 0] - draws.derivative[:, 0, 0]
    predicted = np.concatenate([jumps.sample(network, x, np.full(1024, label), Stream(6, "law"), q) for q in range(64)])
    errors = [part.std() / np.sqrt(len(part)) for part in (flips, predicted)]
    assert abs(flips.mean() - predicted.mean()) < 4 * np.hypot(*errors)
    assert predicted.mean() < -4 * errors[1]
    assert not many or 4 * np.hypot(*errors) < 0.25 * abs(predicted.mean())


def test_one_hidden_layer_jump_sum_closed_form():
    """-(1/2) n^{-1/2} rho (2|x|^2/n_0)^2 E|f - y| 2 sqrt(2/pi), rho = (4 pi |x|^2/n_0)^{-1/2}, at width 1024, y = 0.

    E|f| = sqrt(2/pi) sqrt(|x|^2/n_0) in the limit; corrections are O(1/n).
    """
    n, n_0 = 1024, 4
    network, x = Network(n_0, (n,)), inputs(1, n_0)
    draws = np.concatenate([jumps.sample(network, x, np.zeros(1024), Stream(7, "law"), q) for q in range(64)])
    rho = (4 * np.pi / n_0) ** -0.5
    exact = -0.5 * n**-0.5 * rho * (2 / n_0) ** 2 * np.sqrt(2 / np.pi / n_0) * 2 * np.sqrt(2 / np.pi)
    assert abs(draws.mean() - exact) < 4 * draws.std() / np.sqrt(len(draws)) + abs(exact) * 4 / n


def test_numbers_of_the_notes():
    """docs/theory.md section 4: the two numbers to land on, and the limit within 3 % at width 1024."""
    assert theory.mean_f_kdot(Network(32, (32,) * 8), 1.0) == pytest.approx(0.061892, abs=5e-7)
    assert theory.mean_f_kdot(Network(64, (64,) * 8), 1.0) == pytest.approx(0.0053485, abs=5e-8)
    for beta in (0.1, 0.2, 0.5, 1.0):
        network = Network(1024, (1024,) * round(1024 * beta))
        limit = theory.mean_f_kdot_limit(network.beta, 1024, 1024, 1.0)
        assert theory.mean_f_kdot(network, 1.0) == pytest.approx(float(limit), rel=0.03)
