"""What a sampling job does with its shards: a failed cell does not take the others along."""

from pathlib import Path

import pytest

from ntkpipe import failures, jobs, shards
from ntkpipe.kinds.initialization import draw as room


@pytest.fixture
def plan(make_plan, tmp_path):
    return make_plan(results=tmp_path, grid={"width": [8, 16, 32], "depth": 2}, seeds=16)


@pytest.fixture
def drawn(monkeypatch):
    """Widths in the order in which they are drawn; width 16 does not fit in memory while ``tight`` is in it."""
    order, draw = [], room.draw

    def watched(study, shard):
        order.append(shard.cell.coords["width"])
        if "tight" in order and order[-1] == 16:
            raise MemoryError("Unable to allocate 9 TiB")
        return draw(study, shard)

    monkeypatch.setattr(room, "draw", watched)
    return order


def _paths(plan):
    return [shard.path for shard in plan.studies["s"].shards]


def test_a_cell_that_fails_does_not_take_the_others_along(plan, drawn):
    drawn.append("tight")
    with pytest.raises(failures.DrawFailed, match=r"width 16.*Unable to allocate 9 TiB") as raised:
        jobs.run(plan, _paths(plan))
    assert drawn == ["tight", 8, 16, 32] and "width 8" not in str(raised.value)
    assert [Path(path).exists() for path in _paths(plan)] == [True, False, True]
    drawn.clear()
    jobs.run(plan, _paths(plan))
    assert drawn == [16]  # what was drawn is kept
    study = plan.studies["s"]
    assert all(shards.is_valid(shard.path, shards.attrs_of(study, shard)) for shard in study.shards)
    assert len(list(Path(study.folder, "shards").iterdir())) == 3


def test_the_shard_on_which_a_job_was_killed_comes_last(plan, drawn):
    first = Path(_paths(plan)[0])
    first.parent.mkdir(parents=True)
    (first.parent / f".{first.name}.lock").touch()
    jobs.run(plan, _paths(plan))
    assert drawn == [16, 32, 8] and failures.killed(plan) == []
