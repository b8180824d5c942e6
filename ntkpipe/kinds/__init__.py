"""Kinds of study: what each draws, keeps, analyses, draws as figures and reports; a folder each.

To add a kind, write a folder ``kinds/<name>/`` and add its name to :data:`NAMES`:

``__init__.py``    ``KIND``, a :class:`Kind`: names only, no heavy import (the Snakefile reads it)
``statistics.py``  names of the sums that a shard holds, for drawing and for analysis
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

NAMES = ("initialization", "first_step")

Meaning = dict[str, tuple[str, str]]
"""variable -> (long name, equation or paper that it follows)"""


@dataclass(frozen=True)
class Kind:
    """What the rooms that serve all kinds ask of one.

    statistics, histograms: labels of the sums and histograms of a block of draws;
    draws, sums: variables of ``samples.zarr`` and ``sums.zarr``;
    columns: table -> the columns of its short form;
    tables, figures: planned study -> names of the datasets of its analysis (each a table), and of its figures;
    settings: key of a study that holds settings of this kind alone; axes: those of them that a grid may vary;
    coords: settings -> coordinates of a cell; long_names: of its own coordinates;
    check: raises ValueError where the config of a study does not fit.
    """

    name: str
    statistics: tuple[str, ...]
    draws: Meaning
    sums: Meaning
    columns: dict[str, list[str]]
    tables: Callable[[Any], list[str]]
    figures: Callable[[Any], list[str]]
    histograms: tuple[str, ...] = ()
    settings: str | None = None
    axes: tuple[str, ...] = ()
    long_names: dict[str, str] = field(default_factory=dict)
    coords: Callable[[Any], dict[str, Any]] = field(default=lambda settings: {})
    check: Callable[[Any], None] = field(default=lambda config: None)


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


def refuse_foreign(config: Any) -> None:
    """Refuse settings and grid axes of other kinds.

    Raises
    ------
    ValueError: the config of a study has one.
    """
    mine = of(config)
    for name in NAMES:
        other = of(name)
        if other.settings not in (None, mine.settings) and getattr(config, other.settings) is not None:
            raise ValueError(f"without {other.settings} unless kind is {name!r}; it had {other.settings}")
        axes = [axis for axis in other.axes if axis not in mine.axes]
        if any(getattr(grid, axis) is not None for grid in config.grid for axis in axes):
            raise ValueError(f"without grid axes {' and '.join(axes)} unless kind is {name!r}; it had one")
