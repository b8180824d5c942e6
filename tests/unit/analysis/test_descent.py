"""Predictions and bounds of gradient descent against descent itself."""

import numpy as np
import pytest

from ntkpipe.analysis import descent, drift, perturbation


class Descent:
    """r <- (I - rate K_k) r + rho_k with K_k linear between the snapshots' random kernels."""

    def __init__(self, seed, epsilon=1.0, rho=0.0, n=4):
        rng = np.random.default_rng(seed)
        factor = rng.normal(size=(n, n))
        start = factor @ factor.T / n + 0.1 * np.eye(n)
        change = rng.normal(size=(5, n, n))
        change[0] = 0
        self.ntk = start + epsilon * 0.3 * (change + change.transpose(0, 2, 1)) / 2
        self.step, self.rate = np.array([0, 3, 4, 20, 50]), np.array(0.8 / np.linalg.eigvalsh(start)[-1])
        self.residual = rng.normal(size=n)
        noise = rng.normal(size=(50, n))
        noise *= rho / np.linalg.norm(noise, axis=1, keepdims=True)
        self.remainder = np.full(5, float(rho))
        r, path = self.residual, [self.residual]
        for k in range(50):
            kernel = np.array([[np.interp(k, self.step, self.ntk[:, i, j]) for j in range(n)] for i in range(n)])
            r = r - self.rate * kernel @ r + noise[k]
            path.append(r)
        self.path = np.array(path)[self.step]

    def orders(self, highest=2):
        return descent.walk(self.step, self.rate, self.ntk, self.residual, highest).orders


def test_constant_kernels_leave_nothing_to_correct():
    run = Descent(0, epsilon=0.0)
    for values in run.orders():
        np.testing.assert_allclose(values, run.path, atol=1e-14)


def test_the_error_of_order_p_falls_like_the_perturbation_to_p_plus_1():
    epsilons = np.array([0.005, 0.01, 0.02])
    runs = [Descent(1, epsilon) for epsilon in epsilons]
    errors = np.array([perturbation.relative_errors(run.path, run.orders(3))[:, -1] for run in runs])
    for p in range(4):
        assert np.polyfit(np.log(epsilons), np.log(errors[:, p]), 1)[0] == pytest.approx(p + 1, abs=0.15)


def test_many_orders_are_exact():
    """The series ends after k terms, for order p needs p steps: with p = 50 nothing is left."""
    run = Descent(2, epsilon=0.3)
    np.testing.assert_allclose(run.orders(50)[-1], run.path, atol=1e-9)


def test_small_steps_are_the_flow():
    flow_time = np.linspace(0, 2, 9)
    run = Descent(3)
    ntk = run.ntk[0] + flow_time[:, None, None] * (run.ntk[1] - run.ntk[0])
    flow = perturbation.orders(flow_time, ntk, run.residual)
    gaps = []
    for each in (50, 100):
        step = each * np.arange(9)
        gaps.append(descent.walk(step, np.array(0.25 / each), ntk, run.residual).orders - flow)
    sizes = [np.abs(gap[:, -1]).max(axis=-1) for gap in gaps]
    np.testing.assert_allclose(sizes[0] / sizes[1], 2, rtol=0.05)


def test_order_0_is_a_power_of_the_first_step():
    step, rng = np.array([0, 1, 2, 7, 100]), np.random.default_rng(3)
    factor, residual = rng.normal(size=(4, 4)), rng.normal(size=4)
    start = factor @ factor.T / 4
    ntk = start + np.arange(5)[:, None, None] * np.eye(4)  # what comes later does not matter
    for rate in (0.01, 1.9 / np.linalg.eigvalsh(start)[-1]):
        predicted = descent.walk(step, np.array(rate), ntk, residual, 0).orders[0]
        for k, values in zip(step, predicted, strict=True):
            power = np.linalg.matrix_power(np.eye(4) - rate * start, k)
            np.testing.assert_allclose(values, power @ residual, atol=1e-13 * np.linalg.norm(residual))


def test_beyond_the_edge_orders_grow_to_inf_without_an_exception():
    walk = descent.walk(np.array([0, 1, 2000]), np.array(1.0), np.full((3, 1, 1), 3.0), np.ones(1))
    np.testing.assert_array_equal(walk.orders[0, :, 0], [1, -2, np.inf])


def test_a_negative_order_is_refused():
    with pytest.raises(ValueError, match="highest must be >= 0; it was -1"):
        Descent(0).orders(-1)


def _bound(step, rate, ntk, residual, remainder=None):
    return descent.bound(step, rate, drift.eigenvalues(ntk), drift.change(ntk), residual, remainder)


@pytest.mark.parametrize("rho", [0.0, 0.01])
@pytest.mark.parametrize("seed", range(40))
def test_the_bound_holds_between_coarse_snapshots(seed, rho):
    run = Descent(seed, rho=rho)
    bound = _bound(run.step, run.rate, run.ntk, run.residual, run.remainder)
    apart = np.linalg.norm(run.path - run.orders(0)[0], axis=-1)
    assert (apart <= bound * (1 + 1e-12) + 1e-14).all()


def test_the_bound_is_an_equality_for_one_point():
    """K_0 = 1, then K_k = 1.2 to the end: what is not an equality is the first step, taken with the larger DeltaK."""
    step, rate, r = np.arange(30), np.array(0.1), np.array([1.5])
    k = np.where(step > 0, 1.2, 1.0)[:, None, None]
    path = 1.5 * np.append(1.0, 0.9 * 0.88 ** np.arange(29))
    apart = np.abs(path - 1.5 * 0.9**step)
    first = 0.1 * 0.2 * 1.5 * 0.9 ** (step - 1.0)  # rate |DeltaK| |r(0)|, decaying with K_0
    np.testing.assert_allclose(_bound(step, rate, k, r)[1:], (apart + first)[1:], rtol=1e-12)


def test_a_diverged_run_is_nan_from_there_on():
    run = Descent(4)
    ntk = np.stack([run.ntk] * 2)
    ntk[1, 3:] = np.nan
    rates, residuals = np.full(2, run.rate), np.stack([run.residual] * 2)
    predicted = descent.walk(run.step, rates, ntk, residuals).orders
    bound = _bound(run.step, rates, ntk, residuals)
    np.testing.assert_allclose(predicted[:, 0], run.orders(), atol=1e-14)
    np.testing.assert_allclose(predicted[:, 1, :3], predicted[:, 0, :3])
    assert np.isnan(predicted[1:, 1, 3:]).all() and np.isnan(bound[1, 3:]).all()
    assert np.isfinite(predicted[0]).all()  # K_0 decides order 0
    assert np.isfinite(bound[0]).all() and np.isfinite(bound[1, :3]).all()


def test_forcing_is_the_size_of_the_first_correction_over_one_step():
    """From the second snapshot on DeltaK acts; after one step with DeltaK it is exactly |r_1 - r_0|/|r(0)|."""
    rng = np.random.default_rng(0)
    start = np.diag([1.0, 0.5])
    change = rng.normal(size=(2, 2))
    ntk = np.stack([start, start + change + change.T, start + change + change.T])
    residual, rate, step = np.array([1.0, -2.0]), np.array(0.3), np.array([0, 1, 2])
    orders, found = descent.walk(step, rate, ntk, residual, highest=1)
    np.testing.assert_array_equal(descent.walk(step, rate, ntk, residual, highest=0).forcing, found)
    np.testing.assert_allclose(found[:2], 0.0, atol=1e-15)
    expected = np.linalg.norm(orders[1, 2] - orders[0, 2]) / np.linalg.norm(residual)
    assert found[2] == pytest.approx(expected, rel=1e-12)


def test_the_remainder_alone_makes_the_bound():
    """A kernel that stays, K = 1, and steps that miss by rho: b_{k+1} = |1 - eta| b_k + rho, an equality."""
    step, rate, rho = np.arange(4), np.array([0.25]), 0.5
    ntk = np.ones((1, 4, 1, 1))
    bound = _bound(step, rate, ntk, np.array([[2.0]]), np.full((1, 4), rho))
    expected = [0.0, rho, rho * (1 + 0.75), rho * (1 + 0.75 + 0.75**2)]
    np.testing.assert_allclose(bound[0], expected, rtol=1e-14)
