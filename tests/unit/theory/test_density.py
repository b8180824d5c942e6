"""Kernels on the circle under a density: closed forms, orders of convergence, local frequency, sampled points."""

import numpy as np
import pytest
from scipy import integrate, special, stats

from ntkpipe.theory import circle, density

SMOOTH = {"cosine": density.cosine(0.9), "edge": density.cosine(1.0), "von_mises": density.von_mises(4.0)}
EVERY = SMOOTH | {"uniform": density.uniform(), "halves": density.halves(4.0)}
SLOPE = -1 / np.pi  # of relu at 0


def relu(t):
    """Every bias gain 1: no kink at pi."""
    return circle.relu_kernel(t, hidden_bias=1.0)


def angle(a, b):
    """In [0, pi], of all pairs."""
    d = np.abs(a[:, None] - b) % (2 * np.pi)
    return np.minimum(d, 2 * np.pi - d)


def at(modes, theta):
    """Eigenfunctions between the grid's angles, (t, r), by their Fourier series."""
    coefficients = np.fft.rfft(modes.functions, axis=0) / len(modes.theta)
    coefficients[1:-1] *= 2
    waves = np.exp(1j * np.multiply.outer(theta - modes.theta[0], np.arange(len(coefficients))))
    return (waves @ coefficients).real


def sample(p, bound, n, rng):
    """n angles from p <= bound, by rejection."""
    theta = rng.uniform(0, 2 * np.pi, 20 * n)
    kept = theta[rng.uniform(0, bound, len(theta)) < p(theta)]
    assert len(kept) >= n
    return kept[:n]


@pytest.mark.parametrize("name", EVERY)
def test_densities_have_mass_one(name):
    pieces = [integrate.quad(lambda t: float(EVERY[name](np.array([t]))[0]), a, a + np.pi)[0] for a in (0, np.pi)]
    assert sum(pieces) == pytest.approx(1, abs=1e-12)
    if name == "halves":
        assert pieces[0] / pieces[1] == pytest.approx(4)


def test_named_densities_take_their_one_number():
    theta = np.array([1.0, 4.0])
    np.testing.assert_array_equal(density.NAMED["halves"](1.0)(theta), density.NAMED["uniform"]()(theta))
    np.testing.assert_allclose(density.NAMED["von_mises"](0.0)(theta), density.NAMED["cosine"](0.0)(theta), rtol=1e-15)


def test_table_is_linear_between_its_angles_and_around_the_end():
    """Weights 0 at 3 pi/2 and 1 at pi/2: a tent of mass pi; out of order and negative angles are allowed."""
    for angles in ([1.5 * np.pi, 0.5 * np.pi], [0.5 * np.pi, -0.5 * np.pi]):
        p = density.from_table(np.array(angles), (1 + np.sin(angles)) / 2)
        np.testing.assert_allclose(
            p(np.array([0.0, 2 * np.pi, 0.5 * np.pi, 1.25 * np.pi])) * np.pi, [0.5, 0.5, 1, 0.25]
        )
    fine = np.linspace(0, 2 * np.pi, 2000, endpoint=False)
    table = density.from_table(fine, 17 * SMOOTH["von_mises"](fine))
    found, exact = (density.eigenfunctions(relu, p, 6).eigenvalues for p in (table, SMOOTH["von_mises"]))
    np.testing.assert_allclose(found, exact, rtol=1e-5)  # (2 pi/2000)^2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: density.halves(0.0), "ratio"),
        (lambda: density.halves(np.inf), "ratio"),
        (lambda: density.cosine(-1.01), "a must"),
        (lambda: density.cosine(np.nan), "a must"),
        (lambda: density.von_mises(-1.0), "kappa"),
        (lambda: density.von_mises(np.nan), "kappa"),
        (lambda: density.from_table(np.array([0.0, 1.0]), np.array([1.0, -1.0])), "at least 0"),
        (lambda: density.from_table(np.array([0.0, 1.0]), np.array([1.0, np.nan])), "finite"),
        (lambda: density.from_table(np.array([0.0, np.inf]), np.array([1.0, 1.0])), "finite"),
        (lambda: density.from_table(np.array([0.0, 1.0]), np.zeros(2)), "mass"),
        (lambda: density.from_table(np.array([0.0, 2 * np.pi]), np.ones(2)), "twice"),
        (lambda: density.from_table(np.array([]), np.array([])), "at least one"),
        (lambda: density.eigenfunctions(relu, np.cos, 3), "at least 0"),
        (lambda: density.eigenfunctions(relu, lambda t: np.full(len(t), np.nan), 3), "finite"),
        (lambda: density.eigenfunctions(relu, lambda t: np.ones(len(t)), 3, largest=256), "mass 1"),
        (lambda: density.eigenfunctions(relu, density.halves(4.0), 3, tolerance=1e-9, largest=256), "tolerance"),
        (lambda: density.eigenfunctions(relu, density.uniform(), 100, largest=512), "tolerance"),
        (lambda: density.eigenfunctions(relu, density.uniform(), 0), "count"),
        (lambda: density.local_frequency(np.arange(3.0), np.ones(3), (1.0, 1.0)), "arc"),
        (lambda: density.predicted_frequency(np.ones(1), 1.0, 0.1), "slope"),
        (lambda: density.steps_to_share(np.ones(1), 0.1, 10, 1.0), "share"),
    ],
)
def test_what_is_wrong_is_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_uniform_density_has_the_closed_eigenvalues_and_the_fourier_modes():
    found = density.eigenfunctions(relu, density.uniform(), 21)
    closed = circle.relu_eigenvalues(np.arange(40), hidden_bias=1.0)
    twice = np.concatenate([closed[:1], np.repeat(closed[1:], 2)])
    ranked = np.concatenate([[0], np.repeat(np.arange(1, 40), 2)])[np.argsort(-twice, kind="stable")]
    np.testing.assert_allclose(found.eigenvalues, np.sort(twice)[::-1][:21], rtol=1e-10)
    for i, q in enumerate(ranked[:21]):  # the basis of each pair is arbitrary, its span is not
        waves = np.stack([np.cos(q * found.theta), np.sin(q * found.theta)])
        inside = density.project(found, waves[0])[i] ** 2 + density.project(found, waves[1])[i] ** 2
        assert inside * (1 if q == 0 else 2) == pytest.approx(1, abs=1e-8)


def test_finite_rank_by_hand():
    """c + d cos t under (1 + a cos)/(2 pi): sin alone, d/2; 1 and cos have the Gram matrix [[1, a/2], [a/2, 1/2]].

    cos t under von Mises: (1 + r)/2 and (1 - r)/2 with r = I_2/I_0, eigenfunctions cos and sin.
    """
    a, c, d = 0.8, 0.3, 1.0
    found = density.eigenfunctions(lambda t: c + d * np.cos(t), density.cosine(a), 4)
    trace, det = c + d / 2, c * d * (1 / 2 - a**2 / 4)
    root = np.sqrt(trace**2 - 4 * det)
    np.testing.assert_allclose(found.eigenvalues[:3], [(trace + root) / 2, d / 2, (trace - root) / 2], rtol=1e-12)
    assert np.isnan(found.eigenvalues[3]) and np.isnan(found.functions[:, 3]).all() and found.error < 1e-10
    np.testing.assert_allclose(found.functions[:, 1], np.sqrt(2) * np.sin(found.theta), atol=1e-10)

    found = density.eigenfunctions(np.cos, density.von_mises(2.0), 2)
    r = special.iv(2, 2.0) / special.iv(0, 2.0)
    np.testing.assert_allclose(found.eigenvalues, [(1 + r) / 2, (1 - r) / 2], rtol=1e-12)
    np.testing.assert_allclose(found.functions[:, 0], np.cos(found.theta) / np.sqrt((1 + r) / 2), atol=1e-10)


@pytest.mark.parametrize("name", EVERY)
def test_functions_are_orthonormal_and_have_their_sign(name):
    found = density.eigenfunctions(relu, EVERY[name], 20)
    gram = found.functions.T @ (found.weights[:, None] * found.functions)
    np.testing.assert_allclose(gram, np.eye(20), atol=1e-9)
    np.testing.assert_allclose(
        density.project(found, found.functions[:, 3] - 2 * found.functions[:, 5]), gram[3] - 2 * gram[5], atol=1e-12
    )
    for u in found.functions.T:
        assert u[np.abs(u) >= np.abs(u).max() / 2][0] > 0


@pytest.mark.parametrize(
    ("name", "tolerance"), [("cosine", 1e-6), ("edge", 1e-6), ("von_mises", 1e-6), ("halves", 5e-3)]
)
def test_functions_solve_the_integral_equation(name, tolerance):
    """T_p u by Gauss panels between theta, theta + pi and the jumps, with the kernel itself, not its modes."""
    found = density.eigenfunctions(relu, EVERY[name], 12)
    nodes, weights = np.polynomial.legendre.leggauss(20)
    for theta in (0.3, 2.0, 3.5, 5.9):
        cuts = np.sort(np.concatenate([np.linspace(0, 2 * np.pi, 33), [theta, (theta + np.pi) % (2 * np.pi)]]))
        half = np.diff(cuts)[:, None] / 2
        phi = ((cuts[:-1, None] + half) + half * nodes).ravel()
        rule = (half * weights).ravel() * EVERY[name](phi) * relu(angle(np.array([theta]), phi)[0])
        u = at(found, np.array([theta]))[0]
        np.testing.assert_allclose(
            rule @ at(found, phi) / found.eigenvalues, u, atol=tolerance * np.abs(found.functions).max()
        )


@pytest.mark.parametrize("name", [*EVERY, "table"])
@pytest.mark.parametrize("tolerance", [1e-2, 1e-3])
def test_error_bounds_the_distance_to_a_much_finer_grid(name, tolerance):
    """Also with kinks inside cells (a table), where errors of successive grids are no geometric series."""
    rng = np.random.default_rng(9)
    p = (EVERY | {"table": density.from_table(rng.uniform(0, 2 * np.pi, 9), rng.uniform(0, 1, 9))})[name]
    found = density.eigenfunctions(relu, p, 16, tolerance)
    exact = density._nystroem(relu, p, 16, min(2048, 8 * len(found.theta))).eigenvalues
    assert len(found.theta) <= 512 and found.error <= tolerance
    assert np.abs(found.eigenvalues / exact - 1).max() <= found.error + 1e-12


def test_orders_of_convergence():
    """Of the eigenvalues: m^-2 at jumps of p, faster than any power without, where a sampled kernel has m^-2."""
    for name, p in EVERY.items():
        exact = density._nystroem(relu, p, 12, 1024).eigenvalues
        errors = [np.abs(density._nystroem(relu, p, 12, m).eigenvalues / exact - 1).max() for m in (64, 128, 256)]
        if name == "halves":
            assert np.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.3)
            assert np.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.3)
        else:
            assert errors[1] < 1e-11
    p, sampled = SMOOTH["cosine"], []
    exact = density._nystroem(relu, p, 6, 256).eigenvalues
    for m in (256, 512):
        theta = (np.arange(m) + 0.5) * 2 * np.pi / m
        root = np.sqrt(p(theta) * 2 * np.pi / m)
        sampled.append(np.linalg.eigvalsh(root[:, None] * relu(angle(theta, theta)) * root)[::-1][:6] - exact)
    np.testing.assert_allclose(np.log2(sampled[0] / sampled[1]), 2, atol=0.02)


def test_local_frequency_counts_waves():
    theta = (np.arange(400) + 0.5) * 2 * np.pi / 400
    wave = np.cos(7 * theta + 0.4)
    for arc in ((0.0, 2 * np.pi), (1.0, 2.5), (5.5, 7.0)):
        assert density.local_frequency(theta, wave, arc) == pytest.approx(7 / np.pi, rel=1e-3)
    assert np.isnan(density.local_frequency(theta, wave, (0.0, 0.3)))


def test_dense_half_oscillates_faster_by_the_root_of_the_ratio():
    """Both halves, and the prediction itself, at small eigenvalues; the distance is of order 1/q."""
    for ratio in (4.0, 9.0):
        p = density.halves(ratio)
        found = density.eigenfunctions(relu, p, 41, tolerance=1e-3)
        dense, sparse = [], []
        for i in range(31, 41):
            wanted = density.predicted_frequency(p(np.array([1.0, 4.0])), float(found.eigenvalues[i]), SLOPE)
            dense.append(density.local_frequency(found.theta, found.functions[:, i], (0.0, np.pi)) / wanted[0])
            sparse.append(density.local_frequency(found.theta, found.functions[:, i], (np.pi, 2 * np.pi)) / wanted[1])
            assert wanted[0] / wanted[1] == pytest.approx(np.sqrt(ratio))
        np.testing.assert_allclose(dense, 1, atol=0.03)
        np.testing.assert_allclose(sparse, 1, atol=0.06)


def test_frequency_follows_a_smooth_density():
    p = SMOOTH["cosine"]
    found = density.eigenfunctions(relu, p, 80)
    for i in (70, 79):
        for middle in (0.0, 1.5, 2.2):
            arc = (middle - 0.4, middle + 0.4)
            inside = np.linspace(*arc, 50)
            wanted = density.predicted_frequency(p(inside), float(found.eigenvalues[i]), SLOPE).mean()
            assert density.local_frequency(found.theta, found.functions[:, i], arc) == pytest.approx(wanted, rel=0.03)


def test_steps_to_share():
    lam = np.array([0.5, 0.1, 0.01, 1.0, 1.5, 2.0, 0.0, np.nan])
    found = density.steps_to_share(lam, 0.01, 100, 0.1)  # eta n = 1
    np.testing.assert_array_equal(found, [4, 22, 230, 1, 4, np.inf, np.inf, np.nan])
    tiny = density.steps_to_share(np.array([1e-18]), 1.0, 1, np.exp(-1.0))
    np.testing.assert_allclose(tiny, 1e18)


@pytest.mark.parametrize(("name", "bound"), [("cosine", 0.31), ("halves", 0.26)])
def test_eigenvalues_of_sampled_points(name, bound):
    """n points from p: of u' K u/n^2 without the diagonal the mean is exactly lambda; matrix eigenvalues follow.

    Eigenvalues of K/n have a bias of order k(0)/n (the diagonal) on top: 40 seeds of 1000 points, interval of 99 %.
    """
    found, n = density.eigenfunctions(relu, EVERY[name], 6), 1000
    forms, eigenvalues = [], []
    for seed in range(40):
        theta = sample(EVERY[name], bound, n, np.random.default_rng(seed))
        gram = relu(angle(theta, theta))
        eigenvalues.append(np.linalg.eigvalsh(gram)[::-1][:6] / n)
        u = at(found, theta)
        forms.append(np.sum(u * ((gram - np.diag(np.diag(gram))) @ u), axis=0) / (n * (n - 1)))
    quantile = stats.t.ppf(0.995, 39)
    for values, bias in ((forms, 0.0), (eigenvalues, float(relu(np.array(0.0))) / n)):
        half = quantile * np.std(values, axis=0, ddof=1) / np.sqrt(40)
        assert (half < 0.07 * found.eigenvalues).all()
        assert (np.abs(np.mean(values, axis=0) - found.eigenvalues) <= half + bias).all()


def test_kernel_gradient_descent_takes_the_predicted_steps():
    """Residual u_i at 1500 points from p, K frozen: the steps leave the share of it along u_i, to sampling."""
    p, n, share = SMOOTH["cosine"], 1500, 0.2
    found = density.eigenfunctions(relu, p, 9)
    theta = sample(p, 0.31, n, np.random.default_rng(3))
    values, vectors = np.linalg.eigh(relu(angle(theta, theta)))
    eta = 0.05 / values[-1]
    steps = density.steps_to_share(found.eigenvalues, eta, n, share)
    u = at(found, theta)
    for i in (0, 1, 3, 5, 8):
        left = vectors @ ((1 - eta * values) ** steps[i] * (vectors.T @ u[:, i]))
        assert u[:, i] @ left / (u[:, i] @ u[:, i]) == pytest.approx(share, rel=0.15)
    assert steps[8] > 20 * steps[0]
