"""Drift, velocity and freezing against kernels whose path is known."""

import numpy as np
import pytest

from ntkpipe.analysis import drift


def _random_kernels(shape=(3, 5), n=4, seed=0):
    factor = np.random.default_rng(seed).normal(size=(*shape, n, n + 2))
    return factor @ np.swapaxes(factor, -2, -1)


def _rotated(angles, spectrum=(3.0, 1.0)):
    """U diag(spectrum) U^T, turned in the plane of the first two axes."""
    turn = np.stack([np.eye(len(spectrum))] * len(angles))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(angles)
    turn[:, 1, 0] = np.sin(angles)
    turn[:, 0, 1] = -turn[:, 1, 0]
    return turn @ np.diag(spectrum) @ turn.transpose(0, 2, 1)


def test_drift_in_three_norms_by_hand():
    ntk = np.stack([np.diag([4.0, 3.0]), np.diag([1.0, 7.0])])
    assert drift.drift(ntk)[1] == pytest.approx(5 / 5)
    assert drift.change(ntk)[1] == pytest.approx(4)
    assert drift.operator_drift(drift.change(ntk), drift.eigenvalues(ntk))[1] == pytest.approx(4 / 4)
    assert drift.drift(ntk, "trace")[1] == pytest.approx(1 / 7)
    assert drift.cosine(ntk)[1] == pytest.approx((4 + 21) / (5 * np.sqrt(50)))
    np.testing.assert_allclose(drift.eigenvalues(ntk), [[4, 3], [7, 1]])
    assert drift.target_alignment(ntk, np.array([1.0, 2.0]))[0] == pytest.approx((4 + 12) / (5 * 5))


def _operator(ntk):
    return drift.operator_drift(drift.change(ntk), drift.eigenpairs(ntk).values)


@pytest.mark.parametrize("norm", [drift.drift, _operator, lambda ntk: drift.drift(ntk, "trace")])
def test_drift_knows_neither_scale_nor_basis(norm):
    ntk = _random_kernels()
    basis = np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    np.testing.assert_allclose(norm(7 * basis @ ntk @ basis.T), norm(ntk), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(norm(ntk)[:, 0], 0, atol=1e-15)


def test_norms_are_numpys():
    ntk = _random_kernels() - 9 * np.eye(4)  # indefinite
    np.testing.assert_allclose(drift.operator_norm(ntk), np.linalg.norm(ntk, 2, axis=(-2, -1)))
    np.testing.assert_allclose(drift.frobenius(ntk), np.linalg.norm(ntk, axis=(-2, -1)))
    values, vectors = drift.eigenpairs(ntk)
    assert (np.diff(values) <= 0).all()
    np.testing.assert_allclose((vectors * values[..., None, :]) @ np.swapaxes(vectors, -2, -1), ntk, atol=1e-12)


def test_alignment_is_one_for_the_ideal_kernel_and_cosine_for_a_grown_one():
    y = np.array([1.0, -2.0, 0.5])
    ntk = np.outer(y, y) * np.array([1.0, 3.0])[:, None, None]
    np.testing.assert_allclose(drift.target_alignment(ntk, y), 1)
    np.testing.assert_allclose(drift.cosine(ntk), 1)
    assert (drift.target_alignment(_random_kernels(n=3), y) < 1).all()


@pytest.mark.parametrize("angle", [1e-9, 1e-3, 0.5, np.pi / 2 - 1e-9])
def test_rotation_is_the_angle_at_both_ends(angle):
    eigen = drift.eigenpairs(_rotated(np.array([0.2, 0.2 + angle]), (3.0, 1.0, 0.5)))
    assert drift.rotation(eigen, 1)[0] == pytest.approx(angle, rel=1e-6 if angle < 1e-6 else 1e-12)
    assert np.isnan(drift.rotation(eigen, 1)[1])
    np.testing.assert_allclose(drift.rotation(eigen, 2)[0], 0, atol=1e-14)  # the plane itself does not turn


def test_rotation_is_not_defined_without_a_gap_nor_outside_the_ranks():
    eigen = drift.eigenpairs(_rotated(np.array([0.0, 0.3]), (1.0, 1.0, 0.5)))
    assert np.isnan(drift.rotation(eigen, 1)).all()
    assert drift.rotation(eigen, 2)[0] == pytest.approx(0, abs=1e-14)
    assert drift.eigengap(np.array([4.0, 3.0, 0.0]), 1) == 0.25
    for rank in (0, 4):
        with pytest.raises(ValueError, match=r"rank must be in 1 \.\. 3"):
            drift.rotation(eigen, rank)


@pytest.mark.parametrize("ratio", [1.05, 1.5, 4.0])
def test_kernel_rate_does_not_know_the_grid(ratio):
    """K = (1 + c log t) I moves by c per e-fold; the rate over K is that over its start, whatever the spacing."""
    time = ratio ** np.arange(12)
    scale = 1 + 0.1 * np.log(time)
    rate = drift.kernel_rate(time, scale[:, None, None] * np.eye(3))
    np.testing.assert_allclose(rate[:-1], 0.1 / scale[:-1], rtol=1e-10)
    # Nor the unit of time.
    np.testing.assert_allclose(drift.kernel_rate(60 * time, scale[:, None, None] * np.eye(3)), rate, rtol=1e-10)


@pytest.mark.parametrize("ratio", [1.05, 1.5, 4.0])
def test_rotation_rate_does_not_know_the_grid(ratio):
    """The top eigenvector turns by 0.2 rad an e-fold of time until t = 8, then not at all."""
    time = ratio ** np.arange(round(np.log(60) / np.log(ratio)) + 1)
    eigen = drift.eigenpairs(_rotated(0.2 * np.log(np.minimum(time, 8)), (3.0, 1.0, 0.5)))
    rate = drift.rotation_rate(time, drift.rotation(eigen, 1))
    before = time[1:] <= 8
    np.testing.assert_allclose(rate[:-1][before], 0.2, rtol=1e-10)
    assert drift.settling_time(time, rate, 0.02) == time[time >= 8][0]
    assert drift.settling_time(time, drift.rotation_rate(time, drift.rotation(eigen, 2)), 0.02) == time[0]
    degenerate = drift.eigenpairs(_rotated(np.log(time), (1.0, 1.0, 0.5)))
    assert np.isnan(drift.settling_time(time, drift.rotation_rate(time, drift.rotation(degenerate, 1)), 0.02))


def test_velocity_is_the_derivative_and_efold_the_time():
    h = 1e-6
    time = np.array([2.0, 2.0 + h])
    ntk = np.stack([np.eye(2) * t**3 for t in time])
    assert drift.velocity(time, ntk)[0] == pytest.approx(3 / 2, rel=1e-5)
    assert drift.efold(time)[0] == pytest.approx(2, rel=1e-6)
    assert drift.efold(np.array([0.0, 0.7, 1.4]))[0] == 0.7  # the first interval is one e-fold
    assert drift.efold(np.array([0.0, 0.7, 1.4]))[1] == pytest.approx(0.7 / np.log(2))


def test_a_kernel_that_rotates_at_a_distance_is_not_frozen():
    """Eigenvalues (3, 1, 1) with the top one on a cone around its start: |K_t - K_0| is constant from t = 1 on."""
    time = np.concatenate([[0.0], np.geomspace(1, 100, 30)])
    around = np.log(time[1:])
    axis = np.stack([np.full(30, np.cos(0.4)), np.sin(0.4) * np.cos(around), np.sin(0.4) * np.sin(around)], axis=-1)
    axis = np.concatenate([[[1.0, 0, 0]], axis])
    turning = np.eye(3) + 2 * axis[:, :, None] * axis[:, None, :]
    np.testing.assert_allclose(np.diff(drift.drift(turning)[1:]), 0, atol=1e-14)
    assert drift.settling_time(time, drift.kernel_rate(time, turning), 0.05) == np.inf
    stopped = np.where((time < 10)[:, None, None], turning, turning[np.argmax(time >= 10)])
    assert drift.settling_time(time, drift.kernel_rate(time, stopped), 0.05) == time[time >= 10][0]


def test_settling_is_for_good():
    time = np.array([0.0, 1, 2, 3, 4])
    rates = np.array([[1, 0, 1, 0, np.nan], [1, 1, 1, 1, np.nan], [0, 0, 0, 0, np.nan], [0, np.nan, 0, 0, np.nan]])
    settled = drift.settling_time(np.broadcast_to(time, (4, 5)), rates, 0.5)
    np.testing.assert_array_equal(settled, [3, np.inf, 0, np.nan])
    np.testing.assert_array_equal(drift.moved(rates, 0.5), [True, True, False, False])
    assert drift.moved(np.array([0.0, np.nan, 0.5, np.nan]), 0.5)  # a diverged run, which had moved
    assert np.isnan(drift.settling_time(np.zeros(1), np.full(1, np.nan), 0.5))


def test_plateau_of_an_exponential_loss():
    """|dL/dlog t|/L_0 = c t exp(-c t) falls below the tolerance for good at the larger root; over L_t it never does."""
    time = np.concatenate([[0.0], np.geomspace(1e-3, 100, 2000)])
    loss = 5 * np.exp(-2 * time)
    root = 6.472775  # x exp(-x) = 0.01
    assert abs(root * np.exp(-root) - 0.01) < 1e-7
    assert drift.settling_time(time, drift.loss_rate(time, loss), 0.01) == pytest.approx(root / 2, rel=0.01)
    assert drift.settling_time(time, drift.loss_rate(time, loss, "current"), 0.01) == np.inf


def test_nan_in_gives_nan_out_for_that_run_alone():
    ntk, time = _random_kernels(), np.broadcast_to(np.arange(5.0), (3, 5))
    y = np.ones(4)
    broken = ntk.copy()
    broken[1, 3:] = np.nan
    functions = [
        drift.drift, drift.change, lambda k: drift.drift(k, "trace"), drift.cosine,
        lambda k: drift.target_alignment(k, y), lambda k: drift.eigenvalues(k)[..., 0],
    ]  # fmt: skip
    for function in functions:
        whole, part = function(ntk), function(broken)
        assert np.isnan(part[1, 3:]).all()
        part[1, 3:] = whole[1, 3:]
        np.testing.assert_array_equal(part, whole)
    for function in (lambda k: drift.kernel_rate(time, k), lambda k: drift.rotation(drift.eigenpairs(k), 2)):
        part = function(broken)
        assert np.isnan(part[1, 2:]).all() and np.isfinite(part[1, :2]).all() and np.isfinite(part[[0, 2], :4]).all()
    settled = drift.settling_time(time, drift.kernel_rate(time, broken), 0.1)
    np.testing.assert_array_equal(np.isnan(settled), [False, True, False])


def test_a_dead_network_has_no_drift():
    dead = np.zeros((3, 2, 2))
    for values in (drift.drift(dead), _operator(dead), drift.cosine(dead), drift.target_alignment(dead, np.ones(2))):
        assert np.isnan(values).all()
    time = np.arange(3.0)
    assert np.isnan(drift.rotation(drift.eigenpairs(dead), 1)).all()
    assert np.isnan(drift.settling_time(time, drift.kernel_rate(time, dead), 0.1))


def test_dead_is_who_lost_the_kernel_in_training_or_never_had_one():
    ends = [1.0, 1e-3, 2e-12, 1e-12, 0.0, np.nan]
    ntk = np.array([[1.0, end] for end in ends])[..., None, None] * np.diag([3.0, 5.0])
    np.testing.assert_array_equal(drift.dead(ntk), [False, False, False, True, True, False])
    assert drift.dead(np.zeros((2, 3, 3)))
