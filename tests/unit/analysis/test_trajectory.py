"""What a cell's trajectories say: paths by plain loops, sizes at fixed loss, means over seeds, diverged runs."""

import numpy as np
import pytest
from scipy import stats

from ntkpipe.analysis import trajectory
from ntkpipe.analysis.drift import eigenpairs
from ntkpipe.analysis.frozen import frozen as regression

STEP = np.array([0, 1, 3, 6])
Y = np.array([1.0, -0.5, 0.25])
RATE = np.array([0.1, 0.2])


def run(method: str = "gd") -> dict[str, np.ndarray]:
    """Two seeds of a made-up model whose kernel moves linearly between snapshots and obeys r' = (I - eta K) r."""
    rng = np.random.default_rng(0)
    a = rng.standard_normal((2, 4, 3, 5))
    ntk = np.einsum("sti,stj->stij", a[..., 0], a[..., 0]) * 0.1 + np.eye(3) * (1 + 0.1 * a[:, :, :1, 1:2])
    f = np.empty((2, 4, 3))
    for seed in range(2):
        r = rng.standard_normal(3)
        f[seed, 0] = r + Y
        for s in range(3):
            count = STEP[s + 1] - STEP[s]
            for k in range(count):
                kernel = ntk[seed, s] + (ntk[seed, s + 1] - ntk[seed, s]) * k / count
                r = r - RATE[seed] * kernel @ r
            f[seed, s + 1] = r + Y
    return {
        "time": RATE[:, None] * STEP,
        "ntk_train": ntk,
        "ntk_eval_train": rng.standard_normal((2, 4, 2, 3)),
        "f_train": f,
        "f_eval": rng.standard_normal((2, 4, 2)),
        "f_linear_train": f + 0.01,
        "remainder": np.zeros((2, 4)),
        "loss": 0.5 * np.sum((f - Y) ** 2, axis=-1),
    }


def paths(data: dict[str, np.ndarray], method: str = "gd", step=STEP, rate=RATE, y=Y) -> dict[str, np.ndarray]:
    return trajectory.paths(step, rate, y, data, eigenpairs(data["ntk_train"]), method)


def test_paths_are_plain_numpy_on_the_trajectories():
    data = run()
    found = paths(data)
    assert set(trajectory.PATHS) - {"third_error", "fourth_error"} | {"order_error", "eigenvalues"} == found.keys()
    for seed in range(2):
        ntk, r = data["ntk_train"][seed], data["f_train"][seed] - Y
        norm = np.linalg.norm(r[0])
        for s in range(4):
            moved = ntk[s] - ntk[0]
            values = np.linalg.eigvalsh(ntk[s])
            at = {
                "drift": np.linalg.norm(moved) / np.linalg.norm(ntk[0]),
                "drift_operator": np.linalg.norm(moved, 2) / np.linalg.norm(ntk[0], 2),
                "drift_trace": np.trace(moved) / np.trace(ntk[0]),
                "cosine": np.sum(ntk[s] * ntk[0]) / np.linalg.norm(ntk[s]) / np.linalg.norm(ntk[0]),
                "target_alignment": Y @ ntk[s] @ Y / np.linalg.norm(ntk[s]) / (Y @ Y),
                "load": RATE[seed] * values[-1] / 2,
                "linearization_error": 0.01 * 3**0.5 / norm,
            }
            for name, value in at.items():
                assert found[name][seed, s] == pytest.approx(value, rel=1e-10, abs=1e-14), name
            np.testing.assert_allclose(found["eigenvalues"][seed, s], values[::-1], rtol=1e-12)
            frozen = np.linalg.matrix_power(np.eye(3) - RATE[seed] * ntk[0], STEP[s]) @ r[0]
            error = np.linalg.norm(r[s] - frozen) / norm
            assert found["order_error"][seed, s, 0] == pytest.approx(error, abs=1e-13)
            assert found["bound"][seed, s] >= error - 1e-13
            if s:
                assert found["tightness"][seed, s] == pytest.approx(error / found["bound"][seed, s], rel=1e-9)


def test_orders_of_descent_walk_every_step():
    """r_p <- (I - eta K_0) r_p - eta DeltaK r_{p-1}; each order is nearer to the run than the last."""
    data = run()
    found = paths(data)["order_error"]
    for seed in range(2):
        ntk, r = data["ntk_train"][seed], data["f_train"][seed] - Y
        orders = [r[0]] * 3
        for s in range(3):
            count = STEP[s + 1] - STEP[s]
            for k in range(count):
                delta = (ntk[s] - ntk[0]) + (ntk[s + 1] - ntk[s]) * k / count
                frozen = [v - RATE[seed] * ntk[0] @ v for v in orders]
                below = [np.zeros(3), *orders[:2]]
                orders = [v - RATE[seed] * delta @ u for v, u in zip(frozen, below, strict=True)]
            wrong = [np.linalg.norm(r[s + 1] - v) / np.linalg.norm(r[0]) for v in orders]
            np.testing.assert_allclose(found[seed, s + 1], wrong, atol=1e-13)
    assert (found[:, -1, 0] > 2 * found[:, -1, 1]).all() and (found[:, -1, 1] > 2 * found[:, -1, 2]).all()


def test_the_flow_has_orders_and_bound_of_its_own():
    """exp(-K_0 t) in place of (I - eta K_0)^k."""
    data = run()
    found = paths(data, "flow")
    for seed in range(2):
        values, vectors = np.linalg.eigh(data["ntk_train"][seed, 0])
        r = data["f_train"][seed] - Y
        frozen = vectors @ (np.exp(-values * data["time"][seed, -1]) * (vectors.T @ r[0]))
        error = np.linalg.norm(r[-1] - frozen) / np.linalg.norm(r[0])
        assert found["order_error"][seed, -1, 0] == pytest.approx(error, rel=1e-9)
    assert (found["bound"] != paths(data)["bound"])[:, 1:].all()


def test_forcing_of_a_kernel_that_moves_by_a_constant():
    """K_0 = I, DeltaK = I/2 from the first step on: int |DeltaK r_0| = 1/2 (1 - e^-t)."""
    time = np.linspace(0, 2, 401)[None]
    ntk = np.where(time[..., None, None] > 0, 1.5, 1.0) * np.eye(2)
    residual = np.exp(-time)[..., None] * np.array([0.6, 0.8])
    data = {
        "time": time,
        "ntk_train": ntk,
        "f_train": residual,
        "f_linear_train": residual,
        "remainder": np.zeros_like(time),
    }
    found = paths(data, "flow", np.arange(401), np.array([0.005]), np.zeros(2))
    assert found["forcing"][0, -1] == pytest.approx(0.5 * (1 - np.exp(-2)), rel=0.01)
    assert found["size"][0, -1] == pytest.approx(0.5 * 2, rel=0.01)


def test_one_point_is_enough():
    """Its kernel is a number, which cannot turn."""
    data = {name: value[..., :1] if value.ndim == 3 else value for name, value in run().items()}
    data["ntk_train"] = data["ntk_train"][..., :1, :1]
    found = paths(data, y=Y[:1])
    assert np.isfinite(found["drift"]).all() and np.nanmax(found["rotation"]) < 1e-12


def test_predictions_by_tensors_are_measured_by_the_change():
    data = run()
    data["ntk_third"] = data["ntk_train"][:, :1] * np.ones((1, 4, 1, 1))  # predicts no change: error 1
    data["ntk_fourth"] = data["ntk_train"].copy()
    found = paths(data)
    np.testing.assert_allclose(found["third_error"][:, 1:], 1.0, rtol=1e-12)
    np.testing.assert_array_equal(found["fourth_error"][:, 1:], 0.0)
    assert np.isnan(found["third_error"][:, 0]).all()


@pytest.mark.parametrize("method", ["gd", "flow"])
def test_a_diverged_run_says_nothing_after_and_harms_no_other(method):
    data = run()
    for name, value in data.items():
        if name != "time":
            value[1, 2:] = np.nan
    clean = run()
    with np.errstate(invalid="ignore"):
        found = paths(data, method)
    whole = paths(clean, method)
    later = {"rotation", "kernel_rate"}  # of the interval that begins at a snapshot
    for name in found:
        np.testing.assert_array_equal(found[name][0], whole[name][0], err_msg=name)
        if name not in {"bound", *later}:
            assert np.isnan(found[name][1, 2:]).all(), name
            if name not in {"order_error", "tightness"} or method == "gd":
                np.testing.assert_allclose(found[name][1, :2], whole[name][1, :2], rtol=1e-9, atol=1e-12, err_msg=name)


def test_frozen_errors_are_regressions_from_the_network_and_from_zero():
    data, y_eval, reg = run(), np.array([0.3, 0.1]), np.array([1e-6, 1e-2])
    eigen = eigenpairs(data["ntk_train"])
    found = trajectory.frozen_errors(Y, y_eval, data, eigen, reg)
    assert {name: value.shape for name, value in found.items()} == dict.fromkeys(
        ("train_mse", "eval_mse", "loo_mse"), (2, 4, 2, 2)
    )
    seed, s = 1, 2
    ntk, cross = data["ntk_train"][seed, s], data["ntk_eval_train"][seed, s]
    inverse = np.linalg.inv(ntk + reg[1] * np.trace(ntk) / 3 * np.eye(3))
    f, f_eval = data["f_train"][seed, s], data["f_eval"][seed, s]
    network = np.mean((f_eval + cross @ inverse @ (Y - f) - y_eval) ** 2)
    zero = np.mean((cross @ inverse @ Y - y_eval) ** 2)
    np.testing.assert_allclose(found["eval_mse"][seed, s, :, 1], [network, zero], rtol=1e-10)
    own = regression(eigen, *(data[n] for n in ("ntk_eval_train", "f_train", "f_eval")), Y, y_eval, reg)
    for name, values in found.items():
        np.testing.assert_array_equal(values[:, :, 1], getattr(own["zero"], name))


def test_at_loss_is_linear_in_log_loss():
    loss = np.array([[1.0, 0.5, 0.05, 0.01], [1.0, 0.9, 0.8, 0.7], [2.0, np.nan, np.nan, np.nan], [1.0, 0.5, 0.0, 0.0]])
    values = np.array([[0.0, 1.0, 2.0, 3.0]] * 4)
    found = trajectory.at_loss(loss, values, 0.1)
    assert found[0] == pytest.approx(1 + np.log(5) / np.log(10))
    assert np.isnan(found[1:3]).all()  # never there; diverged
    assert found[3] == 2.0  # to zero at once
    assert trajectory.at_loss(np.array([[1.0, 3.0, 0.1, 0.5]]), values[:1], 0.1)[0] == 2.0  # first, not last


def test_geometric_means_leave_out_what_is_unknown():
    values = np.array([0.1, np.nan, 0.4, 0.0, np.inf, 0.2])
    mean, low, high = trajectory.geometric_mean(values, 0.95)
    known = np.log([0.1, 0.4, 0.2])
    assert mean == pytest.approx(0.2)
    ends = stats.t.interval(0.95, 2, known.mean(), stats.sem(known))
    np.testing.assert_allclose([low, high], np.exp(ends), rtol=1e-12)
    assert np.isnan(trajectory.geometric_mean(np.array([np.nan, 0.0]), 0.95)).all()
    one = trajectory.geometric_mean(np.array([np.nan, 0.3]), 0.95)
    assert one[0] == pytest.approx(0.3) and np.isnan(one[1:]).all()


def test_geometric_means_cover():
    """95 % intervals of 5 lognormal seeds hold the truth in 95 % of 2000 studies."""
    draws = np.exp(np.random.default_rng(0).standard_normal((2000, 5)) + 0.7)
    found = np.array([trajectory.geometric_mean(values, 0.95) for values in draws])
    assert 0.935 < np.mean((found[:, 1] < np.exp(0.7)) & (np.exp(0.7) < found[:, 2])) < 0.965


def test_times_are_those_of_the_rates():
    """Kernel, eigenspace and loss come to rest at 2, 1 and 4; of a second run nothing rests, a third never moved."""
    time = np.array([[0.0, 1.0, 2.0, 4.0, 8.0]] * 3)
    kernel = np.array([[1.0, 0.5, 0.0, 0.0, np.nan], [1.0] * 4 + [np.nan], [0.01] * 4 + [np.nan]])
    angle = np.array([[0.5, 0.0, 0.0, 0.0, np.nan], [0.5] * 4 + [np.nan], [0.01] * 4 + [np.nan]])
    loss = np.array([[1.0, 0.5, 0.25, 0.1, 0.1], [5.0, 4.0, 3.0, 2.0, 1.0], [1.0] * 5])
    found = trajectory.times(time, kernel, angle, loss, 0.02)
    np.testing.assert_array_equal(found["freeze_time"], [2.0, np.inf, 0.0])
    np.testing.assert_array_equal(found["rotation_time"], [1.0, np.inf, 0.0])
    np.testing.assert_array_equal(found["plateau_time"], [4.0, np.inf, 0.0])
    for name in ("kernel_moved", "rotation_moved", "loss_moved"):
        np.testing.assert_array_equal(found[name], [True, True, False])


def test_an_eigenspace_that_is_not_defined_has_no_rotation_time():
    time, known = np.array([[0.0, 1.0, 2.0]]), np.array([[0.1, 0.1, np.nan]])
    found = trajectory.times(time, known, np.array([[0.1, np.nan, np.nan]]), np.ones((1, 3)), 0.02)
    assert np.isnan(found["rotation_time"][0]) and found["freeze_time"][0] == np.inf


def test_at_time_interpolates_and_never_extrapolates():
    time = np.array([[0.0, 1.0, 3.0], [0.0, 2.0, 4.0]])
    values = np.array([[0.0, 2.0, 6.0], [1.0, 3.0, np.nan]])
    np.testing.assert_allclose(trajectory.at_time(time, values, 2.0), [4.0, 3.0])
    np.testing.assert_array_equal(np.isnan(trajectory.at_time(time, values, 3.5)), [True, True])
