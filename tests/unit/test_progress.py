"""The progress line, read off files with known ages."""

import os
import re
import time
from pathlib import Path

import pytest

from ntkpipe import progress


@pytest.fixture
def plan(make_plan, tmp_path):
    """Four shards of 100 draws, all of one cost."""
    return make_plan(results=tmp_path, grid={"width": [8, 16, 32, 64], "depth": 2})


def _make(shard, age):
    Path(shard.path).parent.mkdir(parents=True, exist_ok=True)
    Path(shard.path).touch()
    made = time.time() - age
    os.utime(shard.path, (made, made))


def test_nothing_done(plan):
    assert progress.line(plan) == "sampling: shards 0/4, draws 0/400"


def test_all_done(plan):
    for shard in plan.studies["s"].shards:
        _make(shard, 3600)
    assert progress.line(plan) == "sampling: shards 4/4, draws 400/400"


def test_recent_shards_give_rate_and_time_left(plan):
    shards = plan.studies["s"].shards
    for shard, age in zip(shards[:2], (10, 5), strict=True):
        _make(shard, age)
    text = progress.line(plan)
    assert text.startswith("sampling: shards 2/4, draws 200/400, ")
    rate = float(re.search(r"([\d.e+]+) draws/s", text)[1])
    assert rate == pytest.approx(200 / 10, rel=0.1)  # 200 draws since the oldest, 10 s ago (up to 1 s of delay)
    assert re.search(r"about (9|10|11) s left$", text)  # the same work again


def test_old_shards_count_as_done_but_not_as_speed(plan):
    shards = plan.studies["s"].shards
    _make(shards[0], 5000)
    assert progress.line(plan) == "sampling: shards 1/4, draws 100/400"
    _make(shards[1], 10)
    rate = float(re.search(r"([\d.e+]+) draws/s", progress.line(plan))[1])
    assert rate == pytest.approx(100 / 10, rel=0.1)
