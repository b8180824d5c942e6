"""Predicted residuals and bounds against closed forms, solved flows and orders of convergence."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from ntkpipe.analysis import drift, perturbation


def _symmetric(rng, n):
    matrix = rng.normal(size=(n, n))
    return (matrix + matrix.T) / 2


class Flow:
    """K_t = K_0 + epsilon (A (1 - e^{-a t}) + B sin(b t)) with random A, B; r solved to 1e-12."""

    def __init__(self, seed, n=4, epsilon=1.0, least=0.05):
        rng = np.random.default_rng(seed)
        factor = rng.normal(size=(n, n))
        self.start = factor @ factor.T / n + least * np.eye(n)
        self.a, self.b = (_symmetric(rng, n) / np.sqrt(n) for _ in range(2))
        self.pace, self.frequency = rng.uniform(0.2, 2.0, size=2)
        self.epsilon, self.residual = epsilon, rng.normal(size=n)

    def ntk(self, time):
        t = np.asarray(time)[..., None, None]
        change = self.a * -np.expm1(-self.pace * t) + self.b * np.sin(self.frequency * t)
        return self.start + self.epsilon * change

    def solve(self, time, rtol=1e-12):
        solution = integrate.solve_ivp(
            lambda t, r: -self.ntk(t) @ r, (0, time[-1]), self.residual, "DOP853", time, rtol=rtol, atol=rtol / 100
        )
        return solution.y.T


def _bound(time, ntk, residual):
    return perturbation.bound(time, drift.eigenvalues(ntk), drift.change(ntk), residual)


def _forcing(time, ntk, residual):
    return perturbation.forcing_size(time, ntk, perturbation.orders(time, ntk, residual, 0)[0])


def _slope(x, y):
    return np.polyfit(np.log(x), np.log(y), 1)[0]


def test_phi_on_both_sides_of_its_branch():
    z = np.array([-50.0, -0.5, -0.5 + 1e-12, -1e-8, 0.0, 1e-3, 0.4999999, 0.5])
    for k, values in zip((1, 2), perturbation.phi(z), strict=True):
        for at, value in zip(z, values, strict=True):  # phi_k(z) = int_0^1 e^{z(1-v)} v^{k-1} dv
            exact = integrate.quad(lambda v, at=at, k=k: np.exp(at * (1 - v)) * v ** (k - 1), 0, 1, epsabs=1e-14)[0]
            assert value == pytest.approx(exact, rel=1e-13)


def test_order_0_is_the_exponential_and_all_orders_agree_for_a_constant_kernel():
    flow, time = Flow(0, epsilon=0.0), np.array([0.0, 0.1, 3.0])
    predicted = perturbation.orders(time, flow.ntk(time), flow.residual)
    np.testing.assert_allclose(predicted[1:], np.broadcast_to(predicted[0], (2, 3, 4)), rtol=1e-12)
    np.testing.assert_allclose(predicted[0], flow.solve(time), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(_bound(time, flow.ntk(time), flow.residual), 0)


@pytest.mark.parametrize("substeps", [32, 64])
def test_commuting_kernels_against_the_closed_form(substeps):
    """K_t = diag(k_i + c_i t): r_p = exp(-k t) r_0 sum_{q <= p} (-c t^2/2)^q/q!, DeltaK linear: only substeps err."""
    k, c, residual = np.array([0.3, 1.0, 2.5]), np.array([0.4, -0.2, 0.6]), np.array([1.0, -2.0, 0.5])
    time = np.linspace(0, 2, 9)
    ntk = (k + c * time[:, None])[..., None] * np.eye(3)
    size = -c * time[:, None] ** 2 / 2
    series = np.stack([np.ones_like(size), 1 + size, 1 + size + size**2 / 2])
    exact = series * np.exp(-k * time[:, None]) * residual
    predicted = perturbation.orders(time, ntk, residual, substeps=substeps)
    np.testing.assert_allclose(predicted[0], exact[0], rtol=1e-13)
    coarse = perturbation.orders(time, ntk, residual, substeps=substeps // 2)
    for p in (1, 2):
        error, before = (np.abs(values[p] - exact[p]).max() for values in (predicted, coarse))
        assert 3.9 < before / error < 4.1  # second order in the substep
        assert error < 2e-4 * (32 / substeps) ** 2


@pytest.mark.parametrize("order", [1, 2])
def test_the_quadrature_is_of_second_order_in_snapshots(order):
    flow = Flow(1)
    counts = np.array([16, 32, 64, 128])
    exact = perturbation.orders(time := np.linspace(0, 3, 2049), flow.ntk(time), flow.residual)[order, -1]
    errors = []
    for count in counts:
        time = np.linspace(0, 3, count + 1)
        errors.append(np.linalg.norm(perturbation.orders(time, flow.ntk(time), flow.residual)[order, -1] - exact))
    assert _slope(1 / counts, errors) == pytest.approx(2, abs=0.1)


def test_the_exponential_factor_is_exact_however_stiff():
    """Constant forcing: eigenvalue 1e6 and h = 1, DeltaK_s r_0(s) of the slow mode (0) is linear in s."""
    time = np.array([0.0, 1.0, 2.0])
    ntk = np.diag([1e6, 0.0]) + time[:, None, None] * np.array([[0, 1.0], [1.0, 0]])
    predicted = perturbation.orders(time, ntk, np.array([0.0, 1.0]), 1, substeps=1)[1]
    # a' = -1e6 a - s: a = -(s/1e6 - 1/1e12 (1 - e^{-1e6 s}))
    np.testing.assert_allclose(predicted[1:, 0], -(time[1:] / 1e6 - 1e-12), rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_the_error_of_order_p_falls_like_the_perturbation_to_p_plus_1(seed):
    epsilons, errors = np.array([0.02, 0.04, 0.08]), []
    time = np.linspace(0, 2, 1025)
    for epsilon in epsilons:
        flow = Flow(seed, epsilon=epsilon)
        predicted = perturbation.orders(time, flow.ntk(time), flow.residual, substeps=1)
        errors.append(perturbation.relative_errors(flow.solve(time), predicted)[:, -1])
    errors = np.array(errors)
    for p in range(3):
        assert _slope(epsilons, errors[:, p]) == pytest.approx(p + 1, abs=0.15)


def test_the_bound_is_an_equality_for_one_point_whose_kernel_grows():
    time_of = {count: np.linspace(0, 3, count + 1) for count in (32, 64, 128)}
    k, c, residual = 0.7, 0.5, np.array([-2.0])
    errors = []
    for time in time_of.values():
        ntk = (k + c * -np.expm1(-time))[:, None, None]
        exact = 2 * np.abs(np.exp(-k * time - c * (time + np.expm1(-time))) - np.exp(-k * time))
        bound = _bound(time, ntk, residual)
        errors.append(np.abs(bound - exact).max())
        assert (bound[1:] > exact[1:]).all()  # monotone: rigorous
    assert _slope(1 / np.array(list(time_of)), errors) == pytest.approx(1, abs=0.1)
    r = -2 * np.exp(-k * time - c * (time + np.expm1(-time)))
    tight = perturbation.tightness(r[:, None], -2 * np.exp(-k * time)[:, None], bound)
    assert tight[1] == pytest.approx(0.5, abs=0.01)  # DeltaK grows from 0: the larger norm is twice the mean
    np.testing.assert_allclose(tight[-1], 1, atol=(time[1] - time[0]))
    assert np.isnan(tight[0])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), epsilon=st.floats(0.01, 1.5), n=st.integers(1, 5), end=st.floats(0.5, 6.0))
def test_the_bound_is_never_violated(seed, epsilon, n, end):
    """Indefinite K_t among them: lambda_min < 0 is no exception to Groenwall."""
    flow = Flow(seed, n, epsilon)
    time = np.concatenate([[0.0], np.geomspace(end / 100, end, 40)])
    bound = _bound(time, flow.ntk(time), flow.residual)
    frozen = perturbation.orders(time, flow.ntk(time), flow.residual, 0)[0]
    apart = np.linalg.norm(flow.solve(time, 1e-9) - frozen, axis=-1)
    assert (apart <= bound + 1e-8 * np.linalg.norm(flow.residual)).all()


def test_the_bound_holds_between_coarse_snapshots_of_a_path_of_segments():
    """K_t linear between four random kernels: no limit h -> 0 is needed."""
    rng = np.random.default_rng(5)
    time = np.array([0.0, 1.0, 2.5, 3.0])
    for _ in range(20):
        factor = rng.normal(size=(4, 3, 3))
        ntk, residual = factor @ factor.transpose(0, 2, 1), rng.normal(size=3)
        solution = [residual]
        for i, (left, right) in enumerate(itertools.pairwise(time)):

            def slope(t, r, i=i, left=left, h=right - left, ntk=ntk):
                return -(ntk[i] + (ntk[i + 1] - ntk[i]) * ((t - left) / h)) @ r

            run = integrate.solve_ivp(slope, (left, right), solution[-1], rtol=1e-10, atol=1e-13)
            solution.append(run.y[:, -1])
        frozen = perturbation.orders(time, ntk, residual, 0)[0]
        upper = _bound(time, ntk, residual)
        assert (perturbation.tightness(np.array(solution), frozen, upper)[1:] <= 1).all()


@pytest.mark.parametrize("seed", range(6))
def test_sizes_bound_the_first_order(seed):
    """|r_1 - r_0|/|r(0)| <= forcing_size <= size, on a grid fine enough for the trapezoidal rule."""
    flow, time = Flow(seed), np.linspace(0, 4, 801)
    ntk = flow.ntk(time)
    predicted = perturbation.orders(time, ntk, flow.residual, 1, substeps=1)
    first = np.linalg.norm(predicted[1] - predicted[0], axis=-1) / np.linalg.norm(flow.residual)
    forcing, size = _forcing(time, ntk, flow.residual), perturbation.size(time, drift.change(ntk))
    assert (first <= forcing * (1 + 1e-4)).all() and (forcing <= size * (1 + 1e-12)).all()


def test_forcing_size_says_when_order_1_matters_and_size_does_not():
    """The fast mode is learned by t = 1; a kernel that moves there only after t = 3 changes nothing."""
    time = np.linspace(0, 20, 401)
    late = np.clip(time - 3, 0, None)[:, None, None] * np.diag([1.0, 0.0])
    ntk, residual = np.diag([5.0, 0.1]) + late, np.array([1.0, 0.0])
    predicted = perturbation.orders(time, ntk, residual)
    assert perturbation.size(time, drift.change(ntk))[-1] == pytest.approx(17**2 / 2, rel=1e-3)
    assert _forcing(time, ntk, residual)[-1] < 1e-7
    assert np.linalg.norm(predicted[1] - predicted[0], axis=-1).max() < 1e-7
    # The bound discounts by the slowest mode alone.
    assert 0.5 < _bound(time, ntk, residual).max() < 17**2 / 2


def test_laws_of_scale_basis_and_batch():
    flow, time = Flow(7), np.concatenate([[0.0], np.geomspace(0.01, 3, 12)])
    ntk = flow.ntk(time)
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    base = perturbation.orders(time, ntk, flow.residual)
    turned = perturbation.orders(time, basis @ ntk @ basis.T, basis @ flow.residual)
    np.testing.assert_allclose(turned, base @ basis.T, atol=1e-12)
    np.testing.assert_allclose(perturbation.orders(time / 9, 9 * ntk, flow.residual), base, atol=1e-12)  # K t alone
    other = Flow(8)
    times, kernels = np.stack([time, 2 * time]), np.stack([ntk, other.ntk(2 * time)])
    residuals = np.stack([flow.residual, other.residual])
    orders, bounds = (function(times, kernels, residuals) for function in (perturbation.orders, _bound))
    for i in range(2):
        one = times[i], kernels[i], residuals[i]
        np.testing.assert_allclose(orders[:, i], perturbation.orders(*one), atol=1e-13)
        np.testing.assert_allclose(bounds[i], _bound(*one), rtol=1e-12)


def test_a_diverged_run_is_nan_from_there_on():
    flow, time = Flow(9), np.linspace(0, 1, 6)
    ntk = np.stack([flow.ntk(time)] * 2)
    whole, broken = ntk.copy(), ntk
    broken[1, 3:] = np.nan
    times, residuals = np.stack([time] * 2), np.stack([flow.residual] * 2)
    parts = {
        "orders": lambda k: perturbation.orders(times, k, residuals)[1:, ..., 0],
        "bound": lambda k: _bound(times, k, residuals)[None],
        "size": lambda k: perturbation.size(times, drift.change(k))[None],
        "forcing": lambda k: _forcing(times, k, residuals)[None],
    }
    for name, part in parts.items():
        values, expected = part(broken), part(whole)
        assert np.isnan(values[:, 1, 3:]).all(), name
        np.testing.assert_array_equal(values[:, 0], expected[:, 0])
        np.testing.assert_array_equal(values[:, 1, :3], expected[:, 1, :3])
    ntk[1] = np.nan
    assert all(np.isnan(part(ntk)[:, 1]).all() for part in parts.values())


def test_refusals_name_the_argument():
    with pytest.raises(ValueError, match="highest must be >= 0 and substeps >= 1; they were -1 and 8"):
        perturbation.orders(np.zeros(1), np.zeros((1, 1, 1)), np.zeros(1), -1)
