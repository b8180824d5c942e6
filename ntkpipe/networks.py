r"""The fully-connected network as a law: widths, scales and gains, layer by layer.

With hidden widths n_1..n_d, h^0 = x and weight layers l = 1..d+1 (docs/theory.md, section 1)

.. math::
    z^l = W^l h^{l-1} + s_l b^l, \qquad h^l = \phi(z^l), \qquad
    W^l_{ij} \sim N(0, c_l / n_{l-1}), \quad f = z^{d+1},

    K(x, x') = \sum_l [ g_l\, h^{l-1}(x) \cdot h^{l-1}(x') + t_l ]\; \delta^l(x) \cdot \delta^l(x'),

``weight_variance`` is c_l/n_{l-1}; the *gains* g_l, t_l say what a trained variable
contributes: in the ``ntk`` parametrization g_l = c_l/n_{l-1}, t_l = sigma_b^2, in
``standard`` g_l = t_l = 1. The law at initialization is the same in both.

``mean_field`` (one hidden layer of width m, no biases; docs/theory.md, section 12): with trained variables a_i and
w_i that start as N(0, 1)

.. math::
    f(x) = \frac{\sigma_v}{m} \sum_{i=1}^m a_i\, \phi(\sqrt{c_1/n_0}\, w_i \cdot x),

Var W^2 = c_2/m^2 and, the step size being m times that of a and w, g_l = m Var W^l: K is m times the kernel of a and w,
O(1), and at the start has the law of ``ntk``'s. Flow time is that of the particles (a_i, w_i).
"""

from __future__ import annotations

from dataclasses import dataclass

ACTIVATIONS = ("relu", "leaky_relu", "tanh", "erf", "gelu", "linear")
PARAMETRIZATIONS = ("ntk", "standard")
"""Those of networks of any depth."""
MEAN_FIELD = "mean_field"
"""That of one hidden layer alone."""
BIAS_INITS = ("none", "zero", "normal")
READOUTS = ("trained", "frozen")
SETTINGS = ("activation", "parametrization", "bias_init", "sigma_w", "sigma_v", "sigma_b", "readout")
"""Fields of a network that a grid may vary beside its widths: coordinates of every dataset."""


@dataclass(frozen=True)
class Network:
    """A fully-connected network with one output.

    input_dim: n_0; widths: hidden widths (n_1, ..., n_d), possibly empty (a linear model);
    sigma_w, sigma_v: c_l = sigma_w^2 in hidden layers, sigma_v^2 at the output;
    bias_init: ``none`` (no biases), ``zero`` (trained, start at 0), ``normal`` (sigma_b N(0, 1));
    readout: ``frozen`` keeps the output layer's weights and bias as drawn: its gains are 0.
    """

    input_dim: int
    widths: tuple[int, ...]
    activation: str = "relu"
    negative_slope: float = 0.01
    parametrization: str = "ntk"
    sigma_w: float = 2**0.5
    sigma_v: float = 1.0
    bias_init: str = "none"
    sigma_b: float = 1.0
    output_bias: bool = True
    readout: str = "trained"

    @property
    def depth(self) -> int:
        """Number of hidden layers d."""
        return len(self.widths)

    @property
    def beta(self) -> float:
        """beta = sum over hidden layers of 1/n_l; depth/width when all widths are equal."""
        if len(set(self.widths)) == 1:
            return self.depth / self.widths[0]
        return sum(1.0 / n for n in self.widths)

    @property
    def fan_in(self) -> tuple[int, ...]:
        """n_{l-1} for l = 1..d+1."""
        return (self.input_dim, *self.widths)

    @property
    def weight_variance(self) -> tuple[float, ...]:
        """Var W^l_ij = c_l/n_{l-1} for l = 1..d+1; ``mean_field``: over the width once more at the output."""
        c = [self.sigma_w**2] * self.depth + [self.sigma_v**2]
        if self.parametrization == MEAN_FIELD:
            c[-1] /= self.fan_in[-1]
        return tuple(c_l / n for c_l, n in zip(c, self.fan_in, strict=True))

    @property
    def weight_gain(self) -> tuple[float, ...]:
        """g_l, what a weight of layer l contributes to the kernel."""
        gains = (1.0,) * (self.depth + 1) if self.parametrization == "standard" else self.weight_variance
        if self.parametrization == MEAN_FIELD:
            gains = tuple(self.fan_in[-1] * g for g in gains)
        return gains if self.readout == "trained" else (*gains[:-1], 0.0)

    @property
    def bias_gain(self) -> tuple[float, ...]:
        """t_l, what a bias of layer l contributes; 0 where there is none."""
        if self.bias_init == "none":
            return (0.0,) * (self.depth + 1)
        gain = 1.0 if self.parametrization == "standard" else self.sigma_b**2
        return (gain,) * self.depth + (gain if self.output_bias and self.readout == "trained" else 0.0,)

    @property
    def bias_scale(self) -> tuple[float, ...]:
        """Standard deviation of the biases at initialization, l = 1..d+1."""
        if self.bias_init != "normal":
            return (0.0,) * (self.depth + 1)
        return (self.sigma_b,) * self.depth + (self.sigma_b if self.output_bias else 0.0,)

    @property
    def n_parameters(self) -> int:
        """Number of weights and trained biases."""
        outs = (*self.widths, 1)
        weights = sum(a * b for a, b in zip(self.fan_in, outs, strict=True))
        biases = sum(n for n, t in zip(outs, self.bias_gain, strict=True) if t > 0)
        return weights + biases
