"""Rows asked for by address: against plain Python over the same values, and what addresses are refused."""

from __future__ import annotations

import math
from types import SimpleNamespace
from urllib.parse import parse_qsl

import numpy as np
import pyarrow as pa
import pytest
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from cupel.pipeline.inspect.opened import open_cut
from cupel.pipeline.inspect.rows import load_rows
from cupel.pipeline.inspect.serve.cells import Cells
from cupel.pipeline.inspect.serve.query import MOST_PAGE_ROWS, Condition, Query, read_query
from cupel.pipeline.inspect.serve.selection import select


@pytest.fixture(scope="module")
def rows(drawn_corpus):
    return load_rows(open_cut(str(drawn_corpus)))


@pytest.fixture(scope="module")
def documents(documents_corpus):
    return load_rows(open_cut(str(documents_corpus)))


def asked(rows, address: str) -> Query:
    return read_query(QueryParams(address), rows)


def found(rows, address: str) -> list[int]:
    return select(asked(rows, address), rows, Cells(rows).errors).tolist()


def where(rows, column: str, holds, space: int = -1) -> list[int]:
    values = rows.spaces[space].column(column).to_pylist()
    return [row for row, value in enumerate(values) if value is not None and holds(value)]


@pytest.mark.parametrize(
    ("column", "op", "value", "holds"),
    [
        ("words", "min", "4", lambda v: v >= 4),
        ("words", "max", "3.5", lambda v: v <= 3.5),
        ("words", "is", "2", lambda v: v == 2),
        ("aspect_ratio", "min", "1.2", lambda v: v >= 1.2),
        ("sharpness", "max", "1e3", lambda v: v <= 1000),
        ("text", "contains", "COLOURS", lambda v: "colours" in v),
        ("text", "is", "number 0", lambda v: v == "number 0"),
        ("NSFW", "not", "UNLIKELY", lambda v: v == "NSFW"),
        ("blocked", "is", "yes", lambda v: v is True),
        ("near_image_of", "there", "", lambda v: True),
        ("<i>odd</i>\"'", "contains", "<script>", lambda v: "<script>" in v),
    ],
)
def test_a_condition_holds_where_it_says(rows, column, op, value, holds):
    params = Query(space=0).address() + "&" + str(QueryParams({"column": column, "op": op, "value": value}))
    expected = where(rows, column, holds)
    assert found(rows, params.lstrip("?")) == expected
    assert 0 < len(expected) <= len(rows.last)


def test_a_missing_value_is_neither_equal_nor_different(rows):
    there, missing = (set(found(rows, f"column=words&op={op}&value=")) for op in ("there", "null"))
    assert there | missing == set(range(len(rows.last)))
    assert not missing & {*found(rows, "column=words&op=is&value=2"), *found(rows, "column=words&op=not&value=2")}


@pytest.mark.parametrize("fate", ["kept", "dropped"])
def test_fates_are_those_of_the_manifest(rows, fate):
    kept = rows.cut.manifest.kept
    assert len(found(rows, f"fate={fate}")) == (kept if fate == "kept" else len(rows.last) - kept)


def test_rules_and_steps_give_what_the_funnel_counts(rows):
    first = 0
    for index, line in enumerate(rows.cut.manifest.steps):
        assert len(found(rows, f"alive_at={index}")) == line.rows_in
        assert len(found(rows, f"dropped_at={index}")) == line.dropped
        assert len(found(rows, f"failed={index}")) == line.failed
        own = [i for i, rule in enumerate(rows.rules) if rule.step == index]
        counted = {f"{rows.rules[i].column} {rows.rules[i].text}": len(found(rows, f"rule={i}")) for i in own}
        assert {name: count for name, count in counted.items() if count} == line.rules
        first += len(own)
    assert first == len(rows.rules)


def test_rows_by_the_class_of_their_error(rows):
    step = next(i for i, line in enumerate(rows.cut.manifest.steps) if line.failed)
    classes = Cells(rows).errors(0, step)
    assert set(classes.values()) <= set(rows.cut.manifest.errors)
    for kind in set(classes.values()):
        assert found(rows, f"failed={step}&error={kind}") == sorted(r for r, own in classes.items() if own == kind)


def test_sorting_puts_nulls_last_and_keeps_the_order_of_equals(rows):
    values = rows.last.column("words").to_pylist()
    ascending = sorted(range(len(values)), key=lambda r: math.inf if values[r] is None else values[r])
    descending = sorted(range(len(values)), key=lambda r: math.inf if values[r] is None else -values[r])
    assert found(rows, "sort=words") == ascending
    assert found(rows, "sort=-words") == descending
    by_chance = found(rows, "sort=shuffled")
    assert sorted(by_chance) == list(range(len(values))) != by_chance == found(rows, "sort=shuffled")


def test_a_group_is_who_stays_and_who_names_it(rows):
    names = rows.last.column("near_image_of").to_pylist()
    copy = next(row for row, name in enumerate(names) if name is not None)
    keeper = next(row for row in range(len(rows.last)) if rows.last.name_of(row) == names[copy])
    assert set(found(rows, f"column=near_image_of&op=group&value={names[copy]}")) == {keeper, copy}
    assert found(rows, "column=near_image_of&op=group&value=nothing") == []


def test_a_bound_on_nodes_is_of_their_space(documents):
    words = where(documents, "words", lambda v: v >= 10)
    assert found(documents, "column=words&op=min&value=10") == found(documents, "space=1&column=words&op=min&value=10")
    assert found(documents, "column=words&op=min&value=10") == words
    assert found(documents, "space=0&column=http_status&op=is&value=404") == where(
        documents, "http_status", lambda v: v == 404, 0
    )


def test_an_address_is_read_as_it_was_written(rows):
    text = "space=0&fate=dropped&rule=1&alive_at=2&sort=-words&view=table&page=3&size=24&show=words&show=text"
    query = asked(rows, text + "&column=words&op=min&value=3&column=text&op=contains&value=%26%3D%2B%20x")
    assert asked(rows, query.address(page=3).lstrip("?")) == query
    assert dict(parse_qsl(query.address(fate="kept")[1:])).get("page") is None, "other rows begin with the first page"
    assert query.conditions[1].value == "&=+ x"
    assert asked(rows, "column=&op=min&value=3&column=words&op=min&value=").conditions == (), "empty lines of the form"
    assert asked(rows, "size=100000").size == MOST_PAGE_ROWS and asked(rows, "page=0").page == 1


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("space=7", "space must be below 1"),
        ("space=x", "whole number"),
        ("space=-1", "whole number"),
        ("rule=10000", "rule must be below"),
        ("page=99999999999999999999", "whole number"),
        ("page=٣", "whole number"),
        ("fate=gone", "all, kept, dropped"),
        ("view=../x", "grid, table"),
        ("sort=nothing", "no column 'nothing'"),
        ("show=image", "no column 'image'"),
        ("column=words&op=min", "in this order"),
        ("column=words&op=like&value=3", "no op 'like'"),
        ("column=nothing&op=min&value=3", "no column"),
        ("&".join(["column=words&op=min&value=3"] * 21), "At most 20"),
    ],
)
def test_an_address_that_says_nothing_is_refused_in_words(rows, address, said):
    with pytest.raises(HTTPException) as refused:
        asked(rows, address)
    assert refused.value.status_code == 400 and said in refused.value.detail


@pytest.mark.parametrize(
    "address",
    [
        "column=words&op=min&value=many",
        "column=words&op=is&value=3.5",
        "column=text&op=min&value=3",
        "column=blocked&op=is&value=maybe",
    ],
)
def test_a_value_that_does_not_fit_its_column_is_refused(rows, address):
    with pytest.raises(HTTPException) as refused:
        found(rows, address)
    assert refused.value.status_code == 400 and "holds" in refused.value.detail


# Columns of types that a corpus may bring


class Columns(dict):
    """Columns as the rows of a space that has no more."""

    column = dict.__getitem__

    def __len__(self) -> int:
        return len(next(iter(self.values())))


BIG = 2**53
ODD = Columns(
    big=pa.array([BIG, BIG + 1, None, -3]),
    huge=pa.array([0, 2**64 - 1, 2**64 - 2, None], pa.uint64()),
    nan=pa.array([1.5, float("nan"), None, -2.0]),
    half=pa.array([np.float16(0.1), np.float16(2), None, np.float16("nan")], pa.float16()),
    lists=pa.array([[1], [2], None, []]),
)


def chosen(column: str = "", op: str = "", value: str = "", sort: str = "") -> list[int]:
    conditions = (Condition(column=column, op=op, value=value),) if op else ()
    query = Query(space=0, conditions=conditions, sort=sort)
    return select(query, SimpleNamespace(spaces=[ODD], rules=[]), lambda space, step: {}).tolist()


@pytest.mark.parametrize(
    ("column", "op", "value", "rows"),
    [
        ("big", "min", str(BIG + 1), [1]),
        ("big", "max", str(BIG), [0, 3]),
        ("big", "min", "-2.5", [0, 1]),
        ("big", "max", "-2.5", [3]),
        ("big", "max", "9" * 290, [0, 1, 3]),
        ("huge", "min", str(2**64 - 1), [1]),
        ("nan", "null", "", [1, 2]),
        ("nan", "there", "", [0, 3]),
        ("nan", "not", "1.5", [3]),
        ("nan", "max", "9e99", [0, 3]),
        ("half", "is", "0.1", [0]),
        ("half", "min", "0.1", [0, 1]),
        ("half", "max", "1e300", [0, 1]),
        ("half", "null", "", [2, 3]),
    ],
)
def test_numbers_are_compared_as_they_are(column, op, value, rows):
    assert chosen(column, op, value) == rows


@pytest.mark.parametrize(
    ("sort", "rows"),
    [
        ("nan", [3, 0, 1, 2]),
        ("-nan", [0, 3, 1, 2]),
        ("half", [0, 1, 2, 3]),
        ("-half", [1, 0, 2, 3]),
        ("big", [3, 0, 1, 2]),
    ],
)
def test_what_is_missing_is_last_in_both_directions(sort, rows):
    assert chosen(sort=sort) == rows


@pytest.mark.parametrize(
    "asked",
    [
        {"sort": "lists"},
        {"column": "lists", "op": "contains", "value": "1"},
        {"column": "big", "op": "min", "value": "1_0"},
        {"column": "big", "op": "min", "value": "\u0663"},
        {"column": "nan", "op": "min", "value": "nan"},
    ],
)
def test_what_cannot_be_asked_of_a_type_is_refused(asked):
    with pytest.raises(HTTPException) as refused:
        chosen(**asked)
    assert refused.value.status_code == 400 and "holds" in refused.value.detail
