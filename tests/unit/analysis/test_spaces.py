"""Pencils, determinants and angles against scipy and small cases by hand."""

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkpipe.analysis import drift, spaces
from ntkpipe.analysis.drift import EPS, eigenpairs, principal_angles

REG = np.array([0.0, 1e-4, 0.1])


def kernels(seed: int = 0, features: int = 9) -> np.ndarray:
    """Two seeds, three snapshots, six points."""
    phi = np.random.default_rng(seed).normal(size=(2, 3, 6, features))
    return phi @ np.swapaxes(phi, -2, -1)


def first(eigen: drift.Eigen) -> drift.Eigen:
    return drift.Eigen(eigen.values[:, :1], eigen.vectors[:, :1])


def test_pencil_and_determinants_against_scipy():
    ntk = kernels()
    eigen = eigenpairs(ntk)
    found, back = spaces.pencil(ntk, first(eigen), REG), spaces.pencil(ntk[:, :1], eigen, REG)
    volume = spaces.log_det_ratio(eigen.values, eigen.values[:, :1], REG)
    for at in np.ndindex(2, 3):
        for r, reg in enumerate(REG):
            shift = reg * np.trace(ntk[at[0], 0]) / 6 * np.eye(6)
            expected = scipy.linalg.eigh(ntk[at], ntk[at[0], 0] + shift, eigvals_only=True)
            assert found.smallest[at][r] == pytest.approx(expected[0], rel=1e-8)
            assert found.largest[at][r] == pytest.approx(expected[-1], rel=1e-8)
            own = ntk[at] + reg * np.trace(ntk[at]) / 6 * np.eye(6)
            expected = scipy.linalg.eigh(ntk[at[0], 0], own, eigvals_only=True)
            assert back.largest[at][r] == pytest.approx(expected[-1], rel=1e-8)
            assert back.smallest[at][r] == pytest.approx(expected[0], rel=1e-8)
            logs = [np.linalg.slogdet(ntk[at[0], s] + shift)[1] for s in (at[1], 0)]
            assert volume[at][r] == pytest.approx((logs[0] - logs[1]) / 6, rel=1e-8, abs=1e-14)


def test_diagonal_kernels_by_hand():
    """K_0 = diag(4, 2), K_t = diag(2, 6): c = 1/2 .. 3, 12/8 in volume, leading directions at a right angle."""
    base, moved = eigenpairs(np.diag([4.0, 2.0])), np.diag([2.0, 6.0])
    found = spaces.pencil(moved, base, np.array([0.0, 1.0]))  # lambda = 3
    np.testing.assert_allclose([found.smallest, found.largest], [[1 / 2, 2 / 7], [3, 6 / 5]], rtol=1e-14)
    volume = spaces.log_det_ratio(eigenpairs(moved).values, base.values, np.array([0.0, 1.0]))
    np.testing.assert_allclose(volume, np.log([12 / 8, (5 * 9) / (7 * 5)]) / 2, rtol=1e-14)
    np.testing.assert_allclose(principal_angles(base, eigenpairs(moved), 1), [np.pi / 2], rtol=1e-14)
    np.testing.assert_allclose(principal_angles(base, eigenpairs(moved), 2), [0, 0], atol=1e-15)


def test_the_same_kernel_is_included_in_itself_with_one():
    ntk = kernels()[:, :1]
    eigen = eigenpairs(ntk)
    found = spaces.pencil(ntk, eigen, np.zeros(1))
    np.testing.assert_allclose(found, 1.0, rtol=1e-9)
    assert (spaces.log_det_ratio(eigen.values, eigen.values, REG) == 0).all()
    np.testing.assert_allclose(principal_angles(eigen, eigen, 3), 0.0, atol=1e-14)


def test_functions_outside_the_space_have_no_constant():
    """K_0 of rank 3 on six points: without a ridge no c is known; with one it grows as the ridge falls."""
    full, flat = kernels()[0], kernels(1, features=3)[0, :1]
    found = spaces.pencil(full, eigenpairs(flat), np.array([0.0, 1e-6, 1e-4]))
    assert np.isnan(found.largest[:, 0]).all() and np.isnan(found.smallest[:, 0]).all()
    np.testing.assert_allclose(found.largest[:, 1] / found.largest[:, 2], 100, rtol=1e-2)
    # The other way round the space is contained, with a smallest constant of 0: below every precision, not given.
    back = spaces.pencil(flat, eigenpairs(full), np.zeros(1))
    assert np.isfinite(back.largest).all() and np.isnan(back.smallest).all()


def test_what_rounding_decides_is_not_given():
    ntk = kernels(1, features=3)[0]
    values = eigenpairs(ntk).values
    assert np.isnan(spaces.log_det_ratio(values, values[:1], np.zeros(1))).all()
    tiny = values * (1 + 1e-15)
    reg = np.array([1e-6])
    assert np.isnan(spaces.log_det_ratio(tiny, values, reg)).all()
    assert np.isfinite(spaces.log_det_ratio(values * 1.01, values, reg)).all()
    broken = np.full((1, 6, 6), np.nan)
    for part in spaces.pencil(broken, eigenpairs(ntk[:1]), reg):
        assert np.isnan(part).all()
    assert np.isnan(principal_angles(eigenpairs(ntk[:1]), eigenpairs(broken), 2)).all()


def test_the_smallest_constant_is_known_above_its_own_floor():
    """K_0 = I: rounding of K_t = diag(1, c) is 2 eps |K_t|, so c is known to a thousandth above 4e-13."""
    ntk = np.stack([np.diag([1.0, c]) for c in (5e-13, 4e-13, 1e-15)])
    base = eigenpairs(np.stack([np.eye(2)] * 3))
    found = spaces.pencil(ntk, base, np.zeros(1))
    np.testing.assert_array_equal(np.isnan(found.smallest[:, 0]), [False, True, True])
    assert found.smallest[0, 0] == pytest.approx(5e-13, rel=1e-3)
    np.testing.assert_allclose(found.largest, 1, rtol=1e-14)


def test_a_rank_that_cuts_a_pair_has_no_angle():
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    base = eigenpairs(np.diag([4.0, 2.0, 2.0, 1.0, 0.5]))
    other = eigenpairs(turn @ np.diag([4.0, 2.0, 2.0, 1.0, 0.5]) @ turn.T)
    known = [np.isfinite(principal_angles(base, other, r)).all() for r in (1, 2, 3, 4, 5)]
    assert known == [True, False, True, True, True]
    near = eigenpairs(np.diag([4.0, 2.0 + 1e-9, 2.0, 1.0, 0.5]))
    assert np.isfinite(principal_angles(near, base, 1)).all()
    assert np.isfinite(principal_angles(near, near, 2)).all()
    assert np.isnan(principal_angles(near, near, 2, eps=1e-7)).all()


@pytest.mark.parametrize("angle", [1e-9, 1e-4, 0.7, np.pi / 2 - 1e-9])
def test_a_known_angle(angle):
    """Turned by the angle in the plane of directions 2 and 3: the top-2 spaces share direction 1."""
    c, s = np.cos(angle), np.sin(angle)
    turn = np.eye(5)
    turn[1:3, 1:3] = [[c, -s], [s, c]]
    base = np.diag([5.0, 4.0, 2.0, 1.0, 0.5])
    found = principal_angles(eigenpairs(base), eigenpairs(turn @ base @ turn.T), 2)
    np.testing.assert_allclose(found, [0.0, angle], rtol=1e-6, atol=20 * EPS)


def test_the_largest_angle_is_that_of_rotation_and_all_are_scipys():
    ntk = kernels(4)
    eigen = eigenpairs(ntk)
    for rank in (1, 2, 5):
        before, after = (drift.Eigen(eigen.values[:, s], eigen.vectors[:, s]) for s in (slice(0, 2), slice(1, 3)))
        found = principal_angles(before, after, rank)
        for at in np.ndindex(2, 2):
            u, v = (eigen.vectors[at[0], at[1] + i][:, :rank] for i in (0, 1))
            np.testing.assert_allclose(found[at], scipy.linalg.subspace_angles(u, v)[::-1], rtol=1e-7, atol=1e-13)
    with pytest.raises(ValueError, match=r"rank must be in 1 \.\. 6, the number of points; it was 7"):
        principal_angles(eigen, eigen, 7)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-6, 1e6))
def test_scales_and_turns(seed, scale):
    """K_t = c K_0: constants and volume say c, angles 0; both scaled or turned alike: as before."""
    ntk = kernels(seed, features=12)
    eigen = eigenpairs(ntk)
    grown = spaces.pencil(scale * ntk[:, :1], first(eigen), np.zeros(1))
    np.testing.assert_allclose(grown, scale, rtol=1e-7)
    volume = spaces.log_det_ratio(scale * eigen.values, eigen.values, np.zeros(1))
    np.testing.assert_allclose(volume, np.log(scale), rtol=1e-9, atol=1e-9)
    turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))[0]
    moved = scale * turn @ ntk @ turn.T
    base, turned = spaces.pencil(ntk, first(eigen), REG), spaces.pencil(moved, first(eigenpairs(moved)), REG)
    np.testing.assert_allclose(turned.largest, base.largest, rtol=1e-6)
    np.testing.assert_allclose(turned.smallest, base.smallest, rtol=1e-4)
    angles = [principal_angles(first(e), e, 2) for e in (eigen, eigenpairs(moved))]
    np.testing.assert_allclose(angles[0], angles[1], atol=1e-9)
