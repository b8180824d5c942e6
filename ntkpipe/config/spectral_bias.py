"""Settings of spectral_bias studies: frequencies, points, training and perturbations."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ntkpipe.config.data import Number
from ntkpipe.config.errors import refuse_twice, wrong
from ntkpipe.config.models import Angles, Count, Positive, axis
from ntkpipe.config.train import ScheduleConfig

TARGETS = ("equal", "rising", "given")
DEFAULT_FREQUENCIES = (1, 2, 3, 4, 5)


class SpectralBiasConfig(ScheduleConfig):
    """Which Fourier modes of y(z) = sum_i A_i sin(2 pi k_i z + phi_i) does a network learn first, and how firmly?"""

    frequencies: axis(Count) = DEFAULT_FREQUENCIES
    """k_i, rising, two or more; on N equal points less than N/2, as higher ones look like lower ones"""
    targets: axis(Literal[TARGETS]) = ("equal", "rising")
    """laws of the amplitudes, each a target of its own for the same networks: equal: A_i = 1; rising: A_i = i/m for
    the i-th of m frequencies, from 1/m to 1; given: those of `amplitudes`"""
    amplitudes: axis(Positive) | None = None
    """A_i of target given, one for each frequency"""
    phases: axis(Number) | None = None
    """phi_i in radians, one for each frequency (default: drawn uniformly, by the seed of the study)"""
    points: Angles = 16
    """number N, 8 or more, of train points z = j/N in [0, 1), on which spectra are taken too"""
    eta: Positive = 0.25
    """step size"""
    steps: Count = 4000
    """number of steps"""
    snapshots: Annotated[int, Field(strict=True, ge=2, le=10**5)] = 100
    """number of snapshots of f_t, initialization and end included; fewer where the default exceeds the steps, and where
    early ones fall together"""
    share: Annotated[float, Field(strict=True, gt=0, lt=1)] = 0.5
    """a mode is fitted from the step on at which its error |f~ - y~| stays below (1 - share) of its amplitude, and
    reached from that on at which |f~| stays above this share of it"""
    radii: axis(Positive) = (0.01, 0.03, 0.1, 0.3, 1.0)
    """sizes of the random perturbations of the trained variables, in units of their norm |theta_T|, rising"""
    directions: Count = 8
    """random directions of perturbation for each network"""

    @model_validator(mode="after")
    def _modes_fit(self) -> SpectralBiasConfig:
        frequencies = list(self.frequencies)
        if len(frequencies) < 2:
            raise wrong(("frequencies",), f"at least 2 frequencies, to have an order; they were {frequencies}")
        for key in ("frequencies", "radii"):
            values = list(getattr(self, key))
            if any(b <= a for a, b in pairwise(values)):
                raise wrong((key,), f"a rising list; it was {values}")
        if self.points <= 2 * frequencies[-1]:
            must = f"more than twice the highest frequency {frequencies[-1]}, as higher ones look like lower ones"
            raise wrong(("points",), f"{must}; it was {self.points}")
        if ("given" in self.targets) != (self.amplitudes is not None):
            had = "none" if self.amplitudes is None else list(self.amplitudes)
            raise wrong(("amplitudes",), f"given exactly where targets has 'given'; it had {had}")
        for key in ("amplitudes", "phases"):
            values = getattr(self, key)
            if values is not None and len(values) != len(frequencies):
                raise wrong((key,), f"{len(frequencies)} numbers, one for each frequency; it was {list(values)}")
        refuse_twice(self, "targets")
        return self
