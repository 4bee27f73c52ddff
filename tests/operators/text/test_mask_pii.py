from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cupel.operators.text.mask_pii import MaskPii
from cupel.operators.text.pii import Pii

TOKENS = MaskPii(emails=("<EMAIL>",), phones=("<PHONE>",), ips=("<IP>",))
PIECES = st.sampled_from(
    [
        *(
            "a@b.com",
            "@",
            ".",
            "x",
            "-",
            " ",
            ", ",
            "+",
            "0",
            "7",
            "12",
            "555",
            "0100",
            "202-555-0100",
            "email@example.com",
        ),
        *("+44 20 7946 0958", "(212) 736-5000", "030 123 4567", "tel ", "call: ", "☎", "IP ", "v", "93.184.216.34"),
        *("192.0.2.1", "2606:4700::1111", ":", "/", "(", ")", "a", "é", "電", "1.2.3.4", "2013-01-02", "_", "%"),
    ]
)
TEXTS = st.lists(PIECES, max_size=20).map(", ".join)


@pytest.mark.parametrize(
    ("text", "masked", "masks"),
    [
        ("a photo of a cat", "a photo of a cat", 0),
        ("mail a@b.com, c@d.org or e@f.net", "mail <EMAIL>, <EMAIL> or <EMAIL>", 3),
        ("Tel. (212) 736-5000 / IP 8.8.4.4", "Tel. <PHONE> / IP <IP>", 2),
        ("+44 20 7946 0958é", "<PHONE>é", 1),
    ],
)
def test_tokens(measure, text, masked, masks):
    assert measure(TOKENS, [text]) == {"masked_text": [masked], "masks": [masks]}


def test_in_turn_within_each_text(measure):
    text = "a@b.com c@d.org e@f.net, tel 030 1234567"
    masked = "email@example.com firstname.lastname@example.org email@example.com, tel 202-555-0100"
    assert measure(MaskPii(), [text, "none", text])["masked_text"] == [masked, "none", masked]


def test_what_has_no_mask_stays(measure):
    fineweb = MaskPii(phones=(), ips=("22.214.171.124",))
    text = "tel 030 1234567, a@b.com, 93.184.216.34"
    masked = "tel 030 1234567, email@example.com, 22.214.171.124"
    assert measure(fineweb, [text]) == {"masked_text": [masked], "masks": [2]}


@given(text=TEXTS)
@example(text="tel 07794523511 12")
@example(text="a@b.com@c.com")
def test_nothing_is_found_afterwards_and_nothing_else_is_touched(measure, text):
    found = measure(Pii(), [text])
    masked, masks = (values[0] for values in measure(MaskPii(), [text]).values())
    assert masks == sum(values[0] for values in found.values())
    assert measure(Pii(), [masked]) == {name: [0] for name in found}
    assert measure(MaskPii(), [masked])["masked_text"] == [masked]
    (marked,) = measure(MaskPii(emails=("\n",), phones=("\n",), ips=("\n",)), [text])["masked_text"]
    assert marked.count("\n") == masks
    assert re.fullmatch(".+".join(map(re.escape, marked.split("\n"))), text)


def test_real_captions(measure, captions):
    found = measure(MaskPii(), captions)
    changed = [text for text, masked in zip(captions, found["masked_text"], strict=True) if text != masked]
    assert len(changed) == sum(found["masks"]) == 5
