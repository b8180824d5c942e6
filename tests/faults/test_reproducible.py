"""The same numbers however a study is run: cores, jobs, a grid that grew, another Python with its own packages."""

from __future__ import annotations

import copy
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from faulty import DRAWS, STUDY, same
from harness import REPO, Run, hashes

from ntkpipe import shards

pytestmark = pytest.mark.fault
TOLERANCE = 1e-12
"""Relative to the largest entry, after 120 steps of training in float64: 1.3e-14 where it was measured."""


@pytest.mark.parametrize(("cores", "seconds"), [(1, 1.0), (2, 0.01), (1, 1000.0)])
def test_cores_and_jobs_change_no_bit(unbroken: Run, fresh: Run, cores: int, seconds: float) -> None:
    """Jobs of one shard each, or one for all of a study; and see test_runs.py for the other engines."""
    fresh.configure(STUDY | {"execution": {"job_seconds": seconds}})
    fresh.make(*DRAWS, cores=cores)
    assert hashes(fresh.shards()) == hashes(unbroken.shards())
    same(fresh, unbroken, *DRAWS)


def test_a_grid_that_grew_is_the_grid_at_once(unbroken: Run, run: Run, tmp_path: Path) -> None:
    """Widths, depths and seeds added to a finished study, against the larger study run in one go."""
    larger = copy.deepcopy(STUDY)
    larger["studies"]["point"] |= {"grid": {"width": [8, 16, 32], "depth": [2, 4]}}
    larger["studies"]["train"]["grid"] |= {"width": [6, 8]}
    kept = run.shards()
    run.configure(larger).make(*DRAWS)
    assert {path: run.shards()[path] for path in kept} == kept
    at_once = Run(tmp_path / "larger", unbroken.checkout).configure(larger)
    at_once.make(*DRAWS)
    assert len(at_once.shards()) == 10 and hashes(at_once.shards()) == hashes(run.shards())
    same(run, at_once, *DRAWS)


def _interpreter(version: str) -> str | None:
    """A Python of this version: on the path, or one of pyenv's."""
    folder = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for candidate in (shutil.which(f"python{version}"), *sorted(folder.glob(f"{version}.*/bin/python"))):
        if (
            candidate
            and subprocess.run([candidate, "-c", "import venv, ensurepip"], capture_output=True).returncode == 0
        ):
            return str(candidate)
    return None


@pytest.fixture
def environment(request: pytest.FixtureRequest, tmp_path: Path):
    """The ``python`` of a new environment of this version, with what requirements.lock has for it."""
    if (interpreter := _interpreter(request.param)) is None:
        pytest.skip(f"no Python {request.param} with venv on this machine (python{request.param}, or pyenv's)")
    folder = tmp_path / "environment"
    subprocess.run([interpreter, "-m", "venv", folder], check=True)
    install = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*install, "--require-hashes", "-r", REPO / "requirements.lock"], capture_output=True, text=True
    )
    if "after connection broken by" in done.stderr and done.returncode != 0:  # what pip says of each new try
        pytest.skip(f"no package index can be reached: {done.stderr[-300:]}")
    assert done.returncode == 0, f"requirements.lock cannot be installed for Python {request.param}: {done.stderr}"
    yield folder / "bin/python"
    shutil.rmtree(folder)


@pytest.mark.parametrize("environment", ["3.12", "3.13"], indirect=True)
def test_another_python_gives_the_same_numbers(unbroken: Run, fresh: Run, environment: Path) -> None:
    """Up to :data:`TOLERANCE`: its lock file has another jax. The run is a whole one, with its own Snakemake."""
    command = [environment.parent / "snakemake", *fresh.command(*DRAWS)[1:]]
    kept = {name: value for name, value in fresh.environment.items() if not name.startswith("JAX")}
    path = {"PATH": f"{environment.parent}{os.pathsep}{os.environ['PATH']}"}
    shutil.rmtree(fresh.folder / "results")  # programs compiled by this jax
    done = subprocess.run(
        [str(word) for word in command], cwd=fresh.folder, env=kept | path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    versions = xr.open_zarr(fresh.folder / DRAWS[1]).attrs["versions"]
    worst = 0.0
    assert fresh.shards().keys() == unbroken.shards().keys()
    for file in unbroken.shards():
        (here, attrs), (there, others) = (shards.read(run.folder / file) for run in (unbroken, fresh))
        assert attrs == others and here.keys() == there.keys()
        for name, (dims, array) in here.items():
            assert there[name][0] == dims and there[name][1].dtype == array.dtype
            np.testing.assert_array_equal(np.isnan(there[name][1]), np.isnan(array))
            scale = np.nanmax(np.abs(array), initial=0.0)
            if scale and not np.isnan(scale):
                worst = max(worst, float(np.nanmax(np.abs(there[name][1] - array)) / scale))
    print(f"jax {versions['jax']}, numpy {versions['numpy']}: at most {worst:.1e} apart")
    assert worst <= TOLERANCE
