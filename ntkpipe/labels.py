"""Coordinates, long names and units of the datasets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkpipe import kinds, provenance
from ntkpipe.plan import Cell, Study


def cell_coords(cells: list[Cell]) -> dict[str, tuple[str, np.ndarray]]:
    """Coordinates along ``cell``; text as object arrays."""
    coords = {}
    for name in cells[0].coords:
        values = [cell.coords[name] for cell in cells]
        kind = object if isinstance(values[0], str) else None
        coords[name] = ("cell", np.array(values, dtype=kind))
    return coords


def variable_attrs(long_name: str, source: str = "") -> dict[str, str]:
    """Attributes of a dimensionless variable, with the equation or paper that it follows."""
    return {"long_name": long_name, "units": "1"} | ({"source": source} if source else {})


def dataset(study: Study, variables: dict[str, Any], coords: dict[str, Any]) -> xr.Dataset:
    """A dataset of a study, with where it comes from and the long names and units of its coordinates."""
    return label(study, xr.Dataset(variables, coords, provenance.attributes(study.config, study.name)))


def fits(study: Study, frame: pd.DataFrame, meaning: dict[str, str], methods: dict[str, str]) -> xr.Dataset:
    """A ``fits`` dataset, one row of ``frame`` a fit.

    The columns in ``meaning`` (name -> long name) are variables, those named n_.. integers; the others are coordinates
    that say which fit it is. ``methods``, name -> what its estimate is, are an attribute.
    """
    variables = {
        name: ("fit", frame[name].to_numpy(int if name.startswith("n_") else float), variable_attrs(text))
        for name, text in meaning.items()
    }
    coords = {
        name: ("fit", frame[name].to_numpy(None if frame[name].dtype.kind in "fi" else object))
        for name in frame.columns
        if name not in meaning
    }
    result = dataset(study, variables, coords)
    result.attrs["methods"] = methods
    return result


def label(study: Study, dataset: xr.Dataset) -> xr.Dataset:
    """Give coordinates their long names and units."""
    names = {
        "depth": "number of hidden layers",
        "width": "hidden width (0 where it varies by layer)",
        "widths": "hidden widths, layer by layer",
        "beta": "sum over hidden layers of 1/width",
        "sigma_b": "scale of the biases",
    } | kinds.of(study).long_names
    for name in dataset.coords:
        long_name = names.get(str(name), str(name).replace("_", " "))
        dataset[name].attrs |= {"long_name": long_name, "units": "rad" if name == "angle" else "1"}
    return dataset
