"""Settings of linear studies: data, initialization and training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkpipe.config.errors import refuse_twice, wrong
from ntkpipe.config.models import ETA_UNITS, Count, NonNegative, Positive, Size, axis
from ntkpipe.config.train import ScheduleConfig


class LinearConfig(ScheduleConfig):
    """Linear networks, where training is solved: depth 0 is the linear model x.w, the others a product of matrices.

    The linear model fits noisy labels of a random teacher; the deep networks, weights with entries of variance
    scale^2/width (standard) or scale^2/fan_in (ntk), learn a matrix with given singular values from whitened inputs.
    """

    eta: Positive = 0.25
    """step size"""
    eta_unit: Literal[ETA_UNITS] = "critical"
    """critical: in units of 2/lambda_max(A) of the linear model, of 2/(k + k') of deep networks, k that of K_0 at
    infinite width, k' (0 in ntk) the largest of K of a balanced network that has learned; absolute: as it stands"""
    steps: Count = 300
    """number of steps; gradient flow runs over the same time"""
    snapshots: Annotated[int, Field(strict=True, ge=2, le=10**5)] = 41
    """number of snapshots, initialization and end included; fewer where the default exceeds the steps"""
    scale: Positive = 1.0
    """standard deviation of the initial weights over that of unit scale; of the linear model |w_0| is about this"""
    dim: Size = 8
    """input dimension n_0"""
    points: axis(Size) = (4, 24)
    """linear model: numbers of train points; fewer than dim: many solutions, more: none"""
    condition: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] = 10.0
    """linear model: largest over smallest eigenvalue of X X^T on its range; the spectrum is geometric, from 1 down"""
    noise: NonNegative = 0.3
    """linear model: standard deviation of the labels' noise; the teacher w has |w| about 1"""
    outputs: Size = 3
    """deep networks: number of outputs"""
    singular_values: axis(Positive) = (2.0, 1.0, 0.5)
    """deep networks: singular values of the matrix to learn, falling; at most as many as inputs and as outputs"""
    mode_start: Positive = 0.01
    """deep networks: every singular value of the balanced initial product (Saxe et al. 2014)"""
    halvings: Annotated[int, Field(strict=True, ge=3, le=30)] = 3
    """deep networks: how often the step is halved, and the number of steps doubled, to measure orders of convergence"""
    flow_width: Count = 32
    """deep networks: up to this width flow, balanced networks, halved steps and the autodiff kernel are computed too"""
    rtol: Positive = 1e-9
    """relative tolerance of the flow's integrator"""
    atol: Positive = 1e-11
    """absolute tolerance of the flow's integrator"""
    lazy: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.1
    """deep networks: lazy while |K_t - K_0|_F/|K_0|_F at the end is below this; the scale where it passes is fitted"""

    @model_validator(mode="after")
    def _fits(self) -> LinearConfig:
        refuse_twice(self, "points")
        values = self.singular_values
        if list(values) != sorted(set(values), reverse=True):
            raise wrong(("singular_values",), f"falling; they were {list(values)}")
        for key in ("dim", "outputs"):
            if len(values) > getattr(self, key):
                must = f"at most {key} = {getattr(self, key)} values; they were {list(values)}"
                raise wrong(("singular_values",), must)
        if self.mode_start >= values[-1]:
            raise wrong(
                ("mode_start",), f"below the smallest singular value {values[-1]:g}; it was {self.mode_start:g}"
            )
        return self
