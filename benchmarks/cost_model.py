"""The cost model against measured runs, and the plan of 10^5 cells x 10^6 draws.

`python benchmarks/cost_model.py` (about 8 minutes on one core); `... KIND-or-NAME ...` only those; `... scale` only the
large plan. Each study is drawn and collected in a process of its own: core-seconds with start-up and compiling, peak
memory, and bytes of shards and datasets, over what the plan says.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from engines import line

ROOT = Path(__file__).resolve().parents[1]
CIRCLE = {"kind": "circle", "points": 8}
STUDIES: dict[str, dict[str, Any]] = {
    "scalar": {"kind": "initialization", "grid": {"width": 64, "depth": 20}, "seeds": 2_000_000, "keep": "moments"},
    "scalar, kept": {"kind": "initialization", "grid": {"width": 64, "depth": 20}, "seeds": 1_000_000},
    "guided": {"kind": "initialization", "grid": {"width": 64, "depth": 20, "sampling": "guided"}, "seeds": 500_000},
    "matrix_free": {"kind": "initialization", "grid": {"width": 64, "depth": 8}, "inputs": CIRCLE, "seeds": 20_000},
    "sums of Gram matrices": {
        "kind": "initialization",
        "grid": {"width": 64, "depth": 8},
        "inputs": CIRCLE,
        "seeds": 20_000,
        "keep": "moments",
    },
    "dense": {"kind": "initialization", "grid": {"width": 128, "depth": 4, "engine": "dense"}, "seeds": 4096},
    "first_step": {"kind": "first_step", "grid": {"width": 32, "depth": 4}, "seeds": 20_000},
    "first_step, a batch": {"kind": "first_step", "grid": {"width": 32, "depth": 4}, "inputs": CIRCLE, "seeds": 4096},
    "trajectory": {
        "kind": "trajectory",
        "grid": {"width": 128, "depth": 4},
        "seeds": 16,
        "data": {"train": 64, "eval": 64},
        "train": {"steps": 300},
    },
    "trajectory, small": {
        "kind": "trajectory",
        "grid": {"width": [16, 32], "depth": [2, 4]},
        "seeds": 16,
        "data": {"train": 32, "eval": 32},
        "train": {"steps": 1000},
    },
    "membership": {"kind": "membership", "grid": {"width": [64, 256], "depth": 2}, "seeds": 16},
    "infinite_width": {
        "kind": "infinite_width",
        "grid": {"width": [64, 256], "depth": 2},
        "seeds": 16,
        "data": {"train": 32, "eval": 32},
        "train": {"steps": 300},
    },
    "linear": {
        "kind": "linear",
        "grid": {"width": [64, 256], "depth": 2},
        "seeds": 16,
        "network": {"activation": "linear"},
    },
    "spectral_bias": {
        "kind": "spectral_bias",
        "grid": {"width": 64, "depth": 4},
        "seeds": 8,
        "network": {"bias_init": "normal"},
        "spectral_bias": {"steps": 2000},
    },
    "mean_field": {
        "kind": "mean_field",
        "grid": {"width": [64, 1024], "depth": 1, "parametrization": ["mean_field", "ntk"]},
        "seeds": 16,
    },
    "eigenmodes": {"kind": "eigenmodes", "grid": {"width": [64, 256], "depth": 2}, "seeds": 16},
    "finite_sample": {"kind": "finite_sample", "grid": {"width": [64, 256], "depth": 2}, "seeds": 16},
}
"""Each some seconds of one core."""

CELLS, DRAWS = 100_000, 1_000_000
DRY_RUN = """
import json, resource, sys, time
from snakemake.cli import main
start = time.time()
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert end.code in (0, None), end.code
memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(json.dumps({"wall": time.time() - start, "cpu": time.process_time(), "memory": memory}))
"""


def measure(name: str) -> None:
    """Draw and collect a study in this process; prints what it cost and what the plan said, as JSON."""
    sys.path.insert(0, str(ROOT))
    from ntkpipe import config, kinds, plan, shards
    from ntkpipe.__main__ import _one_thread

    _one_thread()
    with tempfile.TemporaryDirectory() as folder:
        planned = plan.make(config.parse({"results": folder, "studies": {"s": STUDIES[name]}})).studies["s"]
        for shard in planned.shards:
            attrs = shards.attrs_of(planned, shard)
            with shards.scratch(shard.path, attrs) as scratch:
                resumes = (scratch,) if kinds.of(planned).resumes else ()
                shards.write(shard.path, kinds.load(planned, "draw").draw(planned, shard, *resumes), attrs)
        used = resource.getrusage(resource.RUSAGE_SELF)
        from ntkpipe import collect  # what a sampling job does not import

        collect.run(planned)
        disk = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    print(
        json.dumps(
            {
                "seconds": (
                    used.ru_utime + used.ru_stime,
                    plan.JOB_OVERHEAD_SECONDS + sum(s.seconds for s in planned.shards),
                ),
                "memory": (used.ru_maxrss / 2**10, max(job.memory_mb for job in planned.jobs)),
                "disk": (disk / 2**20, planned.disk_bytes / 2**20),
            }
        )
    )


def against_runs(names: list[str]) -> None:
    """A row a study and cost: measured, planned, and their ratio."""
    for name in names:
        done = subprocess.run([sys.executable, __file__, "--measure", name], capture_output=True, text=True)
        if done.returncode:
            line(name, done.stderr.strip().splitlines()[-1][:60], "-")
            continue
        found = json.loads(done.stdout.splitlines()[-1])
        for cost, unit, target in (("seconds", "s", "0.5 to 2"), ("memory", "MB", "<= 1"), ("disk", "MB", "0.5 to 2")):
            measured, said = found[cost]
            line(f"{name}: {cost}", f"{measured:.1f} / {said:.1f} {unit} = {measured / said:.2f}", target)


def scale() -> None:
    """Plan and DAG of 10^5 cells x 10^6 draws: what they need, and what they say."""
    sys.path.insert(0, str(ROOT))
    widths, depths = [8 + 4 * i for i in range(1000)], list(range(1, CELLS // 1000 + 1))
    study = {"kind": "initialization", "keep": "moments", "grid": {"width": widths, "depth": depths}, "seeds": DRAWS}
    with tempfile.TemporaryDirectory() as folder:
        tree = {"results": f"{folder}/results", "studies": {"huge": study}, "execution": {"job_seconds": 1200}}
        config = Path(folder) / "huge.yaml"
        config.write_text(yaml.safe_dump(tree))
        arguments = ["--dry-run", "--quiet", "rules", "-s", ROOT / "Snakefile", "--directory", folder]
        arguments += ["--configfile", config, "--workflow-profile", ROOT / "profiles/default"]
        command = [sys.executable, "-c", DRY_RUN, *map(str, arguments)]
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        out = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=folder, env=os.environ | {"PATH": path}
        ).stdout
        found = json.loads(out.splitlines()[-1])
        total = next(text.split()[1] for text in out.splitlines() if text.startswith("total "))
        line("dry run of 10^5 cells x 10^6 draws: jobs", total, "< 2000")
        line("  time, plan and DAG", f"{found['cpu']:.0f} core-s ({found['wall']:.0f} s)", "< 180 core-s")
        line("  memory", f"{found['memory']:.2f} GiB", "<= 4 GiB")
        from ntkpipe import config as configuration
        from ntkpipe import plan

        start = time.process_time()
        planned = plan.make(configuration.load(str(config))).studies["huge"]
        line("  time, the plan alone", f"{time.process_time() - start:.0f} core-s", "-")
        seconds = sum(job.seconds for job in planned.jobs)
        what = f"{seconds / 3600:.0f} core-hours, {planned.disk_bytes / 2**30:.0f} GiB"
        line("  it says", f"{what}, {max(job.memory_mb for job in planned.jobs)} MB a job", "-")


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2])
        return
    names = [name for name in STUDIES if name in sys.argv[1:] or STUDIES[name]["kind"] in sys.argv[1:]]
    against_runs(names or list(STUDIES) * (sys.argv[1:] == []))
    if sys.argv[1:] in ([], ["scale"]):
        scale()


if __name__ == "__main__":
    main()
