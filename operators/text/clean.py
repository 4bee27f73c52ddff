"""text.clean: the text as a reader sees it, without the remains of HTML and of text processing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ._markup import Form, read_markup

# Windows-1252 under the label of Latin-1, as browsers read it: U+0092 is an apostrophe.
_C1: Final = {chr(code): bytes([code]).decode("cp1252", "ignore") for code in range(0x80, 0xA0)}
# Joiners shape these scripts (UAX #31, A1, A2 and B) and emoji; they stand behind a character of them and its marks.
_SHAPED: Final = (
    "".join(
        rf"\p{{scx={script}}}"
        for script in (
            *("Arabic", "Syriac", "Mandaic", "Nko", "Mongolian", "Devanagari", "Bengali", "Gurmukhi", "Gujarati"),
            *("Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala", "Tibetan", "Myanmar", "Khmer"),
            *("Balinese", "Javanese", "Sundanese", "Adlam", "Phags_Pa", "Hanifi_Rohingya"),
        )
    )
    + r"\p{Extended_Pictographic}\x{1F3FB}-\x{1F3FF}"
)
_JOINED: Final = rf"[{_SHAPED}--[\x00-\x7f\p{{M}}]]\p{{M}}*[\x{{200C}}\x{{200D}}]"
_FLAG: Final = r"\x{1F3F4}[\x{E0030}-\x{E0039}\x{E0061}-\x{E007A}]{3,6}\x{E007F}"  # of England, Scotland, Wales, ...
_WRITTEN: Final = r"\x{600}-\x{605}\x{6DD}\x{70F}\x{890}\x{891}\x{8E2}\x{110BD}\x{110CD}\x{180E}"  # Cf that is seen
_BREAKS: Final = r"\t-\r\x1c-\x1f"
_CONTEXT: Final = r"\x{200C}\x{200D}\x{E0020}-\x{E007F}"  # joiners and flags' tags: what stands before them decides
_INVISIBLE: Final = rf"[[\p{{Cc}}\p{{Cf}}\p{{Co}}]--[{_WRITTEN}{_BREAKS}]]"
_SPACE: Final = r"[\s\x1c-\x1f]"
_MARKUP: Final = r"&#?[0-9A-Za-z]+;"
_DIRTY: Final = rf"{_MARKUP}|<[A-Za-z/!]|{_INVISIBLE}|[^\S ]|[\x1c-\x1f]|  |^ | $"


@operator
class Clean(RowOperator):
    """The text with entities decoded, tags and invisible characters taken out, and single spaces; later steps read it.

    In this order: C1 controls are read as Windows-1252 (as browsers do) and the text is put into its Unicode form.
    Controls (Cc), format characters (Cf: zero-width, bidi, soft hyphens, BOM, tags) and private use (Co) are removed.
    Of these stay white space, number signs that are seen (U+0600..0605 and the like), U+180E, ZWJ and ZWNJ behind a
    letter (and its marks) of a script that they shape (Arabic, Indic and the like) or an emoji, and the tags of a flag.
    HTML entities that end in `;` are decoded until none is left (`&amp;quot;` is `"`: alt text may be escaped twice);
    the tags that HTML knows go, inline ones without a trace, others for a space. White space becomes one space, none
    at the ends (as in COYO's data, github.com/kakaobrain/coyo-dataset). Cleaning twice is cleaning once.
    """

    form: Form = Field("NFC", description="Unicode form; NFKC makes ﬁ, ², Ａ and ™ into fi, 2, A and TM")
    tags: bool = Field(True, description="take HTML tags and comments out")

    reads = ("text",)
    adds = (
        field("clean_text", pa.string(), "the text, cleaned"),
        field("clean_changed", pa.bool_(), "whether cleaning changed the text"),
    )
    replaces: ClassVar[Mapping[str, str]] = {"text": "clean_text"}

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        texts = pl.Series(batch.column("text"))
        wide = texts.str.len_bytes() != texts.str.len_chars()
        dirty = texts.str.contains(_DIRTY)
        if self.form != "none":
            beyond = (wide & ~dirty).arg_true()
            some = texts.gather(beyond)
            dirty = dirty.scatter(beyond, some.str.normalize(self.form) != some)
        rows = dirty.arg_true()
        cleaned = texts.clone().scatter(rows, self._clean(texts.gather(rows))) if len(rows) else texts
        return {"clean_text": cleaned.to_arrow(), "clean_changed": (cleaned != texts).to_arrow()}

    def _clean(self, texts: pl.Series) -> pl.Series:
        texts = self._visible(self._normal(texts.str.replace_many(_C1)))
        marked = texts.str.contains(rf"{_MARKUP}|<[A-Za-z/!]" if self.tags else _MARKUP).arg_true()
        if len(marked):
            read = [read_markup(text, self.form, self.tags) for text in texts.gather(marked)]
            texts = texts.scatter(marked, self._visible(pl.Series(read, dtype=pl.String)))
        return texts.str.replace_all(rf"{_SPACE}+", " ").str.strip_chars(" ")

    def _visible(self, texts: pl.Series) -> pl.Series:
        """Without what cannot be seen, and in form again: what stood around it may compose."""
        bare = texts.str.replace_all(rf"[{_INVISIBLE}--[{_CONTEXT}]]", "")
        return self._normal(bare.str.replace_all(rf"({_FLAG}|{_JOINED})|[{_CONTEXT}]", "${1}"))

    def _normal(self, texts: pl.Series) -> pl.Series:
        return texts if self.form == "none" else texts.str.normalize(self.form)
