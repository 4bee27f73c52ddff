"""Sentences against cases whose answer is plain, most of them pragmatic_segmenter's published "golden rules"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.text._sentences import sentences
from cupel.operators.text.sentences import Sentences

SPLIT = [
    ["Hello World.", "My name is Jonas."],
    ["What is your name?", "My name is Jonas."],
    ["There it is!", "I found it."],
    ["My name is Jonas E. Smith."],
    ["Please turn to p. 55."],
    ["Were Jane and co. at the party?"],
    ["They closed the deal with Pitt, Briggs & Co. at noon."],
    ["Let's ask Jane and co.", "They should know."],
    ["They closed the deal with Pitt, Briggs & Co.", "It closed yesterday."],
    ["I can see Mt. Fuji from here."],
    ["St. Michael's Church is on 5th st. near the light."],
    ["That is JFK Jr.'s book."],
    ["I visited the U.S.A. last year."],
    ["I work for the U.S. Government in Virginia."],
    ["I have lived in the U.S. for 20 years."],
    ["She has $100.00 in her bag."],
    ["He teaches science (He previously worked for 5 years as an engineer.) at the local University."],
    ["Her email is Jane.Doe@example.com.", "I sent her an email."],
    ["She turned to him, 'This is great.' she said."],
    ['She turned to him, "This is great."', "She held the book out to show him."],
    ["Hello!!", "Long time no see."],
    ["Hello??", "Who is there?"],
    ["Hello!?", "Is that you?"],
    ["You can find it at No. 1026.253.553.", "That is where the treasure is."],
    ["She works at Yahoo! in the accounting department."],
    ["I never meant that....", "She left the store."],
    ["On Jan. 5 it rained.", "See fig. 3, too."],
    ["Oh, no.", "They have gone."],
    ["Pressure vs. Volume is drawn in Fig. 2.", "The Rt. Hon. Member agrees."],
    ["日本語。", "次の文！", "はい"],
    ["It was a cold \nnight in the city."],
    ["A heading without a stop", "A paragraph."],
    ["The laws appear less complex. . . .", "He went on."],
]


@pytest.mark.parametrize("parts", SPLIT, ids=lambda parts: parts[0])
def test_by_example(parts):
    joint = "\n\n" if parts[0].startswith("A heading") else "" if parts[0].startswith("日") else " "
    found = sentences(joint.join(parts))
    if parts[0].startswith("The laws"):
        assert len(found) <= 3, "dots apart make no sentence each"
    else:
        assert found == parts


@given(
    st.text(max_size=200)
    | st.lists(st.sampled_from(["a", "B", ".", "!", " ", "\n", '"', "。", "1", "U.S."])).map("".join)
)
def test_nothing_is_lost_but_white_space(text):
    found = sentences(text)
    assert "".join("".join(found).split()) == "".join(text.split())
    assert all(part == part.strip() != "" for part in found)


@pytest.mark.parametrize(
    ("text", "count", "ends"),
    [
        ("", 0, False),
        (" \n\n ", 0, False),
        ("A title", 1, False),
        ("One. Two", 2, False),
        ("One. Two.", 2, True),
        ("He said “go.” ", 1, True),
        ("(See the map!)", 1, True),
        ("a comma,", 1, False),
        ("はい。", 1, True),
        ("First paragraph.\n\nSecond? Third.", 3, True),
    ],
)
def test_measured(measure, text, count, ends):
    assert measure(Sentences(), [text]) == {"sentences": [count], "ends_sentence": [ends]}


@pytest.mark.parametrize("text", ["." * 300_000, ". " * 150_000, '."' * 150_000, "!?" * 100_000 + "x", "U." * 100_000])
def test_a_hostile_text_is_split_in_one_pass(text):
    assert "".join("".join(sentences(text)).split()) == text.replace(" ", "")
