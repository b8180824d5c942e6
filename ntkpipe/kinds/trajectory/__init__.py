"""Kind ``trajectory``: networks in training, K_t = K_0 + DeltaK_t, its perturbation theory, and regimes in beta."""

from __future__ import annotations

from typing import Any

from ntkpipe.config.errors import wrong
from ntkpipe.kinds import Kind, check_own_points

SECTION = "docs/theory.md section 5"


def coords(train: Any) -> dict[str, Any]:
    """Coordinates that training gives a cell."""
    return {"eta": train.eta, "eta_unit": train.eta_unit, "training": train.method, "loss_kind": train.loss}


def check(config: Any) -> None:
    """Kernels are kept, the points are those of ``data``, and batches are smaller than it."""
    train, data = config.settings, config.data
    if data is None:
        raise ValueError("given data where kind is 'trajectory'; it had none")
    check_own_points(config, "those of data")
    methods = {method for grid in config.grid for method in grid.method or (train.method,)}
    for key in ("rtol", "atol") if "flow" not in methods else ():
        if (value := getattr(train, key)) != type(train).model_fields[key].default:
            raise wrong(("train", key), f"left out where the method of no cell is 'flow'; it was {value:g}")
    if "sgd" in methods and train.batch is None:
        raise wrong(("train", "batch"), "given where the method of a cell is 'sgd'; it had none")
    if "sgd" not in methods and train.batch is not None:
        raise wrong(("train", "batch"), f"left out where the method of no cell is 'sgd'; it was {train.batch}")
    if train.batch is not None and train.batch > data.train:
        raise wrong(("train", "batch"), f"at most data.train = {data.train}; it was {train.batch}")


def points(config: Any, path: str) -> tuple[int, int, str]:
    """Number and dimension of the train points, and what identifies points and labels."""
    from ntkpipe import data

    made = data.make(config.data, config.seed, f"{path}.data")
    return (*made.x_train.shape, data.fingerprint(made))


def stored(config: Any) -> int:
    """Bytes of a trajectory: kernels on train, and on eval x train, at each snapshot."""
    train, (n, m) = config.settings, (config.data.train, config.data.eval)
    kernels = (3 if train.tensors else 1) + (1 + max(map(deepest, config.grid)) if train.per_layer else 0)
    return 8 * len(train.snapshot_steps) * (n * n * kernels + n * m + 2 * n + m + 4)


def deepest(grid: Any) -> int:
    """Most hidden layers that a grid may have."""
    if grid.widths is not None:
        return max(map(len, grid.widths))
    return max(grid.depth or (max(1, round(beta * width)) for beta in grid.beta for width in grid.width))


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
        "ntk_layers": ("what each layer contributes to K_t; NaN beyond the last layer", "docs/theory.md section 1"),
        "f_linear_train": ("f_0 + <grad f(theta_0), theta_t - theta_0>", "thesis (2.1)"),
        "distance": ("|theta_t - theta_0| in the trained variables", ""),
        "remainder": ("|f(theta') - f(theta) + eta s K_t r|_2 of one full-batch step", "thesis (2.3)"),
        "flow_error": (
            "|f - f'|/|r_0|, f' by a hundredth of the tolerances and a quarter of the smallest step (first of eight)",
            "",
        ),
        "ntk_third": ("K_t predicted from initialization by K3", SECTION),
        "ntk_fourth": ("K_t predicted from initialization by K3 and K4", SECTION),
        "eta_used": ("step size", ""),
        "status": ("0: finished; 1: diverged; 2: the flow ran out of integrator steps, NaN from there on", ""),
        "diverged_time": ("flow time at which the loss first exceeded train.divergence times its first value", ""),
    },
    sums={},
    columns={
        "perturbation": [
            "depth", "width", "beta", "eta", "training", "drift_end", "drift_end_low", "drift_end_high", "order_0_end",
            "order_0_end_low", "order_0_end_high", "order_1_end", "order_2_end", "forcing_end",
            "linearization_error_end", "training_flops", "regression_flops",
        ],
        "regimes": [
            "depth", "width", "beta", "eta", "load", "n_runs", "lazy", "lazy_low", "lazy_high", "weak", "weak_low",
            "weak_high", "strong", "strong_low", "strong_high", "dead", "dead_low", "dead_high", "unstable",
            "unstable_low", "unstable_high",
        ],
        "rkhs": [
            "depth", "width", "beta", "eta", "training", "n_runs", "target_norm_change", "target_norm_change_low",
            "target_norm_change_high", "target_singular", "inclusion", "inclusion_low", "inclusion_high",
            "inclusion_back", "inclusion_back_low", "inclusion_back_high", "decay_start", "decay_end", "decay_misfit",
            "decay_to", "rank_change", "loss_left", "network_error", "kernel_error_start", "kernel_error_end",
        ],
        "norms": [
            "depth", "width", "beta", "eta", "step", "time", "diag_reg", "quantity", "estimate", "low", "high",
            "n_runs", "n_all",
        ],
        "fits": [
            "eta", "eta_unit", "quantity", "at", "method", "tolerance", "width", "depth", "estimate", "low", "high",
            "r2", "scatter", "n_cells", "n_runs", "n_all",
        ],
    },
    tables=lambda study: ["perturbation", "regimes", "fits", "rkhs", "norms"],
    figures=lambda study: [
        "regimes_answer", "thresholds", "paths", "kernel", "predicted", "freeze", "regression", "stop", "rkhs",
        "spaces",
        *(["frequencies"] if study.config.data.kind == "circle" else []),
        *(["methods"] if len({cell.settings.method for cell in study.cells}) > 1 else []),
        *(["hierarchy"] if study.config.settings.tensors else []),
    ],
    collection="trajectories",
    quantum=8,
    resumes=True,
    settings="train",
    own=("data", "regimes"),
    axes=("eta", "method"),
    coords=coords,
    long_names={
        "eta": "step size, in eta_unit",
        "eta_unit": "unit of eta: absolute, or critical = 2/(s lambda_max(K_0))",
        "training": "gd, sgd or flow",
        "loss_kind": "half_sum or mean",
    },
    check=check,
    points=points,
    stored=stored,
    sizes=lambda study: {"layer": 1 + max(cell.network.depth for cell in study.cells)},
)  # fmt: skip
