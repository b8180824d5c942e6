"""pydantic's errors as one line a user can act on: key path, what it must be, what it was."""

from __future__ import annotations

import difflib
import math
import reprlib
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from ntkpipe.errors import ConfigError

_UNION_TAGS = ("float", "literal['normal']")
"""How pydantic names the members of a label, a number or `normal`, in a location."""


class Shortened:
    """A value whose repr is short: with aliases a line of YAML makes lists of a billion, of which Python prints all."""

    _short = reprlib.Repr()
    _short.maxlevel, _short.maxdict, _short.maxlist, _short.maxstring = 3, 6, 6, 300

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        if isinstance(self.value, int) and abs(self.value) >= 10**40:  # of thousands of digits Python prints none
            return f"a number of {math.floor(math.log10(abs(self.value))) + 1} digits"
        text = self._short.repr(self.value)
        return text if len(text) <= 300 else f"{text[:300]}..."


def wrong(key: tuple[str | int, ...], must: str) -> ValidationError:
    """What a validator of a model raises where one key is to blame: its path from that model, what it must be and was.

    (A ValueError has the path of the whole model.)
    """
    error: Any = {"type": "value_error", "loc": key, "input": None, "ctx": {"error": ValueError(must)}}
    return ValidationError.from_exception_data(".".join(map(str, key)), [error])


def refuse_twice(model: Any, *keys: str) -> None:
    """Refuse lists that hold a value twice; see :func:`wrong`."""
    for key in keys:
        values = getattr(model, key) or ()
        if len(set(values)) < len(values):
            raise wrong((key,), f"a list of distinct values; it was {list(values)}")


def first_error(
    error: ValidationError, tree: Any, source: str, known_keys: Callable[[list[Any]], list[str]]
) -> ConfigError:
    """The most telling of pydantic's errors as one line: key path, must be, was."""
    details = error.errors()
    first = max(details, key=lambda d: (d["type"] == "extra_forbidden", len(d["loc"])))
    parts = [part for part in _as_written(first["loc"], tree) if part not in _UNION_TAGS]
    if any(part in _UNION_TAGS for part in first["loc"]):
        return ConfigError(f"{source}: " + ".".join(map(str, parts)), "a number or 'normal'", Shortened(first["input"]))
    path = f"{source}: " + ".".join(map(str, parts)) if parts else source
    was, context = Shortened(first["input"]), first.get("ctx", {})
    match first["type"]:
        case "extra_forbidden":
            known = known_keys(parts[:-1])
            near = difflib.get_close_matches(str(parts[-1]), known, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            return ConfigError(path, f"one of the keys {', '.join(known)}{hint}", str(parts[-1]))
        case "missing":
            return ConfigError(path, "given", None, shown=False)
        case "literal_error":
            options = context["expected"]
            near = difflib.get_close_matches(
                str(was.value)[:100] if isinstance(was.value, str) else "",
                options.replace("'", "").replace(" or ", ", ").split(", "),
                n=1,
            )
            return ConfigError(path, options + (f" (did you mean {near[0]!r}?)" if near else ""), was)
        case "value_error":
            return ConfigError(path, str(context["error"]), shown=False)
        case "too_short":
            return ConfigError(path, f"a list of at least {context['min_length']}", was)
        case kind:
            must = _must(kind, context, first["msg"])
            return ConfigError(path, must + _yaml_hint(was.value, must), was)


def _yaml_hint(was: Any, must: str) -> str:
    """YAML 1.1 reads 1e-3 as text: a number with an exponent needs a point, and a sign after the e."""
    try:
        value = float(was) if isinstance(was, str) else None
    except ValueError:
        return ""
    if value is None or math.isnan(value):
        return ""
    if math.isinf(value):
        return " within -1.8e+308 and 1.8e+308"
    return f" (in YAML {value:.0f})" if must == "a whole number" and value.is_integer() else f" (in YAML {value:.1e})"


def _must(kind: str, context: dict[str, Any], message: str) -> str:
    words = {
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "string_type": "text",
        "bool_type": "true or false",
        "tuple_type": "a list",
        "dict_type": "a mapping of keys",
        "model_type": "a mapping of keys",
        "model_attributes_type": "a mapping of keys",
    }
    bounds = {
        "greater_than": "greater than {gt}",
        "greater_than_equal": "at least {ge}",
        "less_than": "less than {lt}",
        "less_than_equal": "at most {le}",
    }
    if kind in bounds:
        return bounds[kind].format(**context)
    return words.get(kind, message)


def _as_written(location: tuple[Any, ...], tree: Any) -> list[Any]:
    """pydantic's location without the indices that a bare value, standing for a list of one, never had."""
    parts = []
    for part in location:
        if isinstance(part, int) and not isinstance(tree, list):
            continue
        parts.append(part)
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            tree = None
    return parts
