"""Sums against plain NumPy on the draws; what `keep` and the cutting of draws must not change."""

import itertools
import warnings

import numpy as np
import pytest

from ntkpipe.drawing import GRAM_BLOCK, LOG_EDGES
from ntkpipe.engines import catalogue
from ntkpipe.engines.base import Draws
from ntkpipe.kinds.initialization import draw
from ntkpipe.kinds.initialization.statistics import HISTOGRAMS, STATISTICS
from ntkpipe.networks import Network
from ntkpipe.streams import Stream

NETWORK = Network(3, (4, 4), bias_init="none")  # width 4: dead layers do occur (P = 12 %)
CASES = {
    "scalar": ("scalar", "plain", 1, True),
    "guided": ("scalar", "guided", 1, True),
    "matrix_free gram": ("matrix_free", "plain", 3, True),
    "matrix_free diagonal": ("matrix_free", "plain", 3, False),
    "matrix_free one": ("matrix_free", "plain", 1, True),
    "dense gram": ("dense", "plain", 3, True),
    "dense diagonal": ("dense", "plain", 3, False),
}


def _points(k):
    return np.random.default_rng(0).standard_normal((k, 3))


def _draw(case, start, stop, *, block=64, keep="full", floor=1e-13, network=NETWORK, stream=None):
    engine, how, k, gram = CASES[case]
    return draw.draw_shard(
        catalogue.load(engine, how).sample,
        network,
        _points(k),
        stream or Stream(1, case),
        start,
        stop,
        block=block,
        keep=keep,
        gram=gram,
        precision="float64",
        floor=floor,
    )


def _diagonal(arrays):
    if "ntk_diag" in arrays:
        return arrays["ntk_diag"][1]
    ntk = arrays["ntk"][1]
    return ntk[:, None] if ntk.ndim == 1 else np.stack([np.diag(one) for one in ntk])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("block", [1, 64])
def test_sums_are_plain_numpy_on_the_draws(case, block):
    n = 1500  # one whole quantum and a part, a last block that is not full
    arrays = _draw(case, 0, n, block=block)
    k, w, f = _diagonal(arrays), np.exp(arrays["log_weight"][1]), arrays["output"][1].reshape(n, -1)
    dims, sums = arrays["sums"]
    assert dims == ("block", "statistic") and sums.shape == (-(-1024 // block) + -(-476 // block), len(STATISTICS))

    log = np.log(np.where(k > 0, k, 1.0))
    per_draw = {
        "count": np.ones(n),
        "weight": w,
        "weight_square": w**2,
        **{f"ntk_{p}": w * (k**p).mean(1) for p in (1, 2, 3, 4)},
        "ntk_2_square": (w * (k**2).mean(1)) ** 2,
        "alive": w * (k > 0).mean(1),
        "log_ntk": w * log.mean(1),
        "log_ntk_square": w * (log**2).mean(1),
        "dead": (f == 0).mean(1),
    }
    edges = np.arange(0, n, block) if block == 1 else np.r_[0:1024:block, 1024:n:block]
    for position, name in enumerate(STATISTICS):
        expected = [part.sum() for part in np.split(per_draw[name], edges[1:])]
        # Sums of at most 64 terms in another order: relative to the sum of absolute values.
        scale = np.array([np.abs(part).sum() for part in np.split(per_draw[name], edges[1:])])
        assert np.all(np.abs(sums[:, position] - expected) <= 64 * 2.3e-16 * scale), name
    assert (per_draw["dead"].sum() > 0) == (case != "guided")  # the case with K = 0 is really met
    largest = arrays["largest"][1]
    np.testing.assert_allclose(largest, np.sort(per_draw["ntk_2"])[::-1][: len(largest)], rtol=1e-15)


@pytest.mark.parametrize("case", ["matrix_free gram", "dense gram"])
def test_gram_sums_and_eigenvalues_are_plain_numpy_on_the_draws(case):
    n = 1500
    arrays = _draw(case, 0, n)
    ntk = arrays["ntk"][1]
    bounds = np.r_[0:1024:GRAM_BLOCK, 1024:n:GRAM_BLOCK, n]
    for b, (first, stop) in enumerate(itertools.pairwise(bounds)):
        part = ntk[first:stop]
        assert arrays["gram_count"][1][b] == stop - first
        bound = 32 * 2.3e-16  # up to 32 terms
        np.testing.assert_allclose(arrays["gram_sum"][1][b], part.sum(0), atol=bound * np.abs(part).sum(0).max())
        np.testing.assert_allclose(
            arrays["gram_square_sum"][1][b], (part**2).sum(0), atol=bound * (part**2).sum(0).max()
        )
    assert arrays["gram_count"][1].sum() == n

    eigenvalues = arrays["eigenvalues"][1]
    assert np.all(np.diff(eigenvalues, axis=1) <= 0) and np.all(eigenvalues >= 0)
    trace = np.trace(ntk, axis1=1, axis2=2)
    # dsyevd: backward error of a few eps |K|; cut at floor |K|
    np.testing.assert_allclose(eigenvalues.sum(1), trace, atol=1e-12 * trace.max())
    np.testing.assert_allclose((eigenvalues**2).sum(1), (ntk**2).sum((1, 2)), atol=1e-12 * (ntk**2).sum((1, 2)).max())


@pytest.mark.parametrize("case", CASES)
def test_histograms_count_every_draw(case):
    n = 600
    arrays = _draw(case, 0, n)
    histogram = dict(zip(HISTOGRAMS, arrays["histogram"][1], strict=True))
    k, w = _diagonal(arrays), np.exp(arrays["log_weight"][1])
    with np.errstate(divide="ignore"):
        logs = np.clip(np.log(k), LOG_EDGES[0], LOG_EDGES[-1] - 1e-9)
    expected, _ = np.histogram(logs, LOG_EDGES, weights=np.broadcast_to(w[:, None] / k.shape[1], k.shape))
    np.testing.assert_allclose(histogram["log_ntk"], expected, atol=n * 2.3e-16 * w.sum())
    assert histogram["log_ntk"].sum() == pytest.approx(w.sum(), rel=1e-12)
    gram = "gram" in case
    for name in ("log_min_eigenvalue", "log_condition"):
        assert histogram[name].sum() == (n if gram else 0)
    if gram:
        eigenvalues = arrays["eigenvalues"][1]
        singular = np.sum(eigenvalues[:, -1] == 0)
        assert singular > 0  # dead layers
        assert histogram["log_min_eigenvalue"][0] == histogram["log_condition"][-1] == singular


@pytest.mark.parametrize("case", CASES)
def test_keep_changes_what_is_kept_and_no_sum(case):
    kept = {keep: _draw(case, 0, 700, keep=keep) for keep in ("full", "spectra", "moments")}
    assert kept["full"].keys() > kept["spectra"].keys() or "gram" not in case
    assert not kept["moments"].keys() & {"ntk", "ntk_diag", "eigenvalues", "output", "log_weight"}
    assert not kept["spectra"].keys() & {"ntk", "ntk_diag"}
    for name in kept["moments"]:
        for keep in ("full", "spectra"):
            np.testing.assert_array_equal(kept[keep][name][1], kept["moments"][name][1])
    for name in kept["spectra"]:
        np.testing.assert_array_equal(kept["full"][name][1], kept["spectra"][name][1])


@pytest.mark.parametrize("case", CASES)
def test_draws_cut_in_shards_are_the_uncut_draws_bit_for_bit(case, full_compile):
    n, network = 3 * 1024 + 500, Network(3, (4, 4), sigma_v=1.1)
    whole = _draw(case, 0, n, network=network)
    bounds = ((0, 1024), (1024, 3072), (3072, n))
    parts = [_draw(case, first, stop, network=network) for first, stop in bounds]
    for name in ("ntk", "ntk_diag", "eigenvalues", "output", "log_weight", "sums", "gram_sum", "gram_count"):
        if name in whole:
            together = np.concatenate([part[name][1] for part in parts])
            np.testing.assert_array_equal(together, whole[name][1], err_msg=name)
    np.testing.assert_allclose(sum(p["histogram"][1] for p in parts), whole["histogram"][1], atol=1e-12 * n)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("n", [1, 37])
def test_the_number_of_draws_changes_no_draw(case, n):
    """More seeds extend a study: the first draws of a quantum are the same numbers whatever n.

    Bit for bit; only in ``dense``, whose batch follows n, XLA may order sums of 4 terms otherwise.
    """
    few, many = _draw(case, 0, n), _draw(case, 0, 1024)
    rounding = 64 * 2.3e-16 if "dense" in case else 0.0
    for name in ("ntk", "ntk_diag", "output", "log_weight"):
        if name in few:
            a, b = few[name][1], many[name][1][:n]
            largest = np.abs(b).reshape(n, -1).max(axis=1).reshape(n, *[1] * (b.ndim - 1))
            assert np.all(np.abs(a - b) <= rounding * largest), name


@pytest.mark.parametrize("case", ["matrix_free gram", "dense gram"])
def test_the_engine_batch_changes_no_draw_beyond_rounding(case, monkeypatch):
    module = catalogue.load(*CASES[case][:2])
    whole = _draw(case, 0, 37)["ntk"][1]
    monkeypatch.setattr(module, "_BATCH_BYTES", 7 * module._bytes_per_draw(NETWORK, 3))
    cut = _draw(case, 0, 37)["ntk"][1]
    # Other batches may sum in another order: entries to 1e-13 of the largest of their matrix.
    assert np.all(np.abs(cut - whole) <= 1e-13 * np.abs(whole).max(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize("case", CASES)
def test_two_cells_do_not_share_numbers(case):
    first, second = (_draw(case, 0, 100, stream=Stream(1, text)) for text in ("a", "b"))
    assert np.mean(_diagonal(first) == _diagonal(second)) < 0.3  # equal only where both are dead


def test_dead_grams_raise_no_warning():
    dead = Draws(np.zeros((4, 2, 2)), np.zeros((4, 2)), np.zeros(4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arrays = draw.reduce_draws(dead, 1, "full", 1e-13)
    histogram = dict(zip(HISTOGRAMS, arrays["histogram"][1], strict=True))
    assert histogram["log_min_eigenvalue"][0] == histogram["log_condition"][-1] == 4


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["ntk", "output"])
def test_a_draw_that_is_not_finite_is_an_error(bad, where):
    def sample(network, x, stream, quantum, n, **_):
        draws = Draws(np.ones(n), np.ones(n), np.zeros(n))
        getattr(draws, where)[n // 2] = bad
        return draws

    with pytest.raises(FloatingPointError, match="quantum 1 is not finite in float64"):
        draw.draw_shard(
            sample,
            NETWORK,
            _points(1),
            Stream(0, ""),
            1024,
            1100,
            block=1,
            keep="full",
            gram=True,
            precision="float64",
            floor=1e-13,
        )


def test_eigenvalues_below_the_floor_are_zero():
    ntk = np.broadcast_to(np.diag([1.0, 1e-3, 1e-8]), (2, 3, 3))
    draws = Draws(ntk, np.ones((2, 3)), np.zeros(2))
    np.testing.assert_allclose(draw.reduce_draws(draws, 1, "full", 1e-6)["eigenvalues"][1][0], [1, 1e-3, 0], rtol=1e-12)
    np.testing.assert_allclose(
        draw.reduce_draws(draws, 1, "full", 1e-9)["eigenvalues"][1][0], [1, 1e-3, 1e-8], rtol=1e-6
    )
