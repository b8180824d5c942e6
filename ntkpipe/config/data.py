"""The data of a training study: points, targets, noise, evaluation points."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ntkpipe.config.errors import refuse_twice, wrong
from ntkpipe.config.models import MOST_NUMBERS, Model, NonNegative, Positive, Size, axis

DATA_KINDS = ("circle", "sphere", "gaussian", "file")
TARGETS = ("fourier", "teacher", "product", "column")
DEFAULT_FREQUENCIES = (1, 2, 4)

_DEFAULT_TARGETS = {"circle": "fourier", "sphere": "teacher", "gaussian": "teacher", "file": "column"}
_ONLY_WITH = {
    "dim": ("kind", ("circle", "sphere", "gaussian")),
    "norm": ("kind", ("circle", "sphere")),
    "angles": ("kind", ("circle",)),
    "path": ("kind", ("file",)),
    "column": ("kind", ("file",)),
    "split": ("kind", ("file",)),
    "frequencies": ("target", ("fourier",)),
    "amplitudes": ("target", ("fourier",)),
    "phases": ("target", ("fourier",)),
    "teacher_widths": ("target", ("teacher",)),
}
"""key -> the key on which it depends, and the values of that with which it has a meaning"""


def _name_or_number(value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | str)):
        raise ValueError(f"the name of a column, or its number from 0; it was {value!r}")
    return value


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Frequency = Annotated[int, Field(strict=True, ge=0)]
Column = Annotated[Any, BeforeValidator(_name_or_number)]  # a union would put its members into the path of an error


class DataConfig(Model):
    """The data on which networks are trained and evaluated; fixed by the seed of the study."""

    kind: Literal[DATA_KINDS] = "circle"
    """circle: points in the plane (dim 2, or embedded in dim dimensions); sphere: uniform directions;
    gaussian: N(0, I); file: rows of a csv, npy, npz or zarr file"""
    train: Size = 64
    """number of train points N"""
    eval: Size = 64
    """number of evaluation points M, apart from the train points; equal angles on the circle, shifted by half a
    spacing (pi/N where M = N, else pi/lcm(N, M)) so that none is an equal angle of the train points"""
    dim: Size | None = None
    """input dimension n_0 (default 2 on the circle, 10 on the sphere and gaussian; a file brings its own)"""
    norm: Positive | None = None
    """|x| of every point on sphere and circle (default 1)"""
    angles: Literal["equal", "uniform"] | None = None
    """train points of the circle: equal (default) angles 2 pi j/N, or drawn uniformly"""
    path: str | None = None
    """data file, relative to the working directory: a table whose columns are the coordinates and the target (csv
    with or without a header line, npy, a zarr array in a folder *.zarr), or arrays x and y (npz, a zarr group); only
    with kind: file"""
    column: Column = None
    """column of the table that is the target: its name in the header line, or its number from 0, negative from the
    end (default: the last)"""
    split: Literal["random", "order"] | None = None
    """random (default): train and evaluation rows of the file are drawn without replacement, by the seed;
    order: the first `train` rows and the last `eval` rows"""
    target: Literal[TARGETS] | None = None
    """fourier: sum_k a_k cos(q_k theta + phi_k) on the circle (default there); teacher: a random ReLU network without
    biases, drawn from the seed, scaled to unit variance over train and evaluation points together (not centred; default
    on sphere and gaussian); product: x_1 x_2; column: from the file (always and only there)"""
    frequencies: axis(Frequency) | None = None
    """q_k of target fourier (default 1, 2, 4); on N equal angles less than N/2, as higher ones look like lower ones"""
    amplitudes: axis(Number) | None = None
    """a_k of target fourier (default 1 each)"""
    phases: axis(Number) | None = None
    """phi_k of target fourier, in radians (default 0 each)"""
    teacher_widths: axis(Annotated[int, Field(strict=True, ge=1, le=10**4)]) | None = None
    """hidden widths of target teacher (default one hidden layer of 32)"""
    noise: NonNegative = 0.0
    """standard deviation of Gaussian noise on the train labels; evaluation labels have none"""

    @property
    def law(self) -> str:
        """The target, by its default where it is not given."""
        return self.target or _DEFAULT_TARGETS[self.kind]

    @model_validator(mode="after")
    def _fits(self) -> DataConfig:
        chosen = {"kind": self.kind, "target": self.law}
        for key, (on, values) in _ONLY_WITH.items():
            if getattr(self, key) is not None and chosen[on] not in values:
                allowed = " or ".join(map(repr, values))
                raise wrong((key,), f"left out unless {on} is {allowed}; {on} was {chosen[on]!r}")
        if self.kind == "file" and self.path is None:
            raise wrong(("path",), "given when kind is 'file'; it had none")
        if (self.kind == "file") != (self.law == "column"):
            raise wrong(("target",), f"'column' exactly when kind is 'file'; it was {self.law!r}")
        if self.law == "fourier" and self.kind != "circle":
            raise wrong(("target",), f"'fourier' only when kind is 'circle'; kind was {self.kind!r}")
        if self.dim == 1 and (self.kind == "circle" or self.law == "product"):
            what = "on the circle" if self.kind == "circle" else "with target 'product'"
            raise wrong(("dim",), f"at least 2 {what}; it was 1")
        if (numbers := (self.train + self.eval) * (self.dim or 1)) > MOST_NUMBERS:
            must = f"at most {MOST_NUMBERS} coordinates of all points, (train + eval) times dim"
            raise wrong(("dim",), f"{must}; they were {numbers}")
        if self.law == "fourier":
            self._check_modes()
        return self

    def _check_modes(self) -> None:
        frequencies = self.frequencies or DEFAULT_FREQUENCIES
        refuse_twice(self, "frequencies")
        if self.angles != "uniform" and 2 * max(frequencies) >= self.train:
            must = f"less than train/2 = {self.train / 2:g} on equal angles, which cannot tell higher from lower ones"
            raise wrong(("frequencies",), f"{must}; the largest was {max(frequencies)}")
        for key in ("amplitudes", "phases"):
            values = getattr(self, key)
            if values is not None and len(values) != len(frequencies):
                raise wrong((key,), f"one for each of the {len(frequencies)} frequencies; {len(values)} given")
