"""A lazily drawn Gaussian matrix: one matrix whatever is asked of it, and the right law."""

import numpy as np
import pytest
from scipy import stats

from ntkpipe.engines.lazy import LazyGaussian

DRAWS = 64


def make(rows: int, cols: int, draws: int = DRAWS, seed: int = 0) -> LazyGaussian:
    rng = np.random.default_rng(seed)
    return LazyGaussian(rows, cols, draws, lambda *shape: rng.standard_normal((draws, *shape)))


def vectors(n: int, k: int, seed: int = 1, draws: int = DRAWS) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((draws, n, k))


def test_the_same_question_has_the_same_answer():
    w, x, u = make(7, 5), vectors(5, 2), vectors(7, 3)
    first, left = w.right(x), w.left(u)
    w.right(vectors(5, 2, seed=2))
    np.testing.assert_allclose(w.right(x), first, atol=1e-12)
    np.testing.assert_allclose(w.left(u), left, atol=1e-12)


def test_products_are_linear_and_adjoint():
    w, x, y, u = make(7, 5), vectors(5, 1, 1), vectors(5, 1, 2), vectors(7, 1, 3)
    wx, back, wy = w.right(x), w.left(u), w.right(y)
    np.testing.assert_allclose(w.right(2 * x - 3 * y), 2 * wx - 3 * wy, atol=1e-11)
    for vector, image in ((x, wx), (y, wy)):
        np.testing.assert_allclose(np.sum(u * image, axis=1), np.sum(back * vector, axis=1), atol=1e-11)


@pytest.mark.parametrize("k", [1, 4])
def test_dependent_and_zero_vectors(k):
    w, x = make(6, 4), vectors(4, k)
    first = w.right(x)
    np.testing.assert_allclose(
        w.right(np.concatenate([x, x[:, :, :1]], axis=2))[:, :, -1:], first[:, :, :1], atol=1e-12
    )
    np.testing.assert_allclose(w.right(np.zeros((DRAWS, 4, 2))), 0.0, atol=1e-12)
    assert w.q.shape[2] <= 4  # never more directions than there are
    np.testing.assert_allclose(np.swapaxes(w.q, 1, 2) @ w.q, np.eye(w.q.shape[2]) + np.zeros((DRAWS, 1, 1)), atol=1e-10)


@pytest.mark.parametrize(("rows", "cols"), [(4, 3), (3, 5)])
def test_revealed_from_both_sides_it_is_a_gaussian_matrix(rows, cols):
    """Two right, two left directions that depend on what came out, then all columns: KS of entries, covariance."""
    draws = 4096
    w = make(rows, cols, draws)
    x = np.zeros((draws, cols, 1))
    x[:, 0] = 1.0
    image = w.right(x)
    back = w.left(np.tanh(image))  # adaptive: the next direction is a function of the answer
    w.right(np.maximum(back, 0.0))
    w.left(vectors(rows, 1, 5, draws))
    full = w.right(np.broadcast_to(np.eye(cols), (draws, cols, cols)))
    assert stats.kstest(full.ravel(), "norm").pvalue > 1e-4
    flat = full.reshape(draws, -1)
    covariance = flat.T @ flat / draws
    assert np.abs(covariance - np.eye(rows * cols)).max() < 5 * np.sqrt(2 / draws)
    largest = np.linalg.svd(full, compute_uv=False)[:, 0]
    plain = np.linalg.svd(vectors(rows, cols, 6, draws), compute_uv=False)[:, 0]
    assert stats.ks_2samp(largest, plain).pvalue > 1e-4
