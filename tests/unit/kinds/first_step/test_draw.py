"""First steps: what a grid varies, and sums that are plain numpy on the draws."""

import numpy as np
import pytest

from ntkpipe import kinds, shards


def test_axes_of_a_kind_vary_its_settings(make_study):
    study = make_study(
        kind="first_step",
        grid={"width": 4, "depth": 1, "eta": [0.1, 0.2], "label": [1.0, "normal"]},
        step={"eta_unit": "critical"},
    )
    found = [(cell.settings.eta, cell.settings.label, cell.settings.eta_unit) for cell in study.cells]
    assert found == [(eta, label, "critical") for eta in (0.1, 0.2) for label in (1.0, "normal")]
    assert [cell.coords["label"] for cell in study.cells[:2]] == ["1.0", "normal"]
    assert len({cell.text for cell in study.cells}) == 4 and '"step"' in study.cells[0].text
    assert make_study().cells[0].settings is None


def test_first_step_sums_are_plain_numpy_on_the_draws(make_study, tmp_path, draw_study):
    study = make_study(results=tmp_path, kind="first_step", grid={"width": 8, "depth": 2}, seeds=1500)
    draw_study(study)
    parts = [shards.read(shard.path)[0] for shard in study.shards]
    arrays = {name: np.concatenate([part[name][1] for part in parts]) for name in parts[0]}
    sums = dict(zip(kinds.of(study).statistics, arrays["sums"].sum(0), strict=True))
    k, delta, linear = (arrays[name] for name in ("ntk", "delta_ntk", "delta_ntk_linear"))
    for name, value in (("count", np.ones(1500)), ("ntk_0", k), ("delta", delta), ("linear", linear)):
        assert sums[name] == pytest.approx(value.sum(), rel=1e-11)
    assert sums["flip"] == pytest.approx((delta - linear).sum(), rel=1e-9)
    assert sums["alive"] == np.sum(k > 0) and sums["grown"] == np.sum(delta > 0)
