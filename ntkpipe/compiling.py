"""Where compiled programs are kept, so that each shape compiles once, across jobs too.

XLA compiles for the very processor it runs on, and what it compiled there may end in an illegal instruction (or round
otherwise) on another. A cluster has several models, so each has a folder of its own.
"""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

_TELLING = ("model name", "flags", "Features", "CPU implementer", "CPU part")


def folder(results: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> Path:
    """The cache of this processor: ``<results>/.jax_cache/<digest of its model and of what it can do>``."""
    return Path(results).resolve() / ".jax_cache" / _processor(cpuinfo)


def _processor(cpuinfo: Path) -> str:
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:  # not Linux
        lines = []
    told: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in _TELLING:
            told.setdefault(name.strip(), " ".join(sorted(value.split())))  # of the first core; flags in any order
    text = repr(sorted(told.items())) if told else f"{platform.machine()} {platform.processor()}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]
