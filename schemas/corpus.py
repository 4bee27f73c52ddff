"""The files of a corpus folder, and what stands in them.

CORPUS/
  corpus.json                           what the corpus reads; written once, guards against a second owner
  source.parquet                        the shard list
  scores/STEP-FP8/00000000.parquet      what one step measured; later rows as 00000000+1.parquet
  fetched/STEP-FP8/00000000.parquet     as scores/, of a step that brought bytes: images, pages
  rows/STEP-FP8/00000000.parquet        what an extractor made: a line for each child, and one for each row without any
  errors/STEP-FP8/00000000.parquet      row, class, message
  cuts/NAME-HASH8/                      one recipe's decision: recipe.yaml, ranks/, kept/, dropped/, parents/, curated/,
                                        summary.json, files.parquet, manifest.json (written last)
  cuts/NAME.json                        which cut of that name is the newest

A row has a number in its shard. After an extractor the rows are its children, in the shard of their parents, and have
numbers of their own. In `scores/`, `errors/` and the `parent` of `rows/` a child's number is its line in `rows/`, over
all files of the shard in order: it never changes. A cut numbers its children anew, in the order of their parents, those
alone whose parents were alive where the extractor stands: so a cut does not depend on what was extracted before it.
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from .fields import field

FORMAT_VERSION = 1
FOUND = ("scores", "fetched", "rows")  # folders of what steps found in the input


class State(StrEnum):
    """What came of measuring one row with one step. A row that a step never saw has no entry."""

    MEASURED = "measured"
    NOT_APPLICABLE = "not_applicable"
    FAILED = "failed"
    FAILED_TRANSIENT = "failed_transient"


ROW = field("row", pa.int32(), "row of the shard", range=">= 0")
STATE = field("state", pa.string(), "measured, not_applicable, failed or failed_transient")

ERRORS = pa.schema(
    [
        ROW,
        field("class", pa.string(), "what went wrong, from a closed list or the exception's name"),
        field("message", pa.string(), "the error's own words"),
    ]
)

PARENT = field("parent", pa.string(), "the row it was made of, as 00000003:17 (shard:row); null: a row of the source")

MADE = pa.schema(
    [
        field("parent", pa.int32(), "row that it was made of", range=">= 0"),
        field("child", pa.int32(), "which of its parent's children; null where the parent made none", range=">= 0"),
        field("state", pa.string(), "the parent's: measured, not_applicable, failed or failed_transient"),
        field("bytes", pa.int64(), "size of the image that it adds; null if it adds none", unit="bytes"),
    ]
)

FETCHED = pa.schema([ROW, STATE, field("bytes", pa.int64(), "size of what was fetched; null if nothing", unit="bytes")])

KEPT = pa.schema([ROW, field("key", pa.string(), "the row's key"), PARENT])

PARENTS = pa.schema(
    [
        ROW,
        field("key", pa.string(), "the row's key"),
        PARENT,
        field("extracted_by", pa.string(), "the step of the recipe that made rows out of this one"),
        field("state", pa.string(), "measured, not_applicable, failed or failed_transient"),
        field("children", pa.int32(), "rows that it made", range=">= 0"),
    ]
)

DROPPED = pa.schema(
    [
        ROW,
        field("node", pa.int32(), "node of a document; null where the whole row went"),
        field("key", pa.string(), "the row's key"),
        PARENT,
        field("dropped_by", pa.string(), "the step of the recipe that dropped the row"),
        field("column", pa.string(), "the column whose bound did not hold"),
        field("rule", pa.string(), "the bound as the recipe has it"),
        field("value", pa.string(), "the value that did it; null if there was none"),
    ]
)

FILES = pa.schema(
    [
        field("path", pa.string(), "relative to the cut's folder"),
        field("rows", pa.int64(), "rows in the file"),
        field("bytes", pa.int64(), "size", unit="bytes"),
        field("sha256", pa.string(), "digest of the whole file", unit="hex"),
    ]
)


def shard_name(shard: int) -> str:
    """`7` -> `00000007`: the stem of every file that holds this shard's rows."""
    return f"{shard:08d}"


def row_name(shard: int, row: int) -> str:
    """A row's identity in words, as verdict columns such as `near_image_of` hold it: `00000003:17`."""
    return f"{shard:08d}:{row}"


class Fitted(BaseModel):
    """What `adaptive` found in a column: two normal distributions, and the value that parts them, or why none does."""

    model_config = ConfigDict(extra="forbid")
    rows: int  # alive with a finite value
    means: tuple[float, float] | None = None  # of the lower and the upper group; None: not fitted
    sds: tuple[float, float] | None = None
    weights: tuple[float, float] | None = None
    bic_gain: float | None = None  # by two: BIC of the likeliest single (generalised normal) distribution less theirs
    separation: float | None = None  # of the means, in root mean square sds (Ashman's D)
    threshold: float | None = None  # rows stay from here on; None: all rows with a value
    kept_share: float = 1.0  # of `rows`
    why: str = ""  # nothing was dropped

    @property
    def text(self) -> str:
        """In words, for people."""
        if self.threshold is None or self.means is None or self.weights is None:
            return f"all stay: {self.why}"
        low, high = (f"{mean:.4g} ({weight:.1%})" for mean, weight in zip(self.means, self.weights, strict=True))
        return f"from {self.threshold:.4g} on, {self.kept_share:.1%}: two groups, around {low} and {high}"


class StepTotals(BaseModel):
    """One line of the funnel. An extractor uses up all its `rows_in`, and `made` rows go into the next step."""

    model_config = ConfigDict(extra="forbid")
    step: str
    fingerprint: str | None = None  # what decides the numbers of an operator; None: a rule, or an older cut
    rows_in: int
    documents_in: int | None = None  # where rows are nodes: documents with a node alive
    dropped: int = 0
    made: int | None = None
    childless: int = 0  # of `rows_in`, those that it made nothing of
    measured: int = 0
    failed: int = 0
    seconds: float = 0.0
    rules: dict[str, int] = {}
    fitted: dict[str, Fitted] = {}  # by column: where its rule `adaptive` drew the line


class Manifest(BaseModel):
    """manifest.json of a cut: written last, so a cut with a manifest is whole."""

    model_config = ConfigDict(extra="forbid")
    format_version: int = FORMAT_VERSION
    name: str
    finished_at: str | None = None  # ISO 8601, UTC
    recipe_hash: str
    source_digest: str
    source_schema: str | None = None  # what the source's rows began with, as Arrow IPC in base64; None: an older cut
    versions: dict[str, str]
    shards: int
    rows_in: int
    kept: int
    documents: int | None = None  # where the kept rows are nodes: whose they are
    dropped: dict[str, int]
    errors: dict[str, int]
    steps: list[StepTotals]
    unreadable: dict[str, str]
    wrote_images: bool
    files_sha256: str

    @property
    def made(self) -> dict[str, int]:
        """Extractor -> rows that it made. rows_in + made = kept + dropped + `rows_in` of the extractors."""
        return {line.step: line.made for line in self.steps if line.made is not None}

    @property
    def complete(self) -> bool:
        """False when a shard could not be read: its rows are in no number here."""
        return not self.unreadable
