"""Datasets -> tables: CSV for machines, HTML for the report, booktabs LaTeX for papers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ntkpipe import kinds, store
from ntkpipe.networks import SETTINGS
from ntkpipe.plan import Study


def run(study: Study) -> None:
    """Write every table of a study into ``<folder>/tables``."""
    folder = Path(study.folder) / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for name in kinds.of(study).tables(study):
        frame = load(study, name)
        frame.to_csv(folder / f"{name}.csv", index=False)
        short = frame[columns(study, name, frame)]
        (folder / f"{name}.html").write_text(html(short, f"{study.name}: {name}"))
        (folder / f"{name}.tex").write_text(latex(short, f"{study.name}: {name}"))


def columns(study: Study, name: str, frame: pd.DataFrame) -> list[str]:
    """Columns of a short table: the usual ones, and every setting that varies."""
    usual = kinds.of(study).columns[name]
    return [*(column for column in varying(frame, (*SETTINGS, "engine")) if column not in usual), *usual]


def varying(frame: pd.DataFrame, names: Iterable[str]) -> list[str]:
    """Those of the columns ``names`` in which rows differ, so that each row says which it is."""
    return [name for name in names if name in frame and frame[name].nunique() > 1]


def load(study: Study, name: str) -> pd.DataFrame:
    """A dataset as one row a cell or fit; variables with further dims are left to the dataset."""
    dataset = store.read_rows(Path(study.folder) / f"{name}.zarr")
    rows = next(dim for dim in ("fit", "row", "cell") if dim in dataset.dims)
    return dataset.drop_dims([dim for dim in dataset.dims if dim != rows]).to_dataframe().reset_index(drop=True)


def number(value: object) -> str:
    """Four significant digits; nothing for NaN."""
    if isinstance(value, float):
        return "" if value != value else f"{value:.4g}"
    return str(value)


def interval(value: float, low: float, high: float, digits: str = ".3g") -> str:
    """An estimate with its interval, "x [low, high]"; x alone where no interval is known, nothing for NaN."""
    if np.isnan(value):
        return ""
    return f"{value:{digits}}" + ("" if np.isnan(low) else f" [{low:{digits}}, {high:{digits}}]")


def interval_of(row: Any, name: str, digits: str = ".3g") -> str:
    """The same of a row's ``name``, ``name_low`` and ``name_high``."""
    return interval(*(getattr(row, f"{name}{end}") for end in ("", "_low", "_high")), digits)


def estimate(row: Any, digits: str = ".3g") -> str:
    """The same of a row's ``estimate``, ``low`` and ``high``."""
    return interval(row.estimate, row.low, row.high, digits)


def fit_numbers(row: Any) -> dict[str, Any]:
    """A fit's numbers as the report prints them, from a row of the ``fits`` table."""
    return {
        "c": f"{row.estimate:.3f}",
        "interval": f"[{row.low:.3f}, {row.high:.3f}]",
        "reference": "" if row.reference != row.reference else f"{row.reference:.3f}",
        "limit": "" if row.limit != row.limit else f"{row.limit:.3f}",
        "range": f"{row.beta_min:.3g} to {row.beta_max:.3g}",
        "n_cells": row.n_cells,
    }


def html(frame: pd.DataFrame, title: str) -> str:
    """A table as a small page of its own."""
    body = frame.map(number).to_html(index=False, border=0, escape=True)
    style = (
        "body{font:14px system-ui,sans-serif;margin:1.5em}table{border-collapse:collapse}"
        "th,td{padding:.25em .7em;text-align:right;border-bottom:1px solid #ddd}th{border-bottom:2px solid #333}"
    )
    return f"<!doctype html><meta charset='utf-8'><title>{title}</title><style>{style}</style><h1>{title}</h1>{body}"


def latex(frame: pd.DataFrame, caption: str) -> str:
    """A booktabs table; needs ``\\usepackage{booktabs}``."""
    lines = [" & ".join(_escape(column) for column in frame.columns) + r" \\", r"\midrule"]
    lines += [" & ".join(_escape(number(value)) for value in row) + r" \\" for row in frame.itertuples(index=False)]
    columns = "r" * len(frame.columns)
    body = "\n".join(lines)
    head = r"\begin{table}" + "\n" + rf"\caption{{{_escape(caption)}}}" + "\n"
    return (
        head
        + rf"\begin{{tabular}}{{{columns}}}"
        + f"\n\\toprule\n{body}\n\\bottomrule\n\\end{{tabular}}\n\\end{{table}}\n"
    )


def _escape(text: str) -> str:
    return re.sub(r"([_%&#$])", r"\\\1", text).replace("^", r"\textasciicircum{}")
