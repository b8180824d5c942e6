"""Angles of the circle, and its Fourier modes."""

import numpy as np
import pytest

from ntkpipe import angles


@pytest.mark.parametrize(("n", "others"), [(8, 32), (12, 8), (7, 5)])
def test_angles_between_keep_as_far_from_the_others_as_they_can(n, others):
    gap = np.abs(angles.between(n, others)[:, None] - angles.equal(others) + np.pi) % (2 * np.pi) - np.pi
    assert np.abs(gap).min() == pytest.approx(np.pi / np.lcm(n, others), rel=1e-9)


def test_angles_are_in_one_turn():
    x = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0], [0.0, -1.0], [1.0, -1e-20]])
    np.testing.assert_allclose(angles.of(x), [0, np.pi / 2, np.pi, 3 * np.pi / 2, 0], rtol=1e-15)
    with pytest.raises(ValueError, match="must not be zero"):
        angles.of(np.zeros((1, 2)))


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_fourier_modes_are_orthonormal_on_equal_angles(shift):
    theta = 2 * np.pi * np.arange(9) / 9 + shift
    modes = angles.fourier_modes(theta, 4)
    np.testing.assert_allclose(modes.T @ modes / 9, np.eye(9), atol=1e-14)
    np.testing.assert_allclose(modes[:, 5], np.sqrt(2) * np.cos(3 * theta), rtol=1e-14)
    np.testing.assert_allclose(modes[:, 6], np.sqrt(2) * np.sin(3 * theta), rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(angles.mode_frequencies(4), [0, 1, 1, 2, 2, 3, 3, 4, 4])


def test_fourier_modes_refuse_a_negative_degree():
    assert angles.fourier_modes(np.zeros(3), 0).tolist() == [[1.0]] * 3
    with pytest.raises(ValueError, match="qmax must be at least 0"):
        angles.fourier_modes(np.zeros(3), -1)
