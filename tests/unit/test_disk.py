"""What is still to be written against what is free: once, at the start of a run, over all studies."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from ntkpipe import collect, config, disk, layout, plan
from ntkpipe.__main__ import cli
from ntkpipe.errors import ConfigError

KEYS = {"grid": {"width": [8, 16], "depth": 2}, "seeds": 4096, "engine": "matrix_free"}


@pytest.fixture
def free(monkeypatch):
    """A function that sets the bytes that are free on every disk."""
    usage = type(shutil.disk_usage("/"))
    return lambda size: monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10**15, 0, int(size)))


def test_what_does_not_fit_is_refused(make_plan, free, tmp_path):
    planned = make_plan(**KEYS, results=tmp_path / "r")
    need = planned.studies["s"].disk_bytes
    free(1.01 * need)
    disk.check(planned, "c.yaml")
    free(0.9 * need)
    with pytest.raises(ConfigError, match=r"^c\.yaml: studies\.s\.seeds: must be a number whose draws fit on the disk"):
        disk.check(planned, "c.yaml")
    make_plan(**KEYS, results=tmp_path / "r")  # a step of a run that has begun


def test_studies_are_added_up_and_the_largest_is_named(study_tree, free, tmp_path):
    tree = study_tree(**KEYS, results=tmp_path / "r")
    tree["studies"] |= {"large": tree["studies"]["s"] | {"seeds": 8192}, "t": tree["studies"]["s"]}
    planned = plan.make(config.parse(tree))
    need = [study.disk_bytes for study in planned.studies.values()]
    free(1.01 * sum(need))
    disk.check(planned)
    free(1.5 * max(need))
    with pytest.raises(ConfigError, match=r"studies\.large\.seeds: must .*'8192, .* in 3 studies still to write"):
        disk.check(planned)


def test_what_is_written_already_is_not_asked_for_again(make_plan, draw_study, free, tmp_path):
    planned = make_plan(**KEYS, results=tmp_path / "r")
    study = planned.studies["s"]
    draw_study(study)
    assert disk.bytes_to_come(study) == study.disk_bytes / 2
    collect.run(study)
    free(0)
    disk.check(planned)
    Path(study.shards[0].path).unlink()  # one of two: the datasets are made anew
    assert disk.bytes_to_come(study) == pytest.approx(study.disk_bytes * 3 / 4)


def test_plan_and_the_start_of_a_run_ask(make_plan, study_tree, free, tmp_path):
    tree = study_tree(**KEYS, results=tmp_path / "r")
    (path := tmp_path / "c.yaml").write_text(str(tree))
    free(0)
    error = CliRunner().invoke(cli, ["plan", "--config", str(path)]).exception
    assert isinstance(error, ConfigError) and "fit on the disk" in str(error)
    planned = layout.plan_from(tree, [str(path)])  # so does every job of a cluster: it is not refused
    with pytest.raises(ConfigError, match="fit on the disk"):
        layout.check(planned, [str(path)])
