"""What the commands of inspect print: tables, and lines for what is no table. Text of strangers comes as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ...schemas.summary import Values
from ..cuts import CutEntry
from ..funnel import Funnel
from ..rates import Rate
from .charts.buckets import Buckets
from .diff import Compared, CutDiff
from .labels.audit import Audit, Audited
from .lost import Gone
from .stats import SHARES, VALUES, Score, Stats, quantiles_of
from .story import Cell, StepStory, Story
from .terminal import DROPPED, KEPT, beside, figure, histogram, line

TOLD = 8  # names of rows that are told of each kind


def heading(text: str) -> Text:
    """A section's title."""
    return Text(f"\n{text}", "bold")


def _table(*columns: str, left: int = 1) -> Table:
    """A plain table; columns after the first `left` hold figures."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i < left else "right", overflow="fold", header_style="dim")
    return table


def _row(table: Table, *cells: object, style: str = "") -> None:
    table.add_row(*(Text(figure(cell)) for cell in cells), style=style)


# Stats


def stats_lines(found: Stats) -> Iterator[RenderableType]:
    """A cut in numbers."""
    manifest = found.cut.manifest
    if len(found.cuts) > 1:
        yield heading("Cuts of this corpus, the newest first")
        yield _cuts(found.cuts, found.cut.title)
    yield heading(f"{found.cut.title}{f', finished {_moment(manifest.finished_at)}' if manifest.finished_at else ''}")
    seconds = round(sum(step.seconds for step in manifest.steps), 1)
    funnel = Funnel(manifest=manifest, measured_rows={}, seconds=seconds, corpus="", cut=found.cut.folder)
    yield funnel.table()
    rules = [(step.step, rule, rows) for step in manifest.steps for rule, rows in step.rules.items()]
    if len(rules) > len(manifest.dropped):
        table = _table("step", "rule", "rows that it dropped", left=2)
        for each in rules:
            _row(table, *each)
        yield heading("Rules")
        yield table
    for score in found.scores:
        yield from _score(score)
    for values in found.values:
        yield from _values(values)
    if found.groups:
        yield heading("Largest groups of duplicates")
        table = _table("verdict", "row that stayed", "rows that repeat it", left=2)
        for column, group in found.groups:
            _row(table, column, group.keeper, group.rows)
        yield table
    if found.failures:
        yield heading("Errors, by step and class")
        table = _table("step", "class", "rows", left=2)
        for failures in found.failures:
            for kind, rows in sorted(failures.errors.items(), key=lambda pair: -pair[1]):
                _row(table, failures.step, kind, rows)
        yield table
    for place, why in manifest.unreadable.items():
        yield Text(f"not read: {line(place)}: {line(why, 200)}", DROPPED)


def _cuts(cuts: Sequence[CutEntry], shown: str) -> Table:
    table = _table("cut", "finished", "rows in", "kept", left=2)
    for entry in cuts:
        at = (entry.manifest.finished_at or "").replace("T", " ")[:16]
        _row(
            table,
            entry.title,
            at,
            entry.manifest.rows_in,
            entry.manifest.kept,
            style="bold" if entry.title == shown else "",
        )
    return table


def _moment(when: str) -> str:
    """ISO 8601 as people write it."""
    return when.replace("T", " ")[:16]


def _score(score: Score) -> Iterator[RenderableType]:
    numbers = score.numbers
    what = "documents" if numbers.of_documents else "rows"
    yield heading(f"{line(numbers.column)}, {'by ' + line(numbers.step) if numbers.step else 'of the source'}")
    told = f"  {score.count:,} {what}, {numbers.nulls:,} without a value"
    yield Text(told + (f", {numbers.infinite:,} infinite" if numbers.infinite else ""))
    quantiles = {"least": numbers.least, **(score.quantiles or {}), "most": numbers.most}
    yield Text("  " + "   ".join(f"{name} {figure(value)}" for name, value in quantiles.items()))
    buckets = Buckets.of(numbers)
    yield from histogram(buckets, score.limits) if buckets is not None else []


def _values(values: Values) -> Iterator[RenderableType]:
    name = f"site of {values.made_of}" if values.made_of else values.column
    yield heading(f"{line(name)}, {'by ' + line(values.step) if values.step else 'of the source'}")
    table = _table("value", "rows", "kept", "share kept")
    more = values.values[VALUES:]
    others = values.others + sum(value.rows for value in more)
    kept = values.others_kept + sum(value.kept for value in more)
    lines = [(value.value or "(empty)", value.rows, value.kept) for value in values.values[:VALUES]]
    for each in [*lines, *([("others", others, kept)] if others else [])]:
        _row(table, *each, f"{each[2] / each[1]:.1%}")
    yield table
    if values.nulls:
        yield Text(f"{values.nulls:,} without a value", "dim")


# Diff


def diff_lines(found: CutDiff) -> Iterator[RenderableType]:
    """Two cuts side by side."""
    a, b = found.a, found.b
    yield heading(f"A: {a.title}    B: {b.title}")
    table = _table("", "in both", "only in A", "only in B", "kept by A", "kept by B")
    _row(table, "rows", found.both, found.only_a, found.only_b, a.manifest.kept, b.manifest.kept)
    if found.documents is not None:
        counts = found.documents
        _row(table, "documents", counts.both, counts.only_a, counts.only_b, a.manifest.documents, b.manifest.documents)
    yield table
    if found.documents is not None:
        yield Text(f"{found.documents.changed:,} of the documents in both have other nodes", "dim")
    yield from _lost("Only in A, by what B did with them", found.lost_by_b)
    yield from _lost("Only in B, by what A did with them", found.lost_by_a)
    for compared in found.scores:
        yield from _compared(compared)
    if found.recipes:
        yield heading("The recipes")
        styles = {"-": DROPPED, "+": KEPT}
        yield from (Text(line(text, 160), styles.get(text[:1], "")) for text in found.recipes)


def _lost(title: str, places: Sequence[Gone]) -> Iterator[RenderableType]:
    if not places:
        return
    yield heading(title)
    for gone in places:
        step = f"{gone.exit.label}: " if gone.exit is not None and gone.exit.column else ""
        yield Text(f"  {gone.rows:,} rows, {line(step + gone.why)}")
        table = _table("row", "key", "value that did it", "text", left=4)
        for sample in gone.samples:
            _row(
                table,
                f"    {sample.row}",
                line(sample.key or "–", 40),
                line(sample.value or "–", 24),
                line(sample.caption or "–", 60),
            )
        yield table


def _compared(compared: Compared) -> Iterator[RenderableType]:
    yield heading(f"{line(compared.column)} of the kept rows" + ("" if compared.same else " (not measured alike)"))
    table = _table("", "rows", *(f"{share:.0%}" for share in SHARES), "bounds")
    for name, score, kept in (("A", compared.a, compared.kept_a), ("B", compared.b, compared.kept_b)):
        quantiles = (quantiles_of(kept) or {}).values() if kept is not None else [None] * len(SHARES)
        _row(table, f"  {name}", score.kept, *quantiles, ", ".join(limit.text for limit in score.limits))
    yield table
    if compared.kept_a is not None and compared.kept_b is not None:
        yield from beside(compared.kept_a, compared.kept_b)


# One row


def story_lines(story: Story) -> Iterator[RenderableType]:
    """A row from its beginning to its end."""
    yield heading(f"{story.name}, key {line(story.key) if story.key is not None else 'none'}, in {story.cut}")
    yield _fate(story)
    if story.document is not None:
        place = story.document
        told = f"node {place.position + 1} of {place.nodes} of the document {place.document} ({place.kept} kept)"
        yield Text(f"  {told}")
    elif story.parent is not None:
        yield Text(f"  made of {story.parent}")
    yield heading("Began with")
    if story.unreadable:
        yield Text(f"  cannot be read: {line(story.unreadable, 200)}", DROPPED)
    yield _cells(story.source)
    for step in story.steps:
        yield from _step(step)
    yield from _relatives(story)


def _fate(story: Story) -> Text:
    if story.dropped_by is None:
        told = "kept" if story.fate == "kept" else f"kept; {story.children_in_all:,} rows were made of it"
        return Text(f"  {told}", f"bold {KEPT}")
    gone = story.dropped_by
    why = f" for {line(story.dropped_for)}" if story.dropped_for is not None else ""
    told = f"dropped by {gone.label}: {gone}{why}" if gone.column else str(gone)
    return Text(f"  {line(told, 200)}", f"bold {DROPPED}")


def _cells(cells: Sequence[Cell]) -> Table:
    table = _table("", "", "", "", left=4)
    table.show_header = False
    for cell in cells:
        about = ", ".join(filter(None, [cell.unit, cell.range]))
        _row(table, f"  {cell.name}", _shown(cell.value), about, line(cell.doc, 70))
    return table


def _shown(value: object) -> str:
    return figure(value if not isinstance(value, list | dict) else str(value))


def _step(step: StepStory) -> Iterator[RenderableType]:
    seen = step.state if step.came or step.state == "unseen" else f"{step.state}, for another cut: it was gone by then"
    seen = "the row was gone by then" if step.state == "unseen" and not step.came else seen
    style = DROPPED if step.state in ("dropped", "failed", "failed_transient") else "" if step.came else "dim"
    yield Text(f"\n{line(step.step)}: {seen}", f"bold {style}".strip())
    if step.error is not None:
        yield Text(f"  {line(step.error)}: {line(step.message or '', 300)}", DROPPED)
    if step.cells:
        yield _cells(step.cells)
    for rule in step.rules:
        holds = {True: "holds", False: "fails", None: "nobody knows"}[rule.holds]
        holds = holds if rule.asked else f"not asked ({holds})"
        style = "dim" if not rule.asked else DROPPED if rule.holds is False else KEPT
        yield Text(f"  {holds}: {line(rule.column)} {line(rule.rule)}, value {_shown(rule.value)}", style)


def _relatives(story: Story) -> Iterator[RenderableType]:
    for group in story.duplicates:
        yield heading(
            f"{line(group.column)}: {'repeated by these' if group.is_keeper else f'repeats {line(group.keeper_name)}'}"
        )
        more = "" if group.complete else ", and perhaps more"
        yield Text(f"  {', '.join(str(member) for member in group.members)}{more}")
    if story.children:
        yield heading(f"{story.children_in_all:,} rows made of it")
        table = _table("row", "what became of it", left=2)
        for child in story.children:
            _row(table, f"  {child.row}", child.fate)
        yield table


# Audit


def audit_lines(found: Audit) -> Iterator[RenderableType]:
    """How right a cut's rules are."""
    yield heading(f"{found.cut.title}: {found.labelled:,} labelled rows")
    yield Text("  A rule is judged by the rows that were alive when it came; shares with their 95 % intervals.", "dim")
    columns = ("rightly gone", "wrongly kept", "drop precision", "drop recall", "keep precision", "keep recall")
    table = _table("", *columns)
    for audited in found.lines:
        _row(table, _title(audited), *_counts(audited), *(_rate(rate) for rate in vars(audited.quality).values()))
    yield table
    weighted = [audited for audited in found.lines if audited.stands_for is not None]
    if weighted:
        yield Text("  Labels were drawn by stratum: shares are those of all rows that they stand for.", "dim")
    for audited in found.lines[:1]:
        if audited.since is not None:
            yield Text(f"  All rules: from {line(audited.since)} on, because no rows before it are labelled.", "dim")
    judged = found.judged
    yield from _left_out("have no label", [""] * judged.unlabelled)
    yield from _left_out("are about no row of this cut", judged.unmatched)
    yield from _left_out("have a key that several rows share", judged.ambiguous)
    yield from _left_out("say both keep and drop of a row", judged.contradicted)


def _title(audited: Audited) -> str:
    if audited.step is None:
        return "all rules"
    return audited.step if audited.rule is None else f"  {audited.rule}"


def _counts(audited: Audited) -> tuple[str, str]:
    counts = audited.counts
    gone, stayed = counts.gone_bad + counts.gone_good, counts.stayed_bad + counts.stayed_good
    return f"{counts.gone_bad:,} of {gone:,}", f"{counts.stayed_bad:,} of {stayed:,}"


def _rate(rate: Rate) -> str:
    if rate.share is None or rate.low is None or rate.high is None:
        return "–"
    return f"{rate.share:.0%} ({rate.low:.0%}–{rate.high:.0%})"


def _left_out(why: str, names: Sequence[str]) -> Iterator[Text]:
    if names:
        some = ", ".join(line(name, 40) for name in names[:TOLD] if name)
        more = f" and {len(names) - TOLD:,} more" if len(names) > TOLD and some else ""
        yield Text(f"  {len(names):,} labels {why}{f': {some}{more}' if some else ''}", DROPPED)
