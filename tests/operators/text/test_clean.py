from __future__ import annotations

import html
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cupel.operators.text.clean import Clean

FORMS = st.sampled_from(["NFC", "NFKC", "none"])
ASSIGNED = st.text(st.characters(exclude_categories=["Cs", "Cn"]))
# What may hide markup in markup: escapes of escapes, look-alikes under NFKC and NFC, invisible characters, joiners.
PIECES = st.sampled_from(
    [
        *(
            "&",
            ";",
            "<",
            ">",
            "#",
            "a",
            "b",
            "p",
            "/",
            "!--",
            "-->",
            " ",
            "&amp;",
            "amp;",
            "&#38;",
            "#38;",
            "&am",
            "lt;",
        ),
        *(
            "&lt;",
            "&gt;",
            "<b>",
            "</b>",
            "<br/>",
            "<p ",
            "x=1",
            "&zwnj;",
            "&zwj;",
            "&#8203;",
            "&shy;",
            "&nbsp;",
            "&#12;",
        ),
        *(
            "＆",
            "；",
            "＃",
            "\u037e",
            "&#65286;",
            "&#894;",
            "&#xE0067;",
            "\u200b",
            "\u200c",
            "\u200d",
            "\u00ad",
            "\x00",
        ),
        *(
            "\x85",
            "\x92",
            "\u2028",
            "\xa0",
            "ا",
            "क",
            "\u094d",
            "👩",
            "\ufe0f",
            "™",
            "e",
            "\u0301",
            "&#769;",
            "&eacute;",
        ),
        *("🏴", "\U000e0067\U000e0062\U000e0065", "\U000e007f", "\ue000", "㊗", "\u1e9b\u0323", "¨", "ﬁ"),
    ]
)
HOSTILE = st.lists(PIECES, max_size=30).map("".join)


def clean(measure, text: str, **parameters: object) -> str:
    return measure(Clean(**parameters), [text])["clean_text"][0]


@given(text=HOSTILE | ASSIGNED, form=FORMS, tags=st.booleans())
@example(text="&am&zwnj;p;lt;br&gt;", form="NFC", tags=True)
@example(text="™\u200d", form="NFKC", tags=False)
@example(text="e\u200b\u0301", form="NFC", tags=False)
@example(text="<b<b>r>", form="none", tags=True)
def test_cleaning_twice_is_cleaning_once(measure, text, form, tags):
    operator = Clean(form=form, tags=tags)
    (once,) = measure(operator, [text])["clean_text"]
    assert measure(operator, [once]) == {"clean_text": [once], "clean_changed": [False]}
    assert form == "none" or unicodedata.is_normalized(form, once)
    assert once == " ".join(once.split()), "COYO's white space"


@given(text=st.text(st.characters(max_codepoint=0x24F, exclude_categories=["Cc", "Cf"])), times=st.integers(0, 4))
def test_escaped_however_often_it_is_the_same(measure, text, times):
    escaped = text
    for _ in range(times):
        escaped = html.escape(escaped)
    assert clean(measure, escaped, tags=False) == clean(measure, text, tags=False)


@given(text=HOSTILE)
def test_no_entity_is_left_that_the_standard_library_knows(measure, text):
    found = clean(measure, text, form="none", tags=False)
    pieces = [f"&{piece}" for piece in found.split("&")[1:]]
    whole = [piece[: piece.index(";") + 1] for piece in pieces if ";" in piece]
    assert not [entity for entity in whole if entity[1:] in html.entities.html5]


def test_real_texts_lose_nothing_but_what_cannot_be_seen(measure, captions, odd_texts):
    texts = [text for text in [*captions, *odd_texts] if not any(sign in text for sign in "&<")]

    def seen(text: str) -> str:
        return unicodedata.normalize(
            "NFC", "".join(c for c in text if not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf", "Co"))
        )

    found = measure(Clean(), texts)
    kept = [text for text in texts if not any("\x7f" < c < "\xa0" for c in text)]
    assert len(kept) > 0.99 * len(texts)
    for text, now, changed in zip(texts, *found.values(), strict=True):
        assert changed == (text != now)
        if text in kept:
            assert seen(now) == seen(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("  a \r\n\t b\u3000\u2028c ", "a b c"),
        ("AT&T &amp; &quot;R&amp;D&quot;", 'AT&T & "R&D"'),
        ("front &amp;amp; back", "front & back"),
        ("?a=1&copy=2", "?a=1&copy=2"),
        ("&unknown; &#; &;", "&unknown; &#; &;"),
        ("caf&eacute; caf&#233; cafe\u0301", "café café café"),
        ("&#146;n&#x92; don\x92t", "’n’ don’t"),
        ("&#0;&#xD800;&#1114112;", "���"),
        ("<b>Red</b>'s <br/>shoe<p>x</p><!-- 7 -->", "Red's shoe x"),
        ("&lt;i&gt;Rex&lt;/i&gt;", "Rex"),
        ("<3 <censored> a < b > c <a href='x", "<3 <censored> a < b > c <a href='x"),
        ("sh\u00ady\u200b\ufeff \u202edetrevni\u202c \uf0a8x\x07", "shy detrevni x"),
        ("auf\u200clage x\u200dy \u200d", "auflage xy"),
        ("می\u200cخواهم क्\u200dष", "می\u200cخواهم क्\u200dष"),
        ("می\u200f\u200cخواهم به \u200cتو", "می\u200cخواهم به تو"),
        ("👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 👍🏽", "👩\u200d👩\u200d👧 🏳\ufe0f\u200d🌈 👍🏽"),
        ("🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "🏴󠁧󠁢󠁳󠁣󠁴󠁿"),
        ("hi\U000e0041\U000e0042", "hi"),
        ("ﬁ ² ™", "ﬁ ² ™"),
    ],
)
def test_by_example(measure, text, expected):
    assert measure(Clean(), [text]) == {"clean_text": [expected], "clean_changed": [text != expected]}


def test_parameters(measure):
    text = "<b>Ａ\u0301 ﬁ²</b>"
    assert clean(measure, text, form="NFKC") == "Á fi2"
    assert clean(measure, text, form="none") == "Ａ\u0301 ﬁ²"
    assert clean(measure, text, tags=False) == "<b>Ａ\u0301 ﬁ²</b>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("&" + "amp;" * 250_000, "&"),
        ("&am&#112;;" * 100_000, "&" * 100_000),
        ("&#59" * 250_000 + ";", ";"),
        ("<b" * 300_000 + ">" * 300_000, ""),
        ("<" * 500_000 + ">" * 500_000, None),
        ("&" * 500_000 + ";" * 500_000, None),
        ("<b<i " * 200_000, ("<b<i " * 200_000).strip()),
    ],
)
def test_a_text_made_to_be_decoded_for_ever(measure, text, expected):
    assert clean(measure, text) == (text if expected is None else expected)
