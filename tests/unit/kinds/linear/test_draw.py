"""Shards of linear studies: against the theory and plain runs, prefixes, divergence, NaN for the other model."""

from __future__ import annotations

import numpy as np
import pytest

from ntkpipe.config.linear import LinearConfig
from ntkpipe.kinds.linear import draw
from ntkpipe.kinds.linear.settings import step_size, target
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.theory import deep_linear as exact
from ntkpipe.training import deep_linear

STREAM = Stream(3, "a cell")
CONFIG = LinearConfig(
    dim=4, outputs=2, singular_values=[1.5, 0.5], steps=40, at=[1, 10, 40], points=[2, 6], flow_width=4, halvings=3
)
SMALL = Network(4, (4,), activation="linear", parametrization="standard")


def arrays(network, n=2, config=CONFIG, **keys) -> dict[str, np.ndarray]:
    room = draw.networks if network.depth else draw.models
    found = room(network, config.model_copy(update=keys), STREAM, 0, n)
    assert {name: dims for name, (dims, _) in found.items()} == draw.DIMS
    return {name: array for name, (_, array) in found.items()}


@pytest.mark.parametrize("parametrization", ["standard", "ntk"])
def test_networks_are_those_of_a_plain_run(parametrization, quick_compile):
    network = Network(4, (6, 6), activation="linear", parametrization=parametrization)
    found = arrays(network, scale=0.8)
    law = deep_linear.law(4, (6, 6), 2, 0.8, parametrization)
    eta = step_size(CONFIG.model_copy(update={"scale": 0.8}), law)
    for seed in range(2):
        weights = list(deep_linear.init(STREAM.generator(0, seed), law))
        run = exact.descend(weights, law.gains, target(CONFIG), eta, (0, 1, 10, 40))
        np.testing.assert_allclose(found["map"][seed], run.maps, atol=1e-12)
        np.testing.assert_allclose(found["drift"][seed], run.drift, atol=1e-12)
    assert np.all(found["eta_used"] == eta)
    assert np.isnan(found["balance"]).all() and np.isnan(found["component"]).all()  # wider than flow_width; other model


def test_the_weights_have_their_variance_and_gains():
    for parametrization, variances, gains in (
        ("standard", (0.25 / 50, 0.25 / 50), (1, 1)),
        ("ntk", (0.25 / 30, 0.25 / 50), (1 / 30, 1 / 50)),
    ):
        law = deep_linear.law(30, (50,), 40, 0.5, parametrization)
        weights = deep_linear.init(np.random.default_rng(0), law)
        assert law.gains == pytest.approx(gains)
        for w, variance in zip(weights, variances, strict=True):
            assert np.var(w) == pytest.approx(variance, rel=4 * (2 / w.size) ** 0.5)


def test_small_networks_know_flow_balance_and_modes(quick_compile):
    found = arrays(SMALL)
    assert np.max(found["balance_flow"]) < 1e-8 and np.max(found["autodiff_gap"]) < 1e-13
    assert (np.diff(found["flow_gap"], axis=1) < 0).all() and (np.diff(found["balance"], axis=1) < 0).all()
    times = step_size(CONFIG, deep_linear.law(4, (4,), 2, 1.0, "standard"), modes=True) * np.array([0, 1, 10, 40])
    for k, value in enumerate(CONFIG.singular_values):
        curve = exact.mode(times, CONFIG.mode_start, value, 2)
        np.testing.assert_allclose(found["mode_flow"][0, :, k], curve, atol=1e-7)
    assert np.isfinite(found["mode_gap"][0]).all() and np.isnan(found["mode_gap"][1]).all()  # first of the quantum
    again = arrays(SMALL, n=1)
    np.testing.assert_allclose(again["map"][0], found["map"][0], atol=1e-13)  # a prefix


def test_a_step_beyond_the_critical_one_is_recorded_as_divergence(quick_compile):
    found = arrays(Network(4, (5,), activation="linear", parametrization="standard"), eta=9.0)
    assert np.isnan(found["map"][:, -1]).all() and np.isnan(found["drift"][:, -1]).all()
    assert np.isfinite(found["map"][:, 0]).all()


def test_linear_models_follow_their_closed_form():
    found = arrays(Network(4, (), activation="linear"), scale=2.0)
    assert found["closed_gap"].max() < 1e-13 and found["kernel_moved"].max() < 1e-13
    np.testing.assert_allclose(found["limit_gap"], found["limit_expected"], atol=1e-13)
    np.testing.assert_allclose(found["threshold"], 1, rtol=1e-6)
    assert np.isnan(found["component"][:, 0, :, :, 2:]).all()  # two points span two directions
    factors = (1 - 0.5 * found["eigenvalue"][:, 1, None]) ** np.array([[0], [1], [10], [40]])
    np.testing.assert_allclose(found["component"][:, 1, 1], factors, atol=1e-12)
    assert np.isnan(found["map"]).all()


@pytest.mark.parametrize(("loss", "scale"), [("half_sum", 1.0), ("mean", 1 / 4)])
def test_absolute_steps_count_the_reduction_of_the_loss(loss, scale):
    config = LinearConfig(dim=4, outputs=3, eta=0.2, eta_unit="absolute", loss=loss)
    assert step_size(config, deep_linear.law(4, (5,), 3, 1.0, "standard")) == pytest.approx(0.2 * scale)
