"""First-step means from block sums: by hand on small sums, exact theory beside, flags, Gram changes."""

import numpy as np
import pytest

from ntkpipe.analysis import first_step
from ntkpipe.config import StepConfig, TolerancesConfig
from ntkpipe.kinds.first_step.statistics import STATISTICS
from ntkpipe.networks import Network
from ntkpipe.theory import first_step as theory
from ntkpipe.theory import moments

NETWORK = Network(10, (64, 64))
STEP = StepConfig(eta=0.2, label=1.0)


def sums(blocks: int = 400, **columns: np.ndarray) -> np.ndarray:
    """Block sums of one network a block; columns not given are those of a kernel that stays at 1."""
    rng = np.random.default_rng(0)
    table = dict.fromkeys(STATISTICS, np.zeros(blocks)) | {
        "count": np.ones(blocks),
        "alive": np.ones(blocks),
        "ntk_0": np.ones(blocks),
        "ntk_0_square": np.ones(blocks),
    }
    table["linear"] = -0.01 * rng.gamma(4.0, 0.25, blocks)
    table["rest"] = -0.03 * rng.gamma(4.0, 0.25, blocks)
    table["delta"] = table["linear"] + table["rest"]
    table |= columns
    for name in ("linear", "rest", "delta"):
        table[f"{name}_square"] = table[name] ** 2
    return np.stack([table[name] for name in STATISTICS], axis=1)


def row(values=None, network=NETWORK, step=STEP, norm=1.0, **tolerances):
    return first_step.first_step(network, norm, step, values, TolerancesConfig(**tolerances))


def test_means_and_shares_by_hand():
    table = sums()
    column = dict(zip(STATISTICS, table.T, strict=True))
    got = row(table)
    assert got["n_samples"] == 400
    for name, source in (("delta_ntk_mean", "delta"), ("linear_mean", "linear"), ("rest_mean", "rest")):
        assert got[name] == pytest.approx(column[source].mean(), rel=1e-12)
    assert got["rest_share"] == pytest.approx(column["rest"].sum() / column["delta"].sum(), rel=1e-12)
    assert got["delta_ntk_relative"] == pytest.approx(column["delta"].mean(), rel=1e-12)
    assert got["rest_share_low"] < got["rest_share"] < got["rest_share_high"]
    assert got["ess"] == pytest.approx(column["delta"].sum() ** 2 / (column["delta"] ** 2).sum(), rel=1e-12)


def test_interval_of_the_mean_is_students():
    table = sums()
    delta = table[:, STATISTICS.index("delta")]
    got = row(table)
    half = 1.9659 * delta.std(ddof=1) / np.sqrt(400)  # t of 399 degrees, 95 %
    assert got["delta_ntk_high"] - got["delta_ntk_mean"] == pytest.approx(half, rel=1e-4)


def test_theory_stands_beside():
    got = row(sums())
    exact = theory.derivative(NETWORK, 1.0, label_square=1.0)
    assert got["delta_ntk_exact"] == pytest.approx(0.2 * exact.mean, rel=1e-12)
    assert got["linear_deviation_exact"] == pytest.approx(0.2 * exact.deviation, rel=1e-12)
    error = got["linear_deviation_exact"] / np.sqrt(400)
    assert got["linear_z"] == pytest.approx((got["linear_mean"] - got["delta_ntk_exact"]) / error, rel=1e-12)
    assert got["ntk_mean_exact"] == pytest.approx(moments.mean(NETWORK, 1.0), rel=1e-12)
    order = 2 * (2 / 64) / 10 * np.exp(5 * 2 / 64)
    assert got["scaling_ratio"] == pytest.approx(-got["delta_ntk_relative"] / 0.2 / order, rel=1e-12)
    assert got["scaling_ratio_low"] < got["scaling_ratio"] < got["scaling_ratio_high"]
    assert got["scaling_ratio_exact"] == pytest.approx(-exact.mean / got["ntk_mean_exact"] / order, rel=1e-12)


def test_an_exact_cell_has_theory_and_no_estimate():
    got = row()
    assert np.isfinite([got["delta_ntk_exact"], got["ntk_mean_exact"], got["scaling_ratio_exact"]]).all()
    assert np.isnan([got["delta_ntk_mean"], got["linear_mean"], got["rest_share"]]).all()
    assert (got["n_samples"], got["undersampled"]) == (0, 0)


def test_a_derivative_alone_leaves_the_whole_step_open():
    nothing = np.full(400, np.nan)
    got = row(sums(delta=nothing, rest=nothing, flipped=nothing, grown=nothing, jump=nothing, delta_frobenius=nothing))
    assert np.isfinite(got["linear_mean"]) and np.isfinite(got["linear_z"]) and got["ess"] > 0
    assert np.isnan([got["delta_ntk_mean"], got["flip_share"], got["flipped_fraction"], got["flip_predicted"]]).all()


@pytest.mark.parametrize(
    ("network", "step"),
    [
        (NETWORK, StepConfig(eta_unit="critical")),
        (Network(10, (64,), activation="tanh"), STEP),
        (Network(10, (64,), bias_init="normal"), STEP),
    ],
)
def test_where_no_law_is_known_no_number_is_claimed(network, step):
    got = row(sums(), network, step)
    assert np.isnan([got["delta_ntk_exact"], got["linear_z"], got["scaling_ratio_exact"]]).all()
    assert np.isfinite(got["delta_ntk_mean"])


def test_share_of_flips_is_that_of_the_first_order():
    rng = np.random.default_rng(3)
    jump = -0.1 * rng.gamma(4.0, 0.25, 400)
    got = row(sums(jump=jump))
    assert got["flip_predicted"] == pytest.approx(0.2 * jump.mean(), rel=1e-12)
    for end, flips in (("", "flip_predicted"), ("_low", "flip_predicted_high"), ("_high", "flip_predicted_low")):
        assert got[f"flip_share{end}"] == pytest.approx(got[flips] / (got[flips] + got["delta_ntk_exact"]), rel=1e-12)
    assert got["flip_share_low"] < got["flip_share"] < got["flip_share_high"]
    assert np.isnan(row(sums(jump=jump - jump.mean()))["flip_share"])  # the sign is open


def test_flags_follow_the_exact_standard_error_and_without_it_the_blocks():
    wide, deep = Network(10, (1024,)), Network(10, (16,) * 16)
    assert row(sums(8000), wide)["undersampled"] == 0
    assert row(sums(8000), deep)["undersampled"] == 1  # whatever the sample looks like
    spike = sums(8000)
    at = [STATISTICS.index(name) for name in ("delta", "delta_square")]
    spike[0, at] = [-1e3, 1e6]
    assert row(spike, wide)["undersampled"] == 0  # a flag read off the sample would choose the samples
    smooth = Network(10, (1024,), activation="tanh")
    assert row(sums(8000), smooth)["undersampled"] == 0
    assert row(spike, smooth)["undersampled"] == 1  # no exact law, and one network holds all of it
    assert row(sums(8000), wide, step_relative_error=1e-4)["undersampled"] == 1


def test_the_label_widens_the_spread_and_not_the_mean():
    zero, two, drawn = (row(step=StepConfig(label=label)) for label in (0.0, 2.0, "normal"))
    assert zero["delta_ntk_exact"] == two["delta_ntk_exact"] == drawn["delta_ntk_exact"]
    assert zero["linear_deviation_exact"] < drawn["linear_deviation_exact"] < two["linear_deviation_exact"]


def test_gram_change_is_the_mean_with_its_interval():
    rng = np.random.default_rng(0)
    draws = rng.normal(0.3, 1.0, size=(640, 2, 2))
    blocks, count = draws.reshape(20, 32, 2, 2).sum(axis=1), np.full(20, 32.0)
    got = first_step.gram_change(blocks, blocks, count, 0.95)
    np.testing.assert_allclose(got["delta_ntk_gram_mean"], draws.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(got["ntk_gram_mean"], draws.mean(axis=0), rtol=1e-12)
    half = 2.0930 * (blocks / 32).std(axis=0, ddof=1) / np.sqrt(20)  # t of 19 degrees
    np.testing.assert_allclose(got["delta_ntk_gram_high"] - got["delta_ntk_gram_mean"], half, rtol=1e-4)
