"""Kinds of study: what each draws, keeps, analyses, draws as figures and reports; a folder each.

To add a kind, write a folder ``kinds/<name>/`` and add its name to :data:`NAMES`:

``__init__.py``    ``KIND``, a :class:`Kind`: names only, no heavy import (the Snakefile reads it)
``statistics.py``  names of the sums that a shard holds, for drawing and for analysis (where it has sums)
``cost.py``        ``seconds``, ``start``, ``memory`` of a draw (where no engine draws)
``draw.py``        ``draw(study, shard)``: the arrays of one shard
``analyse.py``     ``run(study)``: sums -> the datasets of ``KIND.tables``
``figures.py``     ``FIGURES``: figure name -> function of the datasets
``report.py``      ``section(study)`` and ``METHODS``: what the report says
``captions/``      ``<figure>.rst`` and ``table_<table>.rst``

What an engine can do for it stands in :mod:`ntkpipe.engines.catalogue`; keys of its own in :mod:`ntkpipe.config`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from ntkpipe.streams import QUANTUM

NAMES = (
    "initialization",
    "first_step",
    "trajectory",
    "membership",
    "infinite_width",
    "spectral_bias",
    "eigenmodes",
    "finite_sample",
    "linear",
    "mean_field",
)

Meaning = dict[str, tuple[str, str]]
"""variable -> (long name, equation or paper that it follows)"""


@dataclass(frozen=True)
class Kind:
    """What the rooms that serve all kinds ask of one.

    statistics, histograms: labels of the sums and histograms of a block of draws;
    draws, sums: variables of ``<collection>.zarr`` and ``sums.zarr`` (no such dataset where there are none);
    quantum: draws that share a stream; resumes: whether ``draw`` takes a scratch folder, to go on after a kill;
    columns: table -> the columns of its short form;
    tables, figures: planned study -> names of the datasets of its analysis (each a table), and of its figures;
    settings: key of a study that holds what a cell's draws depend on, of this kind alone; own: further keys of its own;
    axes: settings that a grid may vary; read: settings that the analysis alone reads: no draw depends on them;
    coords: settings -> coordinates of a cell; long_names: of its own coordinates;
    check: raises ValueError where the config of a study does not fit;
    points: config of a study, path of its key -> (number of points, their dimension, text that identifies them), where
    they are not those of ``inputs``; stored: config of a study -> bytes kept of a draw, where it is not outputs and K;
    sizes: planned study -> sizes of the dims in which its cells differ (NaN beyond a cell's own).
    """

    name: str
    statistics: tuple[str, ...]
    draws: Meaning
    sums: Meaning
    columns: dict[str, list[str]]
    tables: Callable[[Any], list[str]]
    figures: Callable[[Any], list[str]]
    histograms: tuple[str, ...] = ()
    collection: str = "samples"
    quantum: int = QUANTUM
    resumes: bool = False
    settings: str | None = None
    own: tuple[str, ...] = ()
    axes: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    long_names: dict[str, str] = field(default_factory=dict)
    coords: Callable[[Any], dict[str, Any]] = field(default=lambda settings: {})
    check: Callable[[Any], None] = field(default=lambda config: None)
    points: Callable[[Any, str], tuple[int, int, str]] | None = None
    stored: Callable[[Any], int] | None = None
    sizes: Callable[[Any], dict[str, int]] = field(default=lambda study: {})

    @property
    def sections(self) -> tuple[str, ...]:
        """Keys of a study that only this kind has."""
        return (*filter(None, [self.settings]), *self.own)


def of(what: Any) -> Kind:
    """The kind of a study (planned, or its config), or of that name."""
    return importlib.import_module(module(what)).KIND


def module(what: Any, *room: str) -> str:
    """Name of a module of a kind: ``module(study, "draw")``."""
    name = what if isinstance(what, str) else getattr(what, "config", what).kind
    return ".".join(("ntkpipe.kinds", name, *room))


def load(what: Any, room: str) -> ModuleType:
    """Import a module of a kind."""
    return importlib.import_module(module(what, room))


def refuse_foreign(tree: Any) -> None:
    """Refuse settings and grid axes of other kinds, whatever they hold.

    ``tree``: a study as YAML gives it, unchecked; what is no study of a known kind is left to the checks that follow.

    Raises
    ------
    ValueError: the study has one.
    """
    if not isinstance(tree, dict) or tree.get("kind") not in NAMES:
        return
    mine = of(tree["kind"])
    for name in NAMES:
        for key in of(name).sections:
            if key not in mine.sections and tree.get(key) is not None:
                raise ValueError(f"without {key} unless kind is {_those_with('sections', key)}; it had {key}")
    grids = tree.get("grid")
    for grid in grids if isinstance(grids, list) else [grids]:
        for axis in sorted({axis for name in NAMES for axis in of(name).axes} - set(mine.axes)):
            if isinstance(grid, dict) and grid.get(axis) is not None:
                raise ValueError(f"without grid axis {axis} unless kind is {_those_with('axes', axis)}; it had {axis}")


def check_own_points(config: Any, points: str) -> None:
    """Of a kind that brings its own ``points`` and keeps all kernels: no ``inputs``, and ``keep: full``.

    Raises
    ------
    ValueError: the config of a study asks for something else.
    """
    if config.inputs != type(config.inputs)():
        raise ValueError(f"without inputs where kind is {config.kind!r} (its points are {points}); it had inputs")
    if config.keep != "full":
        raise ValueError(f"given keep: full where kind is {config.kind!r}; it was {config.keep!r}")


def _those_with(what: str, name: str) -> str:
    return " or ".join(repr(kind) for kind in NAMES if name in getattr(of(kind), what))
