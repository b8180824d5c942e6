"""Settings of training studies: how a network is trained, and how its trajectory is read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ntkpipe.config.errors import refuse_twice, wrong
from ntkpipe.config.models import ETA_UNITS, METHODS, Count, Model, Positive, axis


class ScheduleConfig(Model):
    """Full-batch gradient descent, and when it is looked at."""

    loss: Literal["half_sum", "mean"] = "half_sum"
    """half_sum: (1/2) sum (f - y)^2; mean: that over N; flow time is t = eta * steps (over N for mean)"""
    eta: Positive = 0.25
    """step size"""
    eta_unit: Literal[ETA_UNITS] = "critical"
    """critical: in units of 2/lambda_max of the loss's Hessian at a frozen kernel, 2/lambda_max(K_0) for half_sum;
    absolute: as it stands"""
    steps: Count = 1000
    """number of steps (for flow: its time in units of eta)"""
    snapshots: Annotated[int, Field(strict=True, ge=2, le=10**5)] = 16
    """number of snapshots, initialization and end included; fewer where the default exceeds the steps"""
    spacing: Literal["log", "linear"] = "log"
    """of the snapshots' steps"""
    at: axis(Annotated[int, Field(strict=True, ge=1)]) | None = None
    """steps of the snapshots, rising, instead of `snapshots` and `spacing`; initialization is added"""
    divergence: Annotated[float, Field(strict=True, gt=1, allow_inf_nan=False)] = 1e4
    """a run whose loss exceeds this many times its first loss has diverged: recorded as unstable, with its time"""

    @model_validator(mode="after")
    def _snapshots_fit(self) -> ScheduleConfig:
        # the defaults are no choice of the user's: the config that a study writes down has them too
        chosen = [key for key in ("snapshots", "spacing") if getattr(self, key) != type(self).model_fields[key].default]
        if self.at is not None:
            if list(self.at) != sorted(set(self.at)) or self.at[-1] > self.steps:
                raise wrong(("at",), f"rising steps, up to steps = {self.steps}; they were {list(self.at)}")
            for key in chosen:
                raise wrong((key,), f"left out where at gives the steps of the snapshots; it was {getattr(self, key)}")
        elif self.snapshots > self.steps + 1 and "snapshots" in chosen:
            raise wrong(("snapshots",), f"at most steps + 1 = {self.steps + 1}; it was {self.snapshots}")
        return self

    @property
    def snapshot_steps(self) -> tuple[int, ...]:
        """Steps at which snapshots are taken, 0 first; log spacing in whole steps, so early ones may fall together."""
        if self.at is not None:
            return (0, *self.at)
        inner = self.snapshots - 1
        if self.spacing == "linear":
            return tuple(sorted({round(self.steps * i / inner) for i in range(inner + 1)}))
        log = {round(self.steps ** (i / (inner - 1))) for i in range(inner - 1)} | {self.steps}
        return (0, *sorted(log))


class TrainConfig(ScheduleConfig):
    """Training of every network of a study on its train points."""

    method: Literal[METHODS] = "gd"
    """gd: full-batch gradient descent; sgd: minibatches of `batch` points; flow: gradient flow over the same time"""
    batch: Count | None = None
    """points of a minibatch; exactly where a cell's method is sgd"""
    rtol: Positive = 1e-7
    """relative tolerance of the flow's integrator"""
    atol: Positive = 1e-9
    """absolute tolerance of the flow's integrator"""
    tensors: bool = Field(default=False, strict=True)
    """predict K_t from initialization by the third- and fourth-order tensors too (smooth activations)"""
    per_layer: bool = Field(default=False, strict=True)
    """keep what each layer contributes to K_t on the train points too (depth + 1 times the storage of K_t)"""

    def varied(self, values: dict[str, Any]) -> TrainConfig:
        """Those of a cell; without a batch where it takes none, so that a batch changes cells of sgd alone."""
        cell = super().varied(values)
        return cell if cell.method == "sgd" else cell.model_copy(update={"batch": None})


class RegimesConfig(Model):
    """How trajectories are read: tolerances of regimes, and at which time or loss sizes are compared."""

    lazy: axis(Positive) = (0.1, 0.3)
    """a run is lazy while |K_t - K_0|/|K_0| is below this at the end; weak feature learning beyond. The map of regimes
    takes the first; beta* is given for each"""
    strong: Positive = 1.0
    """strong feature learning from here on: the kernel is no perturbation of K_0 any more"""
    loss: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.1
    """sizes at fixed loss are read where the loss first falls below this share of its first value"""
    velocity: Positive = 0.05
    """the kernel is frozen once its relative change per e-fold of time stays below this"""
    diag_reg: axis(Positive) = (1e-8, 1e-4, 1e-2)
    """ridges of kernel regression with a frozen kernel, in units of its mean eigenvalue"""

    @model_validator(mode="after")
    def _ordered(self) -> RegimesConfig:
        if self.strong <= max(self.lazy):
            raise wrong(("lazy",), f"below strong = {self.strong:g}; it was {list(self.lazy)}")
        refuse_twice(self, "lazy", "diag_reg")
        return self
