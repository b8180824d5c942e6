"""Kernel regression with a frozen kernel against direct solves and limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkpipe.analysis import frozen
from ntkpipe.analysis.drift import eigenpairs

REG = np.array([1e-6, 1e-3, 0.1, 10.0])


class Case:
    """Kernels of random features, with two batches, three snapshots, six train and four eval points."""

    def __init__(self, seed=0, features=9):
        rng = np.random.default_rng(seed)
        phi = rng.normal(size=(2, 3, 10, features))
        whole = phi @ np.swapaxes(phi, -2, -1)
        self.ntk, self.cross = whole[..., :6, :6], whole[..., 6:, :6]
        self.f, self.f_eval = rng.normal(size=(2, 3, 6)), rng.normal(size=(2, 3, 4))
        self.y, self.y_eval = rng.normal(size=6), rng.normal(size=4)

    def run(self, diag_reg=REG, **changes):
        arrays = vars(self) | changes
        rest = (arrays[name] for name in ("cross", "f", "f_eval", "y", "y_eval"))
        return frozen.frozen(eigenpairs(arrays["ntk"]), *rest, np.asarray(diag_reg))


def test_against_a_direct_solve():
    case = Case()
    regressions = case.run()
    for at in np.ndindex(2, 3):
        for r, reg in enumerate(REG):
            shift = reg * np.trace(case.ntk[at]) / 6
            inverse = np.linalg.inv(case.ntk[at] + shift * np.eye(6))
            for name, f, f_eval in (("network", case.f[at], case.f_eval[at]), ("zero", np.zeros(6), np.zeros(4))):
                result = regressions[name]
                predicted = f_eval + case.cross[at] @ inverse @ (case.y - f)
                train = f + case.ntk[at] @ inverse @ (case.y - f)
                np.testing.assert_allclose(result.f_eval[at][r], predicted, rtol=1e-9, atol=1e-9)
                assert result.eval_mse[at][r] == pytest.approx(np.mean((predicted - case.y_eval) ** 2), rel=1e-8)
                assert result.train_mse[at][r] == pytest.approx(np.mean((train - case.y) ** 2), rel=1e-6, abs=1e-20)
                assert result.resolved[at][r] and result.train_resolved[at][r]


def test_leave_one_out_is_what_refits_without_each_point_find():
    """lambda, relative to the trace of all points, is held; so is f_t*, of which only the correction is refitted."""
    case = Case(6)
    regressions = case.run()
    for at in np.ndindex(2, 3):
        for r, reg in enumerate(REG):
            shift = reg * np.trace(case.ntk[at]) / 6
            for name, f in (("network", case.f[at]), ("zero", np.zeros(6))):
                errors = []
                for i in range(6):
                    kept = np.arange(6) != i
                    kernel = case.ntk[at][np.ix_(kept, kept)] + shift * np.eye(5)
                    g = f[i] + case.ntk[at][i, kept] @ np.linalg.solve(kernel, (case.y - f)[kept])
                    errors.append(case.y[i] - g)
                assert regressions[name].loo_mse[at][r] == pytest.approx(np.mean(np.square(errors)), rel=1e-7)


def test_leave_one_out_finds_the_ridge_of_noisy_labels():
    """Labels drawn from the kernel's own prior with noise of variance s: of ridges far apart s has the least error.

    There it is the predictive variance, 1/[(K + s I)^{-1}]_ii in the mean over labels.
    """
    rng, noise = np.random.default_rng(0), 5.0
    angle = 2 * np.pi * np.arange(60) / 60
    whole = 20 * np.exp(np.cos(angle[:, None] - angle))
    train = np.arange(60) % 2 == 0
    ntk, cross = whole[None, train][..., train], whole[None, ~train][..., train]
    reg = np.array([1e-4, 1.0, 1e4]) * noise / ntk[0, 0, 0]
    eigen, zero, root = eigenpairs(ntk), np.zeros((1, 30)), np.linalg.cholesky(whole + noise * np.eye(60))
    loo, unseen = np.empty((2, 400, 3))
    for i in range(400):
        y = root @ rng.normal(size=60)
        found = frozen.regress(eigen, cross, zero, zero, y[train], y[~train], reg)
        loo[i], unseen[i] = found.loo_mse[0], found.eval_mse[0]
    assert loo.mean(axis=0).argmin() == unseen.mean(axis=0).argmin() == 1
    expected = np.mean(1 / np.diag(np.linalg.inv(ntk[0] + noise * np.eye(30))))
    assert abs(loo[:, 1].mean() - expected) < 3 * loo[:, 1].std() / 400**0.5


def test_from_f_is_from_zero_where_f_is_zero_and_fits_what_is_left():
    case = Case(1)
    same = case.run(f=np.zeros((2, 3, 6)), f_eval=np.zeros((2, 3, 4)))
    for a, b in zip(same["network"], same["zero"], strict=True):
        np.testing.assert_array_equal(a, b)
    # Nothing left to fit: the network's own eval error, and a train error below every precision.
    done = case.run(f=np.broadcast_to(case.y, (2, 3, 6)).copy())["network"]
    np.testing.assert_allclose(done.f_eval, np.broadcast_to(case.f_eval[:, :, None], (2, 3, 4, 4)))
    assert done.resolved.all() and not done.train_resolved.any() and np.isnan(done.train_mse).all()


def test_no_regularization_interpolates_at_the_train_points():
    """With the train points as eval points g = y to rounding; the train error is below every precision."""
    case = Case(2)
    result = case.run([0.0], cross=case.ntk, f_eval=case.f, y_eval=case.y)
    for regression in result.values():
        np.testing.assert_allclose(regression.f_eval[..., 0, :], np.broadcast_to(case.y, (2, 3, 6)), atol=1e-10)
        assert (
            np.isnan(regression.train_mse).all() and not regression.train_resolved.any() and regression.resolved.all()
        )
    # The train error goes as diag_reg^2 towards it, and to that of f for a large one.
    train = case.run([1e-6, 1e-5, 1e9])["network"].train_mse
    np.testing.assert_allclose(train[..., 1] / train[..., 0], 100, rtol=1e-2)
    np.testing.assert_allclose(train[..., 2], np.mean((case.y - case.f) ** 2, axis=-1), rtol=1e-6)


def test_singular_kernels_need_a_regularization_and_say_so():
    case = Case(3, features=3)  # rank 3, six points
    result = case.run([0.0, 1e-15, 1e-3])["zero"]
    assert not result.resolved[..., :2].any() and result.resolved[..., 2].all()
    for values in (result.f_eval[..., :2, :], *(part[..., :2] for part in result[1:4])):
        assert np.isnan(values).all()
    assert np.isfinite(result.train_mse[..., 2]).all()


def test_coarser_entries_raise_the_floor():
    case = Case()
    arguments = (eigenpairs(case.ntk), case.cross, case.f, case.f_eval, case.y, case.y_eval, np.array([1e-6, 1.0]))
    assert frozen.regress(*arguments).resolved.all()
    single = frozen.regress(*arguments, eps=1e-4)
    assert not single.resolved[..., 0].any()
    assert not single.train_resolved[..., 0].any()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-6, 1e6))
def test_invariances(seed, scale):
    """Neither the scale of K nor the order of the points matters; errors scale with the square of the targets."""
    case = Case(seed)
    base = case.run()["network"]
    scaled = case.run(ntk=scale * case.ntk, cross=scale * case.cross)["network"]
    np.testing.assert_allclose(scaled.f_eval, base.f_eval, rtol=1e-6, atol=1e-6)
    order = np.random.default_rng(seed).permutation(6)
    moved = case.run(
        ntk=case.ntk[..., order, :][..., order], cross=case.cross[..., order], f=case.f[..., order], y=case.y[order]
    )
    np.testing.assert_allclose(moved["network"].eval_mse, base.eval_mse, rtol=1e-5)
    double = case.run(f=3 * case.f, f_eval=3 * case.f_eval, y=3 * case.y, y_eval=3 * case.y_eval)["network"]
    np.testing.assert_allclose(moved["network"].loo_mse, base.loo_mse, rtol=1e-5)
    np.testing.assert_allclose(double.train_mse, 9 * base.train_mse, rtol=1e-6)
    np.testing.assert_allclose(double.loo_mse, 9 * base.loo_mse, rtol=1e-6)
    assert (base.loo_mse > base.train_mse).all()
    assert (np.diff(base.train_mse, axis=-1) > 0).all()  # ridge gives up train error


def test_it_is_where_linear_training_ends():
    """Gradient descent in the linear model with the kernel held, from f, converges to the unregularized regression."""
    case = Case(4, features=40)
    ntk, cross, f, f_eval = case.ntk[0, 0], case.cross[0, 0], case.f[0, 0], case.f_eval[0, 0]
    eta = 1 / np.linalg.eigvalsh(ntk)[-1]
    for _ in range(3000):
        residual = f - case.y
        f, f_eval = f - eta * ntk @ residual, f_eval - eta * cross @ residual
    np.testing.assert_allclose(case.run([0.0])["network"].f_eval[0, 0, 0], f_eval, rtol=1e-8, atol=1e-10)


def test_a_diverged_run_is_nan_from_there_on():
    case = Case(5)
    whole = case.run()
    broken = {}
    for name in ("ntk", "cross", "f", "f_eval"):
        broken[name] = getattr(case, name).copy()
        broken[name][1, 2] = np.nan
    for name, regression in case.run(**broken).items():
        assert not regression.resolved[1, 2].any() and np.isnan(regression.f_eval[1, 2]).all()
        for values in (regression.eval_mse, regression.train_mse, regression.loo_mse):
            assert np.isnan(values[1, 2]).all()
        for part, values in zip(regression, whole[name], strict=True):
            np.testing.assert_allclose(part[0], values[0])
            np.testing.assert_allclose(part[1, :2], values[1, :2])


def test_a_dead_network_is_not_resolved():
    case = Case()
    result = case.run(ntk=np.zeros((2, 3, 6, 6)), cross=np.zeros((2, 3, 4, 6)))
    assert not result["zero"].resolved.any() and np.isnan(result["zero"].eval_mse).all()


def test_a_negative_regularization_is_refused():
    with pytest.raises(ValueError, match=r"diag_reg must be >= 0; it was \[0.1, -1.0\]"):
        Case().run([0.1, -1.0])


def test_modes_share_the_error_and_do_not_know_their_scale():
    m = 16
    angle = 2 * np.pi * np.arange(m) / m
    modes = [np.ones(m), *(wave(q * angle) for q in range(1, 8) for wave in (np.cos, np.sin)), np.cos(8 * angle)]
    modes = np.stack(modes, axis=1)
    residual = np.random.default_rng(0).normal(size=(3, 5, m))
    coefficients = frozen.mode_coefficients(residual, modes)
    np.testing.assert_allclose(np.sum(coefficients**2, axis=-1), np.mean(residual**2, axis=-1))  # Parseval
    np.testing.assert_allclose(frozen.mode_coefficients(residual, 7 * modes), coefficients)
    one = frozen.mode_coefficients(3 * np.sin(2 * angle), modes)
    np.testing.assert_allclose(one, np.where(np.arange(m) == 4, 3 / np.sqrt(2), 0), atol=1e-14)
    assert np.isnan(frozen.mode_coefficients(residual, np.zeros((m, 1)))).all()


def test_flops_are_counted_by_hand():
    assert frozen.regression_flops(3, 5) == 9 + 18 + 30
    sizes, weights = (2, 3, 1), 9  # 6 + 3
    assert frozen.training_flops(sizes, points=4, evaluation=5, steps=10) == 6 * weights * 40 + 2 * weights * 5
    left = frozen.training_flops(sizes, 4, 5, np.array([10, 7, 0]))
    np.testing.assert_array_equal(left, [6 * weights * 4 * k + 2 * weights * 5 for k in (10, 7, 0)])
    assert frozen.kernel_flops(sizes, 4, 5) == 4 * weights * 9 + 2 * (5 + 4) * 4 * 9


def test_a_step_costs_the_points_that_it_takes():
    assert frozen.points_a_step("gd", 64, None) == 64 and frozen.points_a_step("sgd", 64, 8) == 8
    assert np.isnan(frozen.points_a_step("flow", 64, None))
    assert np.isnan(frozen.training_flops((2, 3, 1), np.nan, 5, np.array([10, 0]))).all()
