"""text.mask_pii: the text with others' mail addresses, phone numbers and IP addresses replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ._pii import find_pii

_HOW = "put in place of them, in turn within each text; none: they stay"


@operator
class MaskPii(RowOperator):
    """The text with what `text.pii` counts replaced: mail addresses, phone numbers, IP addresses; later steps read it.

    What stands in their place is nobody's: the addresses that FineWeb puts there (datatrove's PIIFormatter), numbers
    kept for fiction (555-01xx) and addresses kept for documentation (RFC 5737; FineWeb's `22.214.171.124` and the like
    may be somebody's). Within a text they are taken in turn from the first on, so that two different addresses differ
    there, and a text's result does not depend on others. `emails: [<EMAIL>]` and so on put tokens there. With what is
    put there by default, `text.pii` finds nothing afterwards, unless two stood there with at most a space between.
    """

    emails: tuple[str, ...] = Field(
        ("email@example.com", "firstname.lastname@example.org"), description=f"mail addresses {_HOW}"
    )
    phones: tuple[str, ...] = Field(("202-555-0100", "202-555-0101"), description=f"phone numbers {_HOW}")
    ips: tuple[str, ...] = Field(("192.0.2.1", "198.51.100.1", "203.0.113.1"), description=f"IP addresses {_HOW}")

    reads = ("text",)
    adds = (
        field("masked_text", pa.string(), "the text, masked"),
        field("masks", pa.int32(), "addresses and numbers replaced", unit="replacements", range=">= 0"),
    )
    replaces: ClassVar[Mapping[str, str]] = {"text": "masked_text"}

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        texts = pl.Series(batch.column("text"))
        rows, masked, counts = [], [], []
        masks = {"emails": self.emails, "phones": self.phones, "ips": self.ips}
        for row, text, found in find_pii(texts):
            pieces, end, used = [], 0, dict.fromkeys(masks, 0)
            for one in found:
                if choice := masks[one.kind]:
                    pieces += [text[end : one.start], choice[used[one.kind] % len(choice)]]
                    used[one.kind] += 1
                    end = one.end
            rows.append(row)
            masked.append("".join([*pieces, text[end:]]))
            counts.append(sum(used.values()))
        replaced = pl.zeros(len(texts), pl.Int32, eager=True).scatter(rows, counts)
        changed = texts.clone().scatter(rows, pl.Series(masked, dtype=pl.String)) if rows else texts
        return {"masked_text": changed.to_arrow(), "masks": replaced.to_arrow()}
