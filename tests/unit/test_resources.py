"""What jobs ask of a scheduler, and how a profile sets the length of jobs."""

import pytest
import yaml

from ntkpipe import config, layout, plan, resources
from ntkpipe.errors import ConfigError


def test_who_failed_asks_for_twice_as_much(make_plan):
    asked = [resources.memory(700, make_plan())({}, attempt) for attempt in (1, 2, 3)]
    assert asked == [asked[0], 2 * asked[0], 4 * asked[0]]
    assert 700 + 250 < asked[0] < 700 + 400, "a Snakemake that has parsed takes some 145 MB, and there are two"
    assert [resources.runtime(3601.0)({}, attempt) for attempt in (1, 2)] == [181, 362]
    assert resources.runtime(1.0)({}, 1) == 10


def test_gpus_are_for_explicit_networks_alone(make_study):
    study = make_study(grid={"width": 8, "depth": 2, "engine": ["scalar", "matrix_free", "dense"]})
    assert [resources.gpus(job, 2) for job in study.jobs] == [0, 0, 2]


def test_a_profile_cuts_jobs_for_its_cluster(study_tree, tmp_path):
    """Snakemake hands numbers below the top of ``--config`` and of a profile over as text."""
    tree = study_tree(seeds=300_000, grid={"width": [8, 16, 32], "depth": 20})
    tree["results"] = str(tmp_path)
    short = layout.plan_from(tree | {"execution": {"job_seconds": "0.5", "gpus": "1"}}, [])
    assert (short.config.execution.job_seconds, short.config.execution.gpus) == (0.5, 1)
    assert len(short.studies["s"].jobs) == 3
    assert len(layout.plan_from(tree | {"execution": {"job_seconds": "1200"}}, []).studies["s"].jobs) == 1
    with pytest.raises(ConfigError, match=r"execution\.job_seconds: must be a number"):
        layout.plan_from(tree | {"execution": {"job_seconds": "soon"}}, [])


def test_the_profile_holds_what_its_lines_say(tmp_path):
    from pathlib import Path

    profile = yaml.safe_load((Path(layout.__file__).parents[1] / "profiles/slurm/config.yaml").read_text())
    assert profile["executor"] == "slurm" and profile["retries"] >= 1 and profile["keep-going"]
    assert set(profile["config"]["execution"]) <= set(config.Config.model_fields["execution"].annotation.model_fields)
    assert set(profile["default-resources"]) <= {"mem_mb", "runtime", "slurm_account", "slurm_partition"}


def test_no_command_is_longer_than_linux_takes(study_tree, tmp_path):
    """Thousands of small shards in one job: their paths are one argument of at most 128 KiB."""
    tree = study_tree(seeds=64, grid={"width": list(range(4, 1504)), "depth": [1, 2]})
    tree |= {"results": str(tmp_path / ("long" * 40)), "execution": {"job_seconds": 1e9}}
    jobs = plan.make(config.parse(tree)).studies["s"].jobs
    assert all(sum(len(path) + 3 for path in job.paths) < 128 * 2**10 for job in jobs)
    assert 1 < len(jobs) < 20 and sum(len(job.paths) for job in jobs) == 3000
