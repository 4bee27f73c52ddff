"""Operators are found by their place, then by entry point; a wrong name gets near ones."""

from __future__ import annotations

import re
from importlib.metadata import EntryPoint

import pytest

from cupel.operators import registry
from cupel.operators.registry import did_you_mean, find, names
from cupel.operators.text.length import Length


def test_ours_come_first_and_theirs_are_there():
    found = names()
    assert find("text.length") is Length
    assert find("test.shout").__module__ == "cupel_test_operators"
    assert found.index("image.size") < found.index("dedup.exact") < found.index("test.kills")
    assert not any(part.startswith("_") for name in found for part in name.split("."))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.lenght", "no operator 'text.lenght'; did you mean 'text.length'"),
        ("qqqq", "no operator 'qqqq'$"),
        ("text._words", "no operator 'text._words'"),
        ("text", "no operator 'text'"),
    ],
)
def test_near_names(name, message):
    with pytest.raises(KeyError) as caught:
        find(name)
    assert re.search(message, caught.value.args[0])


def test_an_entry_point_that_is_no_operator_is_refused(monkeypatch):
    point = EntryPoint(name="acme.path", value="pathlib:Path", group=registry.GROUP)
    monkeypatch.setattr(registry, "_theirs", lambda: {"acme.path": point})
    with pytest.raises(TypeError, match="'acme.path' is .*Path.*, not an operator"):
        find.__wrapped__("acme.path")


def test_did_you_mean_says_nothing_where_nothing_is_near():
    assert did_you_mean("keep", ["words"]) == ""
    assert did_you_mean("wrods", ["words", "height"]) == "; did you mean 'words'?"
