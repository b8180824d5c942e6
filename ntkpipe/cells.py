"""From a study's grid to its cells: networks, how they are drawn, and their coordinates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from math import prod
from typing import Any

from ntkpipe import costs, inputs, kinds
from ntkpipe.config import GridConfig, StudyConfig
from ntkpipe.config.models import MOST_DEPTH
from ntkpipe.engines import catalogue
from ntkpipe.errors import ConfigError
from ntkpipe.networks import SETTINGS, Network

MOST_CELLS = 10**6
MOST_LAYERS = 10**8
"""Of all cells of a study together: each cell lists its widths."""
_STUDY_AXES = ("engine", "sampling")


@dataclass(frozen=True)
class Cell:
    """One point of a grid: a network, how it is drawn, and its coordinates in the datasets."""

    study: str
    kind: str
    network: Network
    engine: str
    sampling: str
    precision: str
    inputs_text: str
    n_inputs: int
    seeds: int
    coords: dict[str, Any] = field(compare=False)
    settings: Any = None
    """settings of its kind alone, as config models them"""
    n_eval: int = 0
    """points apart from the inputs, as :class:`catalogue.Task` has them"""

    @cached_property
    def text(self) -> str:
        """Canonical text of everything that the numbers of the draws depend on."""
        return _canonical(self._law | self._own)

    @property
    def network_text(self) -> str:
        """The same without the settings of its kind: cells that differ in these alone share their networks."""
        return _canonical(self._law | dict.fromkeys(self._own, self.kind))

    @property
    def _own(self) -> dict[str, Any]:
        if self.settings is None:
            return {}
        kind = kinds.of(self.kind)
        return {kind.settings: self.settings.model_dump(mode="json", exclude=set(kind.read))}

    @property
    def _law(self) -> dict[str, Any]:
        return {
            # only what differs from the defaults, so that a new setting of later versions changes no cell
            "network": {
                name: getattr(self.network, name)
                for name, known in self.network.__dataclass_fields__.items()
                if getattr(self.network, name) != known.default
            },
            "engine": self.engine,
            "sampling": self.sampling,
            "precision": self.precision,
            "inputs": self.inputs_text,
        }

    @property
    def name(self) -> str:
        """File-name stem: depth and width to read, a hash to tell apart."""
        widths = sorted(set(self.network.widths)) or [0]
        width = str(widths[0]) if len(widths) == 1 else f"{widths[0]}to{widths[-1]}"
        digest = hashlib.sha256(self.text.encode()).hexdigest()[:10]
        return f"depth{self.network.depth}-width{width}-{digest}"

    @property
    def said(self) -> str:
        """The cell in words, for errors."""
        return ", ".join(f"{name} {value}" for name, value in self.coords.items() if name != "widths")

    @property
    def task(self) -> catalogue.Task:
        """What the engine is asked to do."""
        return catalogue.Task(
            self.network, self.n_inputs, self.precision, self.sampling, self.kind, self.settings, self.n_eval
        )

    @property
    def sample(self) -> Callable[..., Any]:
        """The engine's function that draws."""
        return catalogue.load(self.engine, self.sampling, self.kind).sample

    @cached_property
    def seconds(self) -> float:
        """Expected core-seconds of all draws."""
        if self.engine == "exact":
            return 0.0
        task = self.task
        draws = self.seeds * costs.seconds_per_draw(self.engine, task)
        return costs.seconds_to_start(self.engine, task) + draws


def _canonical(parts: dict[str, Any]) -> str:
    return json.dumps(parts, sort_keys=True, separators=(",", ":"))


def expand(name: str, study: StudyConfig, path: str) -> tuple[list[Cell], list[str]]:
    """The cells of a study, in the order of its grids, and notes on what the grids had to leave out.

    Raises
    ------
    ConfigError: duplicate cells, no cell at all or too many, an engine that cannot do what is asked, a bad data file.
    """
    _check_size(study, path)
    n_inputs, dim, text = _points(study, path)
    cells: list[Cell] = []
    notes: list[str] = []
    seen: dict[str, str] = {}
    for number, grid in enumerate(study.grid):
        where = f"{path}.grid" if len(study.grid) == 1 else f"{path}.grid.{number}"
        for widths, axes in _product(grid, kinds.of(study).axes, notes, where):
            cell = _cell(name, study, widths, axes, (n_inputs, dim, text), path)
            named = ("depth", "width") if cell.network.depth else ("depth",)  # without hidden layers no width matters
            here = ", ".join(f"{k} {v}" for k, v in cell.coords.items() if k in named or k in axes)
            if cell.text in seen:
                also = (
                    "" if seen[cell.text] == where else f", which {'.'.join(seen[cell.text].split('.')[-2:])} has too"
                )
                raise ConfigError(where, "without duplicate cells", f"twice the cell {here}{also}")
            seen[cell.text] = where
            cells.append(cell)
    if not cells:
        raise ConfigError(f"{path}.grid", "a grid with at least one cell", "; ".join(notes))
    return cells, notes


def _points(study: StudyConfig, path: str) -> tuple[int, int, str]:
    """Number and dimension of the points, and a text that identifies them."""
    if (own := kinds.of(study).points) is not None:
        return own(study, path)
    x = inputs.points(study.inputs, study.seed, f"{path}.inputs")
    return (*x.shape, inputs.fingerprint(x, study.inputs.keep))


def _product(
    grid: GridConfig, own_axes: tuple[str, ...], notes: list[str], where: str
) -> Iterator[tuple[tuple[int, ...], dict[str, Any]]]:
    """(hidden widths, other axes) of every cell of one grid, in order."""
    names = _axes(grid, own_axes)
    for values in product(*(getattr(grid, axis) for axis in names)):
        axes = dict(zip(names, values, strict=True))
        if grid.widths is not None:
            for widths in grid.widths:
                yield widths, axes
            continue
        for width in grid.width:
            for depth in grid.depth if grid.depth is not None else _derived_depths(grid, width, notes, where):
                yield (width,) * depth, axes


def _axes(grid: GridConfig, own_axes: tuple[str, ...]) -> list[str]:
    """The axes of a grid apart from widths and depths."""
    return [axis for axis in (*SETTINGS, *_STUDY_AXES, *own_axes) if getattr(grid, axis) is not None]


def _check_size(study: StudyConfig, path: str) -> None:
    """Before grids are expanded: a line of YAML may stand for billions of cells."""
    cells, layers = 0, 0.0
    for grid in study.grid:
        times = prod(len(getattr(grid, axis)) for axis in _axes(grid, kinds.of(study).axes))
        if grid.widths is not None:
            here, deep = len(grid.widths), sum(map(len, grid.widths))
        else:
            here = len(grid.width) * len(grid.depth or grid.beta)
            derived = min(sum(grid.width) * sum(grid.beta or ()), here * (grid.max_depth or MOST_DEPTH))
            deep = len(grid.width) * sum(grid.depth) if grid.depth else derived
        cells += times * here
        layers += times * deep
    if cells > MOST_CELLS:
        raise ConfigError(f"{path}.grid", f"a grid of at most {MOST_CELLS} cells", cells)
    if layers > MOST_LAYERS:
        was = f"about {layers:.3g} in {cells} cells"
        raise ConfigError(f"{path}.grid", f"a grid whose cells have at most {MOST_LAYERS} layers together", was)


def _derived_depths(grid: GridConfig, width: int, notes: list[str], where: str) -> list[int]:
    """depth = round(beta * width), at least 1, at most max_depth, each once; what is left out is noted.

    Raises
    ------
    ConfigError: a depth beyond :data:`MOST_DEPTH` without a max_depth.
    """
    depths: list[int] = []
    left_out: dict[str, list[str]] = {}
    for beta in grid.beta:
        if beta * width > MOST_DEPTH and grid.max_depth is None:
            raise ConfigError(f"{where}.beta", f"given values, or max_depth, for at most {MOST_DEPTH} layers", beta)
        depth = round(min(beta * width, MOST_DEPTH + 1))
        if depth < 1:
            reason = "needs less than one layer"
        elif grid.max_depth is not None and depth > grid.max_depth:
            reason = f"needs more than max_depth = {grid.max_depth} layers"
        elif depth in depths:
            reason = "rounds to a depth that is there already"
        else:
            depths.append(depth)
            continue
        left_out.setdefault(reason, []).append(f"{beta:g}")
    for reason, betas in left_out.items():
        note = f"{where.split(': ')[-1]}: width {width}: left out beta {', '.join(betas)} ({reason})"
        if note not in notes:
            notes.append(note)
    return depths


def _cell(name: str, study: StudyConfig, widths, axes: dict[str, Any], what: tuple[int, int, str], path: str) -> Cell:
    n_inputs, dim, text = what
    laws = study.network.model_dump() | {k: v for k, v in axes.items() if k in SETTINGS}
    network = Network(input_dim=dim, widths=tuple(widths), **laws)
    sampling = axes.get("sampling", study.sampling)
    engine = axes.get("engine", study.engine)
    task = catalogue.Task(network, n_inputs, study.precision, sampling, study.kind)
    if engine == "auto":
        engine = "scalar" if sampling == "guided" else catalogue.choose(task)
    if (wrong := catalogue.refuse(engine, task)) is not None:
        key, must, was = wrong
        key = f"grid.{key.split('.')[-1]}" if key.split(".")[-1] in axes else key
        raise ConfigError(f"{path}.{key}", must, was)
    coords = {
        "depth": network.depth,
        "width": widths[0] if len(set(widths)) == 1 else 0,
        "widths": "x".join(map(str, widths))
        if len(set(widths)) > 1
        else f"{widths[0]}^{len(widths)}"
        if widths
        else "",
        "beta": network.beta,
        **{axis: laws[axis] for axis in SETTINGS},
        "engine": engine,
        "sampling": sampling,
    }
    kind, settings = kinds.of(study), study.settings
    if settings is not None:
        settings = settings.varied({k: v for k, v in axes.items() if k in kind.axes})
        coords |= kind.coords(settings)
    n_eval = study.data.eval if study.data else 0
    drawn = (network, engine, sampling, study.precision, text, n_inputs, study.seeds)
    return Cell(name, study.kind, *drawn, coords, settings, n_eval)
