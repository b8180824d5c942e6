"""Kind ``trajectory``: networks in training, K_t = K_0 + DeltaK_t, its perturbation theory, and regimes in beta."""

from __future__ import annotations

from typing import Any

from ntkpipe.kinds import Kind

SECTION = "docs/theory.md section 5"


def coords(train: Any) -> dict[str, Any]:
    """Coordinates that training gives a cell."""
    return {"eta": train.eta, "eta_unit": train.eta_unit, "method": train.method, "loss_kind": train.loss}


def check(config: Any) -> None:
    """Kernels are kept, the points are those of ``data``, and batches are smaller than it."""
    train, data = config.settings, config.data
    if data is None:
        raise ValueError("given data where kind is 'trajectory'; it had none")
    if config.inputs != type(config.inputs)():
        raise ValueError("without inputs where kind is 'trajectory' (its points are those of data); it had inputs")
    if config.keep != "full":
        raise ValueError(f"given keep: full where kind is 'trajectory'; it was {config.keep!r}")
    if train.batch is not None and train.batch > data.train:
        raise ValueError(f"given train.batch of at most data.train = {data.train}; it was {train.batch}")


def points(config: Any, path: str) -> tuple[int, int, str]:
    """Number and dimension of the train points, and what identifies points and labels."""
    from ntkpipe import data

    made = data.make(config.data, config.seed, f"{path}.data")
    return (*made.x_train.shape, data.fingerprint(made))


def stored(config: Any) -> int:
    """Bytes of a trajectory: kernels on train, and on eval x train, at each snapshot."""
    train, (n, m) = config.settings, (config.data.train, config.data.eval)
    return 8 * len(train.snapshot_steps) * (n * n * (3 if train.tensors else 1) + n * m + 2 * n + m + 4)


KIND = Kind(
    name="trajectory",
    statistics=(),
    draws={
        "time": ("flow time t = eta s k", SECTION),
        "loss": ("training loss", SECTION),
        "f_train": ("network output on the train points", ""),
        "f_eval": ("network output on the evaluation points", ""),
        "ntk_train": ("K_t on the train points", "docs/theory.md section 1"),
        "ntk_eval_train": ("K_t between evaluation and train points", "docs/theory.md section 1"),
        "f_linear_train": ("f_0 + <grad f(theta_0), theta_t - theta_0>", "thesis (2.1)"),
        "distance": ("|theta_t - theta_0| in the trained variables", ""),
        "remainder": ("|f(theta') - f(theta) + eta s K_t r|_2 of one full-batch step", "thesis (2.3)"),
        "flow_error": ("|f - f'|/|r_0| against a hundredth of the tolerances (first network of eight)", ""),
        "ntk_third": ("K_t predicted from initialization by K3", SECTION),
        "ntk_fourth": ("K_t predicted from initialization by K3 and K4", SECTION),
        "eta_used": ("step size", ""),
        "status": ("0: finished; 1: diverged", ""),
        "diverged_time": ("flow time at which the loss first exceeded train.divergence times its first value", ""),
    },
    sums={},
    columns={},
    tables=lambda study: [],
    figures=lambda study: [],
    collection="trajectories",
    quantum=8,
    resumes=True,
    settings="train",
    own=("data", "regimes"),
    axes=("eta",),
    coords=coords,
    long_names={
        "eta": "step size, in eta_unit",
        "eta_unit": "unit of eta: absolute, or critical = 2/(s lambda_max(K_0))",
        "method": "gd, sgd or flow",
        "loss_kind": "half_sum or mean",
    },
    check=check,
    points=points,
    stored=stored,
)
