"""Draws of finite_sample studies: reproducible, independent by N, and what they say they are."""

import numpy as np
import pytest

from ntkpipe.kinds.finite_sample import draw, limits


@pytest.fixture(scope="module")
def sampled(make_study, quickly):
    """A function: settings, cell, quantum and number of draws -> arrays by name."""

    def build(n=2, quantum=0, grid=None, network=None, **settings):
        study = make_study(
            kind="finite_sample",
            grid=grid or {"width": 12, "depth": 1},
            seeds=8,
            network=network or {"bias_init": "zero", "output_bias": False},
            finite_sample={"train": 16, "modes": 2, "omega": [1.5], "eval": 8} | settings,
        )
        cell = study.cells[0]
        with quickly():
            found = draw.sample(cell.network, cell.settings, study.stream(cell), quantum, n)
        return cell, {name: array for name, (_, array) in found.items()}

    return build


def test_draws_do_not_depend_on_how_many_are_made(sampled):
    (_, few), (_, more), (_, other) = sampled(n=2), sampled(n=5), sampled(n=2, quantum=1)
    for name in few:
        np.testing.assert_allclose(few[name], more[name][:2], rtol=1e-9, atol=1e-12)
        assert (np.abs(few[name] - other[name]) > 1e-9).any(), name


def test_noise_alone_is_scaled_where_noise_alone_differs(sampled):
    (_, one), (_, two), (_, none) = sampled(noise=0.5), sampled(noise=1.0), sampled(noise=0.0)
    np.testing.assert_array_equal(one["coupling"], two["coupling"])
    np.testing.assert_allclose(2 * one["noise_modes"], two["noise_modes"], rtol=1e-12)
    np.testing.assert_allclose(2 * one["noise_fit"][:, :2], two["noise_fit"][:, :2], rtol=1e-9)  # linear dynamics
    np.testing.assert_allclose(none["noise_fit"], 0.0, atol=1e-13)
    np.testing.assert_array_equal(none["error_clean"], none["error_noisy"])


def test_wide_networks_learn_what_linear_dynamics_do(sampled):
    """At width 4096 within a few n^-1/2; at width 16 the trained network and its frozen kernel differ."""
    _, wide = sampled(n=2, grid={"width": 4096, "depth": 1})
    scale = np.abs(wide["signal_fit"]).max()
    for name in ("signal_fit", "noise_fit"):
        limit, frozen, trained = np.moveaxis(wide[name], 1, 0)
        np.testing.assert_allclose(frozen, limit, atol=5 * scale / 64)
        np.testing.assert_allclose(trained, frozen, atol=5 * scale / 64)
        assert (np.abs(trained - frozen) > 1e-9).any()


def test_equal_angles_leave_what_the_schedule_says(sampled):
    """With the limit kernel on equal angles every mode decays by itself, aliased: (1 - eta N lambda)^steps."""
    cell, found = sampled(n=2, points="equal", noise=0.0)
    limit = limits.spectrum(cell.network)
    plan = limits.schedule(limit, 1, 16, eta=0.1, fitted=0.1, most_steps=2000)
    np.testing.assert_allclose(found["gram"][0], np.eye(5), atol=1e-14)
    aliased = limit.eigenvalues[[abs(1 + 16 * m) for m in range(-15, 16)]].sum()
    kept = (1 - plan.eta * 16 * aliased) ** plan.steps
    np.testing.assert_allclose(found["coupling"][:, 0, 1, 1], aliased, rtol=2e-3)  # the sum goes on
    # 8 points between: the coefficient has the aliases 1 + 16 m of the function too, each lambda_q/aliased of the whole
    assert found["signal_fit"][0, 0, 1] == pytest.approx((1 - kept) / np.sqrt(2), rel=0.02)


def test_a_signal_without_eigenvalue_is_not_trained_on(sampled):
    _, found = sampled(network={"bias_init": "none"}, modes=3, signal=3)
    assert np.isnan(found["signal_fit"]).all() and np.isnan(found["error_clean"]).all()
    assert np.isfinite(found["coupling"]).all() and np.isfinite(found["noise_modes"]).all()
    _, short = sampled(most_steps=3)
    assert np.isnan(short["signal_fit"]).all()


def test_the_schedule_is_the_first_step_at_which_the_signal_is_fitted():
    limit = limits.Limit(np.array([0.5, 0.25, 0.0]), np.ones(5), 1.0)
    plan = limits.schedule(limit, 1, 32, eta=0.1, fitted=0.1, most_steps=100)
    left = (1 - plan.eta * 32 * 0.25) ** np.array([plan.steps - 1, plan.steps])
    assert plan.eta == pytest.approx(0.2 / (32 * 0.5)) and left[1] <= 0.1 < left[0]
    np.testing.assert_allclose(limits.learned(limit, plan, 32), 1 - np.array([0.8, 0.9, 1.0]) ** plan.steps)
    assert limits.schedule(limit, 2, 32, eta=0.1, fitted=0.1, most_steps=100).steps == 0
