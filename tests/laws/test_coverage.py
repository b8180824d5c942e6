"""Nominal 95 % intervals cover at least 90 % where a cell is not flagged, on the heavy-tailed law.

The rule: with R independent studies the hits of an interval that covers exactly 90 % are
Binomial(R, 0.9). An interval passes if its hits are at least the 1 % quantile of that law; so one
that covers 90 % or more fails by chance with at most 1 %, one that covers 95 % never (< 1e-6), and
one that covers 84 % passes with less than 10 % (R = 300). Seeds are fixed.
"""

import numpy as np
import pytest
from scipy import stats

from ntkpipe.analysis.moments import moments as cell_moments
from ntkpipe.config import TolerancesConfig
from ntkpipe.drawing import block_size
from ntkpipe.engines import guided, scalar
from ntkpipe.kinds.initialization.draw import draw_shard
from ntkpipe.networks import Network
from ntkpipe.streams import QUANTUM, Stream
from ntkpipe.theory import moments

pytestmark = pytest.mark.law

X = np.full((1, 10), 10**-0.5)
REPLICATIONS = 320
FLOOR = 0.90


def _rows(net, draws, replications, engine=scalar, block=None):
    """Independent studies: rows of statistics, each from fresh draws, as a run makes them."""
    block = block or block_size(draws)
    for number in range(replications):
        arrays = draw_shard(
            engine.sample,
            net,
            X,
            Stream(11, f"replication {number}"),
            0,
            draws,
            block=block,
            keep="moments",
            gram=True,
            precision="float64",
            floor=1e-13,
        )
        parts = arrays["sums"][1], arrays["largest"][1], arrays["histogram"][1][0]
        yield cell_moments(net, np.array([1.0]), *parts, guided=engine is guided, tolerances=TolerancesConfig())


def _assert_covered(rows, name, truth):
    hits = sum(row[f"{name}_low"] <= truth <= row[f"{name}_high"] for row in rows)
    needed = stats.binom.ppf(0.01, len(rows), FLOOR)
    assert hits >= needed, f"{name}: {hits} of {len(rows)} intervals hold {truth:.5g}; {needed:.0f} needed"


def _truth_of_the_bulk(net, draws):
    """E[log K | K > 0] and the median of log K from many plain draws of their own stream.

    Their standard errors must be small beside those of a study: a tenth adds 0.5 % to its variance.
    """
    quanta = int(100 * draws / QUANTUM)
    k = np.concatenate([scalar.sample(net, X, Stream(12, "truth"), q, QUANTUM).ntk for q in range(quanta)])
    return np.log(k[k > 0]).mean(), np.log(np.median(k))


@pytest.mark.parametrize(
    ("width", "depth", "draws"), [(64, 8, 2 * QUANTUM), (32, 8, 12 * QUANTUM)], ids=["beta 0.125", "beta 0.25"]
)
def test_intervals_cover_where_the_cell_is_not_flagged(width, depth, draws):
    """Exact relative standard errors of 0.023 and 0.0296: the second just below the 0.03 of the flag.

    (At width 64, beta = 0.25, 20 480 draws it is 0.0302, so that cell is flagged.)
    """
    net = Network(10, (width,) * depth)
    rows = list(_rows(net, draws, REPLICATIONS))
    assert not any(row["undersampled"] for row in rows)
    _assert_covered(rows, "s2", moments.s2(net, 1.0))
    _assert_covered(rows, "ntk_mean", moments.mean(net, 1.0))
    log_mean, log_median = _truth_of_the_bulk(net, draws)
    _assert_covered(rows, "log_ntk_mean", log_mean)
    _assert_covered(rows, "log_ntk_median", log_median)
    z = np.array([row["s2_z"] for row in rows])  # (estimate/exact - 1)/exact standard error
    assert abs(z.mean()) < 4 / np.sqrt(len(z)) and 0.7 < z.std() < 1.3


def test_bulk_intervals_cover_at_beta_1_where_s2_does_not():
    """The median and E[log K] are not decided by the tail: their intervals hold at any beta."""
    net, draws = Network(10, (16,) * 16), QUANTUM // 4
    rows = list(_rows(net, draws, REPLICATIONS))
    log_mean, log_median = _truth_of_the_bulk(net, draws)
    _assert_covered(rows, "log_ntk_mean", log_mean)
    _assert_covered(rows, "log_ntk_median", log_median)
    assert all(row["undersampled"] for row in rows)


def test_cells_that_the_tail_decides_are_flagged():
    """beta = 1 with 10 240 draws: the exact relative standard error is far above the 3 % asked for."""
    net = Network(10, (64,) * 64)
    assert moments.s2_relative_sd(net, 1.0) / np.sqrt(10 * QUANTUM) > 0.1
    rows = list(_rows(net, 10 * QUANTUM, 20))
    assert all(row["undersampled"] == 1 for row in rows)
    # and rightly so: most such estimates lie below the exact value
    assert sum(row["s2"] < row["s2_exact"] for row in rows) > 12


def test_guided_intervals_cover_at_beta_1():
    net = Network(10, (16,) * 16)
    rows = list(_rows(net, 6 * QUANTUM, 300, engine=guided, block=64))
    assert not any(row["undersampled"] for row in rows)
    _assert_covered(rows, "s2", moments.s2(net, 1.0))
