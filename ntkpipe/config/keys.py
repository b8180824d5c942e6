"""The keys as a list to check against, and as documentation."""

from __future__ import annotations

from typing import Any

from ntkpipe.config.data import DataConfig
from ntkpipe.config.eigenmodes import EigenmodesConfig
from ntkpipe.config.finite_sample import FiniteSampleConfig
from ntkpipe.config.linear import LinearConfig
from ntkpipe.config.mean_field import MeanFieldConfig
from ntkpipe.config.membership import MembershipConfig
from ntkpipe.config.models import (
    ExecutionConfig,
    FitsConfig,
    GridConfig,
    InputsConfig,
    Model,
    NetworkConfig,
    StepConfig,
    TolerancesConfig,
)
from ntkpipe.config.spectral_bias import SpectralBiasConfig
from ntkpipe.config.study import Config, StudyConfig
from ntkpipe.config.train import RegimesConfig, TrainConfig

SECTIONS: dict[str, type[Model]] = {
    "": Config,
    "studies.<name>": StudyConfig,
    "studies.<name>.grid": GridConfig,
    "studies.<name>.network": NetworkConfig,
    "studies.<name>.inputs": InputsConfig,
    "studies.<name>.step": StepConfig,
    "studies.<name>.data": DataConfig,
    "studies.<name>.train": TrainConfig,
    "studies.<name>.regimes": RegimesConfig,
    "studies.<name>.membership": MembershipConfig,
    "studies.<name>.spectral_bias": SpectralBiasConfig,
    "studies.<name>.eigenmodes": EigenmodesConfig,
    "studies.<name>.finite_sample": FiniteSampleConfig,
    "studies.<name>.linear": LinearConfig,
    "studies.<name>.mean_field": MeanFieldConfig,
    "studies.<name>.tolerances": TolerancesConfig,
    "studies.<name>.fits": FitsConfig,
    "execution": ExecutionConfig,
}


def known_keys(path: list[Any]) -> list[str]:
    """The keys that the model at this path, or nearest above it, accepts."""
    names = [part for part in path if isinstance(part, str)]
    if names[:1] == ["studies"]:
        names[1:2] = ["<name>"]
    while ".".join(names) not in SECTIONS:
        names.pop()
    return list(SECTIONS[".".join(names)].model_fields)


def document_keys() -> str:
    """Every key with its default and meaning, as Markdown."""
    lines = []
    for path, model in SECTIONS.items():
        title = f"`{path}`" if path else "Top level"
        lines += [f"## {title}", "", (model.__doc__ or "").strip(), "", "| key | default | meaning |", "|---|---|---|"]
        for name, field in model.model_fields.items():
            default = "required" if field.is_required() else _show(field.get_default(call_default_factory=True))
            lines.append(f"| `{name}` | {default} | {' '.join((field.description or 'see below').split())} |")
        lines.append("")
    return "\n".join(lines)


def _show(value: Any) -> str:
    if isinstance(value, Model):
        return "see below"
    if value is None:
        return "-"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:.6g}`" if isinstance(value, float) else f"`{value}`"
