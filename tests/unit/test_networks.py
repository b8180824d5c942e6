"""The network's bookkeeping: beta, fans, scales, gains, parameter counts, by hand."""

import dataclasses

import pytest

from ntkpipe.networks import Network

NET = Network(3, (4, 5), sigma_w=1.5, sigma_v=0.5, sigma_b=0.7)


def test_beta_sums_over_hidden_layers_only():
    assert Network(10, (4, 5, 20)).beta == pytest.approx(1 / 4 + 1 / 5 + 1 / 20, rel=1e-15)
    assert Network(10, ()).beta == 0
    assert Network(10, (7,)).depth == 1


@pytest.mark.parametrize(("depth", "width"), [(3, 10), (7, 49), (128, 256), (11, 3)])
def test_beta_of_equal_widths_is_depth_over_width_without_rounding(depth, width):
    assert Network(10, (width,) * depth).beta == depth / width


def test_fans_and_weight_variances():
    assert NET.fan_in == (3, 4, 5)
    expected = (1.5**2 / 3, 1.5**2 / 4, 0.5**2 / 5)
    assert NET.weight_variance == pytest.approx(expected, rel=1e-15)


def test_gains_are_the_variance_in_ntk_and_one_in_standard():
    assert NET.weight_gain == NET.weight_variance
    assert dataclasses.replace(NET, parametrization="standard").weight_gain == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("parametrization", "bias_init", "output_bias", "gain", "scale"),
    [
        ("ntk", "none", True, (0, 0, 0), (0, 0, 0)),
        ("ntk", "zero", True, (0.49, 0.49, 0.49), (0, 0, 0)),
        ("ntk", "zero", False, (0.49, 0.49, 0), (0, 0, 0)),
        ("ntk", "normal", True, (0.49, 0.49, 0.49), (0.7, 0.7, 0.7)),
        ("ntk", "normal", False, (0.49, 0.49, 0), (0.7, 0.7, 0)),
        ("standard", "none", True, (0, 0, 0), (0, 0, 0)),
        ("standard", "zero", True, (1, 1, 1), (0, 0, 0)),
        ("standard", "normal", False, (1, 1, 0), (0.7, 0.7, 0)),
    ],
)
def test_bias_gains_and_scales(parametrization, bias_init, output_bias, gain, scale):
    net = dataclasses.replace(NET, parametrization=parametrization, bias_init=bias_init, output_bias=output_bias)
    assert net.bias_gain == pytest.approx(gain, rel=1e-15)
    assert net.bias_scale == pytest.approx(scale, rel=1e-15)


def test_the_law_at_initialization_does_not_depend_on_the_parametrization():
    standard = dataclasses.replace(NET, parametrization="standard")
    assert (NET.weight_variance, NET.bias_scale) == (standard.weight_variance, standard.bias_scale)


@pytest.mark.parametrize(
    ("bias_init", "output_bias", "count"),
    [("none", True, 12 + 20 + 5), ("zero", True, 37 + 4 + 5 + 1), ("normal", False, 37 + 4 + 5)],
)
def test_number_of_parameters(bias_init, output_bias, count):
    assert dataclasses.replace(NET, bias_init=bias_init, output_bias=output_bias).n_parameters == count


def test_mean_field_is_an_average_with_the_step_of_a_particle():
    net = Network(3, (8,), sigma_w=1.5, sigma_v=0.5, parametrization="mean_field")
    assert net.weight_variance == pytest.approx((1.5**2 / 3, 0.5**2 / 64), rel=1e-15)
    assert net.weight_gain == pytest.approx((8 * 1.5**2 / 3, 0.5**2 / 8), rel=1e-15)
    assert dataclasses.replace(net, readout="frozen").weight_gain == pytest.approx((8 * 1.5**2 / 3, 0), rel=1e-15)
