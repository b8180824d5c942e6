"""Fits are rows: numbers with a meaning, and coordinates that say which fit it is."""

import numpy as np
import pandas as pd
import pytest

from ntkpipe import config, labels, plan

MEANING = {"estimate": "a slope", "n_cells": "cells used"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    keys = {"kind": "initialization", "grid": {"width": 4, "depth": 1}, "seeds": 8}
    tree = {"results": str(tmp_path_factory.mktemp("labels")), "studies": {"s": keys}}
    return plan.make(config.parse(tree)).studies["s"]


def test_fits_have_numbers_with_a_meaning_and_coordinates_that_name_them(study):
    rows = [{"width": 4, "method": "slope", "estimate": 1, "n_cells": 3.0}] * 2
    found = labels.fits(study, pd.DataFrame(rows), MEANING, {"slope": "of a line"})
    assert set(found.data_vars) == set(MEANING) and set(found.coords) == {"width", "method"}
    assert found.estimate.dtype == float and found.n_cells.dtype.kind == found.width.dtype.kind == "i"
    assert found.method.dtype == object and list(found.method.values) == ["slope", "slope"]
    assert found.estimate.attrs == {"long_name": "a slope", "units": "1"}
    assert found.attrs["methods"] == {"slope": "of a line"} and found.width.attrs["long_name"]


def test_no_fit_is_a_dataset_without_rows(study):
    found = labels.fits(study, pd.DataFrame([], columns=["width", "method", *MEANING]), MEANING, {})
    assert found.sizes["fit"] == 0 and set(found.data_vars) == set(MEANING)
    np.testing.assert_array_equal(found.estimate, np.empty(0))
