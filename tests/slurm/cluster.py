"""A Slurm of one node on loopback, started by the tests: munged, slurmctld and slurmd of Debian's packages."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from harness import BIN, Run

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "sinfo")
PACKAGES = "slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
ACCOUNT = "physics"
CONF = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={base}/munge.sock
CredType=cred/munge
SlurmctldPidFile={base}/slurmctld.pid
SlurmdPidFile={base}/slurmd.pid
SlurmctldLogFile={base}/slurmctld.log
SlurmdLogFile={base}/slurmd.log
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool
MailProg=/bin/true
# no cgroups: in a container slurmd seldom owns them
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
# no slurmdbd: squeue must remember jobs that have ended
AccountingStorageType=accounting_storage/none
MinJobAge=3600
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
JobRequeue=0
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} CoresPerSocket={cpus} RealMemory=64000 State=UNKNOWN
PartitionName=first Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=second Nodes={host} MaxTime=60 State=UP
"""
NO_INTERNET = '''\
"""For every Python that a job starts: only this machine answers, and who asks another is noted."""
import os, socket, sys
def _refused(where):
    with open(os.environ["CALLS_OUT"], "a") as calls:
        print(where, sys.argv, file=calls)
    raise OSError(101, "Network is unreachable")
_connect, _look_up, _here = socket.socket.connect, socket.getaddrinfo, ("localhost", socket.gethostname(), "", None)
def connect(self, address):
    if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
        _refused(address)
    return _connect(self, address)
def look_up(host, *more, **named):
    if host not in _here and not str(host).startswith(("127.", "::1")):
        _refused(host)
    return _look_up(host, *more, **named)
socket.socket.connect, socket.getaddrinfo = connect, look_up
'''


class NoSlurm(Exception):
    """It cannot be had here: says what is missing."""


@dataclass(frozen=True)
class Job:
    """A Slurm job as squeue tells it."""

    number: int
    state: str
    rule: str
    memory: str
    limit: str
    cpus: int
    partition: str
    account: str


@dataclass
class Slurm:
    """The daemons, and the folder that holds all they write."""

    base: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="slurm-")))

    def start(self) -> Slurm:
        """Start the daemons and wait for the node.

        Raises
        ------
        NoSlurm: its programs are not installed, or it did not come up (with the ends of its logs).
        """
        if missing := [name for name in NEEDED if _which(name) is None]:
            raise NoSlurm(f"{', '.join(missing)} not installed: as root, apt-get install {PACKAGES}, or `make slurm`")
        for folder in ("state", "spool", "bin", "site"):
            (self.base / folder).mkdir()
        self.base.chmod(0o755)
        key = self.base / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        names = {"host": socket.gethostname().split(".")[0], "user": getpass.getuser(), "ports": _free_ports()}
        (self.base / "slurm.conf").write_text(CONF.format(base=self.base, cpus=max(2, os.cpu_count() or 1), **names))
        (self.base / "site/sitecustomize.py").write_text(NO_INTERNET)
        # The executor's job steps lose SLURM_CONF, which sites have no need of: their file is /etc/slurm/slurm.conf.
        self._program("srun", f'SLURM_CONF={self.base}/slurm.conf exec {_which("srun")} "$@"')
        self._program("sacctmgr", f"echo {ACCOUNT}")  # there is no database that knows accounts
        munge = [
            f"--{name}-file={self.base}/munge{end}"
            for name, end in (("pid", "d.pid"), ("log", ".log"), ("seed", ".seed"))
        ]
        try:
            self._call("munged", f"--socket={self.base}/munge.sock", f"--key-file={key}", *munge)
            self._call("slurmctld", "-f", f"{self.base}/slurm.conf")
            self._call("slurmd", "-f", f"{self.base}/slurm.conf", "-N", names["host"])
            deadline = time.monotonic() + 60
            while self._call("sinfo", "-h", "-p", "first", "-o", "%T", check=False).strip() != "idle":
                if time.monotonic() > deadline:
                    raise NoSlurm("Slurm did not come up in 60 s")
                time.sleep(0.3)
        except (NoSlurm, OSError, subprocess.SubprocessError) as error:
            ends = [file.read_text(errors="replace")[-1500:] for file in sorted(self.base.glob("*.log"))]
            raise NoSlurm("\n".join([str(error), *ends])) from None
        return self

    def stop(self) -> None:
        """Cancel all jobs, end the daemons, remove their folder."""
        for job in self.jobs() if (self.base / "slurmctld.pid").exists() else []:
            if job.state in ("RUNNING", "PENDING"):
                self.cancel(job)
        for daemon in ("slurmd", "slurmctld", "munged"):
            pid = self.base / f"{daemon}.pid"
            if pid.exists() and psutil.pid_exists(number := int(pid.read_text())):
                process = psutil.Process(number)
                process.terminate()
                psutil.wait_procs([process], timeout=20)
        shutil.rmtree(self.base, ignore_errors=True)

    def jobs(self) -> list[Job]:
        """All jobs since the start, ended ones too, in order."""
        text = self._call("squeue", "-h", "-t", "all", "-o", "%i|%T|%k|%m|%l|%C|%P|%a")
        rows = [line.split("|") for line in text.splitlines()]
        jobs = [
            Job(int(n), state, rule.removeprefix("rule_"), m, t, int(c), p, a) for n, state, rule, m, t, c, p, a in rows
        ]
        return sorted(jobs, key=lambda job: job.number)

    def cancel(self, job: Job) -> None:
        """scancel."""
        self._call("scancel", str(job.number))

    @property
    def environment(self) -> dict[str, str]:
        """Of who submits: which Slurm, and no internet for what is started."""
        path = os.pathsep.join([str(self.base / "bin"), os.environ["PATH"], "/usr/sbin", "/sbin"])
        return {"SLURM_CONF": f"{self.base}/slurm.conf", "PATH": path, "CALLS_OUT": f"{self.base}/calls_out"}

    @property
    def calls_out(self) -> str:
        """Who asked another machine."""
        file = self.base / "calls_out"
        return file.read_text() if file.exists() else ""

    def _program(self, name: str, line: str) -> None:
        file = self.base / "bin" / name
        file.write_text(f"#!/bin/sh\n{line}\n")
        file.chmod(0o755)

    def _call(self, name: str, *arguments: str, check: bool = True) -> str:
        command = [_which(name) or name, *arguments]
        with open(self.base / f"{name}.said.log", "a") as said:  # a daemon keeps what it is given open
            done = subprocess.run(
                command,
                env=os.environ | self.environment,
                stdout=subprocess.PIPE if name.startswith("s") and name[1] in "qi" else said,
                stderr=said,
                text=True,
                timeout=60,
                check=check,
            )
        return done.stdout or ""


@dataclass
class OnSlurm(Run):
    """A run that goes through profiles/slurm; dry runs and checks stay local."""

    slurm: Slurm = None  # type: ignore[assignment]
    profile: Path | None = None

    @property
    def environment(self) -> dict[str, str]:
        ours = super().environment
        theirs = self.slurm.environment
        return (
            ours
            | theirs
            | {
                "PATH": os.pathsep.join([str(BIN), theirs["PATH"]]),
                "PYTHONPATH": os.pathsep.join([str(self.slurm.base / "site"), ours["PYTHONPATH"]]),
            }
        )

    def command(self, *arguments: str, cores: int = 2) -> list[str]:
        if "--dry-run" in arguments or "--unlock" in arguments:
            return super().command(*arguments, cores=cores)
        profile = self.profile or self.checkout / "profiles/slurm"
        quick = {"seconds-between-status-checks": 2, "slurm-init-seconds-before-status-checks": 1, "latency-wait": 10}
        options: dict[str, Any] = {
            "-s": self.checkout / "Snakefile",
            "--directory": self.folder,
            "--configfile": self.folder / "tiny.yaml",
            "--profile": profile,
            "--workflow-profile": self.checkout / "profiles/default",
            "--slurm-status-command": "squeue",  # no slurmdbd
            **{f"--{name}": value for name, value in quick.items()},
        }
        return [str(part) for part in (BIN / "snakemake", *arguments, *(p for pair in options.items() for p in pair))]

    def snakemake(self, *arguments: str, cores: int = 2, **environment: str) -> subprocess.CompletedProcess[str]:
        """As a local run, but with time to wait for jobs: every one starts Python twice and is asked after."""
        return subprocess.run(
            self.command(*arguments, cores=cores),
            cwd=self.folder,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
        )

    def sampler(self) -> psutil.Process | None:
        """The process that draws within a job of this run; none, while there is none."""
        for process in psutil.process_iter(["cmdline", "cwd"]):
            words = process.info["cmdline"] or []
            if words[1:4] == ["-m", "ntkpipe", "sample"] and process.info["cwd"] == str(self.folder):
                return process
        return None


def _which(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"]))


def _free_ports() -> list[int]:
    """Two ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
