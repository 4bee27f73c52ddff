"""Which values of a column mean that its row's picture is not to be seen just so: `blur: >= 0.5`, `hide: true`.

A mark is one or more of `VERDICT: CONDITION`, separated by `; `, of which the first that holds counts. The verdicts
are `show`, `blur` (until it is clicked) and `hide` (never to be shown). A condition compares numbers (`>= 0.5`), lists
values (`porn, hentai`, or `true`), says which are harmless (`not neutral, drawing`), or is `null`. A value of which no
condition holds is shown; a null of which none speaks is blurred where the row was measured: unknown is not safe.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as types

Verdict = Literal["show", "blur", "hide"]
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)  # the stricter the later

_COMPARE: Final[dict[str, Callable[[Any, Any], Any]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_SAFE: Final = re.compile(r"(^|[^a-z])(non|not|no)[_ -]?(nsfw|unsafe|porn)")
_UNSAFE: Final = re.compile(r"(^|[^a-z])p?(nsfw|unsafe|porn\w*|hentai|nude|nudity|sexual|explicit)([^a-z]|$)")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What one condition says of values that fulfil it."""

    verdict: Verdict
    kind: str  # >=, <=, >, <, null, in or not
    values: tuple[str, ...] = ()

    def holds(self, column: pa.Array) -> np.ndarray:
        """Of which values it speaks; of a null only where it is about nulls. NaN is none."""
        null = nulls(column)
        if self.kind == "null":
            return null
        if self.kind in _COMPARE:
            if not (types.is_integer(column.type) or types.is_floating(column.type)):
                return np.zeros(len(column), bool)
            found = _COMPARE[self.kind](np.asarray(column.cast(pa.float64()).fill_null(0)), float(self.values[0]))
            return np.asarray(found & ~null)
        text = pc.utf8_lower(column.cast(pa.large_string()))
        listed = np.asarray(pc.is_in(text, pa.array(self.values, pa.large_string())).fill_null(False))
        found = listed if self.kind == "in" else ~listed
        return np.asarray(found & ~null)


def nulls(column: pa.Array) -> np.ndarray:
    """Where a column says nothing: nulls and NaN."""
    return np.asarray(column.is_null(nan_is_null=True))


def read_marks(text: str) -> tuple[Mark, ...]:
    """The marks in their order. ValueError where the text is none."""
    return tuple(_mark(part.strip()) for part in text.split(";"))


def _mark(text: str) -> Mark:
    verdict, colon, condition = (part.strip() for part in text.partition(":"))
    if verdict not in VERDICTS or not colon or not condition:
        raise ValueError(f"{text!r} is no mark: `blur: >= 0.5`, `hide: true`, `show: null`")
    sign = next((sign for sign in _COMPARE if condition.startswith(sign)), None)
    if sign is not None:
        limit = condition.removeprefix(sign).strip()
        float(limit)
        return Mark(verdict=verdict, kind=sign, values=(limit,))
    if condition == "null":
        return Mark(verdict=verdict, kind="null")
    kind = "not" if condition.startswith("not ") else "in"
    values = tuple(value.strip().lower() for value in condition.removeprefix("not ").split(","))
    return Mark(verdict=verdict, kind=kind, values=values)


def sounds_unsafe(name: str) -> bool:
    """Does a column, a file or a label call itself after what is unsafe? `punsafe`, `nsfw_head.pth`, not `non_nsfw`."""
    name = name.lower()
    return bool(_UNSAFE.search(name)) and not _SAFE.search(name)
