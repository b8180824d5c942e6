"""Norms and interpolants against direct solves; the path of a cell; where rounding takes over."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkpipe.analysis import rkhs, spectrum
from ntkpipe.analysis.drift import EPS, Eigen, eigenpairs

REG = np.array([0.0, 1e-3, 0.1])


class Case:
    """Kernels of random features that move: two seeds, three snapshots, six train and four eval points."""

    def __init__(self, seed=0, features=9):
        rng = np.random.default_rng(seed)
        phi = rng.normal(size=(2, 1, 10, features)) + 0.3 * rng.normal(size=(2, 3, 10, features))
        whole = phi @ np.swapaxes(phi, -2, -1)
        self.ntk_train, self.ntk_eval_train = whole[..., :6, :6], whole[..., 6:, :6]
        self.f_train, self.f_eval = rng.normal(size=(2, 3, 6)), rng.normal(size=(2, 3, 4))
        self.y, self.y_eval = rng.normal(size=6), rng.normal(size=4)
        self.diag_reg = REG

    def run(self, **changes):
        return rkhs.paths(**vars(self) | changes)


def test_paths_are_direct_solves():
    case = Case()
    found = case.run(rank=2)
    for at in np.ndindex(2, 3):
        seed = at[0]
        for r, reg in enumerate(REG):
            inverse, inverse_0 = (
                np.linalg.inv(k + reg * np.trace(k) / 6 * np.eye(6))
                for k in (case.ntk_train[at], case.ntk_train[seed, 0])
            )
            alpha, d = inverse @ case.y, case.f_train[at] - case.f_train[seed, 0]
            expected = {
                "target_norm": case.y @ alpha,
                "interpolant_norm": alpha @ case.ntk_train[at] @ alpha,
                "learned_norm": d @ inverse @ d,
                "learned_norm_initial": d @ inverse_0 @ d,
                "effective_dimension": np.trace(case.ntk_train[at] @ inverse),
            }
            for name, value in expected.items():
                assert found[name][at][r] == pytest.approx(value, rel=1e-8, abs=1e-12), name
            assert found["resolved"][at][r]
            for s, (f, f_eval) in enumerate(
                [(np.zeros(6), np.zeros(4)), (case.f_train[seed, 0], case.f_eval[seed, 0])]
            ):
                g = f_eval + case.ntk_eval_train[at] @ inverse @ (case.y - f)
                g_0 = f_eval + case.ntk_eval_train[seed, 0] @ inverse_0 @ (case.y - f)
                distances = {
                    "interpolant_mse": np.mean((g - case.y_eval) ** 2),
                    "distance_network": np.sqrt(np.mean((case.f_eval[at] - g) ** 2)),
                    "distance_initial": np.sqrt(np.mean((case.f_eval[at] - g_0) ** 2)),
                    "distance_moved": np.sqrt(np.mean((g - g_0) ** 2)),
                }
                for name, value in distances.items():
                    assert found[name][at][s, r] == pytest.approx(value, rel=1e-8, abs=1e-12), name
        for r, reg in enumerate(REG):
            own = case.ntk_train[at] + reg * np.trace(case.ntk_train[at]) / 6 * np.eye(6)
            back = scipy.linalg.eigh(case.ntk_train[seed, 0], own, eigvals_only=True)[-1]
            assert found["pencil_back"][at][r] == pytest.approx(back, rel=1e-8)
        assert found["target_norm_free"][at] == found["target_norm"][at][0]
        assert found["condition"][at] == pytest.approx(np.linalg.cond(case.ntk_train[at]), rel=1e-8)


def test_ridges_are_chosen_by_points_left_out():
    """Each kernel takes the ridge whose regression from zero, fitted again without a point, misses it least."""
    case = Case(seed=4)
    reg = np.array([1e-3, 0.1, 10.0])
    found, chosen = case.run(diag_reg=reg), set()
    for at in np.ndindex(2, 3):
        ntk, f = case.ntk_train[at], case.f_train[at[0], 0]
        for s, start in enumerate((np.zeros(6), f)):
            for r, each in enumerate(reg):
                ridge, missed = each * np.trace(ntk) / 6, []
                for i in range(6):
                    rest = np.arange(6) != i
                    alpha = np.linalg.solve(ntk[np.ix_(rest, rest)] + ridge * np.eye(5), (case.y - start)[rest])
                    missed.append(case.y[i] - start[i] - ntk[i, rest] @ alpha)
                assert found["interpolant_loo"][at][s, r] == pytest.approx(np.mean(np.square(missed)), rel=1e-8)
        best = int(np.argmin(found["interpolant_loo"][at][0]))
        chosen.add(best)
        assert found["kernel_reg"][at] == reg[best]
        assert found["kernel_mse"][at] == found["interpolant_mse"][at][0, best]
    assert len(chosen) > 1


def test_unknown_errors_choose_no_ridge():
    loo = np.array([[np.nan, 3.0, 2.0], [np.nan, np.nan, np.nan], [1.0, 2.0, 3.0]])
    found = rkhs.at_least(loo, np.array([10.0, 20.0, 30.0]))
    np.testing.assert_array_equal(found, [30.0, np.nan, 10.0])


def test_the_constant_back_is_known_where_the_largest_back_is_not():
    """K_t of rank 3: no c > 0 has c K_0 <= K_t, yet with a ridge on K_t the smallest c with K_0 <= c (..) is known."""
    case = Case()
    phi = np.random.default_rng(1).normal(size=(2, 1, 6, 3))
    case.ntk_train[:, 1:] = phi @ np.swapaxes(phi, -2, -1)
    found = case.run(diag_reg=np.array([1e-6, 1e-4]))
    assert np.isnan(found["pencil_smallest"][:, 1:]).all() and np.isfinite(found["pencil_back"]).all()
    np.testing.assert_allclose(found["pencil_back"][:, 1:, 0] / found["pencil_back"][:, 1:, 1], 100, rtol=1e-2)
    np.testing.assert_allclose(found["pencil_back"][:, 0], 1, rtol=2e-2)


def test_every_path_is_described_and_has_the_dims_it_says():
    found = Case().run(rank=3)
    assert found.keys() == rkhs.PATHS.keys()
    again = Case().run(rank=3, eigen=eigenpairs(Case().ntk_train))
    assert all(np.array_equal(again[name], found[name], equal_nan=True) for name in found)
    sizes = {"seed": 2, "snapshot": 3, "diag_reg": 3, "start": len(rkhs.STARTS), "angle": 3}
    for name, (dims, _, _) in rkhs.PATHS.items():
        assert dims[0] == "cell"
        assert found[name].shape == tuple(sizes[dim] for dim in dims[1:]), name


def test_the_range_of_the_decay_is_passed_on():
    found = Case().run(decay_range=(1, 4))
    assert (found["decay_first"] == 1).all() and (found["decay_last"] == 4).all()


def test_nothing_has_moved_at_the_first_snapshot():
    found = Case().run()
    assert (found["distance_moved"][:, 0] == 0).all() and (found["distance_moved"][:, 1:] > 0).all()
    assert (found["learned_norm"][:, 0] == 0).all() and (found["log_det_ratio"][:, 0] == 0).all()
    for name in ("pencil_largest", "pencil_back"):
        np.testing.assert_allclose(found[name][:, 0, 0], 1, rtol=1e-10)
    np.testing.assert_array_equal(found["distance_network"][:, 0], found["distance_initial"][:, 0])


def test_singular_and_diverged_and_dead_kernels():
    case = Case(3, features=3)  # rank 3, six points
    found = case.run()
    for name in ("target_norm", "interpolant_norm", "learned_norm", "distance_network", "distance_moved"):
        assert np.isnan(found[name][..., 0]).all() and np.isfinite(found[name][..., 1:]).all(), name
    assert np.isnan(found["target_norm_free"]).all() and not found["resolved"][..., 0].any()
    for broken in (np.nan, 0.0):
        case = Case()
        for name in ("ntk_train", "ntk_eval_train", "f_train", "f_eval"):
            getattr(case, name)[1, 1:] = broken
        found, whole = case.run(), Case().run()
        known = {"resolved", "decay_first", "decay_last"}
        if broken == 0:  # of a dead network what refers to the first kernel, and what is 0, is known
            known |= {"learned_norm_initial", "distance_initial", "log_det_ratio"}
            known |= {"pencil_smallest", "pencil_largest"}
        for name in rkhs.PATHS:
            np.testing.assert_array_equal(found[name][0], whole[name][0])
            np.testing.assert_array_equal(found[name][1, 0], whole[name][1, 0])
            if name not in known:
                assert np.isnan(found[name][1, 1:]).all(), name
        assert not found["resolved"][1, 1:].any()


def test_the_ridge_free_norm_of_the_interpolant_is_that_of_the_target():
    case = Case(1)
    eigen = eigenpairs(case.ntk_train)
    target, own = (of(eigen, case.y, REG) for of in (rkhs.squared_norm, rkhs.interpolant_norm))
    np.testing.assert_allclose(own[..., 0], target[..., 0], rtol=1e-12)
    assert (own[..., 1:] < target[..., 1:]).all()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), size=st.floats(1e-9, 1e-5), power=st.floats(0.5, 6.0))
def test_the_floor_holds_what_rounding_of_that_size_does(seed, size, power):
    """Entries perturbed by relative errors up to ``size``: norms keep three digits where they are given at all, and
    predictions move by less than ``prediction_error``."""
    rng = np.random.default_rng(seed)
    phi = rng.normal(size=(10, 40)) * np.arange(1.0, 41.0) ** -power
    whole, y = phi @ phi.T, rng.normal(size=6)
    noise = size * rng.uniform(-1, 1, size=(10, 10))
    moved = whole * (1 + (noise + noise.T) / 2)
    before, after = (eigenpairs(k[:6, :6]) for k in (whole, moved))
    reg = np.array([0.0, 1e-8, 1e-4, 1e-2])
    for of in (rkhs.interpolant_norm, rkhs.squared_norm):
        norms = [of(e, y, reg, size) for e in (before, after)]
        known = np.isfinite(norms).all(axis=0)
        np.testing.assert_allclose(norms[1][known], norms[0][known], rtol=1.2e-3)
    dimensions = [spectrum.effective_dimension(e.values, reg, size) for e in (before, after)]
    np.testing.assert_allclose(*(np.where(known, d, 0) for d in dimensions), rtol=1.2e-3)
    bound = rkhs.prediction_error(before, y, reg, size)
    for r in np.flatnonzero(known):
        alpha = [np.linalg.solve(k[:6, :6] + reg[r] * np.trace(k[:6, :6]) / 6 * np.eye(6), y) for k in (whole, moved)]
        change = moved[6:, :6] @ alpha[1] - whole[6:, :6] @ alpha[0]
        assert np.sqrt(np.mean(change**2)) <= bound[r]


def test_differences_below_the_rounding_of_predictions_are_not_given():
    """The network is its own interpolant up to 1e-9: seen in float64, not with entries known to 1e-7."""
    case = Case()
    eigen = eigenpairs(case.ntk_train)
    alpha = np.linalg.solve(case.ntk_train, np.broadcast_to(case.y[:, None], (2, 3, 6, 1)))
    f_eval = (case.ntk_eval_train @ alpha)[..., 0] + 1e-9
    arguments = (eigen, case.ntk_eval_train, case.f_train, f_eval, case.y, case.y_eval, np.zeros(1))
    np.testing.assert_allclose(rkhs.interpolants(*arguments).network[..., 0, 0], 1e-9, rtol=1e-3)
    coarse = rkhs.interpolants(*arguments, eps=1e-7)
    assert np.isnan(coarse.network[..., 0, 0]).all() and np.isfinite(coarse.eval_mse[..., 0, 0]).any()
    # An interpolant that moves by 1e-9 between snapshots.
    cross = np.repeat(case.ntk_eval_train[:, :1], 3, axis=1) * np.array([1, 1 + 1e-9, 1 + 1e-9])[:, None, None]
    still = eigenpairs(np.repeat(case.ntk_train[:, :1], 3, axis=1))
    fine, coarse = (rkhs.interpolants(still, cross, *arguments[2:], eps=eps).moved[..., 0, 0] for eps in (EPS, 1e-7))
    size = np.sqrt(np.mean((case.ntk_eval_train @ alpha)[:, 0, :, 0] ** 2, axis=-1))
    np.testing.assert_allclose(fine, 1e-9 * size[:, None] * [0, 1, 1], rtol=1e-3)
    assert (coarse[:, 0] == 0).all() and np.isnan(coarse[:, 1:]).all()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-6, 1e6))
def test_scale_and_order(seed, scale):
    """K -> c K divides squared norms by c and leaves interpolants; the order of the points does not matter."""
    case = Case(seed, features=20)
    base = case.run(rank=2)
    scaled = case.run(ntk_train=scale * case.ntk_train, ntk_eval_train=scale * case.ntk_eval_train, rank=2)
    order = np.random.default_rng(seed).permutation(6)
    moved = case.run(
        ntk_train=case.ntk_train[..., order, :][..., order],
        ntk_eval_train=case.ntk_eval_train[..., order],
        f_train=case.f_train[..., order],
        y=case.y[order],
        rank=2,
    )
    for name in rkhs.PATHS:
        inverse = name in (
            "target_norm",
            "target_norm_free",
            "interpolant_norm",
            "learned_norm",
            "learned_norm_initial",
        )
        np.testing.assert_allclose(scaled[name] * (scale if inverse else 1), base[name], rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(moved[name], base[name], rtol=1e-5, atol=1e-7)


def test_the_own_norm_of_a_target_outside_the_space_needs_a_larger_ridge():
    """K of rank 3: |g|^2_H is finite as the ridge falls, but alpha is not; rounding wins before the solve fails."""
    case = Case(3, features=3)
    eigen = eigenpairs(case.ntk_train)
    reg = np.array([1e-10, 1e-4, 1e-3])
    assert np.isfinite(rkhs.squared_norm(eigen, case.y, reg)).all()
    found = rkhs.interpolant_norm(eigen, case.y, reg)
    assert np.isnan(found[..., 0]).all()
    inside = np.stack([k @ np.linalg.pinv(k, rcond=1e-10) @ case.y for k in case.ntk_train.reshape(-1, 6, 6)])
    exact = [
        v @ np.linalg.pinv(k, rcond=1e-10) @ v for v, k in zip(inside, case.ntk_train.reshape(-1, 6, 6), strict=True)
    ]
    np.testing.assert_allclose(found[..., 1].ravel(), exact, rtol=0.05)


def test_norms_broadcast_and_refuse():
    case = Case()
    eigen = eigenpairs(case.ntk_train)
    one = Eigen(eigen.values[:, :1], eigen.vectors[:, :1])
    assert rkhs.squared_norm(one, case.f_train, REG).shape == (2, 3, 3)
    with pytest.raises(ValueError, match="diag_reg must be >= 0"):
        rkhs.squared_norm(eigen, case.y, np.array([-1e-3]))
