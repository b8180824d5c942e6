"""What the figures of training share: cells as rows, the curve that they follow, quartiles over finished runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.lines import Line2D

from ntkpipe.config.train import RegimesConfig
from ntkpipe.figures import style
from ntkpipe.figures.style import Data
from ntkpipe.kinds.trajectory.scaling import GROUP

MARKERS = ("o", "s", "^", "D", "v", "P")
ORDERS = dict(enumerate(("#000000", "#0072B2", "#D55E00")))
"""Colours of the Dyson orders, told apart by the colour-blind and in grey."""


def cells_of(data: Data, name: str = "perturbation") -> pd.DataFrame:
    """Cells with hidden layers of one width, in the order of beta; ``cell`` is the place in the dataset.

    With the columns ``runs`` and ``finished`` (not diverged).

    Raises
    ------
    NothingToDraw: there is none, or every run of every one diverged.
    """
    dataset = data[name]
    frame = dataset.drop_dims([dim for dim in dataset.dims if dim != "cell"]).to_dataframe().reset_index(drop=True)
    end = np.isfinite(data["perturbation"]["loss"].values[..., -1])
    frame = frame.assign(cell=np.arange(len(frame)), runs=end.shape[1], finished=end.sum(axis=1))
    frame = frame[(frame.width > 0) & (frame.depth > 0)].sort_values(["beta", "width"], kind="stable")
    if frame.empty:
        raise style.NothingToDraw("it shows networks with hidden layers of one width; this study has none")
    if not frame.finished.any():
        raise style.NothingToDraw("it shows runs that did not diverge; this study has none")
    return frame


def one_setting(frame: pd.DataFrame, like: pd.Series | None = None, eta: bool = True) -> pd.DataFrame:
    """Rows that differ in width and depth alone: those of ``like``, or of the setting that most cells share.

    Of equals descent, then the one with most finished runs, then the smallest step size. Without ``eta`` step sizes
    vary too.
    """
    keys = [*GROUP, "eta_unit", *(["eta"] if eta else [])]
    if like is None:
        groups = frame.groupby([*GROUP, "eta_unit", "eta"], sort=True)
        rank = groups.finished.agg(["size", "sum"]).reset_index()
        rank = rank[rank["size"] == rank["size"].max()]
        rank = rank[rank.training == "gd"] if (rank.training == "gd").any() else rank
        like = rank.sort_values(["sum", "eta"], ascending=[False, True], kind="stable").iloc[0]
    return frame[(frame[keys] == like[keys]).all(axis=1)]


def base(data: Data) -> pd.DataFrame:
    """The cells that the figures follow over beta: :func:`one_setting` of ``perturbation``, with a finished run."""
    frame = one_setting(cells_of(data))
    return frame[frame.finished > 0]


def few(frame: pd.DataFrame, most: int = 4) -> pd.DataFrame:
    """Up to ``most`` cells from small to large beta: of one depth if it has several widths, else of one width."""
    for fixed, varied in (("depth", "width"), ("width", "depth")):
        counts = frame.groupby(fixed)[varied].nunique()
        if counts.max() > 1:
            frame = frame[frame[fixed] == counts.idxmax()]
            break
    frame = frame.drop_duplicates("beta").sort_values("beta")
    return frame.iloc[np.unique(np.linspace(0, len(frame) - 1, min(most, len(frame))).round().astype(int))]


def finished(dataset: xr.Dataset, row: pd.Series, name: str, **at: int) -> np.ndarray:
    """A variable of a cell, runs that diverged left out: they enter no mean. ``at``: places along the dims it has."""
    end = np.isfinite(dataset["loss"].values[int(row.cell), :, -1])
    return dataset[name].load().isel(cell=int(row.cell)).isel(at, missing_dims="ignore").values[end]


def quartiles(values: np.ndarray) -> np.ndarray:
    """25, 50 and 75 % over the first dimension; inf is a value, NaN is not."""
    values = np.asarray(values, float)
    gone = np.isnan(values)
    with np.errstate(invalid="ignore"):
        out = np.quantile(np.where(gone, np.inf, values), [0.25, 0.5, 0.75], axis=0, method="inverted_cdf")
    return out if not gone.any() else np.apply_along_axis(_known, 0, values)


def _known(column: np.ndarray) -> np.ndarray:
    known = column[~np.isnan(column)]
    return np.quantile(known, [0.25, 0.5, 0.75], method="inverted_cdf") if len(known) else np.full(3, np.nan)


def colours_of(rows: pd.DataFrame) -> dict:
    """A colour for each beta."""
    return style.palette(set(rows.beta))


def band(axis, x: np.ndarray, values: np.ndarray, colour, line: str = "-", positive: bool = True, **kwargs) -> None:
    """Median and quartile band against the median time, where that is positive and both are finite (and positive)."""
    low, middle, high = quartiles(values)
    at = np.median(x, axis=0)
    good = (at > 0) & np.isfinite(middle) & ((middle > 0) | (not positive))
    axis.plot(at[good], middle[good], line, color=colour, linewidth=1.2, **kwargs)
    axis.fill_between(at[good], low[good], high[good], color=colour, alpha=0.15, linewidth=0)


def said(row: pd.Series) -> str:
    """A cell in a legend: beta, width, depth, and how many runs diverged."""
    lost = int(row.runs - row.finished)
    text = rf"$\beta$ = {row.beta:.3g} (width {row.width}, depth {row.depth})"
    return text + (f", {lost} of {row.runs} diverged" if lost else "")


def step_said(row: pd.Series) -> str:
    """The setting in a title: activation, method and step size."""
    unit = r" $\times\,2/(s\lambda_{max}(K_0))$" if row.eta_unit == "critical" else ""
    return rf"{row.activation}, {row.training}, $\eta$ = {row.eta:g}{unit}"


def read_as(data: Data) -> RegimesConfig:
    """The tolerances of the study, as its datasets carry them."""
    return RegimesConfig.model_validate(data["perturbation"].attrs.get("config", {}).get("regimes") or {})


def tolerance_lines(axis, tolerances: tuple[float, ...]) -> Line2D:
    """Draw the tolerances of the lazy regime; the handle for a legend."""
    for tolerance in tolerances:
        axis.axhline(tolerance, color="0.5", linewidth=0.9, linestyle=":")
    return Line2D([], [], color="0.5", linestyle=":", label=f"lazy below {' or '.join(f'{t:g}' for t in tolerances)}")


def interval(row: pd.Series, name: str) -> tuple[float, list[list[float]]]:
    """An estimate with the lengths of its bars; none where the interval is not known."""
    value, low, high = (float(row[f"{name}{end}"]) for end in ("", "_low", "_high"))
    return value, [[max(value - low, 0) if low == low else 0.0], [max(high - value, 0) if high == high else 0.0]]


def chosen_ridge(dataset, row: pd.Series) -> int:
    """The ridge with the smallest leave-one-out error on the train points, kernel at the end, from zero."""
    zero = list(dataset.start.values).index("zero")
    errors = finished(dataset, row, "loo_mse", start=zero)[:, -1]
    middle = np.nanmedian(np.where(np.isfinite(errors).any(axis=0), errors, np.inf), axis=0)
    return int(np.nanargmin(middle))
