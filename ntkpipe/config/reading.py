"""YAML -> a validated config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ntkpipe.config.errors import Shortened, first_error
from ntkpipe.config.keys import known_keys
from ntkpipe.config.study import Config
from ntkpipe.errors import ConfigError


def load(path: str | Path) -> Config:
    """Read and validate a config file.

    Raises
    ------
    ConfigError: the file is missing, is no YAML mapping, or a value is wrong.
    """
    return parse(read_tree(path), source=str(path))


def read_tree(path: str | Path) -> Any:
    """What a YAML file says, refusing keys given twice.

    Raises
    ------
    ConfigError: the file is missing or no YAML.
    """
    try:
        return yaml.load(Path(path).read_text(), Loader=_UniqueKeyLoader)
    except OSError as error:
        raise ConfigError(str(path), "a readable config file", error.strerror) from None
    except yaml.YAMLError as error:
        raise ConfigError(str(path), "valid YAML", " ".join(str(error).split())) from None
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), "UTF-8 text", f"byte {error.start}: {error.reason}") from None
    except RecursionError:
        raise ConfigError(str(path), "YAML of fewer levels", "nested too deep to be read") from None
    except ValueError as error:  # a date that is none, a number of thousands of digits
        raise ConfigError(str(path), "valid YAML", " ".join(str(error).split())) from None


def parse(tree: Any, source: str = "config") -> Config:
    """Validate a config tree (what YAML gives); see :func:`load`."""
    if not isinstance(tree, dict):
        raise ConfigError(source, "a mapping of keys", Shortened(tree))
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise first_error(error, tree, source, known_keys) from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """A YAML loader that refuses a key given twice, where plain YAML keeps the last one silently."""

    def construct_mapping(self, node, deep=False):
        seen: set[tuple[str, str]] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = (key_node.tag, key_node.value)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key_node.value!r} is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)
