"""Settings of eigenmodes studies: density, frequencies and training."""

from __future__ import annotations

from itertools import product
from typing import Annotated, Any

from pydantic import Field, model_validator

from ntkpipe.config.errors import refuse_twice, wrong
from ntkpipe.config.models import Angles, Count, DensityText, Positive, axis
from ntkpipe.config.train import ScheduleConfig

TABLES = (".csv", ".npy")
"""Endings of files that hold a density."""
EVEN = ("uniform", "halves:1", "cosine:0", "cosine:-0", "von_mises:0")
"""Densities that are 1/(2 pi)."""


def refuse_density(density: str) -> str | None:
    """What a density must be, where this is none; a file is opened by the plan."""
    from ntkpipe.theory.density_points import named  # slow to import, and most studies have no density

    if density.endswith(TABLES):
        return None
    try:
        named(density)
    except ValueError as error:
        return f"{error}; it was {density!r}"
    return None


class EigenmodesConfig(ScheduleConfig):
    """At which rate is each eigenfunction of the kernel learned, under a density on the circle?

    Networks are trained on cos(q theta), one frequency at a time and each from the same weights, on N points that are
    the quantiles (j + 1/2)/N of the density.
    """

    density: DensityText = "uniform"
    """uniform; halves:r, r (1e-6 to 1e6) times as dense on [0, pi) as beyond; cosine:a, (1 + a cos theta)/(2 pi);
    von_mises:k; or a csv or npy file with the columns theta (rad) and weight (in this order where a csv has no header),
    relative to the working directory"""
    frequencies: axis(Annotated[int, Field(strict=True, ge=1)]) = (1, 2, 3, 4, 5, 6)
    """q of the targets cos(q theta), at most modes"""
    train: Angles = 64
    """number N, 8 or more, of train points: more than 2 modes; where the density is uniform, divisible by another power
    of 2 than evaluate, for else some held-out angles are train points"""
    evaluate: Angles = 256
    """number of held-out points, 8 or more and more than 2 modes: equal angles at half steps"""
    modes: Count = 12
    """eigenfunctions followed: 2 modes + 1 of the largest eigenvalues; of the uniform density the Fourier modes up to
    this frequency; below half of train and of evaluate"""
    eta: Positive = 0.5
    """step size"""
    steps: Count = 800
    """number of steps"""
    kernels: Annotated[int, Field(strict=True, ge=2)] = 8
    """number of snapshots, the first and the last included, at which K_t is kept; all, where there are fewer"""
    scale: Positive = 1.0
    """what multiplies the targets: training is lazy where scale^2/(lambda_q width) is small"""
    centred: bool = Field(default=True, strict=True)
    """train f - f_0 instead of f: labels are scale cos(q theta) + f_0, and the residual starts as the target"""
    share: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.2
    """a frequency is fit when this share of its residual is left"""

    @model_validator(mode="after")
    def _fits(self) -> EigenmodesConfig:
        if (must := refuse_density(self.density)) is not None:
            raise wrong(("density",), must)
        refuse_twice(self, "frequencies")
        if self.modes < max(self.frequencies):
            must = f"at least {max(self.frequencies)}, the largest of frequencies; it was {self.modes}"
            raise wrong(("modes",), must)
        if (must := self.refuse_points(self.train)) is not None:
            raise wrong(("train",), must)
        if 2 * self.modes >= self.evaluate:
            raise wrong(("evaluate",), f"more than 2 modes = {2 * self.modes}; it was {self.evaluate}")
        return self

    def refuse_points(self, train: int) -> str | None:
        """What the number of train points must be, where it is not."""
        if 2 * self.modes >= train:
            return f"more than 2 modes = {2 * self.modes}, which {train} points do not tell apart; it was {train}"
        return None

    def refuse_parity(self, density: str, train: int) -> str | None:
        """The same of a density whose quantiles are equal angles: held-out angles must lie between them."""
        if density not in EVEN or _twos(train) != _twos(self.evaluate):
            return None
        return (
            f"divisible by another power of 2 than evaluate = {self.evaluate}: under the uniform density some "
            f"held-out angles are train points else; it was {train}"
        )

    @property
    def kernel_snapshots(self) -> tuple[int, ...]:
        """Numbers of the snapshots at which K_t is kept, 0 and the last included."""
        last = len(self.snapshot_steps) - 1
        count = min(self.kernels, last + 1)
        return tuple(sorted({round(last * i / (count - 1)) for i in range(count)}))


def refuse_cells(config: Any) -> None:
    """Refuse values of the grid axes that do not fit, with the path of the key.

    Raises
    ------
    ValidationError: a density that is none, or a number of train points too small or among the held-out ones.
    """
    settings = config.settings
    for number, grid in enumerate(config.grid):
        for density in grid.density or ():
            if (must := refuse_density(density)) is not None:
                raise wrong(("grid", number, "density"), must)
        for train in grid.train or ():
            if (must := settings.refuse_points(train)) is not None:
                raise wrong(("grid", number, "train"), must)
        for density, train in product(grid.density or (settings.density,), grid.train or (settings.train,)):
            if (must := settings.refuse_parity(density, train)) is not None:
                raise wrong(("grid", number, "train") if grid.train else (config.kind, "train"), must)


def _twos(n: int) -> int:
    return (n & -n).bit_length()
