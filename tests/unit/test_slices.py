"""Arrays made slice by slice: joined and stacked as whole arrays are."""

import numpy as np

from ntkpipe.slices import Slices, concatenate

ARRAY = np.random.default_rng(0).standard_normal((5, 4, 3, 2))


def slices(array: np.ndarray) -> Slices:
    return Slices(array.shape, lambda i: array[:, i])


def test_a_whole_is_its_slices():
    found = np.asarray(slices(ARRAY))
    np.testing.assert_array_equal(found, ARRAY)
    assert found.dtype == slices(ARRAY).dtype == float


def test_parts_follow_each_other():
    found = concatenate([slices(ARRAY[:2]), slices(ARRAY[2:])])
    assert found.shape == ARRAY.shape
    np.testing.assert_array_equal(found, ARRAY)
    np.testing.assert_array_equal(concatenate([ARRAY[:2], ARRAY[2:]]), ARRAY)
