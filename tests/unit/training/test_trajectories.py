"""Shards of training: values against plain loops over full Jacobians; kills, damage, divergence, prefixes."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

from ntkpipe import collect, data, kinds, provenance, shards
from ntkpipe.config.data import DataConfig
from ntkpipe.config.train import TrainConfig
from ntkpipe.engines import dense
from ntkpipe.networks import Network
from ntkpipe.streams import Stream
from ntkpipe.training import checkpoint
from ntkpipe.training import trajectories as draw

NETWORK = Network(2, (4, 4), activation="tanh", bias_init="normal", sigma_b=0.5)
DATA = data.make(DataConfig(train=4, eval=3, frequencies=[1], noise=0.1), 0)
STREAM = Stream(3, "a cell")
N = 3
KEPT = {"steps": 12, "at": [1, 4, 8, 12]}
METHODS = {"gd": {}, "sgd": {"method": "sgd", "batch": 2}, "flow": {"method": "flow", "rtol": 1e-4, "atol": 1e-6}}


def train(scratch, n=N, network=NETWORK, **settings) -> dict[str, np.ndarray]:
    """Arrays of the first n networks of quantum 0."""
    arrays = draw.train(network, DATA, TrainConfig(**(KEPT | settings)), STREAM, 0, n, scratch)
    assert all(array.dtype in (np.float64, np.int64) for _, array in arrays.values())
    return {name: np.asarray(array) for name, (_, array) in arrays.items()}


# --- the same by plain loops ------------------------------------------------------------------------


def start(seed: int) -> tuple[np.ndarray, jax.Array]:
    """Trained variables of one network in one vector, and the key of its minibatches."""
    init_key, order_key = jax.random.split(STREAM.key(0))
    params = dense.init(jax.random.split(init_key, 8)[seed], NETWORK)
    parts = []
    for (w, b), (first, _) in zip(params, dense.runs(NETWORK), strict=True):
        parts += [w.ravel() / NETWORK.weight_gain[first] ** 0.5, b.ravel() / NETWORK.bias_gain[first] ** 0.5]
    return np.concatenate(parts), jax.random.split(order_key, 8)[seed]


@jax.jit
def output(theta, x):
    """f of one network (2, 4, 4, 1) in the trained variables: standard normal weights, scales in the forward pass."""
    h, at = x.T, 0
    for layer, (n, m) in enumerate(((4, 2), (4, 4), (1, 4))):
        c = (1.0 if layer == 2 else 2.0) / m
        w, b = theta[at : at + n * m].reshape(n, m), theta[at + n * m : at + n * m + n]
        h, at = jnp.sqrt(c) * w @ h + 0.5 * b[:, None], at + n * m + n
        h = jnp.tanh(h) if layer < 2 else h
    return h[0]


jacobian = jax.jit(jax.jacrev(output))


def seen(theta, theta_0, eta) -> dict[str, np.ndarray]:
    """A snapshot, from Jacobians."""
    x, j, j_0 = DATA.x_train, np.asarray(jacobian(theta, DATA.x_train)), np.asarray(jacobian(theta_0, DATA.x_train))
    f = np.asarray(output(theta, x))
    r = f - DATA.y_train
    return {
        "f_train": f,
        "f_eval": np.asarray(output(theta, DATA.x_eval)),
        "loss": 0.5 * r @ r,
        "ntk_train": j @ j.T,
        "ntk_eval_train": np.asarray(jacobian(theta, DATA.x_eval)) @ j.T,
        "f_linear_train": np.asarray(output(theta_0, x)) + j_0 @ (theta - theta_0),
        "distance": np.linalg.norm(theta - theta_0),
        "remainder": np.linalg.norm(np.asarray(output(theta - eta * j.T @ r, x)) - f + eta * j @ j.T @ r),
    }


def path(seed: int, eta: float, steps=12, batch: int = 4) -> list[np.ndarray]:
    """Trained variables after 0, 1, 2, ... steps; minibatches of ``batch`` where it is not 4."""
    theta, key = start(seed)
    thetas = [theta]
    for step in range(steps):
        rows = np.arange(4)
        if batch < 4:
            rows = np.asarray(jax.random.choice(jax.random.fold_in(key, step), 4, (batch,), replace=False))
        x, y = DATA.x_train[rows], DATA.y_train[rows]
        residual = np.asarray(output(theta, x)) - y
        theta = theta - eta * 4 / len(rows) * np.asarray(jacobian(theta, x)).T @ residual
        thetas.append(theta)
    return thetas


def agree(arrays, seed, thetas, eta, atol):
    for k, theta in enumerate(thetas):
        for name, value in seen(theta, thetas[0], eta).items():
            np.testing.assert_allclose(arrays[name][seed, k], value, atol=atol, rtol=atol, err_msg=f"{name} {k}")


@pytest.mark.parametrize("method", ["gd", "sgd"])
def test_snapshots_are_those_of_plain_loops(tmp_path, method):
    arrays = train(tmp_path, **METHODS[method], eta=0.3)
    assert arrays["ntk_train"].shape == (N, 5, 4, 4) and arrays["ntk_eval_train"].shape == (N, 5, 3, 4)
    for seed in range(N):
        eta = arrays["eta_used"][seed]
        thetas = path(seed, eta, batch=2 if method == "sgd" else 4)
        agree(arrays, seed, [thetas[k] for k in (0, 1, 4, 8, 12)], eta, atol=1e-11)
    assert (arrays["distance"][:, 1:] > 0.01).all() and (arrays["remainder"] > 1e-5).all()
    assert (arrays["status"] == 0).all() and np.isnan(arrays["diverged_time"]).all()
    assert np.isnan(arrays["flow_error"][1]).all() and "ntk_third" not in arrays


def test_flow_is_that_of_another_integrator(tmp_path):
    """And ``flow_error`` is its true error: the run that it is compared with has a hundredth of its tolerances."""
    arrays = train(tmp_path, **METHODS["flow"])
    steps, error = np.array([0, 1, 4, 8, 12]), arrays["flow_error"]
    for seed in range(N):
        theta, eta = start(seed)[0], arrays["eta_used"][seed]

        def field(_, p):
            return -np.asarray(jacobian(p, DATA.x_train)).T @ (np.asarray(output(p, DATA.x_train)) - DATA.y_train)

        found = solve_ivp(field, (0, 12 * eta), theta, "DOP853", eta * steps, rtol=1e-11, atol=1e-12)
        agree(arrays, seed, found.y.T, eta, atol=1e-3)
        if seed == 0:
            exact = np.stack([np.asarray(output(p, DATA.x_train)) for p in found.y.T])
            r_0 = np.linalg.norm(exact[0] - DATA.y_train)
            wrong = np.linalg.norm(arrays["f_train"][0] - exact, axis=1) / r_0
            np.testing.assert_allclose(error[0, 1:], wrong[1:], rtol=0.3)
    assert error[0, 0] < 1e-15 and (error[0, 1:] > 1e-9).all() and np.isnan(error[1:]).all()


# --- step sizes and time ------------------------------------------------------------------------------


def test_the_mean_loss_at_n_times_the_step_is_the_half_sum(tmp_path):
    one = train(tmp_path / "a", eta=0.05, eta_unit="absolute")
    two = train(tmp_path / "b", eta=0.2, eta_unit="absolute", loss="mean")
    np.testing.assert_array_equal(two["eta_used"], 0.2)
    np.testing.assert_array_equal(one["time"], 0.05 * np.array([[0, 1, 4, 8, 12]] * N))
    for name in one.keys() - {"loss", "eta_used"}:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(two["loss"], one["loss"] / 4, rtol=1e-12)
    three = train(tmp_path / "c", eta=0.25, loss="mean")  # in critical units the two are one run
    four = train(tmp_path / "d", eta=0.25)
    np.testing.assert_allclose(three["f_train"], four["f_train"], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(three["eta_used"], 4 * four["eta_used"], rtol=1e-13)
    largest = np.linalg.eigvalsh(four["ntk_train"][:, 0])[:, -1]
    np.testing.assert_allclose(four["eta_used"], 0.5 / largest, rtol=1e-13)


def test_fewer_networks_are_a_prefix(tmp_path):
    """To rounding: XLA may sum a batch of another size in another order. Networks do not see each other."""
    more, fewer = train(tmp_path / "a"), train(tmp_path / "b", n=1)
    for name, array in fewer.items():
        np.testing.assert_allclose(array, more[name][:1], rtol=1e-12, atol=1e-14, err_msg=name)
    assert np.abs(more["f_train"][0, 0] - more["f_train"][1, 0]).max() > 0.01


# --- divergence ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["gd", "sgd"])
def test_a_diverged_run_is_nan_from_there_on(tmp_path, method):
    """The others, and all that came before, are those of a study with another limit, bit for bit."""
    limit, settings = {"gd": 20, "sgd": 200}[method], METHODS[method] | {"eta": 1.5}
    whole = train(tmp_path / "a", **settings, divergence=1e300)
    arrays = train(tmp_path / "b", **settings, divergence=limit)
    status, when = arrays["status"], arrays["diverged_time"]
    assert 0 < status.sum() < N and set(status) == {0, 1}
    np.testing.assert_array_equal(np.isfinite(when), status == 1)
    np.testing.assert_array_equal(arrays["time"], whole["time"])
    for seed in range(N):
        steps = when[seed] / arrays["eta_used"][seed] if status[seed] else np.inf
        before = np.array([0, 1, 4, 8, 12]) < steps - 1e-9
        for name in arrays.keys() - {"time", "status", "diverged_time", "eta_used"}:
            np.testing.assert_array_equal(arrays[name][seed, before], whole[name][seed, before], err_msg=name)
            assert np.isnan(arrays[name][seed, ~before]).all(), name
        if method == "gd":
            thetas = path(seed, whole["eta_used"][seed])
            loss = np.array([np.sum((np.asarray(output(p, DATA.x_train)) - DATA.y_train) ** 2) for p in thetas])
            passed = np.flatnonzero(~(loss <= limit * loss[0]))
            assert steps == pytest.approx(passed[0] if len(passed) else np.inf)


def test_a_run_that_overflows_has_diverged(tmp_path):
    """Whatever the limit: a loss that is not finite exceeds it. Nothing raises, nothing is infinite."""
    arrays = train(tmp_path, eta=1e30, divergence=1e300)
    assert (arrays["status"] == 1).all() and (arrays["diverged_time"] > 0).all()
    assert not any(np.isinf(array).any() for array in arrays.values())
    assert np.isnan(arrays["ntk_train"][:, -1]).all() and np.isfinite(arrays["ntk_train"][:, 0]).all()


def test_a_dead_network_stays(tmp_path):
    """K_0 = 0 (a readout that is frozen at zero weight): the critical step is none, and nothing moves."""
    still = Network(2, (4, 4), activation="tanh", sigma_v=0.0, readout="frozen")
    arrays = train(tmp_path, network=still)
    assert (arrays["eta_used"] == 0).all() and (arrays["status"] == 0).all() and (arrays["distance"] == 0).all()
    assert (arrays["loss"] == arrays["loss"][:, :1]).all() and (arrays["time"] == 0).all()


# --- kills and damage ---------------------------------------------------------------------------------------


class Killed(BaseException):
    """As abrupt as a signal."""


@pytest.fixture
def watch(monkeypatch):
    """Kill training after a number of snapshots; note those that are saved, and the steps that are taken."""

    watch = SimpleNamespace(saved=[], steps=0, kill_after=None)
    save, compiled = checkpoint.save, draw._compiled

    def saving(folder, number, row, state):
        save(folder, number, row, state)
        watch.saved = [*watch.saved, number]
        if watch.kill_after is not None and len(watch.saved) >= watch.kill_after:
            raise Killed

    def watched(*arguments):
        advance, look = compiled(*arguments)

        def advancing(state, more, *rest):
            watch.steps += more
            return advance(state, more, *rest)

        return advancing, look

    monkeypatch.setattr(checkpoint, "save", saving)
    monkeypatch.setattr(draw, "_compiled", watched)
    return watch


def killed(watch, scratch, after: int, **settings) -> None:
    """A run that dies once ``after`` snapshots are saved."""
    watch.kill_after, watch.saved, watch.steps = after, [], 0
    with pytest.raises(Killed):
        train(scratch, **settings)
    watch.kill_after, watch.saved, watch.steps = None, [], 0


def equal(one: dict[str, np.ndarray], two: dict[str, np.ndarray]) -> bool:
    """Bit for bit."""
    return one.keys() == two.keys() and all(one[name].tobytes() == two[name].tobytes() for name in one)


@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, watch, method):
    """Three kills, of which one comes at once; no snapshot is made twice, no step taken twice."""
    whole, settings = train(tmp_path / "whole", **METHODS[method]), METHODS[method]
    steps, scratch = [0, 1, 4, 8, 12], tmp_path / "killed"
    for after, kept in ((1, 0), (2, 1), (1, 3)):
        watch.kill_after, watch.saved, watch.steps = after, [], 0
        with pytest.raises(Killed):
            train(scratch, **settings)
        assert watch.saved == list(range(kept, kept + after))
    watch.kill_after, watch.saved, watch.steps = None, [], 0
    assert equal(train(scratch, **settings), whole)
    assert watch.saved == [4] and watch.steps == (steps[4] - steps[3]) * (2 if method == "flow" else 1)
    watch.steps = 0
    assert equal(train(scratch, **settings), whole)  # all was done: the file of the shard alone was lost
    assert watch.saved == [4] and watch.steps == 0


def test_a_diverged_run_goes_on_to_the_same_bits(tmp_path, watch):
    settings = {"eta": 1.5, "divergence": 20.0}
    whole = train(tmp_path / "whole", **settings)
    killed(watch, tmp_path / "killed", 4, **settings)
    assert equal(train(tmp_path / "killed", **settings), whole)
    assert 0 < whole["status"].sum() < N and watch.saved == [4]


def test_damaged_snapshots_are_not_read_as_data(tmp_path, watch):
    """A flipped byte or a lost end, in state or row: training starts from what is whole, to the same bits."""
    whole = train(tmp_path / "whole")
    for name, at in (("state2", 40), ("state2", -1), ("row0", 300), ("row2", -200)):
        for truncate in (False, True):
            scratch = tmp_path / f"{name}{at}{truncate}"
            killed(watch, scratch, 3)
            (file,) = scratch.glob(f"{name}.*")
            content = bytearray(file.read_bytes())
            content[at] ^= 1
            file.write_bytes(content[:at] if truncate else content)
            assert equal(train(scratch), whole)
            assert watch.saved == [0, 1, 2, 3, 4]


def test_an_older_state_serves_where_the_last_is_damaged(tmp_path, watch):
    whole, scratch = train(tmp_path / "whole"), tmp_path / "killed"
    killed(watch, scratch, 2)
    (older,) = scratch.glob("state1.*")
    content = older.read_bytes()
    killed(watch, scratch, 1)
    older.write_bytes(content)  # as if the kill had come before it was removed
    (last,) = scratch.glob("state2.*")
    last.write_bytes(last.read_bytes()[:100])
    assert equal(train(scratch), whole)
    assert watch.saved == [2, 3, 4]


# --- studies ---------------------------------------------------------------------------------------------------

STUDY = {
    "kind": "trajectory",
    "grid": {"width": 4, "depth": 2, "eta": [0.25, 0.5], "activation": "tanh"},
    "seeds": 10,
    "data": {"train": 4, "eval": 3, "frequencies": 1, "noise": 0.1},
    "train": {"steps": 12, "at": [1, 4, 8, 12]},
}


def test_collected_trajectories_hold_the_draws_and_their_constants(make_study, tmp_path, draw_study):
    """Ten networks are a quantum of eight and one of two."""
    study = make_study(results=tmp_path, **STUDY)
    draw_study(study)
    assert not list(tmp_path.rglob("*.part"))
    collect.run(study)
    assert [path.name for path in sorted((tmp_path / "s").glob("*.zarr"))] == ["trajectories.zarr"]
    found = xr.open_zarr(tmp_path / "s" / "trajectories.zarr").load()
    sizes = {"cell": 2, "seed": 10, "snapshot": 5, "train": 4, "train_": 4, "eval": 3, "coordinate": 2}
    assert dict(found.sizes) == sizes
    kind = kinds.of(study)
    assert set(found.data_vars) - {"x_train", "y_train", "x_eval", "y_eval", "step"} <= kind.draws.keys()
    for name in ("x_train", "y_train", "x_eval", "y_eval"):
        np.testing.assert_array_equal(found[name], getattr(study.data, name))
    np.testing.assert_array_equal(found.step, [0, 1, 4, 8, 12])
    np.testing.assert_array_equal(found.eta, [0.25, 0.5])
    assert list(found.training.values) == ["gd", "gd"] and list(found.loss_kind.values) == ["half_sum"] * 2
    assert all(variable.attrs["long_name"] and variable.attrs["units"] for variable in found.variables.values())
    for i, shard in enumerate(study.shards):
        for name, (dims, array) in shards.read(shard.path)[0].items():
            assert found[name].dims == ("cell", *dims)
            np.testing.assert_array_equal(found[name][i], array)
    first = found.isel(snapshot=0)
    np.testing.assert_allclose(first.ntk_train[0], first.ntk_train[1], rtol=1e-13)  # one network, two step sizes
    cell = study.cells[0]
    for quantum, first, n in ((0, 0, 8), (1, 8, 2)):
        scratch = tmp_path / f"x{quantum}"
        again = draw.train(cell.network, study.data, cell.settings, study.stream(cell), quantum, n, scratch)
        np.testing.assert_array_equal(found.f_train[0, first : first + n], again["f_train"][1])


def test_another_config_or_code_uses_another_scratch_folder(make_study, tmp_path, monkeypatch):
    def folder(**keys) -> str:
        study = make_study(results=tmp_path, **(STUDY | keys))
        shard = study.shards[0]
        with shards.scratch(shard.path, shards.attrs_of(study, shard)) as path:
            return str(path)

    base = folder()
    assert folder() == base
    changes = [
        {"seed": 1},
        {"seeds": 9},
        {"train": STUDY["train"] | {"steps": 13}},
        {"train": STUDY["train"] | {"loss": "mean"}},
        {"data": STUDY["data"] | {"noise": 0.2}},
        {"data": STUDY["data"] | {"phases": 0.5}},
        {"network": {"sigma_w": 1.0}},
    ]
    folders = {folder(**change) for change in changes}
    assert len(folders) == len(changes) and base not in folders
    assert folder(regimes={"lazy": 0.2}) == base  # what is only read off trajectories changes none
    code = provenance.source_hash
    monkeypatch.setattr(provenance, "source_hash", lambda *modules: code(*modules) + "edited")
    assert folder() not in folders | {base}


def test_scratch_goes_where_its_shard_is_written_and_stays_where_it_is_not(tmp_path):
    path = tmp_path / "a.zarr.zip"

    def die(path, **attrs):
        with pytest.raises(Killed), shards.scratch(path, attrs) as folder:
            checkpoint.save(folder / "0", 0, {"loss": np.ones(2)}, (np.zeros(2),))
            raise Killed
        return folder

    folder, older, other = die(path, a=1), die(path, a=2), die(tmp_path / "b.zarr.zip", a=1)
    assert folder != older
    with shards.scratch(path, {"a": 1}) as again:
        assert again == folder and checkpoint.load(again / "0", (np.zeros(2),))[0] == 1
    assert list(tmp_path.iterdir()) == [other]  # what other code or another config left for this shard is gone too


def test_the_code_of_a_shard_is_all_that_trains(make_study):
    from ntkpipe.engines import catalogue

    cell = make_study(**STUDY).cells[0]
    drawn = provenance._closure(catalogue.code(cell.engine, cell.sampling, cell.kind))
    training = {f"ntkpipe.training.{name}" for name in ("descent", "observe", "checkpoint", "tensors")}
    assert training | {"ntkpipe.engines.dense", "ntkpipe.streams"} <= drawn.keys()
