"""``regimes`` and ``fits`` of made-up runs whose laws are known: exponents, thresholds, what diverged runs may say."""

import numpy as np
import pandas as pd
import pytest

from ntkpipe.kinds.trajectory import scaling

STUDY = {
    "kind": "trajectory",
    "grid": {"width": [8, 16, 32], "depth": [1, 2, 4], "eta": [0.25, 1.5]},
    "seeds": 8,
    "data": {"train": 4, "eval": 3, "frequencies": 1},
    "regimes": {"lazy": 0.2},
}


@pytest.fixture
def study(make_study, tmp_path):
    """Nine shapes, beta from 1/32 to 1/2, at two step sizes."""
    return make_study(results=tmp_path, **STUDY)


@pytest.fixture
def frame(study):
    """Drift 2 beta^1.5, other sizes powers of it, with 2 % of noise; at the large step seven of eight diverge."""
    rng = np.random.default_rng(0)
    rows = []
    for i, cell in enumerate(study.cells):
        for seed in range(8):
            drift = 2 * cell.network.beta**1.5 * np.exp(0.02 * rng.standard_normal())
            diverged = cell.settings.eta > 1 and seed > 0
            sizes = {"drift": drift, "order_0": drift**2, "order_1": drift**3, "forcing": drift**2 / 3}
            sizes |= {"linearization_error": drift**2}
            row = cell.coords | {"cell": i, "seed": seed, "diverged": diverged, "initial_load": cell.settings.eta}
            row |= {f"{name}_end": np.nan if diverged else value for name, value in sizes.items()}
            row |= {f"{name}_loss": np.nan if diverged else value / 2 for name, value in sizes.items()}
            row |= {f"{name}_time": np.nan if diverged else value / 3 for name, value in sizes.items()}
            rows.append(row)
    return pd.DataFrame(rows)


def fits_of(study, frame) -> pd.DataFrame:
    return scaling.fits_dataset(study, frame).to_dataframe()


def pick(fits: pd.DataFrame, eta: float, quantity: str, method: str, at: str = "end") -> pd.Series:
    (number,) = np.flatnonzero(
        (fits.eta == eta) & (fits.quantity == quantity) & (fits.method == method) & (fits["at"] == at)
    )
    return fits.iloc[number]


@pytest.mark.parametrize("at", ["end", "loss", "time"])
def test_exponents_and_collapse_of_a_power_of_beta(study, frame, at):
    fits = fits_of(study, frame)
    for quantity, power in (("drift", 1.5), ("error of the frozen kernel", 3.0), ("error of order 1", 4.5)):
        for method, value in (("width", -power), ("depth", power), ("total", 0.0)):
            row = pick(fits, 0.25, quantity, f"{method}_exponent", at)
            assert row.low - 0.02 < value < row.high + 0.02 and abs(row.estimate - value) < 0.1
            assert row.n_cells == 9
        row = pick(fits, 0.25, quantity, "beta_power", at)
        assert row.estimate == pytest.approx(power, abs=0.06) and row.r2 > 0.99
        assert row.scatter < pick(fits, 0.25, quantity, "beta_exponential", at).scatter
    # a plain least squares of the cells' mean logarithms
    slow = frame[frame.eta == 0.25]
    mean = slow.groupby("cell").agg(beta=("beta", "first"), size=(f"drift_{at}", lambda v: np.log(v).mean()))
    slope = np.polyfit(np.log(mean.beta), mean["size"], 1)[0]
    assert pick(fits, 0.25, "drift", "beta_power", at).estimate == pytest.approx(slope, rel=1e-9)


def test_beta_star_is_where_the_drift_passes_lazy(study, frame):
    """2 beta^1.5 = 0.2 at beta = 0.1^(2/3) = 0.215; half of the runs are not lazy between 1/8 and 1/4."""
    fits = fits_of(study, frame)
    row = pick(fits, 0.25, "drift", "beta_star")
    assert row.estimate == pytest.approx(0.1 ** (2 / 3), rel=0.03) and row.low < row.estimate < row.high
    share = pick(fits, 0.25, "drift", "beta_star_fraction")
    assert 0.125 <= share.low <= share.estimate <= share.high <= 0.25


def test_stable_load_is_where_half_of_the_runs_diverge(study, frame):
    fits = fits_of(study, frame)
    (number,) = np.flatnonzero(fits.method == "stable_load")
    row = fits.iloc[number]
    part = 0.5 / (7 / 8)  # on log load between no run of eta 0.25 and seven of eight at 1.5
    assert row.estimate == pytest.approx(0.25 * 6**part, rel=1e-9)
    assert (row.low, row.high, row.n_cells) == (0.25, 1.5, 18) and np.isnan(row.eta)
    one = fits_of(study, frame[frame.eta == 0.25])
    assert "stable_load" not in set(one.method)


def test_what_diverged_enters_no_size(study, frame):
    """At the large step one seed of each cell is left, which has no spread: the point is there, no interval is."""
    fits = fits_of(study, frame)
    alone = frame[(frame.eta == 1.5) & ~frame.diverged]
    rows = fits[(fits.eta == 1.5) & (fits.quantity == "drift") & (fits.method == "width_exponent")]
    for _, row in rows.iterrows():
        assert np.isnan(row.low) or row.low <= row.estimate <= row.high
    some = fits_of(study, pd.concat([frame[frame.eta == 0.25], alone]))
    for method in ("width_exponent", "beta_power"):
        kept = some[(some.eta == 1.5) & (some.quantity == "drift") & (some.method == method)]
        both = fits[(fits.eta == 1.5) & (fits.quantity == "drift") & (fits.method == method)]
        np.testing.assert_allclose(kept.estimate, both.estimate, rtol=1e-9)


def test_forcing_predicts_what_order_1_leaves_of_the_error(study, frame):
    fits = fits_of(study, frame)
    forcing = pick(fits, 0.25, "forcing", "rank_correlation")
    beta = pick(fits, 0.25, "beta", "rank_correlation")
    assert forcing.estimate == pytest.approx(1.0) and 0.8 < beta.estimate < 1.0
    slow = frame[frame.eta == 0.25]
    expected = slow.beta.corr(slow.order_1_end / slow.order_0_end, method="spearman")
    more = pick(fits, 0.25, "difference", "rank_correlation")
    assert more.estimate == pytest.approx(forcing.estimate - beta.estimate, rel=1e-9)
    assert beta.estimate == pytest.approx(expected, rel=1e-9) and beta.low <= beta.estimate <= beta.high


def test_regimes_of_the_runs(study, frame):
    frame.loc[(frame.cell == 0) & (frame.seed == 3), "drift_end"] = np.nan  # a dead network
    found = scaling.regimes_dataset(study, frame)
    np.testing.assert_allclose(found.lazy + found.weak + found.unstable + found.unknown, 1.0, rtol=1e-14)
    assert float(found.unknown[0]) == 1 / 8 and float(found.unknown[1:].sum()) == 0
    fast = found.eta.values == 1.5
    np.testing.assert_array_equal(found.unstable, np.where(fast, 7 / 8, 0.0))
    small = found.beta.values < 0.2  # drift 2 beta^1.5 < 0.2
    np.testing.assert_array_equal(found.lazy[1:], np.where(small, np.where(fast, 1 / 8, 1.0), 0.0)[1:])
    np.testing.assert_array_equal(found["load"], found.eta)
    assert (found.n_runs == 8).all()
    slow = found.isel(cell=int(np.flatnonzero(~fast & small)[-1]))
    assert float(slow.lazy_low) == pytest.approx(0.025 ** (1 / 8)) and slow.lazy_high == 1  # Clopper-Pearson


def test_runs_of_unknown_drift_do_not_count_as_not_lazy(study, frame):
    """Dead networks leave beta* where it is, however many."""
    slow = frame[frame.eta == 0.25].copy()
    before = pick(fits_of(study, slow), 0.25, "drift", "beta_star_fraction")
    slow.loc[(slow.beta < 0.05) & (slow.seed < 6), "drift_end"] = np.nan
    after = pick(fits_of(study, slow), 0.25, "drift", "beta_star_fraction")
    assert after.estimate == pytest.approx(before.estimate)


def test_groups_of_other_settings_are_fitted_apart(study, frame):
    other = frame.assign(activation="erf", cell=frame.cell + 18)
    other["drift_end"] = other.drift_end**2
    fits = fits_of(study, pd.concat([frame, other]))
    rows = fits[(fits.quantity == "drift") & (fits.method == "beta_power") & (fits["at"] == "end") & (fits.eta == 0.25)]
    slopes = dict(zip(rows.activation, rows.estimate, strict=True))
    assert slopes["relu"] == pytest.approx(1.5, abs=0.06) and slopes["erf"] == pytest.approx(3.0, abs=0.12)


def test_too_few_cells_fit_nothing(study, frame):
    assert len(fits_of(study, frame[(frame.width == 8) & (frame.depth == 1) & (frame.eta == 0.25)])) == 0
    assert len(fits_of(study, frame[frame.width < 0])) == 0
    one_width = fits_of(study, frame[(frame.width == 8) & (frame.eta == 0.25)])
    assert not [method for method in one_width.method if "exponent" in method and method != "beta_exponential"]
