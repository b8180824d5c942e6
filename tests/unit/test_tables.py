"""Numbers as tables and sentences print them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from ntkpipe import tables


def test_an_interval_is_said_where_it_is_known():
    assert tables.interval(0.12345, 0.1, 0.15) == "0.123 [0.1, 0.15]"
    assert tables.interval(1.5, 1.25, np.inf, ".2f") == "1.50 [1.25, inf]"
    assert tables.interval(0.5, np.nan, np.nan) == "0.5" and tables.interval(np.nan, 0.0, 1.0) == ""
    row = SimpleNamespace(drift=2.0, drift_low=1.0, drift_high=3.0)
    assert tables.interval_of(row, "drift", ".1f") == "2.0 [1.0, 3.0]"


def test_varying_are_the_columns_in_which_rows_differ():
    frame = pd.DataFrame({"depth": [1, 2], "width": [8, 8], "activation": ["relu", "tanh"]})
    assert tables.varying(frame, ("activation", "width", "absent", "depth")) == ["activation", "depth"]
