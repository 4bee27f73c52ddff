"""Turn a recipe into a plan: operators found, columns checked, fingerprints made; mistakes told with their line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
from pydantic import TypeAdapter, ValidationError

from ..operators import registry
from ..operators.base import (
    ByRow,
    CorpusOperator,
    DocumentOperator,
    Extractor,
    FetchOperator,
    Operator,
    RowOperator,
)
from ..operators.registry import did_you_mean
from ..schemas.corpus import PARENT
from ..schemas.document import IMAGE_COLUMNS
from ..schemas.recipe import Bound, Keep, Step
from .columns import added_by, columns_of
from .fingerprint import depends_on, hashed, params_of
from .keep import columns_at_barrier, misfit
from .plan import (
    CorpusStep,
    DocumentStep,
    ExtractStep,
    FetchStep,
    KeepStep,
    MeasureStep,
    Place,
    Plan,
    PlannedStep,
    Space,
)
from .recipe_file import RecipeFile


def make_plan(
    source: RecipeFile, schema: pa.Schema, source_digest: str = "", recorded: Mapping[int, str] | None = None
) -> Plan:
    """Check the recipe against the source's columns. Raises RecipeError with file, line and near names.

    `recorded` has the fingerprints of a cut that was made, by step: whoever looks at it needs no weights.
    """
    planner = _Planner(source, schema, recorded or {})
    for i, step in enumerate(source.recipe.steps):
        planner.add(i, step)
    planner.check_verdicts()
    return Plan(
        recipe=source.recipe.model_copy(update={"steps": tuple(planner.written)}),
        steps=tuple(planner.steps),
        spaces=(*planner.spaces, planner.space()),
        source_digest=source_digest,
    )


def check_operators(source: RecipeFile) -> None:
    """Are the operators there, with parameters that fit? What can be told before the input is scanned."""
    planner = _Planner(source, pa.schema([]), {})
    for i, step in enumerate(source.recipe.steps):
        if isinstance(step, Step):
            planner.operator(i, step)


class _Planner:
    """Walks the steps once, keeping what columns there are by now."""

    def __init__(self, source: RecipeFile, schema: pa.Schema, recorded: Mapping[int, str]) -> None:
        self.source, self.recorded = source, recorded
        self.read = self.schema = schema  # the source's columns; what the rows of the space begin with
        self.steps: list[PlannedStep] = []
        self.written: list[Step | Keep] = []  # the recipe's steps with every default written out
        self.spaces: list[Space] = []  # those that extractors have ended
        self.fields: dict[str, pa.Field] = {}
        self.view = {name: name for name in schema.names}
        self.fingerprints = {name: f"source:{name}" for name in schema.names}
        self.made_by: list[str] = []  # fingerprint of the extractor, once there is one
        self.used_up: dict[str, str] = {}  # column -> extractor that left it out
        self.verdicts: dict[str, int] = {}
        self.of_cut: dict[str, str] = {}  # column -> corpus operator that adds it, or what is measured of documents
        self.nodes: set[str] | None = None  # of documents: the columns with a value for each node
        self.kinds: dict[str, str] = {}  # of documents: column -> the kind of node whose column it is, if of one

    def add(self, i: int, step: Step | Keep) -> None:
        if isinstance(step, Keep):
            self._add_keep(i, step)
            self.written.append(step)
            return
        operator = self.operator(i, step)
        self.written.append(step.model_copy(update={"params": params_of(operator)}))
        place = self._place(i, step, operator)
        folder = f"{step.operator}-{place.fingerprint[:8]}"
        match operator:
            case Extractor():
                self._begin_space(ExtractStep(**vars(place), operator=operator, folder=folder))
                return
            case RowOperator() | DocumentOperator() if place.on_documents:
                self.steps.append(DocumentStep(**vars(place), operator=operator, folder=folder))
            case FetchOperator():
                self.steps.append(FetchStep(**vars(place), operator=operator, folder=folder))
            case RowOperator():
                self.steps.append(MeasureStep(**vars(place), operator=operator, folder=folder))
            case CorpusOperator():
                self._refuse_places(i, step.operator, place.reads)
                self.steps.append(CorpusStep(**vars(place), operator=operator))
        self._add_columns(i, step, operator, place)

    def _place(self, i: int, step: Step, operator: Operator) -> Place:
        """What the step reads and adds there, and what decides its numbers."""
        on_documents = isinstance(operator, DocumentOperator) or step.on == "document"
        if on_documents and self.nodes is None:
            message = f"{step.operator} measures documents, and there are none here: page.document makes some"
            raise self.source.error(message, "steps", i, step.operator)
        names = self._names(i, step, operator)
        reads = {name: self._version(i, step.operator, name) for name in operator.reads}
        takes = {name: self.view[name] for name in operator.takes if name in self.view and name not in reads}
        if on_documents:
            self._check_documents(i, step, operator, {**reads, **takes})
        elif not isinstance(operator, CorpusOperator):
            self._refuse_of_cut(i, step.operator, {**reads, **takes})
        if isinstance(operator, FetchOperator):
            self._refuse_fetched(i, step.operator, {**reads, **takes})
        versions = {name: self.fingerprints[column] for name, column in {**reads, **takes}.items()}
        whole = ["on: document"] if step.on == "document" else []
        fingerprint = self.recorded.get(i) or hashed(
            [*(step.operator, operator.version, *depends_on(operator)), versions, *self.made_by, *whole]
        )
        return Place(
            index=i,
            label=self._label(f"{step.operator} on document" if whole else step.operator),
            fingerprint=fingerprint,
            reads={**reads, **takes},
            names=names,
            takes=frozenset(takes),
            on_documents=on_documents,
        )

    def _add_columns(self, i: int, step: Step, operator: Operator, place: Place) -> None:
        """The columns that there are from here on."""
        kind = self._kind_of(i, step.operator, operator, place.reads)
        for added in columns_of(operator):
            name = place.names[added.name]
            self.fields[name] = added.with_name(name)
            self.fingerprints[name] = f"{place.fingerprint}:{added.name}"
            self.view[name] = name
            if isinstance(operator, CorpusOperator) or place.on_documents:
                self.of_cut[name] = step.operator
            if isinstance(operator, CorpusOperator) and name.endswith(("_of", "_by")):
                self.verdicts[name] = i
            if self.nodes is not None and (not place.on_documents or added not in operator.adds):
                self.nodes.add(name)
                of = operator.of_kind.get(added.name) if isinstance(operator, DocumentOperator) else kind
                self.kinds |= {name: of} if of else {}
        if isinstance(operator, RowOperator) and not place.on_documents:
            self.view |= {old: place.names[new] for old, new in operator.replaces.items()}

    def _kind_of(self, i: int, step: str, operator: Operator, reads: Mapping[str, str]) -> str | None:
        """Whose column an operator makes of these: text nodes', image nodes' or (None) all nodes'."""
        kinds = sorted({self.kinds[column] for column in reads.values() if column in self.kinds})
        if len(kinds) > 1 and isinstance(operator, ByRow) and not isinstance(operator, DocumentOperator):
            message = f"{step} reads texts and images, and no node of a document has both"
            raise self.source.error(f"{message}; document.image_text_assignment compares them", "steps", i, step)
        return kinds[0] if len(kinds) == 1 else None

    def _check_documents(self, i: int, step: Step, operator: Operator, reads: Mapping[str, str]) -> None:
        """Documents can be measured where there are any, by what a document has."""
        assert self.nodes is not None
        if isinstance(operator, Extractor | FetchOperator):
            message = f"{step.operator} goes from row to row: `on: document` is for what measures"
            raise self.source.error(message, "steps", i, step.operator, "on")
        for name, column in reads.items():
            own = column in self.nodes and name != "text"
            if (own or name == "image") and not isinstance(operator, DocumentOperator):
                message = f"on: document, {step.operator} reads {name!r}, of which each node has its own"
                raise self.source.error(message, "steps", i, step.operator, "on")
            if column in self.schema.names and not isinstance(operator, CorpusOperator):
                self._refuse_of_cut(i, step.operator, {name: column})
            if not isinstance(operator, CorpusOperator) and isinstance(self._adder(column), CorpusStep):
                self._refuse_of_cut(i, step.operator, {name: column})

    def _adder(self, column: str) -> PlannedStep | None:
        """The step that adds a column, if one does."""
        return next((s for s in self.steps if not isinstance(s, KeepStep) and column in s.names.values()), None)

    def space(self) -> Space:
        """The steps since the last extractor."""
        start = self.spaces[-1].stop if self.spaces else 0
        return Space(
            start=start,
            stop=len(self.steps),
            schema=self.schema,
            fields=self.fields,
            view=self.view,
            nodes=None if self.nodes is None else frozenset(self.nodes),
            has_images="image" in self.schema.names
            or any(isinstance(step, FetchStep) and step.brings_images for step in self.steps[start:]),
        )

    def _begin_space(self, step: ExtractStep) -> None:
        """From here on the rows are the extractor's: with its columns, and all others as they stand for the parent."""
        self.steps.append(step)
        self.spaces.append(self.space())
        inherited = {column.name: column for column in self.spaces[-1].columns}
        inherited = {name: column for name, column in inherited.items() if name not in step.operator.uses_up}
        self.used_up |= dict.fromkeys(step.operator.uses_up, step.label)
        own = {step.names[added.name]: added.with_name(step.names[added.name]) for added in step.operator.adds}
        prints = {name: self.fingerprints[self.view[name]] for name in inherited}
        prints |= {new: old for old, new in step.names.items()} | {"parent": "parent"}
        self.schema = pa.schema((inherited | own | {"parent": PARENT}).values())
        self.fields, self.view = {}, {name: name for name in self.schema.names}
        self.fingerprints = {name: f"{step.fingerprint}:{print}" for name, print in prints.items()}
        self._check_nodes(step, inherited)
        self.made_by = [step.fingerprint]
        self.of_cut = {name: by for name, by in self.of_cut.items() if name in inherited and name not in own}
        self.nodes, self.kinds = None, {}
        if step.makes_documents:
            self.nodes = set(own)
            kinds = {"text": "text", **dict.fromkeys(IMAGE_COLUMNS, "image")}
            self.kinds = {new: kinds[old] for old, new in step.names.items() if old in kinds}

    def _check_nodes(self, step: ExtractStep, inherited: Mapping[str, pa.Field]) -> None:
        """`nodes` is the engine's in documents, and it looks at their `kind`."""
        if step.makes_documents and ("nodes" in inherited or "nodes" in step.names.values()):
            message = f"{step.label} makes documents, which get a column 'nodes', and there is one of that name; "
            hint = "leave it out with `read: {drop: [nodes]}`" if "nodes" in self.read.names else "rename it with `as`"
            raise self.source.error(message + hint, "steps", step.index, step.label)
        if step.makes_documents and step.names["kind"] != "kind":
            raise self.source.error(f"{step.label}: `kind` keeps its name", "steps", step.index, step.label, "as")

    def operator(self, i: int, step: Step) -> Operator:
        """The step's operator with its parameters."""
        try:
            found = registry.find(step.operator)
        except KeyError as error:
            raise self.source.error(str(error.args[0]), "steps", i, step.operator) from error
        except ImportError as error:
            raise self.source.error(f"{step.operator} cannot be loaded: {error}", "steps", i, step.operator) from error
        try:
            operator = TypeAdapter(found).validate_python(step.params)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else step.operator
            known = list(TypeAdapter(found).json_schema().get("properties", {}))
            where = f"{name}: " if first["loc"] else ""  # a rule over several parameters names them itself
            message = f"{step.operator}: {where}{first['msg'].removeprefix('Value error, ')}"
            if first["type"] == "unexpected_keyword_argument":
                message = f"{step.operator} has no parameter {name!r}{did_you_mean(name, known)}"
                message += f" (known: {', '.join(known) or 'none'})"
            elif first["type"] in ("missing", "missing_keyword_only_argument"):
                message = f"{step.operator} needs the parameter {name!r}"
            raise self.source.error(message, "steps", i, step.operator, name) from error
        if i in self.recorded:
            return operator
        try:
            _ = operator.files
        except (OSError, ValueError) as error:  # a file that is not there, in the words of the operator that wants it
            raise self.source.error(f"{step.operator}: {error}", "steps", i, step.operator) from error
        return operator

    def _names(self, i: int, step: Step, operator: Operator) -> dict[str, str]:
        """The recipe's names for what an operator adds. A taken name is refused, unless it is a child's own column."""
        added = [column.name for column in columns_of(operator)]
        given = step.rename
        if isinstance(given, str):
            given = {name: f"{given}_{name}" for name in added}
        for old in given:
            if old not in added:
                message = f"as renames {old!r}, which {step.operator} does not add{did_you_mean(old, added)}"
                raise self.source.error(message, "steps", i, step.operator, "as", old)
        names = {name: given.get(name, name) for name in added}
        if isinstance(operator, Extractor):
            self._check_parent(i, step, names)
            return names
        for old, new in names.items():
            if new == "nodes" and self.nodes is not None:
                message = f"{step.operator} adds 'nodes', which documents have; rename it with `as`"
                raise self.source.error(message, "steps", i, step.operator)
            if new in self.view:
                owner = "the source" if new in self.read.names else "an earlier step"
                message = (
                    f"{step.operator} adds {new!r}, but {owner} has a column of that name; "
                    f"rename with `as: {{{old}: my_{old}}}`"
                    + (f" or leave it out with `read: {{drop: [{new}]}}`" if owner == "the source" else "")
                )
                raise self.source.error(message, "steps", i, step.operator)
        return names

    def _check_parent(self, i: int, step: Step, names: Mapping[str, str]) -> None:
        """`parent` is the engine's; a later extractor's takes the place of an earlier one's."""
        if "parent" in names.values() or ("parent" in self.view and not self.spaces):
            message = f"{step.operator} makes rows, which get a column 'parent', and there is one of that name; "
            hint = (
                "leave it out with `read: {drop: [parent]}`" if "parent" in self.read.names else "rename it with `as`"
            )
            raise self.source.error(message + hint, "steps", i, step.operator)

    def _version(self, i: int, operator: str, column: str) -> str:
        """The column that a step gets when it asks for this one."""
        if column not in self.view:
            raise self.source.error(f"{operator} reads {self._unknown(column)}", "steps", i, operator)
        return str(self.view[column])

    def _refuse_of_cut(self, i: int, step: str, reads: Mapping[str, str]) -> None:
        """Scores belong to the corpus, but what a corpus operator finds depends on the rows alive in this cut."""
        for column in sorted({*reads.values()} & {*self.of_cut}):
            message = (
                f"{step} cannot read {column!r}: it belongs to this cut ({self.of_cut[column]}), scores to every cut"
            )
            raise self.source.error(message, "steps", i, step)

    def _refuse_fetched(self, i: int, step: str, reads: Mapping[str, str]) -> None:
        """What is fetched is not held in memory, and a step that fetches sees all rows at once."""
        for column in sorted({*reads.values()} & {s.bytes_column for s in self.steps if isinstance(s, FetchStep)}):
            raise self.source.error(f"{step} cannot read {column!r}, which is fetched itself", "steps", i, step)

    def _refuse_places(self, i: int, step: str, reads: Mapping[str, str]) -> None:
        """At a barrier `shard` and `row` are where a row stands, so no column can be read under these names."""
        for column in sorted({"shard", "row"} & {*reads, *reads.values()}):
            message = f"{step} cannot read a column named {column!r} of all rows: give it another name in the source"
            raise self.source.error(message, "steps", i, step)

    def _unknown(self, column: str) -> str:
        """What to say of a column that is not there."""
        if column in self.used_up:
            return f"{column!r}, which {self.used_up[column]} uses up: the rows that it makes do not have it"
        sources = [name for name in registry.names() if column in added_by(name)]
        if sources:
            return f"{column!r}, which no earlier step adds; {' or '.join(sources)} adds it"
        known = list(self.view)
        near = did_you_mean(column, known)
        return f"{column!r}, which neither the source nor an earlier step has{near} (there are: {', '.join(known)})"

    def _add_keep(self, i: int, keep: Keep) -> None:
        step = KeepStep(index=i, label="", keep=keep)
        step = replace(step, label=self._label("keep " + ", ".join(step.columns)))
        for column, bound in step.bounds():
            if column not in self.view:
                raise self.source.error(f"keep reads {self._unknown(column)}", "steps", i, "keep", column)
            self._check_bound(i, column, bound)
            self.verdicts.pop(column, None)
        by = (ranked.by for _, bound in step.bounds() for ranked in (bound.top, bound.bottom) if ranked and ranked.by)
        reads = {name: self.view[name] for name in (*step.columns, *by)}
        if step.ranked:
            self._refuse_places(i, "keep", reads)
        if keep.on == "document" and self.nodes is None:
            message = "on: document: there are no documents here: page.document makes some"
            raise self.source.error(message, "steps", i, "keep", "on")
        about = {column: self.kinds[name] for column, name in reads.items() if name in self.kinds}
        ranks_documents = self._ranks_documents(i, step)
        self.steps.append(replace(step, reads=reads, about=about, ranks_documents=ranks_documents))

    def _check_bound(self, i: int, column: str, bound: Bound) -> None:
        """Does the bound fit the column's type, and is there what it ranks by?"""
        kind = self.fields[column].type if column in self.fields else self.schema.field(column).type
        if told := misfit(column, bound, kind):
            name, message = told
            raise self.source.error(message, "steps", i, "keep", column, name)
        for ranked in (bound.top, bound.bottom):
            if ranked and ranked.by is not None and ranked.by not in self.view:
                raise self.source.error(f"by reads {self._unknown(ranked.by)}", "steps", i, "keep", column)

    def _ranks_documents(self, i: int, step: KeepStep) -> bool:
        """Are the best of documents taken, or of nodes?"""
        ranked = set(columns_at_barrier(step.keep))
        if self.nodes is None or not ranked or not ranked - self.nodes:
            return False
        own = sorted(ranked & self.nodes)
        if own:
            message = (
                f"top, bottom and adaptive take documents by {sorted(ranked - self.nodes)}, but {own[0]!r} is of nodes"
            )
            raise self.source.error(message, "steps", i, "keep", own[0])
        return True

    def _label(self, name: str) -> str:
        """The step's name in the funnel: its operator or its columns, numbered when it comes again."""
        count = sum(step.label.split(" (")[0] == name for step in self.steps)
        return f"{name} ({count + 1})" if count else name

    def check_verdicts(self) -> None:
        """A duplicate that is found but never dropped is a surprise in the training set."""
        for column, i in self.verdicts.items():
            step = self.source.recipe.steps[i]
            assert isinstance(step, Step)
            message = f"{step.operator} adds {column!r}, but no later keep reads it; add `- keep: {{{column}: null}}`"
            raise self.source.error(message, "steps", i, step.operator)
