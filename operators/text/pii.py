"""text.pii: mail addresses, phone numbers and IP addresses of a text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
import pyarrow as pa

from ...schemas.fields import field
from ..base import Batch, RowOperator, operator
from ._pii import find_pii

_KINDS = ("emails", "phones", "ips")


@operator
class Pii(RowOperator):
    """How many mail addresses, phone numbers and IP addresses a text has; `text.mask_pii` replaces the same ones.

    A mail address is ASCII, ends in a top-level domain of letters, and is not at example.com and the like (RFC 2606).
    An IP address is public (`ipaddress.is_global`, as in datatrove's PIIFormatter, which made FineWeb); of IPv4 it has
    a part of three digits and no word for a version before it, or the word IP: in captions, others are versions.
    A phone number has ASCII digits in one of these shapes: `+` and a country's calling code, 8 to 15 digits (E.164);
    NXX-NXX-XXXX, NXX.NXX.XXXX or (NXX) NXX-XXXX of North America; a leading 0 and 9 to 11 digits in three or four
    groups with spaces or dashes, or in five pairs; or 7 to 15 digits behind a word for phone, call or fax (many
    languages) or ☎. Dates, years, rows of years and 555-01xx, which is for fiction, are none; bare digits are none.
    """

    reads = ("text",)
    adds = (
        field("pii_emails", pa.int32(), "mail addresses", unit="addresses", range=">= 0"),
        field("pii_phones", pa.int32(), "phone and fax numbers", unit="numbers", range=">= 0"),
        field("pii_ips", pa.int32(), "public IPv4 and IPv6 addresses", unit="addresses", range=">= 0"),
    )

    def __call__(self, batch: Batch) -> Mapping[str, np.ndarray]:
        counts = np.zeros((len(_KINDS), len(batch)), np.int32)
        for row, _, found in find_pii(pl.Series(batch.column("text"))):
            for one in found:
                counts[_KINDS.index(one.kind), row] += 1
        return {f"pii_{kind}": counts[i] for i, kind in enumerate(_KINDS)}
