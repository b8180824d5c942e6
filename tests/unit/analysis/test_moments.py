"""A cell's row of statistics: which values stand where, and when a cell is flagged."""

import numpy as np
import pytest

from ntkpipe.analysis import moments
from ntkpipe.config import TolerancesConfig
from ntkpipe.drawing import LOG_EDGES, block_size
from ntkpipe.engines import guided, matrix_free, scalar
from ntkpipe.kinds.initialization.draw import draw_shard
from ntkpipe.kinds.initialization.statistics import STATISTICS
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.theory import limit
from ntkpipe.theory import moments as exact

TOLERANCES = TolerancesConfig()


def _row(net, engine, n, x, **tolerances):
    arrays = draw_shard(
        engine.sample,
        net,
        x,
        Stream(5, "cell"),
        0,
        n,
        block=block_size(n),
        keep="full",
        gram=True,
        precision="float64",
        floor=1e-13,
    )
    parts = (arrays[name][1] for name in ("sums", "largest"))
    is_guided = engine is guided
    found = moments.moments(
        net,
        np.sum(x**2, axis=1),
        *parts,
        arrays["histogram"][1][0],
        is_guided,
        TolerancesConfig(**tolerances),
    )
    return found, arrays


X1 = np.full((1, 4), 0.75)
NET = Network(4, (8, 8))


def test_row_has_every_variable_and_no_other():
    row, _ = _row(NET, scalar, 2048, X1)
    assert row.keys() == moments.VARIABLES.keys()


def test_values_are_those_of_the_draws():
    row, arrays = _row(NET, scalar, 4096, X1)
    k, f = arrays["ntk"][1], arrays["output"][1]
    alive = np.log(k[k > 0])
    expected = {
        "ntk_mean": k.mean(),
        "ntk_second_moment": (k**2).mean(),
        "s2": (k**2).mean() / k.mean() ** 2,
        "log_ntk_mean": alive.mean(),
        "log_ntk_variance": alive.var(),
        "dead_fraction": np.mean(f == 0),
        "n_samples": 4096,
        "ess": (k**2).sum() ** 2 / (k**4).sum(),
        "tail_share": np.sort(k**2)[-16:].sum() / (k**2).sum(),
    }
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-11), name
    assert abs(row["log_ntk_median"] - np.log(np.median(k))) < 0.03  # a bin of 0.025
    for name in ("ntk_mean", "s2", "log_ntk_mean", "log_ntk_median"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]


def test_theory_stands_beside():
    row, _ = _row(NET, scalar, 2048, X1)
    norm = 4 * 0.75**2
    assert row["ntk_mean_exact"] == pytest.approx(exact.mean(NET, norm), rel=1e-12)
    assert row["s2_exact"] == pytest.approx(exact.s2(NET, norm), rel=1e-12)
    assert row["s2_limit"] == pytest.approx(float(limit.s2_limit(0.25)), rel=1e-12)
    assert row["dead_fraction_exact"] == exact.dead_fraction(NET)
    error = exact.s2_relative_sd(NET, norm) / 2048**0.5
    assert row["s2_relative_error_exact"] == pytest.approx(error, rel=1e-9)
    assert row["s2_z"] == pytest.approx((row["s2"] / row["s2_exact"] - 1) / error, rel=1e-9)
    assert abs(row["s2_z"]) < 4


@pytest.mark.parametrize(
    "net", [Network(4, (8, 9)), Network(4, (8, 8), bias_init="zero")], ids=["unequal widths", "biases"]
)
def test_the_limit_is_given_only_where_it_is_the_limit(net):
    row, _ = _row(net, scalar, 1024, X1)
    assert np.isnan(row["s2_limit"]) and np.isfinite(row["s2_exact"])


def test_without_theory_nothing_exact_is_claimed():
    row, _ = _row(Network(4, (8, 8), activation="tanh"), matrix_free, 1024, X1)
    for name in ("ntk_mean_exact", "s2_exact", "s2_limit", "s2_z", "s2_relative_error_exact", "dead_fraction_exact"):
        assert np.isnan(row[name]), name
    assert np.isfinite(row["s2"])


def test_several_inputs_average_over_the_inputs_of_one_network():
    x = np.array([[1.0, 0, 0, 0], [0, 2.0, 0, 0], [0, 1.0, 0, 0]])
    row, arrays = _row(NET, matrix_free, 1024, x)
    k = np.diagonal(arrays["ntk"][1], axis1=1, axis2=2)
    assert row["ntk_mean"] == pytest.approx(k.mean(), rel=1e-12)
    assert row["s2"] == pytest.approx((k**2).mean() / k.mean() ** 2, rel=1e-12)
    first = np.mean([exact.mean(NET, n) for n in (1.0, 4.0, 1.0)])
    second = np.mean([np.exp(exact.log_moments(NET, n, 2)[1]) for n in (1.0, 4.0, 1.0)])
    assert row["ntk_mean_exact"] == pytest.approx(first, rel=1e-12)
    assert row["s2_exact"] == pytest.approx(second / first**2, rel=1e-12)
    assert row["n_samples"] == 1024
    assert np.isnan(row["s2_relative_error_exact"])  # that of one input only


@pytest.mark.parametrize("norm", [1e-9, 1.2345678e-5, 1e6])
def test_exact_values_follow_the_norm_at_any_scale(norm):
    row = moments.moments(NET, np.array([norm**2]), None, None, None, False, TOLERANCES)
    assert row["ntk_mean_exact"] == pytest.approx(exact.mean(NET, 1.0) * norm**2, rel=1e-12, abs=0)
    assert row["s2_exact"] == pytest.approx(exact.s2(NET, 1.0), rel=1e-12)


def test_exact_engine_is_the_theory():
    row = moments.moments(NET, np.array([1.0]), None, None, None, False, TOLERANCES)
    first, s2 = exact.mean(NET, 1.0), exact.s2(NET, 1.0)
    assert row["ntk_mean"] == row["ntk_mean_low"] == row["ntk_mean_exact"] == pytest.approx(first)
    assert row["s2"] == row["s2_high"] == row["s2_exact"] == pytest.approx(s2)
    assert row["ntk_second_moment"] == pytest.approx(s2 * first**2)
    assert row["undersampled"] == 0 and row["n_samples"] == 0


def test_guided_rows_have_no_bulk_values():
    row, arrays = _row(Network(4, (16,) * 8), guided, 2048, X1)
    w = np.exp(arrays["log_weight"][1]) * arrays["ntk"][1] ** 2
    assert row["ntk_second_moment"] == pytest.approx(w.mean(), rel=1e-12)
    assert row["s2"] == pytest.approx(w.mean() / row["ntk_mean_exact"] ** 2, rel=1e-12)
    assert row["ess"] == pytest.approx(w.sum() ** 2 / (w**2).sum(), rel=1e-12)
    for name in ("ntk_mean", "log_ntk_mean", "log_ntk_median", "dead_fraction"):
        assert np.isnan(row[name]), name
    assert row["s2_low"] < row["s2_exact"] < row["s2_high"] or abs(row["s2_z"]) < 4


def test_the_flag_is_the_exact_standard_error_where_there_is_one():
    row, _ = _row(NET, scalar, 2048, X1)
    error = row["s2_relative_error_exact"]
    assert _row(NET, scalar, 2048, X1, relative_error=error * 1.01)[0]["undersampled"] == 0
    assert _row(NET, scalar, 2048, X1, relative_error=error * 0.99)[0]["undersampled"] == 1
    # and whatever the sample says of itself
    assert _row(NET, scalar, 2048, X1, relative_error=error * 1.01, ess=1e9)[0]["undersampled"] == 0


def test_the_flag_without_theory_is_read_off_the_sample():
    net = Network(4, (8, 8), activation="tanh")
    row, _ = _row(net, matrix_free, 1024, X1)
    light, _ = _row(Network(4, (64, 64), activation="tanh"), matrix_free, 1024, X1)
    assert light["ess"] < 1024 < TolerancesConfig().ess
    assert light["undersampled"] == 0  # a light tail: so few draws are enough
    loose = {"ess": row["ess"] * 0.99, "tail_share": row["tail_share"] * 1.01, "tail_weight": 1e-9}
    assert _row(net, matrix_free, 1024, X1, **loose)[0]["undersampled"] == 0
    for key, factor in (("ess", 1.02), ("tail_share", 0.98)):
        assert _row(net, matrix_free, 1024, X1, **(loose | {key: loose[key] * factor}))[0]["undersampled"] == 1


def test_a_cell_with_only_dead_networks_has_values_that_say_so():
    dead = np.zeros((40, len(STATISTICS)))
    dead[:, STATISTICS.index("count")] = 1
    dead[:, STATISTICS.index("weight")] = 1
    dead[:, STATISTICS.index("dead")] = 1
    histogram = np.zeros(len(LOG_EDGES) - 1)
    histogram[0] = 40
    row = moments.moments(Network(4, (1,) * 9), np.ones(1), dead, np.zeros(16), histogram, False, TOLERANCES)
    assert row["dead_fraction"] == 1 and row["ntk_mean"] == 0 and row["ess"] == 0
    assert np.isnan(row["s2"]) and np.isnan(row["log_ntk_mean"]) and row["log_ntk_median"] == -np.inf
    assert row["undersampled"] == 1
