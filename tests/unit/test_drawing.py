"""What drawing a shard is in every kind: blocks, histograms, the merging of quanta."""

import numpy as np
import pytest

from ntkpipe import drawing
from ntkpipe.drawing import LOG_EDGES, N_LARGEST


def test_blocks_are_single_draws_while_they_can_be_afforded():
    assert drawing.block_size(8192) == 1 and drawing.block_size(8193) == 64


def test_block_sums_add_up_and_the_last_block_may_be_short():
    table = np.arange(14.0).reshape(7, 2)
    np.testing.assert_array_equal(drawing.block_sums(table, 3), [table[:3].sum(0), table[3:6].sum(0), table[6]])
    np.testing.assert_array_equal(drawing.block_sums(table, 1), table)


def test_infinite_logs_go_to_the_outer_bins():
    counts = drawing.log_histogram(np.array([-np.inf, 0.01, np.inf]), np.array([1.0, 2.0, 4.0]))
    assert counts[0] == 1 and counts[-1] == 4 and counts.sum() == 7
    assert counts[np.searchsorted(LOG_EDGES, 0.01) - 1] == 2


def test_quanta_are_put_together_by_name():
    """Rows follow each other, histograms add up, the largest are the largest of all."""
    values = np.random.default_rng(0).normal(size=3000)

    def draw(quantum, n):
        part = values[1024 * quantum :][:n]
        weights = np.ones(n)
        return {
            "rows": (("seed",), part),
            "histogram": (("bin",), drawing.log_histogram(part, weights)),
            "largest": (("rank",), drawing.largest(part)),
        }

    arrays = drawing.by_quanta(1024, 3000, draw)
    drawn = values[1024:]
    np.testing.assert_array_equal(arrays["rows"][1], drawn)
    np.testing.assert_array_equal(arrays["largest"][1], np.sort(drawn)[::-1][:N_LARGEST])
    assert arrays["histogram"][1].sum() == len(drawn) and arrays["histogram"][0] == ("bin",)


@pytest.mark.parametrize("n", [1, N_LARGEST, 40])
def test_the_largest_are_padded(n):
    found = drawing.largest(np.arange(1.0, n + 1))
    assert len(found) == N_LARGEST and found[0] == n and np.count_nonzero(found) == min(n, N_LARGEST)
