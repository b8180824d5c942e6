"""The config: one YAML file, one source of truth for keys, defaults, meaning and checks.

``load(path)`` returns a frozen, validated :class:`Config`. Anything wrong raises one
:class:`~ntkpipe.errors.ConfigError` that names the key path, what the value must be and what
it was. The field descriptions of the models are the documentation of the keys
(``python -m ntkpipe keys`` prints them; ``config/README.md`` is that print).
"""

from ntkpipe.config.keys import document_keys, known_keys
from ntkpipe.config.models import (
    ExecutionConfig,
    FitsConfig,
    GridConfig,
    InputsConfig,
    NetworkConfig,
    StepConfig,
    TolerancesConfig,
)
from ntkpipe.config.reading import load, parse, read_tree
from ntkpipe.config.study import Config, StudyConfig

__all__ = [
    "Config",
    "ExecutionConfig",
    "FitsConfig",
    "GridConfig",
    "InputsConfig",
    "NetworkConfig",
    "StepConfig",
    "StudyConfig",
    "TolerancesConfig",
    "document_keys",
    "known_keys",
    "load",
    "parse",
    "read_tree",
]
