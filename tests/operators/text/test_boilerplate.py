from __future__ import annotations

import functools
from pathlib import Path

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from cupel.operators.text._boilerplate import SHIPPED, Group, read_groups
from cupel.operators.text.boilerplate import Boilerplate

GROUPS = read_groups(SHIPPED)
OPERATOR = Boilerplate()
PHRASES = [
    *("stock photo", "Click to enlarge picture", "profile photo", "image not available", "IMG_0042.JPG", "1920x1080"),
    *(
        "free shipping",
        "a cat",
        "on a mat",
        "|",
        " - ",
        "#1234567",
        "é",
        "写真",
        "https://a.b/c",
        "thumbnail",
        "photo 3",
    ),
]


@functools.cache
def by_hand(group: Group) -> regex.Pattern[str]:
    """The same pattern for another engine, which backtracks."""
    pattern = group.pattern.replace(r"\b{start-half}", r"(?<!\w)").replace(r"\b{end-half}", r"(?!\w)")
    return regex.compile(pattern.replace(r"\z", r"\Z"), regex.VERSION0)


def share_by_hand(text: str) -> tuple[float, str | None]:
    names = [group.name for group in GROUPS if by_hand(group).search(text)]
    if any(group.action == "whole" and by_hand(group).search(text) for group in GROUPS):
        return 1.0, names[0]
    return sum(len(match[0]) for match in PARTS.finditer(text)) / (len(text) or 1), names[0] if names else None


PARTS = regex.compile("|".join(f"(?:{by_hand(group).pattern})" for group in GROUPS[::-1] if group.action != "whole"))


@given(text=st.lists(st.sampled_from(PHRASES), max_size=6).map(" ".join))
def test_any_text(measure, text):
    share, name = share_by_hand(text)
    assert measure(OPERATOR, [text]) == {
        "boilerplate_share": [pytest.approx(share)],
        "boilerplate_pattern": [name],
    }


def test_real_captions(measure, captions):
    texts = captions[:2000]
    found = zip(*measure(OPERATOR, texts).values(), strict=True)
    assert list(found) == [(pytest.approx(share), name) for share, name in map(share_by_hand, texts)]


@pytest.mark.parametrize(
    ("text", "share", "pattern"),
    [
        ("", 0.0, None),
        ("A cat on a mat", 0.0, None),
        ("Click to enlarge picture", 1.0, "cc3m_cropped"),
        ("a cat (click   to ENLARGE\npicture)", 26 / 34, "cc3m_cropped"),
        ("cat, stock photo", 11 / 16, "cc3m_cropped"),
        ("stock photographer at a livestock photo shoot", 0.0, None),
        ("Embedded image permalink", 1.0, "cc3m_dropped"),
        ("Jo's profile photo - stock photo", 24 / 32, "cc3m_dropped"),
        ("Sorry, image not available", 19 / 26, "missing"),
        ("IMG_0042.JPG", 1.0, "file_name"),
        ("DSC0001", 1.0, "file_name"),
        ("20161016_134509.jpeg", 1.0, "file_name"),
        ("d41d8cd98f00b204e9800998ecf8427e", 1.0, "file_name"),
        ("6b3f7a60-02c1-4f21-9d3f-0a8f5f5f5f5f", 1.0, "file_name"),
        ("Screen Shot 2015-03-04 at 10.12.59 AM", 1.0, "file_name"),
        ("https://example.org/a?b=c", 1.0, "url"),
        (" 1920 x 1080 px ", 1.0, "align_shared"),
        ("alt_img", 1.0, "align_shared"),
        ("picture 2", 1.0, "w3c_f30"),
        ("0001", 1.0, "w3c_f30"),
        ("placeholder", 1.0, "no_words"),
        ("- * -", 1.0, "no_words"),
        ("Sunset in Oslo.jpg", 4 / 18, "site"),
        ("Two cats — Foto de Stock #7911579", 21 / 33, "stock"),
        ("Free shipping dress", 13 / 19, "shop"),
        ("Photo of a stock market, 1920x1080 screens, free ships and a picture 2 m wide", 0.0, None),
        ("deadbeef café", 0.0, None),
    ],
)
def test_by_example(measure, text, share, pattern):
    found = measure(OPERATOR, [text])
    assert found == {"boilerplate_share": [pytest.approx(share)], "boilerplate_pattern": [pattern]}


def test_what_is_published_is_there_and_apart():
    """CC3M: Sharma et al. 2018, section 3. ALIGN: arXiv:2102.05918, section 3. W3C: failure F30."""
    published = {
        "cc3m_dropped": ["embedded image permalink", "profile photo"],
        "cc3m_cropped": ["click to enlarge picture", "stock photo"],
        "align_shared": ["1920x1080", "alt_img"],
        "w3c_f30": ["spacer", "image", "picture", "picture 1", "picture 2", "0001", "0002", "Intro#1", "Intro#2"],
    }
    groups = {group.name: group for group in GROUPS}
    assert len(groups) == len(GROUPS)
    for name, examples in published.items():
        assert all(by_hand(groups[name]).fullmatch(example) for example in examples)
    assert GROUPS[0].name == "cc3m_dropped", "what CC3M drops goes before what it crops"


def test_a_list_of_ones_own(measure, tmp_path: Path):
    own = tmp_path / "own.txt"
    own.write_text("# Deutsch\n[gross crop]\nzum Vergrößern klicken\n\n[leer whole]\nre: bild ?[0-9]*\n", "utf-8")
    operator = Boilerplate(patterns=own)
    assert operator.files == (own,)
    found = measure(
        operator, ["Katze, ZUM VERGRÖSSERN KLICKEN", "Katze, zum Vergrößern klicken", "Bild 7", "stock photo"]
    )
    assert found["boilerplate_pattern"] == [None, "gross", "leer", None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stock photo\n", r"own\.txt:1: 'stock photo' is no heading"),
        ("[stock keep]\n", r"own\.txt:1: '\[stock keep\]' is no heading"),
        ("[stock crop]\nfine\nre: (stock\n", r"own\.txt:3: 're: \(stock' is no regular expression"),
        ("[stock crop]\nre: x?\n", r"own\.txt:2: 're: x\?' is found where nothing stands"),
        ("[stock crop]\n# nothing\n", r"own\.txt lists nothing"),
    ],
)
def test_a_list_that_cannot_be_read(tmp_path: Path, text, message):
    (tmp_path / "own.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        Boilerplate(patterns=tmp_path / "own.txt").setup()


@pytest.mark.parametrize("text", ["click to view ", "royalty free ", "a-", "0", "image ", "- ", "profile ", "1x"])
def test_a_megabyte(measure, text):
    found = measure(OPERATOR, [text * (1_000_000 // len(text)), "a cat"])
    assert 0 <= found["boilerplate_share"][0] <= 1
    assert found["boilerplate_share"][1] == 0
