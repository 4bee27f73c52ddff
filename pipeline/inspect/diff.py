"""Two cuts of one corpus: the rows that only one of them kept, what the other dropped them for, and how scores differ.

Read off the cuts' own files, a shard at a time, so the size of the corpus does not matter.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import polars as pl

from ..members import plain
from ..plan import CorpusStep, ExtractStep, KeepStep
from ..read import CorpusError
from ..recipe_file import recipe_as_yaml
from .charts.buckets import Buckets
from .fates import KEPT, USED_UP, Fates, each, path_columns
from .lost import OTHERS, UNSEEN, Gone, Lost
from .opened import OpenedCut
from .stats import Score, kept_part, quantiles_of, scores_of, summary_of


@dataclass(frozen=True, kw_only=True)
class DocumentCounts:
    """Documents of which the cuts kept a node."""

    both: int
    changed: int  # of these, those that kept other nodes
    only_a: int
    only_b: int


@dataclass(frozen=True, kw_only=True)
class Compared:
    """How one column of numbers is spread over the rows that each cut kept."""

    column: str
    space: int
    a: Score
    b: Score
    kept_a: Buckets | None  # None: no kept row has a finite value
    kept_b: Buckets | None
    same: bool  # False: it was measured in another way, or belongs to its cut


@dataclass(frozen=True, kw_only=True)
class CutDiff:
    """What two cuts of one corpus have in common, and what not. Rows are those that the cuts are made of."""

    a: OpenedCut
    b: OpenedCut
    both: int
    only_a: int
    only_b: int
    lost_by_b: Sequence[Gone]  # rows only in A, by what B did with them, in the order of B's recipe
    lost_by_a: Sequence[Gone]
    documents: DocumentCounts | None  # where the rows are nodes
    scores: Sequence[Compared]  # of columns that both have, those with bounds first
    recipes: Sequence[str]  # unified diff of the recipes, line by line

    def as_dict(self) -> dict[str, Any]:
        """For --json."""
        told = {"both": self.both, "only_a": self.only_a, "only_b": self.only_b}
        scores = [
            {
                "column": s.column,
                "space": s.space,
                "same": s.same,
                "a": _of_kept(s.a, s.kept_a),
                "b": _of_kept(s.b, s.kept_b),
            }
            for s in self.scores
        ]
        found = {
            "a": {"cut": self.a.title, "kept": self.a.manifest.kept, "documents": self.a.manifest.documents},
            "b": {"cut": self.b.title, "kept": self.b.manifest.kept, "documents": self.b.manifest.documents},
            **told,
            "documents": None if self.documents is None else vars(self.documents),
            "lost_by_b": [gone.as_dict() for gone in self.lost_by_b],
            "lost_by_a": [gone.as_dict() for gone in self.lost_by_a],
            "scores": scores,
            "recipes": list(self.recipes),
        }
        return cast(dict[str, Any], plain(found))


def _of_kept(score: Score, kept: Buckets | None) -> dict[str, Any]:
    return {"rows": score.kept, "quantiles": quantiles_of(kept), "bounds": [vars(limit) for limit in score.limits]}


def diff_cuts(a: OpenedCut, b: OpenedCut, samples: int = 12) -> CutDiff:
    """Compare two cuts; `samples` rows at most are told of each place where rows were lost.

    Raises CorpusError for cuts of different corpora, or of rows that different extractors made.
    """
    _check_comparable(a, b)
    fates_a, fates_b = Fates(a), Fates(b)
    shards = sorted({shard.id for shard in (*a.shards, *b.shards)})
    lost_by_b, lost_by_a = Lost(fates_b, shards, samples), Lost(fates_a, shards, samples)
    counts, documents = Counter[str](), Counter[str]()
    for part in each(shards, lambda shard: _compare(fates_a, fates_b, shard)):
        counts += part.counts
        documents += part.documents
        lost_by_b.add(part.shard, part.only_a)
        lost_by_a.add(part.shard, part.only_b)
    nodes = a.plan.spaces[-1].nodes is not None
    return CutDiff(
        a=a,
        b=b,
        **{name: counts[name] for name in ("both", "only_a", "only_b")},
        lost_by_b=lost_by_b.told(a),
        lost_by_a=lost_by_a.told(b),
        documents=DocumentCounts(**{f: documents[f] for f in DocumentCounts.__annotations__}) if nodes else None,
        scores=_scores(a, b),
        recipes=_recipes(a, b),
    )


def _check_comparable(a: OpenedCut, b: OpenedCut) -> None:
    if _resolved(a.store.uri) != _resolved(b.store.uri):
        raise CorpusError(f"{a.title} and {b.title} are cuts of different corpora: {a.store.uri} and {b.store.uri}")
    if a.folder == b.folder:
        raise CorpusError(f"both are {a.title}; give two cuts' folders, below {a.store.uri}/cuts")
    made_a, made_b = ([s for s in cut.plan.steps if isinstance(s, ExtractStep)] for cut in (a, b))
    if [step.folder for step in made_a] == [step.folder for step in made_b]:
        return
    names_a, names_b = (", ".join(s.label for s in made) or "no extractor" for made in (made_a, made_b))
    other = "with other parameters or on other columns" if names_a == names_b else f"not {names_b}"
    raise CorpusError(f"the rows of {a.title} and {b.title} cannot be matched: they were made by {names_a}, {other}")


def _resolved(uri: str) -> str:
    return uri if "://" in uri else str(Path(uri).resolve())


def _recipes(a: OpenedCut, b: OpenedCut) -> list[str]:
    text_a, text_b = (recipe_as_yaml(cut.recipe).splitlines() for cut in (a, b))
    return list(difflib.unified_diff(text_a, text_b, a.title, b.title, lineterm="", n=2))


def _scores(a: OpenedCut, b: OpenedCut) -> list[Compared]:
    of_a, of_b = ({(s.numbers.space, s.numbers.column): s for s in scores_of(cut, summary_of(cut))} for cut in (a, b))
    found = [
        Compared(
            column=column,
            space=space,
            a=of_a[space, column],
            b=of_b[space, column],
            kept_a=kept_part(of_a[space, column].numbers),
            kept_b=kept_part(of_b[space, column].numbers),
            same=_measured_by(a, space, column) == _measured_by(b, space, column) is not None,
        )
        for space, column in of_a
        if (space, column) in of_b
    ]
    return sorted(found, key=lambda pair: not (pair.a.limits or pair.b.limits))


def _measured_by(cut: OpenedCut, space: int, column: str) -> str | None:
    """What decides the values of a column of numbers; None where they belong to the cut."""
    if column not in cut.plan.spaces[space].fields:
        return ""
    steps = (step for step in cut.plan.steps[cut.plan.spaces[space].start :] if not isinstance(step, KeepStep))
    step = next(step for step in steps if column in step.names.values())
    return None if isinstance(step, CorpusStep) or step.on_documents else step.fingerprint


# One shard


@dataclass(kw_only=True)
class _Part:
    """What differs in one shard: of rows that one cut kept, path and number there, and the `fate` in the other."""

    shard: int
    only_a: pl.DataFrame
    only_b: pl.DataFrame
    counts: Counter[str]
    documents: Counter[str] = field(default_factory=Counter)


def _compare(a: Fates, b: Fates, shard: int) -> _Part:
    rows_a, rows_b = (fates.shard(shard) if shard in fates else _nothing(fates) for fates in (a, b))
    kept_a, kept_b = (rows[-1].filter(pl.col("fate") == KEPT).drop("fate") for rows in (rows_a, rows_b))
    path = path_columns(kept_a)
    only_a, only_b = kept_a.join(kept_b, on=path, how="anti"), kept_b.join(kept_a, on=path, how="anti")
    counts = Counter(both=kept_a.height - only_a.height, only_a=only_a.height, only_b=only_b.height)
    found = _Part(shard=shard, only_a=_fates_in(rows_b, only_a), only_b=_fates_in(rows_a, only_b), counts=counts)
    if len(path) > 1:
        found.documents = _documents(kept_a, kept_b, pl.concat([only_a, only_b]), path[:-1])
    return found


def _nothing(fates: Fates) -> list[pl.DataFrame]:
    """The rows of a shard that a cut does not have."""
    spaces = len(fates.cut.plan.spaces)
    named = [{"row": pl.Int64, "fate": pl.Int32} | {f"n{i}": pl.Int64 for i in range(s + 1)} for s in range(spaces)]
    return [pl.DataFrame(schema=schema) for schema in named]


def _fates_in(rows: Sequence[pl.DataFrame], paths: pl.DataFrame) -> pl.DataFrame:
    """What became of rows, or of the nearest rows above that there are; `rows` are a cut's, space by space."""
    levels, parts = path_columns(paths), []
    for depth in range(len(rows), 0, -1):
        there = rows[depth - 1].select(*levels[:depth], "fate")
        parts.append(paths.join(there, on=levels[:depth]))
        paths = paths.join(there, on=levels[:depth], how="anti")
    found = pl.concat([*parts, paths.with_columns(fate=pl.lit(UNSEEN, pl.Int32))])
    return found.with_columns(fate=pl.when(pl.col("fate") == USED_UP).then(OTHERS).otherwise("fate"))


def _documents(a: pl.DataFrame, b: pl.DataFrame, differ: pl.DataFrame, path: list[str]) -> Counter[str]:
    of_a, of_b, differ = (rows.select(path).unique() for rows in (a, b, differ))
    both = of_a.join(of_b, on=path, how="semi")
    changed = both.join(differ, on=path, how="semi").height
    return Counter(
        both=both.height, changed=changed, only_a=of_a.height - both.height, only_b=of_b.height - both.height
    )
