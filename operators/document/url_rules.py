"""document.url_rules: what an image's address says of it before it is fetched."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator

Published = Literal["obelics", "mmc4", "mint"]
_FURNITURE: Final = ("logo", "button", "icon", "plugin", "widget")
LISTS: Final[dict[Published, tuple[str, ...]]] = {
    "obelics": (*_FURNITURE, "porn", "xxx", "sex"),
    "mmc4": _FURNITURE,
    "mint": ("logo", "avatar", "porn", "xxx"),
}


@operator
class UrlRules(RowOperator):
    """The first of some substrings that an image's address holds, and the suffix of its path.

    Three corpora drop images by this, before or after they are fetched; their lists are `obelics` (arXiv:2306.16527,
    appendix A.1.3), `mmc4` (arXiv:2304.06939, 3.1, which takes png, jpeg and jpg alone) and `mint` (arXiv:2406.11271).
    A substring is looked for in the whole address as OBELICS's code does it, case and all: `sex` is found in
    `middlesex.org`, `logo` is not found in `LOGO.png` unless `ignore_case` is set.
    """

    substrings: Published | tuple[str, ...] = Field(description="obelics, mmc4, mint, or a list of substrings")
    ignore_case: bool = Field(False, description="find `logo` in LOGO.png too, which the published rules do not")

    reads = ("image_url",)
    adds = (
        field("url_rule", pa.string(), "the first of the substrings that the address holds; null: none"),
        field("url_suffix", pa.string(), "suffix of its path in lower case, without the dot; empty: none"),
    )

    def __post_init__(self) -> None:
        if not self._substrings or not all(self._substrings):
            raise ValueError("substrings needs at least one, and none of them empty")

    @property
    def _substrings(self) -> tuple[str, ...]:
        if isinstance(self.substrings, str):
            return LISTS[self.substrings]
        return self.substrings

    def __call__(self, batch: Batch) -> Mapping[str, Sequence[object]]:
        fold = str.lower if self.ignore_case else str
        wanted = [(substring, fold(substring)) for substring in self._substrings]
        urls = batch.column("image_url").to_pylist()
        held = (fold(url) for url in urls)
        return {
            "url_rule": [next((name for name, part in wanted if part in url), None) for url in held],
            "url_suffix": [_suffix(url) for url in urls],
        }


def _suffix(url: str) -> str:
    try:
        path = unquote(urlsplit(url).path)
    except ValueError:  # half an IPv6 address
        return ""
    return posixpath.splitext(path)[1].lower().removeprefix(".")
