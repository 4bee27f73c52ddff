"""A card as scripts show it: every value in words already, so that they only put text where it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .words import short, value, visible

WORDS_CHARACTERS = 300


def shown(card: Mapping[str, Any]) -> dict[str, Any]:
    """What tiles.js makes a tile of."""
    why = card["dropped_by"]
    told = f"{why['column']} {value(why['value'], 60)} ({why['text']})" if why is not None else None
    return {
        **{name: card[name] for name in ("name", "space", "shard", "row", "fate", "picture")},
        "words": visible(short(card["words"] or card["name"], WORDS_CHARACTERS)),
        "why": visible(told) if told is not None else None,
        "values": [[visible(name), visible(value(found, 40))] for name, found in card["values"].items()],
    }
