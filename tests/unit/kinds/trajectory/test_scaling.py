"""``regimes`` and ``fits`` of made-up runs whose laws are known: exponents, thresholds, what diverged runs may say."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from ntkpipe.kinds.trajectory import predictors, scaling

STUDY = {
    "kind": "trajectory",
    "grid": {"width": [8, 16, 32], "depth": [1, 2, 4], "eta": [0.25, 1.5]},
    "seeds": 8,
    "data": {"train": 4, "eval": 3, "frequencies": 1},
    "regimes": {"lazy": [0.2, 0.1]},
}
STEPS = (2, 10)


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
            sizes = {"drift": drift, "order_0": drift**2, "order_1": drift**3, "order_2": drift**4}
            sizes |= {"forcing": drift**2 / 3, "linearization_error": drift**2}
            row = cell.coords | {"cell": i, "seed": seed, "diverged": diverged, "dead": False}
            row["initial_load"] = cell.settings.eta
            row |= {f"drift_step {step}": np.nan if diverged else drift * step / 10 for step in STEPS}
            row |= {f"forcing_step {k}": np.nan if diverged else drift**2 / 3 * (k / 10) ** 2 for k in STEPS}
            row |= {f"left{p}_step {k}": np.nan if diverged else drift * k / 10 for p in (1, 2) for k in STEPS}
            row |= {f"{name}_end": np.nan if diverged else value for name, value in sizes.items()}
            row |= {f"{name}_loss": np.nan if diverged else value / 2 for name, value in sizes.items()}
            row |= {f"{name}_time": np.nan if diverged else value / 3 for name, value in sizes.items()}
            rows.append(row)
    return pd.DataFrame(rows)


def fits_of(study, frame) -> pd.DataFrame:
    return scaling.fits_dataset(study, frame).to_dataframe()


def pick(fits: pd.DataFrame, eta: float, quantity: str, method: str, at: str = "end", **columns) -> pd.Series:
    """The row, pooled over widths and depths unless ``columns`` name one."""
    good = (fits.eta == eta) & (fits.quantity == quantity) & (fits.method == method) & (fits["at"] == at)
    for name, value in ({"width": np.nan, "depth": np.nan} | columns).items():
        good &= fits[name].isna() if value != value else fits[name] == value
    (number,) = np.flatnonzero(good)
    return fits.iloc[number]


@pytest.mark.parametrize("at", ["end", "loss", "time"])
def test_exponents_and_collapse_of_a_power_of_beta(study, frame, at):
    fits = fits_of(study, frame)
    for quantity, power in (("drift", 1.5), ("error of the frozen kernel", 3.0), ("error of order 1", 4.5)):
        for method, value in (("width", -power), ("depth", power), ("total", 0.0)):
            row = pick(fits, 0.25, quantity, f"{method}_exponent", at)
            assert row.low - 0.02 < value < row.high + 0.02 and abs(row.estimate - value) < 0.1
            assert (row.n_cells, row.n_runs, row.n_all) == (9, 72, 72)
        row = pick(fits, 0.25, quantity, "beta_power", at)
        assert row.estimate == pytest.approx(power, abs=0.06) and row.r2 > 0.99
        assert row.scatter < pick(fits, 0.25, quantity, "beta_exponential", at).scatter
    # a plain least squares of the cells' mean logarithms
    slow = frame[frame.eta == 0.25]
    mean = slow.groupby("cell").agg(beta=("beta", "first"), size=(f"drift_{at}", lambda v: np.log(v).mean()))
    slope = np.polyfit(np.log(mean.beta), mean["size"], 1)[0]
    assert pick(fits, 0.25, "drift", "beta_power", at).estimate == pytest.approx(slope, rel=1e-9)


@pytest.mark.parametrize("tolerance", [0.2, 0.1])
@pytest.mark.parametrize(
    ("at", "part"), [("end", 1), ("loss", 1 / 2), ("time", 1 / 3), ("step 2", 0.2), ("step 10", 1)]
)
def test_beta_star_is_where_the_drift_passes_lazy(study, frame, at, part, tolerance):
    """part 2 beta^1.5 = tolerance at beta = (tolerance/2 part)^(2/3), for all widths and for each; or beyond them."""
    fits = fits_of(study, frame)
    for width in (np.nan, 8.0, 16.0, 32.0):
        row = pick(fits, 0.25, "drift", "beta_star", at, tolerance=tolerance, width=width)
        betas = frame.beta[frame.width == width] if width == width else frame.beta
        expected = (tolerance / (2 * part)) ** (2 / 3)
        if expected > betas.max():
            assert row.estimate == row.high == np.inf and row.low > 0.95 * betas.max()
        elif expected < betas.min():
            assert row.estimate == row.low == 0
        else:
            assert row.estimate == pytest.approx(expected, rel=0.03) and row.low <= row.estimate <= row.high
        assert (row.n_cells, row.n_runs, row.n_all) == ((9, 72, 72) if np.isnan(width) else (3, 24, 24))


def test_beta_star_by_the_fraction_of_runs(study, frame):
    """At the end alone, for all widths: half of the runs are not lazy between the betas around (tolerance/2)^(2/3)."""
    fits = fits_of(study, frame)
    for tolerance, low, high in ((0.2, 1 / 8, 1 / 4), (0.1, 1 / 8, 1 / 4)):
        row = pick(fits, 0.25, "drift", "beta_star_fraction", tolerance=tolerance)
        assert low <= row.low <= row.estimate <= row.high <= high and row.n_runs == 72
    assert (fits.method == "beta_star_fraction").sum() == 4


def test_stable_load_is_where_half_of_the_runs_diverge(study, frame):
    """Of each depth and of all; dead runs have not diverged."""
    frame.loc[(frame.depth == 1) & (frame.eta == 1.5), ["diverged", "dead"]] = False, True
    fits = fits_of(study, frame)
    rows = fits[fits.method == "stable_load"].set_index("depth")
    assert rows.eta.isna().all() and rows.width.isna().all() and len(rows) == 4
    assert rows.loc[1].estimate == np.inf
    part = 0.5 / (7 / 8)  # on log load between no run of eta 0.25 and seven of eight at 1.5
    for depth in (2, 4):
        row = rows.loc[depth]
        assert row.estimate == pytest.approx(0.25 * 6**part, rel=1e-9)
        assert (row.low, row.high, row.n_cells, row.n_runs, row.n_all) == (0.25, 1.5, 6, 48, 48)
    pooled = rows[rows.index.isna()].iloc[0]
    assert pooled.estimate == pytest.approx(0.25 * 6 ** (0.5 / (7 / 12)), rel=1e-9)
    assert (pooled.n_cells, pooled.n_runs) == (18, 144)
    one = fits_of(study, frame[frame.eta == 0.25])
    assert "stable_load" not in set(one.method)


@pytest.mark.parametrize("why", ["diverged", "dead", "beyond"])
def test_runs_that_diverged_or_died_enter_no_size(study, frame, why):
    """Three of eight in some cells, with sizes that would spoil all: as if they were not known, and counted."""
    slow = frame[frame.eta == 0.25].copy()
    sizes = [name for name in slow if name.split("_")[-1] in ("end", "loss", "time", *(f"step {s}" for s in STEPS))]
    off = (slow.width == 8) & (slow.seed < 3)
    unknown, spoiled = slow.copy(), slow.copy()
    unknown.loc[off, sizes] = np.nan
    spoiled.loc[off, sizes] = 2e3 if why == "beyond" else 50.0
    if why != "beyond":
        spoiled.loc[off, why] = True
    expected, got = fits_of(study, unknown), fits_of(study, spoiled)
    for method in ("width_exponent", "total_exponent", "beta_power", "beta_star"):
        a, b = (fits[(fits.method == method) & (fits.quantity == "drift")] for fits in (expected, got))
        names = ["estimate", "low", "high", "n_runs", "n_all", "n_cells"]
        np.testing.assert_array_equal(a[names], b[names])
        pooled = b[b.width.isna()]
        assert len(pooled) and (pooled.n_runs == 63).all() and (pooled.n_all == 72).all()


def test_cells_of_survivors_enter_no_fit(study, frame):
    """A cell in which three of eight reach the loss is left out of what is fitted there, and of nothing else."""
    slow = frame[frame.eta == 0.25].copy()
    few = (slow.width == 8) & (slow.depth == 4) & (slow.seed > 2)
    slow.loc[few, "drift_loss"] = np.nan
    got = fits_of(study, slow)
    without = fits_of(study, slow[~((slow.width == 8) & (slow.depth == 4))])
    for method in ("width_exponent", "beta_power"):
        row, other = (pick(fits, 0.25, "drift", method, "loss") for fits in (got, without))
        assert row.estimate == pytest.approx(other.estimate) and (row.n_cells, row.n_runs, row.n_all) == (8, 64, 72)
        assert pick(got, 0.25, "drift", method, "end").n_runs == 72
    fast = fits_of(study, frame)  # seven of eight diverge at eta 1.5
    sized = fast[(fast.eta == 1.5) & fast.method.str.contains("exponent|beta_power|beta_star$")]
    assert set(sized.method) == {"beta_star"} and (sized.n_runs == 0).all() and sized.estimate.isna().all()


def test_forcing_predicts_what_order_1_leaves_of_the_error(study, frame):
    fits = fits_of(study, frame)
    forcing = pick(fits, 0.25, "forcing", "rank_correlation")
    beta = pick(fits, 0.25, "beta", "rank_correlation")
    assert forcing.estimate == pytest.approx(1.0) and 0.8 < beta.estimate < 1.0
    slow = frame[frame.eta == 0.25]
    expected = slow.beta.corr(slow.order_1_end / slow.order_0_end, method="spearman")
    more = pick(fits, 0.25, "forcing less beta", "rank_correlation")
    assert more.estimate == pytest.approx(forcing.estimate - beta.estimate, rel=1e-9)
    assert beta.estimate == pytest.approx(expected, rel=1e-9) and beta.low <= beta.estimate <= beta.high


def test_along_a_run_the_forcing_predicts_and_beta_stays(study, frame):
    """Orders fail where what they leave, made to pass 1 with the forcing, does so; beta does not know the time."""
    for k in STEPS:
        for p in (1, 2):
            frame[f"left{p}_step {k}"] = 500 * p * frame[f"forcing_step {k}"]
    fits = fits_of(study, frame)
    names = ("forcing", "beta", "forcing less beta")
    forcing, beta, more = (pick(fits, 0.25, name, "roc_area", "run") for name in names)
    assert forcing.estimate == forcing.low == 1.0 and 0.5 < beta.estimate < 1.0
    assert more.estimate == pytest.approx(1.0 - beta.estimate) and more.low <= more.estimate
    assert forcing.n_runs == 72 * len(STEPS) == forcing.n_all
    for rival in predictors.RIVALS[1:]:
        other = pick(fits, 0.25, rival, "roc_area", "run")
        assert pick(fits, 0.25, f"forcing less {rival}", "roc_area", "run").estimate == 1.0 - other.estimate
    for p in (1, 2):
        star = pick(fits, 0.25, f"order {p}", "forcing_star", "run")
        forcing_at = np.concatenate([frame[f"forcing_step {k}"][frame.eta == 0.25] for k in STEPS])
        fails = 500 * p * forcing_at >= 1
        assert forcing_at[~fails].max() < star.estimate < forcing_at[fails].min()
        assert star.low <= star.estimate <= star.high
    frame[[f"left1_step {k}" for k in STEPS]] = 0.5
    fits = fits_of(study, frame)
    assert "roc_area" not in set(fits.method)  # it never fails: nothing to tell
    stars = fits[fits.method == "forcing_star"]
    assert set(stars.quantity) == {"order 2"}


def test_regimes_of_the_runs(study, frame):
    frame.loc[(frame.cell == 0) & (frame.seed == 3), "drift_end"] = np.nan  # K_0 = 0, and no word on its end
    frame.loc[(frame.cell == 0) & (frame.seed == 4), "dead"] = True  # dead in training, whatever the drift
    found = scaling.regimes_dataset(study, frame)
    total = sum(found[name] for name in ("lazy", "weak", "strong", "dead", "unstable", "unknown"))
    np.testing.assert_allclose(total, 1.0, rtol=1e-14)
    for name in ("unknown", "dead"):
        assert float(found[name][0]) == 1 / 8 and float(found[name][1:].sum()) == 0
    assert float(found.strong.sum()) == 0
    strong = scaling.regimes_dataset(study, frame.assign(drift_end=5 * frame.drift_end))
    large = 10 * strong.beta.values**1.5 >= 1
    np.testing.assert_array_equal(strong.strong, large * (1 - strong.unstable))
    fast = found.eta.values == 1.5
    np.testing.assert_array_equal(found.unstable, np.where(fast, 7 / 8, 0.0))
    small = found.beta.values < 0.2  # drift 2 beta^1.5 < 0.2
    np.testing.assert_array_equal(found.lazy[1:], np.where(small, np.where(fast, 1 / 8, 1.0), 0.0)[1:])
    np.testing.assert_array_equal(found["load"], found.eta)
    assert (found.n_runs == 8).all()
    slow = found.isel(cell=int(np.flatnonzero(~fast & small)[-1]))
    assert float(slow.lazy_low) == pytest.approx(0.025 ** (1 / 8)) and slow.lazy_high == 1  # Clopper-Pearson


def test_runs_of_unknown_drift_do_not_count_as_not_lazy(study, frame):
    """Networks that are dead at initialization leave beta* where it is, however many; those that die are not lazy."""
    slow = frame[frame.eta == 0.25].copy()
    before = pick(fits_of(study, slow), 0.25, "drift", "beta_star_fraction", tolerance=0.2)
    born = (slow.beta < 0.05) & (slow.seed < 6)
    slow.loc[born, "drift_end"], slow.loc[born, "dead"] = np.nan, True
    after = pick(fits_of(study, slow), 0.25, "drift", "beta_star_fraction", tolerance=0.2)
    assert after.estimate == pytest.approx(before.estimate) and (after.n_runs, after.n_all) == (72 - born.sum(), 72)
    slow.loc[slow.beta < 0.2, ["drift_end", "dead"]] = 1.0, True
    died = pick(fits_of(study, slow), 0.25, "drift", "beta_star_fraction", tolerance=0.2)
    assert died.estimate == 0


def test_groups_of_other_settings_are_fitted_apart(study, frame):
    other = frame.assign(activation="erf", cell=frame.cell + 18)
    other["drift_end"] = other.drift_end**2
    fits = fits_of(study, pd.concat([frame, other]))
    rows = fits[(fits.quantity == "drift") & (fits.method == "beta_power") & (fits["at"] == "end") & (fits.eta == 0.25)]
    slopes = dict(zip(rows.activation, rows.estimate, strict=True))
    assert slopes["relu"] == pytest.approx(1.5, abs=0.06) and slopes["erf"] == pytest.approx(3.0, abs=0.12)


def test_one_axis_has_its_exponent_alone(study, frame):
    """One depth: width^-1.5, by a plain least squares of the cells' means; one width: depth^1.5."""
    slow = frame[frame.eta == 0.25].copy()
    for name in ("third_error", "fourth_error"):
        for at in scaling.CLOCKS:
            slow[f"{name}_{at}"] = slow[f"drift_{at}"] ** 2
    for name, other, value in (("width", "depth", -1.5), ("depth", "width", 1.5)):
        part = slow[slow[other] == 8 if other == "width" else slow[other] == 1]
        fits = fits_of(study, part)
        assert set(fits.method) == {
            f"{name}_exponent",
            "beta_star",
            "beta_star_fraction",
            "rank_correlation",
            "improves",
        }
        for at in scaling.CLOCKS:
            row = pick(fits, 0.25, "drift", f"{name}_exponent", at)
            mean = part.groupby("cell").agg(x=(name, "first"), y=(f"drift_{at}", lambda v: np.log(v).mean()))
            assert row.estimate == pytest.approx(np.polyfit(np.log(mean.x), mean.y, 1)[0], rel=1e-9)
            assert row.estimate == pytest.approx(value, abs=0.06) and row.low < row.estimate < row.high
            assert (row.n_cells, row.n_runs, row.n_all) == (3, 24, 24)
            for quantity in ("relative error of K3", "relative error of K3 and K4"):
                twice = pick(fits, 0.25, quantity, f"{name}_exponent", at)
                assert twice.estimate == pytest.approx(2 * row.estimate)


def test_which_orders_improve(study, frame):
    """Order 1 is nearer where drift < 1; of runs whose forcing is 1 or more it is in those that are made to."""
    slow = frame[frame.eta == 0.25].copy()
    fits = fits_of(study, slow)
    small = pick(fits, 0.25, "order 1", "improves", "forcing < 1")
    assert (small.estimate, small.high, small.n_runs, small.n_all, small.n_cells) == (1, 1, 72, 72, 9)
    assert small.low == pytest.approx(0.025 ** (1 / 72))  # Clopper-Pearson
    assert not len(fits[fits["at"] == "forcing >= 1"])
    slow.loc[slow.width == 8, "forcing_end"] = 3.0
    slow.loc[(slow.width == 8) & (slow.seed < 6), "order_1_end"] = np.inf  # order 2 then improves on it
    slow.loc[(slow.width == 16) & (slow.seed == 0), "forcing_end"] = np.nan
    slow.loc[(slow.width == 32) & (slow.seed == 1), "diverged"] = True
    fits = fits_of(study, slow)
    large, small = (pick(fits, 0.25, "order 1", "improves", at) for at in ("forcing >= 1", "forcing < 1"))
    assert (large.estimate, large.n_runs, large.n_cells) == (0.25, 24, 3)
    assert (small.estimate, small.n_runs, small.n_all) == (1, 42, 72)
    assert pick(fits, 0.25, "order 2", "improves", "forcing >= 1").estimate == 1
    between = ["order_0_end", "order_1_end", "order_2_end"]
    slow.loc[:, between] = [1.0, 0.1, 0.5]  # order 2 better than order 0 but not than order 1
    assert pick(fits_of(study, slow), 0.25, "order 2", "improves", "forcing < 1").estimate == 0


def test_too_few_cells_fit_nothing(study, frame):
    one = fits_of(study, frame[(frame.width == 8) & (frame.depth == 1) & (frame.eta == 0.25)])
    assert set(one.method) == {"improves"}
    assert len(fits_of(study, frame[frame.width < 0])) == 0


def made_up(study) -> tuple[xr.Dataset, xr.Dataset]:
    """Trajectories and perturbation of 8 seeds and 3 snapshots: seed 0 diverges, the kernel of seed 1 dies."""
    rng = np.random.default_rng(1)
    shape = (len(study.cells), 8, 3)
    dims = ("cell", "seed", "snapshot")
    paths = {name: (dims, rng.uniform(size=shape)) for name in ("drift", "forcing", "linearization_error", "load")}
    dead = np.zeros(shape[:2], bool)
    dead[:, 1] = True
    loss = np.broadcast_to([1.0, 0.5, 0.01], shape).copy()
    loss[:, 2] = 1.0  # never falls
    eta = np.array([cell.settings.eta for cell in study.cells])
    time = eta[:, None, None] * (1 + np.arange(8) / 8)[:, None] * np.array([0.0, 2.0, 10.0])
    status = np.zeros(shape[:2], int)
    status[:, 0] = 1
    paths |= {"loss": (dims, loss), "time": (dims, time)}
    paths |= {"order_error": ((*dims, "order"), rng.uniform(size=(*shape, 3)))}
    paths |= {"dead": (dims[:2], dead)}
    perturbation = xr.Dataset(paths, {"step": ("snapshot", [0, *STEPS])})
    return xr.Dataset({"status": (dims[:2], status)}), perturbation


def test_runs_are_read_at_end_loss_time_and_steps(study):
    data, perturbation = made_up(study)
    found = scaling.runs(study, data, perturbation)
    assert len(found) == 18 * 8 and "third_error_end" not in found
    np.testing.assert_array_equal(found.diverged, found.seed == 0)
    np.testing.assert_array_equal(found.dead, found.seed == 1)
    for _, row in found[found.seed.isin([2, 5])].iterrows():
        drift = perturbation.drift.values[row.cell, row.seed]
        time = perturbation.time.values[row.cell, row.seed]
        assert (row.drift_end, row["drift_step 2"], row["drift_step 10"]) == (drift[2], drift[1], drift[2])
        assert row.drift_time == pytest.approx(np.interp(10 * row.eta, time, drift))  # the end of seed 0
        part = np.log(0.5 / 0.1) / np.log(0.5 / 0.01)
        at_loss = drift[1] + part * (drift[2] - drift[1])
        assert np.isnan(row.drift_loss) if row.seed == 2 else row.drift_loss == pytest.approx(at_loss)
        assert row.order_2_end == perturbation.order_error.values[row.cell, row.seed, 2, 2]
        assert row.initial_load == perturbation["load"].values[row.cell, row.seed, 0]
        assert (row.width, row.beta) == (study.cells[row.cell].coords["width"], study.cells[row.cell].network.beta)
    more = scaling.runs(study, data, perturbation.assign(third_error=perturbation.drift))
    np.testing.assert_array_equal(more.third_error_end, more.drift_end)
