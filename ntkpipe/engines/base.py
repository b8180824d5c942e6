"""What every engine returns: one law, several costs, one interface.

A sampling module offers ``sample(network, x, stream, quantum, n, *, gram, precision) -> Draws``,
the first n draws (n <= 1024) of one quantum on the inputs x, with the whole Gram matrix of K
(``gram``) or its diagonal only. What an engine can do and costs stands in
:mod:`ntkpipe.engines.catalogue`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Draws(NamedTuple):
    """Independent draws over initializations.

    ntk: K on the inputs; (draw,) for one input, (draw, input) where only the diagonal is kept,
    (draw, input, input) for Gram matrices. output: f on the inputs. log_weight: log of the
    density ratio law/sampler, 0 for plain draws.
    """

    ntk: Float[np.ndarray, "draw *inputs"]
    output: Float[np.ndarray, "draw *input"]
    log_weight: Float[np.ndarray, " draw"]
