"""Wall time of the default study and the share that orchestration takes.

`python benchmarks/default_study.py` runs all studies, `... initialization gram` only those named (its
initialization part: target under 2 minutes on 2 cores, overhead under 15 %).

Overhead is what is left of wall time x cores when the work inside the jobs, without starting
Python and importing, is taken away: Snakemake itself, job starts, imports, idle cores.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def start_up() -> float:
    """Seconds that a step needs before its work begins."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import ntkpipe.collect, ntkpipe.kinds.initialization.draw"], check=True)
    return time.perf_counter() - start


def main() -> None:
    """Run and print."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        tree = yaml.safe_load((ROOT / "config/config.yaml").read_text())
        tree["studies"] = {
            name: study for name, study in tree["studies"].items() if name in sys.argv[1:] or not sys.argv[1:]
        }
        config = Path(folder) / "benchmark.yaml"
        config.write_text(yaml.safe_dump(tree))
        command = [str(Path(sys.executable).parent / "snakemake"), "-s", str(ROOT / "Snakefile"), "--cores", str(cores)]
        command += ["--directory", folder, "--configfile", str(config), "--quiet"]
        command += ["--workflow-profile", str(ROOT / "profiles/default")]
        start = time.perf_counter()
        subprocess.run(command, check=True)
        wall = time.perf_counter() - start
        jobs = [
            float(next(csv.DictReader(f.read_text().splitlines(), delimiter="\t"))["s"])
            for f in Path(folder).rglob("*.tsv")
            if f.name != "seconds.tsv"
        ]
        each = start_up()
    work = sum(jobs) - each * len(jobs)
    print(f"default study: {wall:.0f} s on {cores} cores, {len(jobs)} jobs, {sum(jobs):.0f} core-seconds in jobs")
    print(f"starting and importing: {each:.2f} s a job, {each * len(jobs):.0f} s in all")
    print(f"overhead (all that is not work in a job): {100 * (1 - work / (wall * cores)):.0f} % of wall x cores")
    orchestration = each * len(jobs) / cores + max(0.0, wall - sum(jobs) / cores)
    print(f"of which Snakemake, starts and idle: {orchestration:.0f} s of {wall:.0f} s")


if __name__ == "__main__":
    main()
