"""First steps: what a grid varies, and sums that are plain numpy on the draws."""

import numpy as np
import pytest

from ntkpipe import kinds, shards
from ntkpipe.errors import ConfigError


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
    assert sums["rest"] == pytest.approx((delta - linear).sum(), rel=1e-9)
    assert sums["alive"] == np.sum(k > 0) and sums["grown"] == np.sum(delta > 0)


def _arrays(study) -> list[dict]:
    return [shards.read(shard.path)[0] for shard in study.shards]


def test_step_sizes_and_labels_share_their_networks(make_study, tmp_path, draw_study):
    study = make_study(
        results=tmp_path, kind="first_step", grid={"width": 8, "depth": 2, "eta": [0.1, 0.4], "label": [0.0, 1.0]}
    )
    draw_study(study)
    one, *others = _arrays(study)
    for other in others:
        np.testing.assert_array_equal(one["ntk"][1], other["ntk"][1])
    jumps = [arrays["sums"][1][:, kinds.of(study).statistics.index("jump")] for arrays in (one, *others)]
    assert len({jump.sum() for jump in jumps}) == 4  # the predictions are independent of each other


def test_scalar_draws_leave_the_finite_step_open(make_study, tmp_path, draw_study):
    study = make_study(results=tmp_path, kind="first_step", engine="scalar", grid={"width": 8, "depth": 2})
    draw_study(study)
    (arrays,) = _arrays(study)
    assert np.isnan(arrays["delta_ntk"][1]).all() and np.isnan(arrays["flipped_fraction"][1]).all()
    assert np.isfinite(arrays["delta_ntk_linear"][1]).all() and np.isfinite(arrays["ntk"][1]).all()


def test_gram_sums_are_those_of_the_draws(make_study, tmp_path, draw_study):
    study = make_study(
        results=tmp_path,
        kind="first_step",
        grid={"width": 8, "depth": 2},
        inputs={"kind": "circle", "points": 3},
        step={"train": 2, "label": "normal"},
    )
    draw_study(study)
    (arrays,) = _arrays(study)
    for name, source in (("gram_sum", "ntk"), ("delta_gram_sum", "delta_ntk")):
        np.testing.assert_allclose(arrays[name][1].sum(0), arrays[source][1].sum(0), rtol=1e-12)
    assert arrays["gram_count"][1].sum() == 100
    sums = dict(zip(kinds.of(study).statistics, arrays["sums"][1].sum(0), strict=True))
    diagonal = np.diagonal(arrays["delta_ntk"][1], axis1=1, axis2=2)
    assert sums["delta"] == pytest.approx(diagonal[:, :2].mean(1).sum(), rel=1e-11)
    assert sums["delta_eval"] == pytest.approx(diagonal[:, 2].sum(), rel=1e-11)


def test_exact_engine_is_refused_where_the_step_depends_on_the_network(make_study):
    with pytest.raises(ConfigError, match=r"without engine exact where step\.eta_unit is critical"):
        make_study(kind="first_step", engine="exact", step={"eta_unit": "critical"})
    with pytest.raises(ConfigError, match=r"inputs\.points: must be 1 for engine exact"):
        make_study(kind="first_step", engine="exact", inputs={"kind": "circle", "points": 2})


def test_a_frozen_readout_needs_a_hidden_layer(make_study):
    with pytest.raises(ConfigError, match=r"network\.readout: must be trained"):
        make_study(kind="first_step", network={"readout": "frozen"}, grid={"width": 4, "depth": 0})
