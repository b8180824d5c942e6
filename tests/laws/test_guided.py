"""Path-guided importance sampling: unbiased, and exact to a percent where plain draws fail."""

import numpy as np
import pytest

from ntkpipe.analysis.moments import moments as cell_moments
from ntkpipe.config import TolerancesConfig
from ntkpipe.engines import guided, scalar
from ntkpipe.kinds.initialization.draw import draw_shard
from ntkpipe.networks import Network
from ntkpipe.streams import QUANTUM, Stream, quanta
from ntkpipe.theory import moments

pytestmark = pytest.mark.law

X = np.full((1, 10), 10**-0.5)


def _draw(engine, net, n, seed=0):
    parts = [engine.sample(net, X, Stream(seed, engine.__name__), q, count) for q, count in quanta(0, n)]
    return tuple(np.concatenate([getattr(part, name) for part in parts]) for name in ("ntk", "output", "log_weight"))


def _assert_mean(values, expected):
    """Within 4 standard errors, which must be small enough to say something."""
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert error < 0.05 * abs(expected)
    assert abs(np.mean(values) - expected) < 4 * error


@pytest.mark.parametrize(
    ("width", "depth", "draws"),
    [
        (64, 32, 20 * QUANTUM),
        (64, 64, 20 * QUANTUM),
        (16, 32, 20 * QUANTUM),
        (256, 128, 10 * QUANTUM),
        (64, 256, 100_000),
    ],
)
def test_guided_second_moment(width, depth, draws):
    """beta up to 4, where S2 = 10^8 and a plain draw of K^2 has a relative sd of more than 10^8."""
    net = Network(10, (width,) * depth)
    arrays = draw_shard(
        guided.sample,
        net,
        X,
        Stream(3, "guided"),
        0,
        draws,
        block=64,
        keep="spectra",
        gram=True,
        precision="float64",
        floor=1e-13,
    )
    parts = arrays["sums"][1], arrays["largest"][1], arrays["histogram"][1][0]
    row = cell_moments(net, np.array([1.0]), *parts, guided=True, tolerances=TolerancesConfig())
    log_exact = moments.log_moments(net, 1.0, 2)
    assert row["ess"] > draws / 2
    error = np.sqrt(1 / row["ess"] - 1 / draws)  # relative standard error of the mean of w K^2
    assert error < 0.01
    ratio = row["ntk_second_moment"] / np.exp(log_exact[1])
    assert abs(ratio - 1) < 4 * error
    assert abs(ratio - 1) < 0.02
    assert row["s2"] == pytest.approx(row["s2_exact"] * ratio, rel=1e-10)
    assert row["s2_low"] < row["s2"] < row["s2_high"] < 1.02 * row["s2_low"] * (1 + 8 * error)
    assert not row["undersampled"]


@pytest.mark.parametrize(
    "net",
    [
        Network(10, (64,) * 8),
        Network(10, (4, 6, 5)),  # dead layers: P(K = 0) = 0.11
        Network(10, (5,) * 3),
        Network(10, (16, 300, 24), parametrization="standard", sigma_v=1.3),
        Network(10, (30,) * 8, sigma_w=1.1),
    ],
    ids=lambda net: f"{net.widths[:3]}",
)
def test_weights_are_the_density_ratio(net):
    """E[w K^p] = E[K^p], p = 1, 2, 3; and E[w; K > t] = P(K > t) at quantiles t of plain draws.

    (E[w] itself is 1 - P(dead), but like 1/K^2 the weights have no variance where K can be small.)
    """
    k, f, log_weight = _draw(guided, net, 40 * QUANTUM)
    w, logs = np.exp(log_weight), moments.log_moments(net, 1.0, 3)
    assert np.all(k > 0)
    for p in (1, 2, 3):
        _assert_mean(w * k**p, np.exp(logs[p - 1]))
    plain_k, plain_f, _ = _draw(scalar, net, 80 * QUANTUM)
    for level in (0.6, 0.8, 0.95, 0.99):
        t = np.quantile(plain_k, level)
        plain = plain_k > t
        half = np.median(plain_f[plain] ** 2 / plain_k[plain])  # jointly with f: f^2 > half K
        also = plain & (plain_f**2 > half * plain_k)
        for above, expected in ((k > t, plain), ((k > t) & (f**2 > half * k), also)):
            share = expected.mean()
            error = np.hypot(np.std(w * above) / len(w) ** 0.5, (share * (1 - share) / len(expected)) ** 0.5)
            assert error < 0.1 * share
            assert abs(np.mean(w * above) - share) < 4 * error


@pytest.mark.parametrize("net", [Network(10, (64,) * 8), Network(10, (256,) * 16)], ids=["64", "256"])
def test_weights_have_mean_one_where_they_have_a_variance(net):
    """beta of 1/8 and 1/16, and no dead layers to speak of (2^-61): E[w] = 1."""
    _k, _, log_weight = _draw(guided, net, 40 * QUANTUM)
    _assert_mean(np.exp(log_weight), 1 - moments.dead_fraction(net))


def test_weighted_output_is_the_output_of_the_law():
    """E[w f^2] = |x|^2/n_0 and E[w f^4] as for scalar draws; E[w f] = 0 by symmetry."""
    net = Network(10, (12, 20, 16))
    _, f, log_weight = _draw(guided, net, 40 * QUANTUM)
    w = np.exp(log_weight)
    _assert_mean(w * f**2, 0.1)
    _assert_mean(w * f**4, 3 * 0.1**2 * (1 + 5 / 12) * (1 + 5 / 20) * (1 + 5 / 16))
    assert abs(np.mean(w * f)) < 4 * np.std(w * f) / np.sqrt(len(f))


def test_guide_is_not_the_exact_moment_in_disguise():
    """With the guide of the same width w K^2 is constant (the variance is zero); ours is another one."""
    net = Network(10, (64,) * 16)
    k, _, log_weight = _draw(guided, net, QUANTUM)
    log_values = log_weight + 2 * np.log(k)
    assert np.std(log_values) > 0.01

    exact = guided.guide(net, ratio=1.0)
    near = guided.guide(net)
    assert not np.allclose(exact[0] / exact[0].sum(), near[0] / near[0].sum(), rtol=1e-3)
