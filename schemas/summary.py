"""summary.json of a cut: what the decision looked like, in a size that does not grow with the corpus.

Every worker summarises its shards when it decides, the driver merges. Counts are of rows; of a column that is measured
of documents, of documents (one is kept while a node of it is; else the rule that took its last nodes has dropped it).
A row's fate is one of kept, dropped by a rule of the recipe, used up by an extractor (which counts as kept where it
stands: its children have fates of their own).

A column that a step adds is told of the rows alive where that step comes, other columns of all rows of the space: so
what is told does not depend on what other cuts have measured.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")  # JSON has no word for infinity


class Numbers(_Strict):
    """How the values of a numeric column are spread, over the rows that have one (measured, or from the source).

    Buckets are sparse and ascend: bucket i holds values from `edges[i]` on and below `ends[i]`, which need not be where
    the next begins. They are narrow where most values are, and small whole numbers have buckets of their own.
    """

    column: str
    space: int
    step: str | None  # label of the step that adds it; None: the rows begin with it
    of_documents: bool = False
    whole: bool = False  # a column of whole numbers
    edges: list[float]
    ends: list[float]
    kept: list[int]
    dropped_here: list[int]  # by a bound on this very column
    dropped: list[int]  # by any other rule
    nulls: int  # rows that the step saw (or all, of the source) without a value; NaN is none
    infinite: int = 0  # rows whose value is infinite: in no bucket
    least: float | None  # may be infinite
    most: float | None


class Value(_Strict):
    """One value of a column of names (language, format, status, host) and how often it comes."""

    value: str
    rows: int
    kept: int


class Values(_Strict):
    """The most frequent values of a column of strings or booleans (`true`, `false`); `site` of registered domains.

    Exact where a column has up to 1,000 different values; else `rows` of a value are at least so many, and what of them
    was not counted is among `others`. Strings of more than 100 bytes are always among the others.
    """

    column: str
    space: int
    step: str | None
    of_documents: bool = False
    made_of: str | None = None  # of a `site`: the column of URLs
    values: list[Value]  # most frequent first, at most 100
    others: int  # rows with other values
    others_kept: int
    nulls: int


class Example(_Strict):
    """A row: `space` 0 holds the source's, 1 those that the first extractor made, and so on."""

    space: int
    shard: int
    row: int


class Dropped(_Strict):
    """Rows that one rule dropped, drawn at random (by a hash of the key) from shards spread over the corpus."""

    step: int  # index in the recipe
    label: str
    column: str
    rule: str
    rows: int
    examples: list[Example]


class Near(_Strict):
    """Rows next to a bound, among those alive when the rule came: nearest first."""

    step: int
    label: str
    column: str
    side: str  # min, max, top or bottom
    option: int | None = None  # which alternative of `any` the bound stands in
    limit: float | None  # of top and bottom: the value at which the ranking cuts; None where it ranks in groups
    below: list[Example]
    above: list[Example]


class Group(_Strict):
    """Duplicates: the row that stayed as the others' representative, in words (00000003:17), and how many name it."""

    keeper: str
    rows: int
    examples: list[Example]


class Groups(_Strict):
    """The largest groups of one verdict column, such as near_image_of; of more than 20,000 `rows` are a lower bound."""

    column: str
    space: int
    step: str
    groups: list[Group]  # largest first, at most 50


class Failures(_Strict):
    """Rows on which a step failed, by class of error."""

    step: str
    space: int
    errors: dict[str, int]
    examples: dict[str, list[Example]]


class Summary(_Strict):
    """summary.json."""

    format_version: int = 1
    rows_kept: int = 0  # as in the manifest
    numbers: list[Numbers]
    values: list[Values]
    kept: list[Example]  # random kept rows of the last space
    dropped: list[Dropped]  # in the order of the recipe, every rule, those that dropped nothing too
    near: list[Near]
    groups: list[Groups]
    failures: list[Failures]
