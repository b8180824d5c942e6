"""Cells side by side: in their order, not more at once than workers, and an error comes through."""

import threading
import time

import pytest

from ntkpipe import parallel


def test_results_keep_their_order():
    assert parallel.each(lambda i: i**2, range(10)) == [i**2 for i in range(10)]


def test_no_more_at_once_than_workers():
    lock, running, most = threading.Lock(), [0], [0]

    def one(_):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.02)
        with lock:
            running[0] -= 1

    parallel.each(one, range(6))
    assert most[0] == parallel.WORKERS


def test_an_error_comes_through():
    def one(i):
        if i == 3:
            raise ValueError("cell 3")

    with pytest.raises(ValueError, match="cell 3"):
        parallel.each(one, range(5))
