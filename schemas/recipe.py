"""A recipe: what to read, the steps in the order they run, what to write. Unknown keys and wrong types are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Scalar = bool | int | float | str
Share = Annotated[float, Field(gt=0, le=1)]
On = Literal["nodes", "document"]  # of documents; other rows are measured one by one


class Strict(BaseModel):
    """Unknown keys are refused, values are not bent to fit."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)


class Read(Strict):
    """Where the rows come from: one kind of place, or `input`, which finds out by itself."""

    folder: str | None = Field(None, description="folder of images, with .txt or .json of the same name beside them")
    table: str | None = Field(None, description="Parquet, CSV, TSV or JSONL, with image bytes or paths of images")
    webdataset: str | None = Field(None, description="tar files: .jpg .png .webp with .txt or .json")
    warc: str | None = Field(None, description="web archives: .warc .warc.gz .arc .arc.gz, or a .paths list of them")
    wat: str | None = Field(None, description="Common Crawl's links of pages (.wat .wat.gz): a row for each image link")
    cdx: str | None = Field(None, description="Parquet with url, warc_filename, warc_record_offset, warc_record_length")
    urls: str | None = Field(None, description="text file with a URL a line, or one URL")
    input: str | None = Field(None, description="any of these, told apart by what is there")
    key: str | None = Field(None, description="column that names a row")
    text: str | None = Field(None, description="column of captions; a list of captions gives a row each")
    image: str | None = Field(None, description="column of image bytes, or of paths relative to the table")
    image_url: str | None = Field(None, description="column of image addresses")
    page_url: str | None = Field(None, description="column of page addresses")
    drop: tuple[str, ...] = Field((), strict=False, description="columns to leave out")
    root: str | None = Field(None, description="folder that paths in a table must not leave; default: the table's own")
    urls_of: Literal["pages", "images"] | None = Field(None, description="what the URLs lead to; default: pages")
    base: str | None = Field(None, description="what names in a cdx or a .paths list are below: URL, s3:// or folder")

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if sum(place is not None for place in self.places.values()) != 1:
            raise ValueError(f"read needs exactly one of {', '.join(self.places)}")
        if self.urls_of is not None and self.urls is None and self.input is None:
            raise ValueError("urls_of goes with urls")
        if self.base is not None and self.cdx is None and self.warc is None and self.input is None:
            raise ValueError("base goes with cdx, or with warc where it is a .paths list")
        return self

    @property
    def places(self) -> dict[str, str | None]:
        """kind -> path or pattern, of which one is set."""
        return {
            "folder": self.folder,
            "table": self.table,
            "webdataset": self.webdataset,
            "warc": self.warc,
            "wat": self.wat,
            "cdx": self.cdx,
            "urls": self.urls,
            "input": self.input,
        }


class Ranked(Strict):
    """The best (or worst) share of the rows alive, overall or within each value of a column. Nulls take no part."""

    share: Share
    by: str | None = Field(None, description="rank within each value of this column")


class Bound(Strict):
    """What a column must satisfy. All that is set must hold; a null fails unless `null: keep`."""

    min: float | int | None = Field(None, description="at least this")
    max: float | int | None = Field(None, description="at most this")
    in_: tuple[Scalar, ...] | None = Field(None, alias="in", strict=False, description="one of these")
    not_in: tuple[Scalar, ...] | None = Field(None, strict=False, description="none of these")
    top: Ranked | None = Field(None, description="share of the rows alive with the highest values, e.g. 0.3")
    bottom: Ranked | None = Field(None, description="share of the rows alive with the lowest values")
    adaptive: bool | None = Field(
        None,
        description="the upper of two groups that the values of the rows alive fall into; all rows with a value where "
        "they fall into one",
    )
    null: Literal["keep", "drop", "only"] = Field(
        "drop", description="what to do with a null; `column: null` is `only`"
    )

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """`column: null` means that only nulls stay; `top: 0.3` is `top: {share: 0.3}`; an empty YAML key is null."""
        if value is None:
            return {"null": "only"}
        if isinstance(value, dict):
            value = {("null" if key is None else key): item for key, item in value.items()}
            for side in ("top", "bottom"):
                if isinstance(value.get(side), float | int) and not isinstance(value[side], bool):
                    value[side] = {"share": float(value[side])}
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        rules = (self.min, self.max, self.in_, self.not_in, self.top, self.bottom, self.adaptive)
        if all(rule is None for rule in rules) and self.null == "drop":
            raise ValueError("a bound needs one of min, max, in, not_in, top, bottom, adaptive, or null")
        if self.adaptive is False:
            raise ValueError("adaptive is true, or left out")
        if self.null == "only" and any(rule is not None for rule in rules):
            raise ValueError("null: only stands alone")
        return self

    @property
    def sees_all(self) -> bool:
        """Does it take all the rows alive to say which of them satisfy it?"""
        return self.top is not None or self.bottom is not None or self.adaptive is not None


class Keep(Strict):
    """Rows stay for which every bound holds and, where `any` is given, all bounds of one alternative."""

    bounds: dict[str, Bound] = {}
    any: tuple[dict[str, Bound], ...] = Field((), strict=False)
    on: On = Field("nodes", description="document: a document goes whole when one of its nodes fails")

    @model_validator(mode="before")
    @classmethod
    def _columns_are_keys(cls, value: Any) -> Any:
        """In a recipe the columns stand beside `any`: `keep: {words: {min: 3}, any: [...]}`."""
        if isinstance(value, dict) and "bounds" not in value:
            value = dict(value)
            return {"any": value.pop("any", ()), "on": value.pop("on", "nodes"), "bounds": value}
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.bounds and not self.any:
            raise ValueError("keep needs at least one column")
        return self


class Step(Strict):
    """An operator with its parameters; `as` gives columns other names, or puts a word before all: `as: b32`.

    `on: document` measures documents where it would be their nodes.
    """

    operator: str
    params: dict[str, Any] = {}
    rename: dict[str, str] | Annotated[str, Field(pattern="^[A-Za-z][A-Za-z0-9_]*$")] = Field({}, alias="as")
    on: On = "nodes"


class Write(Strict):
    """How the curated shards are cut: consecutive kept rows, up to whichever bound comes first."""

    shard_rows: int = Field(10_000, ge=1, description="rows a file at most")
    shard_mb: int = Field(1024, ge=1, le=4096, description="size of a file at most, in MiB")
    row_group_mb: int = Field(16, ge=1, description="size of a row group at most, in MiB")


class Recipe(Strict):
    """One complete run. Steps may be as in YAML: `"text.length"`, `{"image.phash": {...}}`, `{"keep": {...}}`."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)
    read: Read | None = None
    steps: tuple[Step | Keep, ...] = Field((), strict=False)
    write: Write = Write()

    @model_validator(mode="before")
    @classmethod
    def _steps_as_written(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("steps"), list | tuple):
            return {**value, "steps": [read_step(step) for step in value["steps"]]}
        return value


def read_step(step: Any) -> Any:
    """`text.length`, `{text.length: {...}}` or `{keep: {...}}` as a Step or a Keep."""
    if isinstance(step, Step | Keep):
        return step
    if isinstance(step, str):
        return Step(operator=step)
    if not isinstance(step, dict) or len(step) != 1:
        raise ValueError("a step is an operator's name, or one name with its parameters")
    ((name, params),) = step.items()
    if name == "keep":
        return Keep.model_validate(params)
    if params is None:
        params = {}
    if not isinstance(name, str) or not isinstance(params, dict):
        raise ValueError(f"the parameters of {name} must be a mapping, not {params!r}")
    own = {key: value for key, value in params.items() if key in ("as", "on")}
    return Step.model_validate({"operator": name, **own, "params": {k: v for k, v in params.items() if k not in own}})
