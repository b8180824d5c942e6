"""``python -m ntkpipe exact``: the exact moments of one network, as text."""

from __future__ import annotations

import re
from math import inf

import numpy as np

from ntkpipe.errors import ConfigError
from ntkpipe.networks import Network
from ntkpipe.theory import limit, moments


def parse_widths(text: str) -> tuple[int, ...]:
    """``256x128`` -> 128 layers of width 256; ``64,128,64`` -> those three.

    Raises
    ------
    ConfigError: the text is neither, or a width is not positive.
    """
    if match := re.fullmatch(r"(\d+)x(\d+)", text):
        widths = (int(match[1]),) * int(match[2])
    elif re.fullmatch(r"\d+(,\d+)*", text):
        widths = tuple(int(part) for part in text.split(","))
    else:
        raise ConfigError("--widths", "WIDTHxDEPTH such as 256x128, or a list such as 64,128,64", text)
    if not widths or min(widths) < 1:
        raise ConfigError("--widths", "of at least one layer, with widths of at least 1", text)
    return widths


def answer(widths: str, input_dim: int, norm: float, biases: bool, sigma_b: float, parametrization: str) -> str:
    """E[K], S2, limit and exp(5 beta), one a line.

    Raises
    ------
    ConfigError: a value is out of range.
    """
    for name, value in (("--input-dim", input_dim), ("--norm", norm), ("--sigma-b", sigma_b)):
        if not 0 < value < inf:
            raise ConfigError(name, "a finite number greater than 0", value)
    network = Network(
        input_dim,
        parse_widths(widths),
        parametrization=parametrization,
        bias_init="zero" if biases else "none",
        sigma_b=sigma_b,
    )
    beta, s2 = np.float64(network.beta), moments.s2(network, norm**2)
    with np.errstate(over="ignore"):
        order = np.exp(5 * beta)
    lines = [
        ("depth (hidden layers)", f"{network.depth}"),
        ("beta = sum 1/width", f"{beta:.6g}"),
        ("E[K(x,x)]", f"{moments.mean(network, norm**2):.8g}"),
        ("S2 = E[K^2]/E[K]^2, exact", f"{s2:.8g}"),
    ]
    if not biases and len(set(network.widths)) == 1:
        lines.append(("S2, limit at this beta", f"{float(limit.s2_limit(beta)):.8g}"))
    lines += [
        ("exp(5 beta)", f"{order:.8g}"),
        ("S2/exp(5 beta)", f"{s2 * np.exp(-5 * beta):.6g}"),
        ("P(dead layer)", f"{moments.dead_fraction(network):.3g}"),
        ("draws for S2 within 1 % (plain)", f"{1e4 * moments.s2_relative_sd(network, norm**2) ** 2:.3g}"),
    ]
    return "\n".join(f"{name:<34}{value}" for name, value in lines)
