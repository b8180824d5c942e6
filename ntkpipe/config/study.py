"""A study, and the whole config file."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator, model_validator

from ntkpipe import kinds
from ntkpipe.config.data import DataConfig
from ntkpipe.config.eigenmodes import TABLES, EigenmodesConfig
from ntkpipe.config.errors import wrong
from ntkpipe.config.finite_sample import FiniteSampleConfig
from ntkpipe.config.linear import LinearConfig
from ntkpipe.config.mean_field import MeanFieldConfig
from ntkpipe.config.membership import MembershipConfig
from ntkpipe.config.models import (
    ENGINES,
    Count,
    ExecutionConfig,
    FitsConfig,
    GridConfig,
    InputsConfig,
    Model,
    NetworkConfig,
    StepConfig,
    TolerancesConfig,
    axis,
)
from ntkpipe.config.spectral_bias import SpectralBiasConfig
from ntkpipe.config.train import RegimesConfig, TrainConfig


class StudyConfig(Model):
    """One study: a grid of cells, all drawn, collected and analysed in the same way."""

    kind: Literal[kinds.NAMES]
    """initialization: moments and Gram statistics of the kernel at initialization;
    first_step: how one gradient step moves the kernel; trajectory: training, K_t = K_0 + DeltaK_t;
    membership: is a function in the RKHS of K_0, of K_t, of the limit kernel? infinite_width: how far are kernels and
    trained functions from the limit? spectral_bias: which Fourier modes are learned first? eigenmodes: at which rates,
    under a density on the circle? finite_sample: what do N points do to the modes? linear: linear and deep linear
    networks; mean_field: two layers as particles"""
    grid: axis(GridConfig)
    """a grid, or a list of grids whose cells are put together"""
    seeds: Count
    """independent networks drawn per cell"""
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**32)] = 0
    """seed of the study; the same config gives the same numbers"""
    network: NetworkConfig = NetworkConfig()
    inputs: InputsConfig = InputsConfig()
    engine: Literal[ENGINES] = "auto"
    """auto: scalar where it applies (ReLU, one input, biases none or zero), else matrix_free, which first_step takes
    always (there scalar and exact know the derivative alone); exact: moments without sampling; dense: explicit
    weights in JAX"""
    sampling: Literal["plain", "guided"] = "plain"
    """guided: path-guided importance sampling of E[K^2] (scalar engine, no biases)"""
    precision: Literal["float64", "float32"] = "float64"
    """of the network arithmetic in matrix_free and dense; statistics are always float64"""
    keep: Literal["full", "spectra", "moments"] = "full"
    """full: every draw of K; spectra: eigenvalues of Gram matrices instead of entries; moments: sums only"""
    step: StepConfig | None = None
    """the gradient step; only with kind first_step"""
    data: DataConfig | None = None
    """points and labels to train on; only with kinds trajectory and infinite_width, which need it"""
    train: TrainConfig | None = None
    """how networks are trained; only with kinds trajectory and infinite_width"""
    regimes: RegimesConfig | None = None
    """how trajectories are read; only with kind trajectory"""
    membership: MembershipConfig | None = None
    """functions, points and training; only with kind membership"""
    spectral_bias: SpectralBiasConfig | None = None
    """frequencies, points, training and perturbations; only with kind spectral_bias"""
    eigenmodes: EigenmodesConfig | None = None
    """density, frequencies and training; only with kind eigenmodes"""
    finite_sample: FiniteSampleConfig | None = None
    """numbers of points, modes and noise; only with kind finite_sample"""
    linear: LinearConfig | None = None
    """data, initialization and training; only with kind linear"""
    mean_field: MeanFieldConfig | None = None
    """data and training; only with kind mean_field"""
    tolerances: TolerancesConfig = TolerancesConfig()
    fits: FitsConfig = FitsConfig()

    @model_validator(mode="before")
    @classmethod
    def _of_this_kind(cls, tree: Any) -> Any:
        kinds.refuse_foreign(tree)
        return tree

    @model_validator(mode="after")
    def _kind_fits(self) -> StudyConfig:
        kinds.of(self).check(self)
        return self

    @model_validator(mode="after")
    def _sigma_b_has_biases(self) -> StudyConfig:
        for number, grid in enumerate(self.grid):
            if len(grid.sigma_b or ()) > 1 and "none" in (grid.bias_init or (self.network.bias_init,)):
                must = (
                    "one value where bias_init is none (without biases cells would differ by noise alone; those "
                    f"with biases may have a grid of their own); it was {list(grid.sigma_b)}"
                )
                raise wrong(("grid", number, "sigma_b"), must)
        return self

    @property
    def settings(self) -> Model | None:
        """Settings of this kind alone, with their defaults; None where the kind has none."""
        key = kinds.of(self).settings
        if key is None:
            return None
        model, _ = get_args(type(self).model_fields[key].annotation)  # a model, or None
        return getattr(self, key) or model()

    @property
    def files(self) -> tuple[str, ...]:
        """Data files that the study reads, relative to the working directory."""
        named = {self.inputs.path, self.data.path if self.data else None}
        if self.kind == "eigenmodes":
            densities = {self.settings.density, *(text for grid in self.grid for text in grid.density or ())}
            named |= {text for text in densities if text.endswith(TABLES)}
        return tuple(sorted(named - {None}))

    @property
    def reading(self) -> RegimesConfig:
        """How trajectories are read: ``regimes``, or its defaults."""
        return self.regimes or RegimesConfig()


class Config(Model):
    """The whole config file."""

    results: str = "results"
    """folder for everything that is made"""
    title: str = "NTK beta-scaling study"
    """title of the report"""
    studies: Annotated[dict[str, StudyConfig], Field(min_length=1)]
    """studies by name; results go to results/<name>/"""
    execution: ExecutionConfig = ExecutionConfig()

    @field_validator("studies")
    @classmethod
    def _names(cls, studies: dict[str, StudyConfig]) -> dict[str, StudyConfig]:
        folders: dict[str, str] = {}
        for name in studies:
            if len(name) > 100:
                raise ValueError(f"named with at most 100 letters; one had {len(name)}, {name[:20]}...")
            if (other := folders.setdefault(name.lower(), name)) != name:
                raise ValueError(f"named differently (some disks know no case); two were {other!r} and {name!r}")
            if not name.replace("_", "").isalnum() or not name.isascii() or name.lower() in ("report", "all"):
                raise ValueError(f"named with letters, digits and _ (not 'report' or 'all'); one was {name!r}")
        return studies
