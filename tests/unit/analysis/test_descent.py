"""Predictions and bounds of gradient descent against descent itself."""

import numpy as np
import pytest

from ntkpipe.analysis import descent, perturbation


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
        return descent.orders(self.step, self.rate, self.ntk, self.residual, highest)


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
        gaps.append(descent.orders(step, np.array(0.25 / each), ntk, run.residual) - flow)
    sizes = [np.abs(gap[:, -1]).max(axis=-1) for gap in gaps]
    np.testing.assert_allclose(sizes[0] / sizes[1], 2, rtol=0.05)


@pytest.mark.parametrize("rho", [0.0, 0.01])
@pytest.mark.parametrize("seed", range(40))
def test_the_bound_holds_between_coarse_snapshots(seed, rho):
    run = Descent(seed, rho=rho)
    bound = descent.bound(run.step, run.rate, run.ntk, run.residual, run.remainder)
    apart = np.linalg.norm(run.path - run.orders(0)[0], axis=-1)
    assert (apart <= bound.upper * (1 + 1e-12) + 1e-14).all() and (bound.value <= bound.upper).all()


def test_the_bound_is_an_equality_for_one_point():
    step, rate, k = np.arange(30), np.array(0.1), 1 + 0.2 * np.arange(30)[:, None, None] / 30
    r, path = 1.5, [1.5]
    for i in range(29):
        r *= 1 - 0.1 * k[i, 0, 0]
        path.append(r)
    bound = descent.bound(step, rate, k, np.array([1.5]))
    frozen = perturbation.descent_order_0(step, rate, k[0], np.array([1.5]))[:, 0]
    np.testing.assert_allclose(np.abs(path - frozen)[1:], bound.value[1:], rtol=0.15, atol=1e-3)


def test_a_diverged_run_is_nan_from_there_on():
    run = Descent(4)
    ntk = np.stack([run.ntk] * 2)
    ntk[1, 3:] = np.nan
    rates, residuals = np.full(2, run.rate), np.stack([run.residual] * 2)
    predicted = descent.orders(run.step, rates, ntk, residuals)
    bound = descent.bound(run.step, rates, ntk, residuals)
    np.testing.assert_allclose(predicted[:, 0], run.orders(), atol=1e-14)
    np.testing.assert_allclose(predicted[:, 1, :3], predicted[:, 0, :3])
    assert np.isnan(predicted[1:, 1, 3:]).all() and np.isnan(bound.upper[1, 3:]).all()
    assert np.isfinite(bound.upper[0]).all() and np.isfinite(bound.upper[1, :3]).all()


def test_forcing_is_the_size_of_the_first_correction_over_one_step():
    """From the second snapshot on DeltaK acts; after one step with DeltaK it is exactly |r_1 - r_0|/|r(0)|."""
    rng = np.random.default_rng(0)
    start = np.diag([1.0, 0.5])
    change = rng.normal(size=(2, 2))
    ntk = np.stack([start, start + change + change.T, start + change + change.T])
    residual, rate, step = np.array([1.0, -2.0]), np.array(0.3), np.array([0, 1, 2])
    found = descent.forcing_size(step, rate, ntk, residual)
    orders = descent.orders(step, rate, ntk, residual, highest=1)
    np.testing.assert_allclose(found[:2], 0.0, atol=1e-15)
    expected = np.linalg.norm(orders[1, 2] - orders[0, 2]) / np.linalg.norm(residual)
    assert found[2] == pytest.approx(expected, rel=1e-12)
