"""JSON without `Infinity` and `NaN`, which are not part of JSON (RFC 8259): they are written as text.

The numbers inf, -inf and nan become the texts "inf", "-inf" and "nan". A text that would read as one of these
gets an apostrophe in front. `json_value(json_text(value))` therefore equals `value`, as far as JSON has its
types.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

_WORDS = ("inf", "-inf", "nan")


def json_text(
    value: Any,
    *,
    indent: int | None = None,
    compact: bool = False,
    default: Callable[[Any], Any] | None = None,
) -> str:
    """`value` as strict JSON with sorted keys; without spaces if `compact`.

    `default` converts a value of a type that JSON lacks. Raises TypeError for such a value without it.

    >>> json_text({"t1_s": math.inf, "name": "inf"})
    '{"name": "\\'inf", "t1_s": "inf"}'
    """
    return json.dumps(
        _encoded(value),
        allow_nan=False,
        default=default,
        ensure_ascii=False,
        indent=indent,
        separators=(",", ":") if compact else None,
        sort_keys=True,
    )


def json_value(text: str) -> Any:
    """The value that `json_text` wrote. Raises ValueError for text that is not strict JSON.

    >>> json_value(json_text([math.inf, "nan", 1.5]))
    [inf, 'nan', 1.5]
    """
    return _decoded(json.loads(text, parse_constant=_refuse))


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is not part of JSON")


def _encoded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(float(value))
    return f"'{value}" if _needs_mark(value) else value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if not _needs_mark(value):
        return value
    # Text with the mark loses one apostrophe; text without it is a number.
    return value[1:] if value.startswith("'") else float(value)


def _needs_mark(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip("'") in _WORDS
