"""``python -m ntkpipe exact``: widths as text, numbers as the theory has them, errors as one line."""

import re
from math import exp

import pytest
from click.testing import CliRunner

from ntkpipe.__main__ import cli
from ntkpipe.errors import ConfigError
from ntkpipe.exact_answer import answer, parse_widths
from ntkpipe.networks import Network
from ntkpipe.theory import limit, moments


def _values(text):
    return {line[:34].strip(): float(line[34:]) for line in text.splitlines()}


def _answer(widths, input_dim=10, norm=1.0, biases=False, sigma_b=1.0, parametrization="ntk"):
    return answer(widths, input_dim, norm, biases, sigma_b, parametrization)


@pytest.mark.parametrize(
    ("text", "widths"),
    [("256x3", (256,) * 3), ("64,128,64", (64, 128, 64)), ("7", (7,)), ("1x1", (1,))],
)
def test_widths(text, widths):
    assert parse_widths(text) == widths


@pytest.mark.parametrize("text", ["", "x3", "3x", "3x4x5", "a", "3,", "-3x2", "3.5x2", " 3x2", "3×2"])
def test_widths_that_are_none(text):
    with pytest.raises(ConfigError, match="--widths: must be WIDTHxDEPTH such as"):
        parse_widths(text)


@pytest.mark.parametrize("text", ["0x3", "3x0", "3,0"])
def test_widths_of_zero(text):
    with pytest.raises(ConfigError, match=f"--widths: must be of at least one layer.*; it was '{text}'"):
        parse_widths(text)


def test_values_are_the_theory_to_the_digits_printed():
    got = _values(_answer("64x32", norm=2.0))
    net = Network(10, (64,) * 32)
    expected = {
        "depth (hidden layers)": 32,
        "beta = sum 1/width": 0.5,
        "E[K(x,x)]": 33 * 4 / 10,
        "S2 = E[K^2]/E[K]^2, exact": moments.s2(net, 4.0),
        "S2, limit at this beta": float(limit.s2_limit(0.5)),
        "exp(5 beta)": exp(2.5),
        "S2/exp(5 beta)": moments.s2(net, 4.0) / exp(2.5),
        "P(dead layer)": moments.dead_fraction(net),
        "draws for S2 within 1 % (plain)": 1e4 * moments.s2_relative_sd(net, 4.0) ** 2,
    }
    assert got == {name: pytest.approx(value, rel=5e-3, abs=0) for name, value in expected.items()}
    assert got["S2 = E[K^2]/E[K]^2, exact"] == pytest.approx(moments.s2(net, 4.0), rel=1e-7)


@pytest.mark.parametrize(("widths", "biases"), [("64,32", False), ("64x2", True)])
def test_the_limit_stands_only_where_it_applies(widths, biases):
    assert "limit" not in _answer(widths, biases=biases)


def test_biases_and_parametrization_are_heard():
    values = {
        _values(_answer("8x3", biases=biases, sigma_b=sigma_b, parametrization=parametrization))["E[K(x,x)]"]
        for biases, sigma_b, parametrization in (
            (False, 1.0, "ntk"),
            (True, 1.0, "ntk"),
            (True, 2.0, "ntk"),
            (False, 1.0, "standard"),
            (True, 1.0, "standard"),
        )
    }
    assert len(values) == 5


@pytest.mark.parametrize(
    ("keys", "name"), [({"input_dim": 0}, "--input-dim"), ({"norm": -1.0}, "--norm"), ({"sigma_b": 0.0}, "--sigma-b")]
)
def test_values_out_of_range(keys, name):
    with pytest.raises(ConfigError, match=f"{name}: must be .*greater than 0; it was "):
        _answer("8x3", **keys)


@pytest.mark.parametrize("norm", [float("nan"), float("inf")])
def test_norms_that_are_no_number(norm):
    with pytest.raises(ConfigError, match="--norm: must be"):
        _answer("8x3", norm=norm)


@pytest.mark.filterwarnings("ignore:overflow")
def test_beta_beyond_the_float_range_is_answered():
    """exp(5 beta) = e^1000 is infinite in print, and no traceback."""
    assert "exp(5 beta)" in _answer("1x200")


def test_no_negative_zeros_are_printed():
    assert not re.search(r"-0$", _answer("2048x2"), flags=re.M)


def test_the_command_prints_the_answer():
    done = CliRunner().invoke(cli, ["exact", "--widths", "16x4", "--input-dim", "3"])
    assert done.exit_code == 0
    assert done.output.rstrip("\n") == _answer("16x4", input_dim=3)
