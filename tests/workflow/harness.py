"""Real runs of the workflow in a folder of their own: how the tests start, read and break them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

REPO = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent

TINY: dict[str, Any] = {
    "title": "A tiny run",
    "studies": {
        "point": {
            "kind": "initialization",
            "grid": [
                {"width": [16, 32], "depth": [4, 8]},
                {"width": 16, "depth": 8, "sampling": "guided"},
                {"width": 16, "depth": 4, "engine": "exact"},
            ],
            "seeds": 3072,
        },
        "gram": {
            "kind": "initialization",
            "grid": {"width": 16, "depth": [2, 4], "engine": ["matrix_free", "dense"]},
            "seeds": 192,
            "inputs": {"kind": "circle", "points": 3},
        },
        "step": {
            "kind": "first_step",
            "grid": [
                {"width": 8, "depth": 2, "eta": [0.1, 0.3], "label": [0.0, "normal"]},
                {"width": [8, 16], "depth": [2, 4], "engine": ["scalar", "exact"]},
            ],
            "seeds": 192,
        },
    },
}
"""Both kinds, every engine, both samplings; about fifteen seconds on two idle cores."""


@dataclass
class Run:
    """A working folder, and the checkout (this one or an edited copy) that runs in it."""

    folder: Path
    checkout: Path = REPO

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("SNAKEMAKE")}
        return kept | {"PATH": f"{BIN}{os.pathsep}{kept.get('PATH', '')}", "PYTHONPATH": str(self.checkout)}

    def configure(self, config: dict[str, Any] | str) -> Run:
        """Write the config of the next runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        (self.folder / "tiny.yaml").write_text(text)
        return self

    def command(self, *arguments: str, cores: int = 2) -> list[str]:
        """The snakemake command line: targets and flags first, then what every run shares."""
        files = [
            "-s",
            self.checkout / "Snakefile",
            "--directory",
            self.folder,
            "--configfile",
            self.folder / "tiny.yaml",
        ]
        profile = ["--cores", cores, "--workflow-profile", self.checkout / "profiles/default"]
        return [str(part) for part in (BIN / "snakemake", *arguments, *files, *profile)]

    def snakemake(self, *arguments: str, cores: int = 2, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run snakemake to its end, well or not; stdout holds both streams."""
        return self._call(self.command(*arguments, cores=cores), environment)

    def make(self, *arguments: str, cores: int = 2) -> str:
        """Run snakemake, which must succeed; what it said."""
        done = self.snakemake(*arguments, cores=cores)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def fail(self, *arguments: str) -> str:
        """Run snakemake, which must fail; what it said."""
        done = self.snakemake(*arguments)
        assert done.returncode != 0, done.stdout
        return done.stdout

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs by rule that a dry run lists; none where nothing is to be done."""
        text = self.make(*arguments, "--dry-run")
        if "Nothing to be done" in text:
            return {}
        table = re.search(r"^Job stats:\njob +count\n-+  -+\n(.*?)^total +\d+$", text, re.MULTILINE | re.DOTALL)
        assert table, text
        return {rule: int(count) for rule, count in (line.split() for line in table[1].splitlines())}

    def ntkpipe(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``python -m ntkpipe`` in the folder."""
        return self._call([sys.executable, "-m", "ntkpipe", *arguments], {})

    def _call(self, command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
        )

    def copy(self, to: Path) -> Run:
        """The same run in another folder, times of files and Snakemake's notes included."""
        shutil.copytree(self.folder, to, symlinks=True)
        return Run(to, self.checkout)

    def start(self, *arguments: str, cores: int = 2, **options: Any) -> subprocess.Popen[bytes]:
        """Start snakemake; what it says goes to ``said.txt`` in the folder."""
        with open(self.folder / "said.txt", "ab") as said:
            return subprocess.Popen(
                self.command(*arguments, cores=cores),
                cwd=self.folder,
                env=self.environment,
                stdout=said,
                stderr=subprocess.STDOUT,
                **options,
            )

    @property
    def said(self) -> str:
        """What all started runs have said."""
        return (self.folder / "said.txt").read_text()

    def shards(self, study: str = "*") -> dict[str, Shard]:
        """Shards by path relative to the folder."""
        files = sorted(self.folder.glob(f"results/{study}/shards/*.zarr.zip"))
        return {str(file.relative_to(self.folder)): Shard.of(file) for file in files}


@dataclass(frozen=True)
class Shard:
    """What tells a kept file from one written anew (every write is a rename, hence a new inode), and its bytes."""

    inode: int
    sha256: str

    @classmethod
    def of(cls, file: Path) -> Shard:
        return cls(file.stat().st_ino, hashlib.sha256(file.read_bytes()).hexdigest())


def hashes(shards: dict[str, Shard]) -> dict[str, str]:
    """Bytes only."""
    return {path: shard.sha256 for path, shard in shards.items()}


def kill_tree(driver: subprocess.Popen) -> None:
    """kill -9 of snakemake and of everything it started."""
    family = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    driver.wait()
    psutil.wait_procs(family[1:], timeout=30)
    assert not [p for p in family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def flip_a_byte(file: Path) -> None:
    """Damage the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
