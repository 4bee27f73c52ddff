"""summary.json of real runs, against a plain count over the cut's files; what is said of examples holds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from drawing import write_jsonl

from cupel import Recipe, run
from cupel.pipeline.funnel import Funnel
from cupel.pipeline.verify import verify_corpus
from cupel.schemas.summary import Example, Numbers, Summary, Values

pytestmark = pytest.mark.usefixtures("ray_session")

Row = tuple[int, int]  # shard, row in it
ROWS = 900


def summary_of(made: Funnel) -> Summary:
    return Summary.model_validate_json(Path(made.cut, "summary.json").read_bytes())


def read(made: Funnel, folder: str) -> list[dict[str, object]]:
    """The lines of kept/, dropped/ or parents/, each with its shard."""
    paths = sorted(Path(made.cut, folder).glob("*.parquet"))
    return [line | {"shard": int(path.stem)} for path in paths for line in pq.read_table(path).to_pylist()]


def place(line: dict[str, object]) -> Row:
    return line["shard"], line["row"]


def places(examples: Iterable[Example]) -> list[Row]:
    return [(example.shard, example.row) for example in examples]


class Ledger:
    """What the cut's files say of the rows of one space, and where each step stands."""

    def __init__(self, made: Funnel, steps: list[str], stay: str = "kept") -> None:
        self.made, self.order = made, {line.step: i for i, line in enumerate(made.steps)}
        self.gone = {place(line): line for line in read(made, "dropped") if line["dropped_by"] in steps}
        self.stay = {place(line) for line in read(made, stay)}
        assert not self.stay & set(self.gone)

    def alive(self, step: str | None) -> list[Row]:
        """Where a step comes, or all rows."""
        at = self.order[step] if step else 0
        return [*self.stay, *(row for row, line in self.gone.items() if self.order[line["dropped_by"]] >= at)]

    def fate(self, row: Row, column: str) -> int:
        return 0 if row in self.stay else 1 if self.gone[row]["column"] == column else 2

    def check(self, column: Numbers | Values, value: Callable[[Row], object]) -> None:
        rows = [(value(row), self.fate(row, column.column)) for row in self.alive(column.step)]
        check_column(column, rows)


def check_column(column: Numbers | Values, rows: list[tuple[object, int]]) -> None:
    """The values and fates of all rows, counted one by one."""
    if isinstance(column, Values):
        named = {(value.value, value.rows, value.kept) for value in column.values}
        counted, kept = Counter(v for v, _ in rows), Counter(v for v, fate in rows if fate == 0)
        assert column.nulls == counted.pop(None, 0)
        assert named == {(str(value), n, kept[value]) for value, n in counted.items()}
        assert (column.others, column.others_kept) == (0, 0)
        return
    told = [(float(v), fate) for v, fate in rows if v is not None and not math.isnan(v)]
    finite = [(v, fate) for v, fate in told if math.isfinite(v)]
    assert (column.nulls, column.infinite) == (len(rows) - len(told), len(told) - len(finite))
    assert (column.least, column.most) == (
        min((v for v, _ in told), default=None),
        max((v for v, _ in told), default=None),
    )
    for fate, counts in enumerate((column.kept, column.dropped_here, column.dropped)):
        values = np.array([v for v, f in finite if f == fate])
        found = [((values >= edge) & (values < end)).sum() for edge, end in zip(column.edges, column.ends, strict=True)]
        assert counts == found
        assert sum(counts) == len(values)


# Pairs, their columns as hostile as a table's can be


def strange_table(path: Path) -> pa.Table:
    random = np.random.default_rng(3)
    score = random.normal(size=ROWS)
    score[:7] = [np.nan, np.inf, -np.inf, 1e30, -1e-300, 1.1, 1.1]  # the last is more as a float32
    votes = random.integers(-5, 30, ROWS)
    votes[:4] = [2**62, -(2**62), 2**53 + 1, 0]
    columns = {
        "key": [f"k{i}" for i in range(ROWS)],
        "text": [None if i % 50 == 7 else f"{'word ' * (i % 9)}number {i // 2}" for i in range(ROWS)],
        "score": pa.array(score, mask=np.arange(ROWS) % 11 == 0),
        "half": pa.array(np.clip(score, -1e30, np.inf).astype(np.float32)),
        "votes": votes,
        "nothing": pa.nulls(ROWS, pa.float64()),
        "flag": [None if i % 5 == 0 else i % 3 == 0 for i in range(ROWS)],
        "lang": [None if i % 13 == 0 else "en" if i % 4 else "de" for i in range(ROWS)],
        "image_url": [f"http://img{i % 4}.host{i % 3}.com/{i}" if i % 10 else "none" for i in range(ROWS)],
        "page_url": [f"http://www.example.org/{i}" for i in range(ROWS)],
    }
    table = pa.table(columns)
    pq.write_table(table, path, row_group_size=256)
    return table


STRANGE = [
    *("text.length", {"keep": {"score": {"min": -1.5, "max": 2.0, "null": "keep"}, "votes": {"min": 0}}}),
    {"keep": {"flag": {"in": [True, False]}, "lang": {"not_in": ["xx"]}, "half": {"max": 1.1}}},
    {"keep": {"nothing": {"min": 0, "null": "keep"}}},
    *({"dedup.exact": {"columns": ["text"]}}, {"keep": {"exact_of": None}}, "test.raises"),
    {"keep": {"any": [{"words": {"min": 4}}, {"votes": {"min": 20}, "half": {"max": 0.0}}]}},
    {"keep": {"characters": {"top": 0.8}, "score": {"bottom": {"share": 0.9, "by": "lang"}, "null": "keep"}}},
    {"keep": {"half": {"bottom": 0.9}}},
]


@pytest.fixture(scope="module")
def strange(ray_session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("strange")
    table = strange_table(folder / "t.parquet")
    made = run(Recipe(name="r", steps=STRANGE), folder / "t.parquet", out=folder / "c")
    shards = pq.read_table(folder / "c" / "source.parquet").to_pylist()
    starts = {shard["id"]: shard["start"] for shard in shards}
    assert len(starts) > 2
    return made, {name: table.column(name).to_pylist() for name in table.column_names}, starts


def test_columns_of_pairs(strange):
    made, columns, starts = strange
    found, ledger = summary_of(made), Ledger(made, [line.step for line in made.steps])
    assert found.rows_kept == made.kept > 0
    columns = columns | {
        "words": [None if text is None else len(text.split()) for text in columns["text"]],
        "characters": [None if text is None else len(text) for text in columns["text"]],
        "calm": [None if text is None else "true" for text in columns["text"]],
        "flag": [None if flag is None else str(flag).lower() for flag in columns["flag"]],
    }
    sites = {
        "image_url": [f"host{i % 3}.com" if i % 10 else None for i in range(ROWS)],
        "page_url": ["example.org"] * ROWS,
    }
    for column in (*found.numbers, *found.values):
        values = sites[column.made_of] if column.column == "site" else columns[column.column]
        ledger.check(column, lambda row, values=values: values[starts[row[0]] + row[1]])
    assert sorted(column.column for column in found.numbers) == [
        "characters",
        "half",
        "nothing",
        "score",
        "votes",
        "words",
    ]
    assert {column.column: column.whole for column in found.numbers} == {
        **dict.fromkeys(("characters", "votes", "words"), True),
        **dict.fromkeys(("half", "nothing", "score"), False),
    }
    assert [(column.column, column.made_of) for column in found.values] == [
        *(("flag", None), ("lang", None), ("calm", None), ("site", "image_url"), ("site", "page_url")),
    ]


def test_rules_of_pairs_and_their_examples(strange):
    made, _, _ = strange
    found, ledger = summary_of(made), Ledger(made, [line.step for line in made.steps])
    counted = Counter((line["dropped_by"], line["column"], line["rule"]) for line in ledger.gone.values())
    assert {(rule.label, rule.column, rule.rule): rule.rows for rule in found.dropped if rule.rows} == counted
    assert any(not rule.rows for rule in found.dropped), "rules that dropped nothing are told too"
    for rule in found.dropped:
        rows = places(rule.examples)
        assert len(set(rows)) == len(rows) == min(rule.rows, 8)
        assert {(ledger.gone[row]["column"], ledger.gone[row]["rule"]) for row in rows} <= {(rule.column, rule.rule)}
    assert len(set(places(found.kept))) == 24
    assert set(places(found.kept)) <= ledger.stay


def test_rows_next_to_a_bound(strange):
    made, columns, starts = strange
    found, ledger = summary_of(made), Ledger(made, [line.step for line in made.steps])
    words = [None if text is None else len(text.split()) for text in columns["text"]]
    letters = [None if text is None else len(text) for text in columns["text"]]
    columns = columns | {"words": words, "characters": letters}
    sides = [(near.column, near.side, near.option) for near in found.near]
    assert sides == [
        *(("score", "min", None), ("score", "max", None), ("votes", "min", None), ("half", "max", None)),
        *(("nothing", "min", None), ("words", "min", 0), ("votes", "min", 1), ("half", "max", 1)),
        *(("characters", "top", None), ("score", "bottom", None), ("half", "bottom", None)),
    ]
    for near in found.near:
        values = {row: columns[near.column][starts[row[0]] + row[1]] for row in ledger.alive(near.label)}
        values = {row: v for row, v in values.items() if v is not None and math.isfinite(v)}
        if near.side in ("top", "bottom"):
            kept = [v for row, v in values.items() if row in ledger.stay]
            below, above = ([values[row] for row in places(rows)] for rows in (near.below, near.above))
            assert below == sorted(below, reverse=True)
            assert above == sorted(above)
            if near.side == "top":
                assert below[0] <= near.limit == above[0] <= min(kept)
            elif near.column == "half":
                assert max(kept) == below[0] == near.limit <= above[0]
            else:
                assert near.limit is None, "the groups have limits of their own"
            continue
        limit = np.float32(near.limit) if near.column == "half" else near.limit
        passes = {row: v >= limit if near.side == "min" else v <= limit for row, v in values.items()}
        for rows, side in ((near.below, near.side == "max"), (near.above, near.side == "min")):
            expected = sorted(abs(v - limit) for row, v in values.items() if passes[row] == side)[:6]
            assert [abs(values[row] - limit) for row in places(rows)] == expected
            assert {passes[row] for row in places(rows)} <= {side}


def test_groups_and_failures(strange):
    made, _, _ = strange
    found, ledger = summary_of(made), Ledger(made, [line.step for line in made.steps])
    (groups,) = found.groups
    members = Counter(line["value"] for line in ledger.gone.values() if line["column"] == "exact_of")
    assert {group.keeper: group.rows for group in groups.groups} == dict(members.most_common()[: len(groups.groups)])
    for group in groups.groups:
        assert {ledger.gone[row]["value"] for row in places(group.examples)} == {group.keeper}
        assert len(group.examples) == min(12, group.rows)
    assert found.failures == []


@pytest.mark.parametrize("rows", [50, 3000])
def test_the_largest_groups_and_errors_by_class(tmp_path, rows):
    texts = [*(f"t{i % 40 if i % 5 else i}" for i in range(rows)), "RAISE", "RAISE 2"]
    steps = ["test.raises", {"dedup.exact": {"columns": ["text"]}}, {"keep": {"exact_of": None}}]
    made = run(Recipe(name="r", steps=steps), write_jsonl(tmp_path / "t.jsonl", texts), out=tmp_path / "c")
    found = summary_of(made)
    members = Counter(line["value"] for line in read(made, "dropped"))
    assert [group.rows for group in found.groups[0].groups] == sorted(members.values(), reverse=True)[:50]
    assert {group.keeper: group.rows for group in found.groups[0].groups}.items() <= members.items()
    (failed,) = found.failures
    assert (failed.step, failed.errors) == ("test.raises", {"ZeroDivisionError": 2})
    keys = {place(line): line["key"] for line in read(made, "kept")}
    assert {keys[row] for row in places(failed.examples["ZeroDivisionError"])} == {f"k{rows}", f"k{rows + 1}"}
    assert verify_corpus(made.corpus).faults == []


# Rows that extractors made


def test_children_have_fates_of_their_own(tmp_path):
    texts = [None if i % 9 == 5 else " ".join("abcdef"[: 1 + (i + j) % 6] for j in range(i % 7)) for i in range(700)]
    after = [
        {"text.length": {"as": "word"}},
        {"keep": {"word_characters": {"max": 4}, "nth": {"max": 3}, "lang": {"in": ["x"]}}},
    ]
    steps = ["text.length", {"keep": {"words": {"min": 2, "null": "keep"}}}, "test.words", *after]
    source = write_jsonl(tmp_path / "t.jsonl", texts, lang=["x" if i % 3 else "y" for i in range(700)])
    made = run(Recipe(name="r", steps=steps), source, out=tmp_path / "c")
    found = summary_of(made)
    above, below = Ledger(made, ["keep words"], "parents"), Ledger(made, [line.step for line in made.steps[3:]])
    shards = {s["id"]: s["start"] for s in pq.read_table(tmp_path / "c" / "source.parquet").to_pylist()}
    text_of = {row: texts[shards[row[0]] + row[1]] for row in above.alive(None)}
    lines = [*read(made, "kept"), *below.gone.values()]
    parent = {place(line): (line["shard"], int(line["parent"].split(":")[1])) for line in lines}
    nth = {
        row: row[1] - min(r for (shard, r), p in parent.items() if (shard, p) == (row[0], parent[row]))
        for row in parent
    }
    word = {row: text_of[parent[row]].split()[nth[row]] for row in parent}
    values = {
        (0, "words"): lambda row: None if text_of[row] is None else len(text_of[row].split()),
        (0, "characters"): lambda row: None if text_of[row] is None else len(text_of[row]),
        (1, "word_characters"): lambda row: len(word[row]),
        (1, "word_words"): lambda row: 1,
        (1, "nth"): nth.__getitem__,
        (1, "lang"): lambda row: "x" if (shards[row[0]] + parent[row][1]) % 3 else "y",
        (1, "text"): word.__getitem__,
    }
    told = {(column.space, column.column): column for column in (*found.numbers, *found.values)}
    assert set(told) == set(values)
    for (space, name), value in values.items():
        (above, below)[space].check(told[space, name], value)
    assert told[1, "nth"].step == "test.words"
    assert told[1, "lang"].step is None
    assert {example.space for example in found.kept} == {1}
    assert len({parent[row] for row in places(found.kept)}) > 16, "drawn from all rows, not parent by parent"
    assert set(places(found.kept)) <= below.stay
    assert verify_corpus(made.corpus).faults == []


PAGES = [
    "|".join(f"IMG:http://h{j}.com/{i}" if (i + j) % 3 == 0 else "w " * ((i * 5 + j) % 9) + "w" for j in range(i % 8))
    for i in range(600)
]


def test_columns_of_documents_count_documents(tmp_path):
    source = write_jsonl(tmp_path / "p.jsonl", PAGES, page_url=[f"http://site{i % 7}.org/{i}" for i in range(600)])
    steps = [
        *("test.page", "text.length", {"keep": {"words": {"min": 3}}}, "test.longest"),
        *({"keep": {"longest": {"max": 16}}}, {"keep": {"words": {"max": 7}, "on": "document"}}),
        *({"dedup.exact": {"columns": ["text"], "on": "document"}}, {"keep": {"exact_of": None}}),
        {"keep": {"seen": {"top": 0.7}}},
    ]
    made = run(Recipe(name="r", steps=steps), source, out=tmp_path / "c")
    found, order = summary_of(made), {line.step: i for i, line in enumerate(made.steps)}
    assert verify_corpus(made.corpus).faults == []
    nodes = [*read(made, "kept"), *read(made, "dropped")]
    documents: dict[tuple[int, str], list[dict[str, object]]] = {}
    for node in nodes:
        documents.setdefault((node["shard"], node["parent"]), []).append(node)
    ledger = Ledger(made, list(order))
    texts = {}
    for (_, _), members in documents.items():
        page = [node for node in PAGES[int(members[0]["key"][1:])].split("|") if node]
        for node, line in zip(page, sorted(members, key=lambda line: line["row"]), strict=True):
            texts[place(line)] = None if node.startswith("IMG:") else node
    told = {column.column: column for column in found.numbers}
    words = {row: None if text is None else len(text.split()) for row, text in texts.items()}
    ledger.check(told["words"], words.__getitem__)
    assert {name: column.of_documents for name, column in told.items()} == {
        **dict.fromkeys(("characters", "words"), False),
        **dict.fromkeys(("longest", "seen"), True),
    }

    def last(members: list[dict[str, object]]) -> dict[str, object]:
        """The node that was alive longest."""
        return max(members, key=lambda line: order.get(line.get("dropped_by"), len(order)))

    at = order["test.longest"]
    rows = []
    for members in documents.values():
        alive = [line for line in members if order.get(line.get("dropped_by"), len(order)) >= at]
        by = last(members).get("column")
        fate = 0 if by is None else 1 if by == "longest" else 2
        lengths = [len(texts[place(line)]) for line in alive if texts[place(line)] is not None]
        rows += [(max(lengths, default=None), fate)] if alive else []
    check_column(told["longest"], rows)
    site = next(column for column in found.values if column.made_of == "page_url" and column.space == 1)
    assert site.of_documents
    keys = {name: int(members[0]["key"][1:]) for name, members in documents.items()}
    fates = [
        (f"site{keys[name] % 7}.org", 0 if "column" not in last(members) else 2) for name, members in documents.items()
    ]
    check_column(site, fates)
    whole = {rule.column: rule for rule in found.dropped if rule.step > at}
    for name in ("longest", "words", "exact_of", "seen"):
        shown = [ledger.gone[row] for row in places(whole[name].examples)]
        assert whole[name].rows == sum(
            line["column"] == name and order[line["dropped_by"]] > at for line in ledger.gone.values()
        )
        assert len({(line["shard"], line["parent"]) for line in shown}) == len(shown) > 0, "one node of each document"
    (groups,) = found.groups
    gone = {
        (line["shard"], line["parent"]): line["value"] for line in ledger.gone.values() if line["column"] == "exact_of"
    }
    assert {group.keeper: group.rows for group in groups.groups}.items() <= Counter(gone.values()).items()
