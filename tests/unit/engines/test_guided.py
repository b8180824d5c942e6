"""The path law behind the weights: normalized, and with the exact guide free of variance."""

from dataclasses import replace
from math import comb

import numpy as np
import pytest

from ntkpipe.engines import guided
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.theory import moments
from ntkpipe.theory.recursion import layer_edges, layer_moment, layer_polynomial

X = np.full((1, 10), 10**-0.5)
NET = Network(10, (16, 24, 16))


@pytest.mark.parametrize(("i", "j"), [(0, 0), (1, 0), (2, 1), (0, 2), (4, 0)])
@pytest.mark.parametrize("n", [4, 9, 300])
def test_active_units_given_an_edge(n, i, j):
    mass = np.array([float(comb(n, m) * layer_polynomial(m, i, j)) for m in range(1, n + 1)])
    pmf = np.diff(guided._active_cdf(n, i, j), prepend=0.0)
    # lgamma of up to 300 carries 1e-13; cumulated sums of n terms n ulp
    np.testing.assert_allclose(pmf, mass / mass.sum(), rtol=0, atol=1e-12)


def test_paths_have_probability_one_and_weights_the_edge_means():
    for k, (width, law) in enumerate(zip(NET.widths, guided._path_law(NET), strict=True), start=1):
        images = layer_edges(NET, k, 2, False)
        total = {}
        for source, _, i, j, factor in law.steps:
            total[source] = total.get(source, 0.0) + factor * layer_moment(width, i, j)
        assert total.keys() == set(range(len(images)))
        np.testing.assert_allclose(list(total.values()), 1, rtol=1e-12)
        for choice, image in zip(law.choices, images, strict=True):
            assert len(choice.cumulative) == len(image) - 1 and np.all(np.diff(choice.cumulative) >= -1e-15)


def test_with_the_exact_guide_the_weighted_square_is_the_exact_moment(monkeypatch):
    """Zero variance: every single draw has w K^2 = E[K^2]. This checks weights and walk draw by draw."""
    monkeypatch.setattr(guided, "GUIDE_RATIO", None)
    near = guided.guide
    monkeypatch.setattr(guided, "guide", lambda network: near(network, ratio=1.0))
    guided._path_law.cache_clear()
    try:
        for net in (NET, Network(10, (4, 5)), replace(NET, parametrization="standard", sigma_v=1.7), Network(10, ())):
            draws = guided.sample(net, X, Stream(0, "a"), 0, 1024)
            expected = moments.log_moments(net, 1.0, 2)[1]
            np.testing.assert_allclose(draws.log_weight + 2 * np.log(draws.ntk), expected, rtol=0, atol=1e-10)
    finally:
        guided._path_law.cache_clear()  # the law of another guide must not stay


def test_guide_of_the_same_width_holds_the_exact_moments_up_to_scale():
    h = guided.guide(NET, ratio=1.0)
    assert len(h) == NET.depth + 1
    assert all(np.all(part >= 0) and part.max() > 0 for part in h)
