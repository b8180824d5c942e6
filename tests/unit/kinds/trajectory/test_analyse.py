"""From trajectories to ``perturbation``, ``regimes`` and ``fits``, on a small study in which some runs diverge."""

from pathlib import Path

import numpy as np
import pytest

from ntkpipe import kinds, store, tables
from ntkpipe.analysis.intervals import Estimate
from ntkpipe.analysis.regimes import REGIMES
from ntkpipe.analysis.trajectory import geometric_mean
from ntkpipe.kinds.trajectory import analyse, scaling


@pytest.fixture
def frame(study, data):
    return scaling.runs(study, data["trajectories"], data["perturbation"])


def test_some_runs_diverge_and_some_do_not(data):
    status = data["trajectories"].status.values
    slow = data["trajectories"].eta.values == 0.25
    assert (status[slow] == 0).all() and 0 < status[~slow].sum() < status[~slow].size


def test_paths_are_those_of_the_trajectories(data):
    found, run = data["perturbation"], data["trajectories"]
    ntk = run.ntk_train.values
    size = np.linalg.norm(ntk[:, :, :1], axis=(-2, -1))
    drift = np.linalg.norm(ntk - ntk[:, :, :1], axis=(-2, -1)) / size
    np.testing.assert_allclose(found.drift, drift, rtol=1e-10, atol=1e-14)
    r = run.f_train.values - run.y_train.values
    r_0 = np.linalg.norm(r[:, :, 0], axis=-1)
    wrong = np.linalg.norm(run.f_train.values - run.f_linear_train.values, axis=-1) / r_0[..., None]
    np.testing.assert_allclose(found.linearization_error, wrong, rtol=1e-10, atol=1e-14)
    for cell in range(8):
        for seed in range(6):
            step = np.eye(4) - float(run.eta_used[cell, seed]) * ntk[cell, seed, 0]
            frozen = np.stack([np.linalg.matrix_power(step, int(k)) @ r[cell, seed, 0] for k in run.step.values])
            error = np.linalg.norm(r[cell, seed] - frozen, axis=-1) / r_0[cell, seed]
            np.testing.assert_allclose(found.order_error[cell, seed, :, 0], error, rtol=1e-6, atol=1e-11)
    np.testing.assert_allclose(
        found.network_eval_mse, np.mean((run.f_eval - run.y_eval) ** 2, axis=-1), rtol=1e-12, atol=1e-15
    )
    for name in ("time", "loss", "step"):
        np.testing.assert_array_equal(found[name], run[name])
    assert (found.order_error.isel(snapshot=0) < 1e-12).all() and (found.drift.isel(snapshot=0) == 0).all()
    assert (found.bound >= found.order_error.isel(order=0) - 1e-10).where(np.isfinite(found.bound), True).all()


def test_diverged_runs_enter_no_mean(study, data):
    """The ends of a cell are geometric means over the runs that finished; NaN where none did."""
    found, status = data["perturbation"], data["trajectories"].status.values
    confidence = study.config.tolerances.confidence
    distance = data["trajectories"].distance.values[:, :, -1]
    ends = {name: found[name].values[:, :, -1] for name in ("drift", "forcing", "linearization_error")}
    ends |= {f"order_{p}": found.order_error.values[:, :, -1, p] for p in range(3)} | {"distance": distance}
    assert set(ends) == set(analyse.ENDS)
    for name, values in ends.items():
        for cell in range(8):
            finished = values[cell][status[cell] == 0]
            assert np.isnan(values[cell][status[cell] == 1]).all()
            expected = geometric_mean(finished, confidence)
            got = Estimate(*(float(found[f"{name}_end{end}"][cell]) for end in ("", "_low", "_high")))
            np.testing.assert_allclose(got, expected, rtol=1e-13)
            assert len(finished) == 0 or got.value == pytest.approx(np.exp(np.log(finished).mean()))


def test_costs_are_those_of_the_sizes(data):
    found = data["perturbation"]
    assert (found.training_flops > found.kernel_flops).all() and (found.regression_flops > 0).all()
    assert len(np.unique(found.regression_flops)) == 1  # of 4 and 3 points, whatever the network
    np.testing.assert_array_equal(found.training_on_flops[:, 0], found.training_flops)
    assert (found.training_on_flops.diff("snapshot") < 0).all()
    assert (found.training_flops.groupby("width").max().diff("width") > 0).all()
    assert (found.training_flops.groupby("depth").max().diff("depth") > 0).all()


def test_fractions_of_the_regimes_add_up(study, data, frame):
    found, runs = data["regimes"], data["trajectories"]
    drift = data["perturbation"].drift.values[:, :, -1]
    unstable = runs.status.values == 1
    np.testing.assert_allclose(found.unstable, unstable.mean(axis=1))
    np.testing.assert_allclose(found.lazy, (~unstable & (drift < 0.3)).mean(axis=1))
    np.testing.assert_allclose(found.weak, (~unstable & (drift >= 0.3)).mean(axis=1))
    np.testing.assert_allclose(sum(found[name] for name in REGIMES), 1.0, rtol=1e-14)
    assert len({float(v) for v in found.lazy}) > 1 and float(found.weak.max()) > 0
    for name in ("lazy", "weak", "unstable"):
        assert ((found[f"{name}_low"] <= found[name]) & (found[name] <= found[f"{name}_high"])).all()
    assert (found.n_runs == 6).all()
    load = [eta * 1.0 for eta in found.eta.values]  # critical units: eta lambda_max/2 is eta
    np.testing.assert_allclose(found["load"], load, rtol=1e-10)
    assert len(frame) == 48 and frame.diverged.sum() == unstable.sum()


def test_tables_hold_the_columns_of_the_kind(study, data):
    kind = kinds.of(study)
    assert kind.tables(study) == ["perturbation", "regimes", "fits", "rkhs", "norms"]
    for name in kind.tables(study):
        known = set(data[name].variables)
        assert set(kind.columns[name]) <= known
        assert all(v.attrs.get("long_name") and v.attrs.get("units") for v in data[name].data_vars.values())
    tables.run(study)
    for name in kind.tables(study):
        assert (Path(study.folder) / f"tables/{name}.csv").is_file()


@pytest.mark.parametrize("network", [{}, {"bias_init": "zero", "parametrization": "standard"}])
def test_a_network_without_hidden_layer_is_its_linearization(trained, tmp_path, network):
    """Its kernel does not move; r_k = (I - eta K)^k r_0 to rounding, and the bound is nothing but rounding."""
    study = trained(tmp_path, grid={"width": 4, "depth": 0}, seeds=3, network=network)
    found = store.read_rows(Path(study.folder) / "perturbation.zarr").load()
    run = store.read_rows(Path(study.folder) / "trajectories.zarr").load()
    assert found.drift.max() < 1e-14 and found.linearization_error.max() < 1e-12
    assert found.order_error.max() < 1e-12 and found.bound.max() < 1e-10 and run.remainder.max() < 1e-13
    assert (run.loss[..., -1] < 0.5 * run.loss[..., 0]).all() and (run.distance[..., -1] > 0.1).all()
    regimes = store.read_rows(Path(study.folder) / "regimes.zarr").load()
    assert regimes.lazy.values == [1.0] and regimes.unstable.values == [0.0]
    assert store.read_rows(Path(study.folder) / "fits.zarr").sizes["fit"] == 0  # no width, no beta


@pytest.mark.parametrize("keys", [{"loss": "mean"}, {"method": "sgd", "batch": 2}, {"method": "flow"}])
def test_every_method_and_loss_is_analysed(trained, tmp_path, keys):
    """For mean the rate is eta/N, so that the load of a critical step is again eta itself."""
    study = trained(tmp_path, grid={"width": 4, "depth": 0}, seeds=2, train={"steps": 20, "snapshots": 4} | keys)
    found = store.read_rows(Path(study.folder) / "perturbation.zarr").load()
    np.testing.assert_allclose(found["load"], 0.25, rtol=1e-10)
    error = found.order_error.isel(order=0).values
    limit = {"sgd": 1.0, "flow": 1e-6}.get(keys.get("method"), 1e-12)
    assert np.isfinite(error).all() and (error[..., -1] < limit).all()
    assert (found.training == keys.get("method", "gd")).all()


def test_layers_beyond_a_network_are_nan_whatever_the_other_cells(trained, tmp_path):
    grid = [{"width": 4, "depth": 1}, {"width": 4, "depth": 2}]
    keys = {"seeds": 2, "train": {"steps": 2, "snapshots": 3, "per_layer": True}}
    alone, both = (trained(tmp_path / name, grid=part, **keys) for name, part in (("a", grid[:1]), ("b", grid)))
    a, b = (store.read_rows(Path(study.folder) / "trajectories.zarr").load() for study in (alone, both))
    assert a.ntk_layers.shape == (1, 2, 3, 2, 4, 4) and b.ntk_layers.shape == (2, 2, 3, 3, 4, 4)
    assert np.isnan(b.ntk_layers[0, :, :, 2]).all()
    np.testing.assert_array_equal(b.ntk_layers[0, :, :, :2], a.ntk_layers[0])
    np.testing.assert_allclose(b.ntk_layers.sum("layer"), b.ntk_train, rtol=1e-12)
    assert Path(alone.shards[0].path).read_bytes() == Path(both.shards[0].path).read_bytes()
