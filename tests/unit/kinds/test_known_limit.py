"""A limit kernel that is not known is one error when a study is planned, and none where the study does without it."""

import pytest

from ntkpipe.errors import ConfigError

NORMAL = {"bias_init": "normal", "sigma_b": 0.3}
MEAN_FIELD = {"parametrization": "mean_field", "activation": "gelu", "sigma_w": 9.0}
UNKNOWN = {
    "spectral_bias": ({"activation": "tanh", "sigma_w": 5.0, **NORMAL}, {"width": 8, "depth": 3}),
    "eigenmodes": ({"activation": "gelu", "sigma_w": 3.0}, {"width": 8, "depth": 6}),
    "finite_sample": ({"activation": "gelu", "sigma_w": 9.0}, {"width": 8, "depth": 1}),
    "mean_field": ({"activation": "gelu", "sigma_w": 9.0}, {"width": 8, "depth": 1}),
}


@pytest.mark.parametrize("kind", UNKNOWN)
def test_an_unknown_limit_kernel_is_refused_by_its_key(make_plan, kind):
    network, grid = UNKNOWN[kind]
    must = r"^c.yaml: studies.s.network: must be one whose limit kernel is known: .*; it was \{'activation'"
    with pytest.raises(ConfigError, match=must) as caught:
        make_plan(kind=kind, network=network, grid=grid)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_known_one_is_planned(make_plan, kind):
    network, grid = UNKNOWN[kind]
    assert make_plan(kind=kind, network=network | {"sigma_w": 1.0}, grid=grid).studies["s"].cells


def test_one_unknown_setting_of_a_grid_is_enough(make_plan):
    with pytest.raises(ConfigError, match=r"limit kernel is known.*'sigma_w': 9.0"):
        make_plan(kind="finite_sample", network={"activation": "tanh"},
                  grid={"width": 8, "depth": 1, "sigma_w": [1.0, 9.0]})  # fmt: skip


def test_the_mean_field_limit_alone_asks_for_no_kernel_but_a_critical_step_does(make_plan):
    grid = {"width": 8, "depth": 1}
    assert make_plan(kind="mean_field", network=MEAN_FIELD, grid=grid, mean_field={"eta_unit": "absolute", "eta": 0.1})
    with pytest.raises(ConfigError, match="limit kernel is known"):
        make_plan(kind="mean_field", network=MEAN_FIELD, grid=grid, mean_field={"eta_unit": "critical", "eta": 0.1})
