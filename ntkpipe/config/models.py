"""The parts of a study: network, grid, inputs, step, tolerances, fits; and how work is cut into jobs."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from ntkpipe.networks import ACTIVATIONS, BIAS_INITS, MEAN_FIELD, PARAMETRIZATIONS, READOUTS

ETA_UNITS = ("absolute", "critical")
METHODS = ("gd", "sgd", "flow")
ENGINES = ("auto", "exact", "scalar", "matrix_free", "dense")

MOST_DEPTH = 10**5
MOST_NUMBERS = 10**8
"""Coordinates of all points of a study together; 0.8 GB."""
Width = Annotated[int, Field(strict=True, ge=1, le=10**12)]
Depth = Annotated[int, Field(strict=True, ge=0, le=MOST_DEPTH)]
Count = Annotated[int, Field(strict=True, ge=1, le=10**15)]
Size = Annotated[int, Field(strict=True, ge=1, le=10**6)]
"""Number of points or dimensions, which are held in memory."""
Angles = Annotated[int, Field(strict=True, ge=8, le=10**5)]
"""Number of equal angles: fewer than 8 cannot tell cos(3 theta) from a lower mode."""
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Scale = Annotated[float, Field(strict=True, gt=0, le=1e100, allow_inf_nan=False)]
Label = Annotated[float, Field(strict=True, allow_inf_nan=False)] | Literal["normal"]


def _plain(text: str) -> str:
    """One text for one density: halves:4.0 is halves:4."""
    name, colon, number = text.partition(":")
    try:
        return name + colon + repr(float(number)).removesuffix(".0")
    except ValueError:
        return text


DensityText = Annotated[str, Field(strict=True), AfterValidator(_plain)]
"""Name of a density with its parameter, or a file; see eigenmodes.density."""


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


def axis(item: Any) -> Any:
    """A grid axis: a non-empty list; a single value stands for a list of one."""
    return Annotated[tuple[item, ...], BeforeValidator(_as_list), Field(min_length=1)]


class Model(BaseModel):
    """Frozen, rejects unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def varied(self, values: dict[str, Any]) -> Model:
        """A copy with the values that a grid gives one of its cells."""
        return self.model_copy(update=values)


class NetworkConfig(Model):
    """The fully-connected network, apart from its widths."""

    activation: Literal[ACTIVATIONS] = "relu"
    """elementwise nonlinearity of the hidden layers"""
    negative_slope: NonNegative = 0.01
    """slope of leaky_relu for z < 0"""
    parametrization: Literal[(*PARAMETRIZATIONS, MEAN_FIELD)] = "ntk"
    """ntk: W = sqrt(c/fan_in) w, w trained; standard: W itself is trained; same law at initialization; mean_field: an
    average over the units instead, with its step size (kind mean_field alone)"""
    sigma_w: Scale = 2**0.5
    """c = sigma_w^2 in hidden layers; sqrt(2) is He's scale"""
    sigma_v: Scale = 1.0
    """c = sigma_v^2 in the output layer"""
    bias_init: Literal[BIAS_INITS] = "none"
    """none: no biases; zero: trained, start at 0 (Hanin & Nica's K_b); normal: start at sigma_b N(0, 1)"""
    sigma_b: Scale = 1.0
    """scale of the biases: z = W h + sigma_b b (ntk parametrization)"""
    output_bias: bool = Field(default=True, strict=True)
    """whether the output has a bias too, where there are biases"""
    readout: Literal[READOUTS] = "trained"
    """frozen: the output layer stays as drawn and adds nothing to the kernel"""


class GridConfig(Model):
    """Axes of a grid: the cells are their full product. `widths`, or `width` with `depth` or `beta`."""

    depth: axis(Depth) | None = None
    """numbers of hidden layers"""
    width: axis(Width) | None = None
    """hidden widths, the same in every layer"""
    widths: Annotated[tuple[tuple[Width, ...], ...], Field(min_length=1)] | None = None
    """hidden widths layer by layer, a list of lists; instead of width and depth"""
    beta: axis(Positive) | None = None
    """values of depth/width from which depth = round(beta * width) is derived; instead of depth"""
    max_depth: Annotated[int, Field(strict=True, ge=1, le=MOST_DEPTH)] | None = None
    """with beta: derived depths beyond this (or that round to 0) are left out, and the plan says so"""
    activation: axis(Literal[ACTIVATIONS]) | None = None
    """values of network.activation"""
    parametrization: axis(Literal[(*PARAMETRIZATIONS, MEAN_FIELD)]) | None = None
    """values of network.parametrization"""
    bias_init: axis(Literal[BIAS_INITS]) | None = None
    """values of network.bias_init"""
    sigma_w: axis(Scale) | None = None
    """values of network.sigma_w"""
    sigma_v: axis(Scale) | None = None
    """values of network.sigma_v"""
    sigma_b: axis(Scale) | None = None
    """values of network.sigma_b; several only where there are biases"""
    readout: axis(Literal[READOUTS]) | None = None
    """values of network.readout"""
    engine: axis(Literal[ENGINES]) | None = None
    """values of engine"""
    sampling: axis(Literal["plain", "guided"]) | None = None
    """values of sampling"""
    eta: axis(Positive) | None = None
    """values of eta: of step (first_step), of train (trajectory, infinite_width), or of the settings of its kind"""
    eta_unit: axis(Literal[ETA_UNITS]) | None = None
    """values of step.eta_unit (first_step)"""
    method: axis(Literal[METHODS]) | None = None
    """values of train.method (trajectory, infinite_width) or mean_field.method; cells that differ in method or eta
    train the same networks"""
    label: axis(Label) | None = None
    """values of step.label (first_step)"""
    train: axis(Angles) | None = None
    """numbers of train points: of membership and eigenmodes, whose cells that differ in it train the same networks; of
    finite_sample, which draws points, noise and networks anew for each"""
    steps: axis(Count) | None = None
    """values of membership.steps; cells that differ in it train the same networks"""
    density: axis(DensityText) | None = None
    """values of eigenmodes.density"""
    noise: axis(NonNegative) | None = None
    """values of finite_sample.noise"""
    scale: axis(Positive) | None = None
    """values of linear.scale or eigenmodes.scale"""

    @model_validator(mode="after")
    def _shape(self) -> GridConfig:
        if self.widths is not None:
            if self.width or self.depth is not None or self.beta:
                raise ValueError("either widths, or width with depth or beta; it had both")
        elif self.width is None:
            raise ValueError("given a width (or widths); it had none")
        elif (self.depth is None) == (self.beta is None):
            raise ValueError(f"given depth or beta; it had {'neither' if self.depth is None else 'both'}")
        if self.max_depth is not None and self.beta is None:
            raise ValueError("without max_depth unless beta is given; it had max_depth alone")
        return self


class InputsConfig(Model):
    """The points on which the kernel is evaluated."""

    kind: Literal["sphere", "circle", "file"] = "sphere"
    """sphere: random directions in dim dimensions, fixed by seed; circle: equal angles in the plane
    (dim 2, or embedded in dim dimensions); file: rows of a csv, npy or npz file"""
    points: Size | None = None
    """number of points (default 1; for a file: all rows)"""
    dim: Size | None = None
    """input dimension n_0 (default 10 on the sphere, 2 on the circle; a file brings its own)"""
    norm: Positive | None = None
    """|x| of every point on sphere and circle (default 1)"""
    keep: Literal["gram", "diagonal"] = "gram"
    """gram: K on all pairs of points; diagonal: K(x, x) of each point only (probes)"""
    path: str | None = None
    """data file, relative to the working directory; only with kind: file"""

    @model_validator(mode="after")
    def _fits(self) -> InputsConfig:
        if (self.kind == "file") != (self.path is not None):
            raise ValueError(f"given a path exactly when kind is 'file'; kind was {self.kind!r} and path {self.path!r}")
        if self.kind == "file" and (self.dim is not None or self.norm is not None):
            raise ValueError("without dim and norm when kind is 'file' (the file brings both)")
        if self.kind == "circle" and self.dim is not None and self.dim < 2:
            raise ValueError(f"given dim of at least 2 on the circle; dim was {self.dim}")
        if (numbers := (self.points or 1) * (self.dim or 1)) > MOST_NUMBERS:
            raise ValueError(f"given at most {MOST_NUMBERS} coordinates, points times dim; they were {numbers}")
        return self


class StepConfig(Model):
    """One gradient step of the loss 1/2 sum (f - y)^2 on the first ``train`` of the points."""

    eta: Positive = 0.1
    """step size"""
    eta_unit: Literal[ETA_UNITS] = "absolute"
    """absolute; or critical: in units of 2/lambda_max(K_0), where gradient descent on a fixed kernel diverges"""
    label: Label = 0.0
    """y of every train point: a number, or `normal` (drawn N(0, 1), anew for each network)"""
    train: Size = 1
    """points in the batch; the kernel's change is recorded on them and on the remaining points"""


class TolerancesConfig(Model):
    """When an estimate is trusted."""

    relative_error: Positive = 0.03
    """an S2 estimate whose exact relative standard error is larger is flagged undersampled"""
    ess: Positive = 3000.0
    """where there is no exact standard error: one with a smaller effective sample size is flagged, if the law
    is heavy-tailed by tail_weight"""
    tail_weight: Positive = 4.0
    """draws per effective draw, n/ess, from which a law counts as heavy-tailed (a Gaussian K has at most 3)"""
    tail_share: Positive = 0.1
    """or one whose 16 largest draws hold more than this share of the sum of K^2"""
    step_relative_error: Positive = 0.05
    """first_step: a mean is flagged where the exact relative standard error of E[K^2], whose tail it has, is larger"""
    block_ess: Positive = 30.0
    """first_step, where there is no exact law: flagged where fewer blocks of networks hold the sum of DeltaK^2"""
    precision_floor: Positive = 1e-13
    """Gram eigenvalues below this times the largest are below rounding: not read as numbers"""
    confidence: Annotated[float, Field(strict=True, gt=0.5, lt=1)] = 0.95
    """nominal coverage of all intervals"""


class FitsConfig(Model):
    """Fits of exp(c beta), and of where a step stops being linear."""

    beta_min: NonNegative = 0.05
    """smallest beta that a fit uses"""
    beta_max: Positive = 1.0
    """largest beta that a fit uses"""
    linear_tolerance: Positive = 0.2
    """first_step: the linear regime ends at eta*, where the slope E[DeltaK]/eta departs by this share"""

    @model_validator(mode="after")
    def _ordered(self) -> FitsConfig:
        if self.beta_min >= self.beta_max:
            raise ValueError(f"given beta_min < beta_max; they were {self.beta_min} and {self.beta_max}")
        return self


class ExecutionConfig(Model):
    """How the work is cut into jobs; changes no result."""

    job_seconds: Positive = 15.0
    """target length of a sampling job by the cost model (local runs: 15; clusters: 1200)"""
    memory_gib: Positive | None = None
    """memory that one job may need (default: this machine's); a study that needs more is refused"""
    gpus: Annotated[int, Field(strict=True, ge=0, le=64)] = 0
    """GPUs that a job of engine dense asks of a cluster; networks then train there if jax has CUDA: other bits"""
    remote: Annotated[str, Field(strict=True)] | None = None
    """s3://bucket/folder that mirrors the results folder: shards are taken from there where they are there already,
    everything made is put there; credentials and endpoint by AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY (or ~/.aws) and
    AWS_ENDPOINT_URL. Datasets then open by xr.open_zarr("s3://bucket/folder/<study>/<name>.zarr")"""
    dask: Literal["embedded", "scheduler"] = "embedded"
    """where cells are collected and analysed: embedded: by two threads of the step; scheduler: by the workers of a
    running dask scheduler, whose address or file DASK_SCHEDULER_ADDRESS or DASK_SCHEDULER_FILE tells; equal numbers"""

    @field_validator("remote")
    @classmethod
    def _a_bucket(cls, remote: str | None) -> str | None:
        bucket, folder = r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", r"/[A-Za-z0-9_=+,@-][A-Za-z0-9_.=+,@-]*"
        if remote is not None and not re.fullmatch(f"{bucket}({folder})*/?", remote):
            raise ValueError(
                "s3://bucket or s3://bucket/folder (bucket: 3 to 63 of a-z, 0-9, . and -; folders: letters, digits and "
                f"_ . = + , @ -, not beginning with a dot); it was {remote!r}"
            )
        return remote
