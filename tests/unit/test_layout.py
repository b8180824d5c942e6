"""The config that a run writes for its steps, and what a run asks of the machine before it begins."""

import pytest
import yaml
from click.testing import CliRunner

from ntkpipe import config, layout, parallel, plan
from ntkpipe.__main__ import cli
from ntkpipe.errors import ConfigError


def test_the_config_of_the_steps_is_written_anew_whatever_is_there(make_plan, tmp_path):
    planned = make_plan(results=tmp_path)
    layout.write_resolved(planned)
    path = layout.resolved(planned)
    assert config.load(path) == planned.config
    good, written = path.read_bytes(), path.stat().st_mtime_ns
    layout.write_resolved(planned)
    assert path.stat().st_mtime_ns == written  # steps do not run again for it
    for damaged in (good[:20], good.replace(b"seeds", b"seed\xff"), b"\xff\xfe\x00", b""):
        path.write_bytes(damaged)
        layout.write_resolved(planned)
        assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == ["config.yaml"]


def test_a_config_of_one_s_own_is_not_written_over(study_tree, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    own, tree = tmp_path / "own/config.yaml", study_tree(results="own")
    own.write_text(text := f"# mine\n{yaml.safe_dump(tree)}")
    with pytest.raises(ConfigError, match=r"own/config\.yaml: results: must be another folder than .*; it was 'own'"):
        layout.plan_from(tree, [str(own)])
    told = CliRunner().invoke(cli, ["plan", "--config", "own/config.yaml"]).exception
    assert isinstance(told, ConfigError) and "results: must be another folder" in str(told)
    assert own.read_text() == text
    (tmp_path / "c.yaml").write_text(text)
    planned = layout.plan_from(tree, ["c.yaml"])  # what another run left there is its own
    layout.write_resolved(planned)
    assert layout.plan_from(yaml.safe_load(own.read_text()), [str(own)]) == planned  # so is what a run wrote


def test_a_scheduler_that_is_nowhere_is_told_at_the_start(study_tree, tmp_path, monkeypatch):
    monkeypatch.delenv(parallel.ADDRESS, raising=False)
    monkeypatch.delenv(parallel.FILE, raising=False)
    tree = study_tree(results=tmp_path / "r", execution={"dask": "scheduler"})
    with pytest.raises(parallel.DaskError, match="both were unset"):
        layout.check(plan.make(config.parse(tree)), [])
