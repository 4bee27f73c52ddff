"""Scores by hand from a small ARPA file, files that are damaged, and what the shipped model is good for."""

from __future__ import annotations

import gzip
import importlib.util
import math
import re
import sys
from pathlib import Path

import pytest

from cupel.operators.text.perplexity import Perplexity

ARPA = """\\data\\
ngram 1=6
ngram 2=3
ngram 3=1

\\1-grams:
-3\t<unk>
-99\t<s>\t-0.5
-1\t</s>
-1.25\tthe\t-0.25
-1.5\tcat\t-0.125
-2\tsat

\\2-grams:
-0.5\t<s> the\t-0.0625
-0.75\tthe cat\t-0.375
-0.875\tcat </s>

\\3-grams:
-0.25\t<s> the cat

\\end\\
"""
BY_HAND = {
    "the cat": -0.5 - 0.25 + (-0.375 - 0.875),  # <s> the, <s> the cat, b(the cat) cat </s>
    "cat": (-0.5 - 1.5) - 0.875,  # b(<s>) cat, cat </s>
    "cat the": (-0.5 - 1.5) + (-0.125 - 1.25) + (-0.25 - 1),  # b(<s>) cat, b(cat) the, b(the) </s>
    "dog sat": (-0.5 - 3) - 2 - 1,  # b(<s>) <unk>, sat, </s>
    "the the cat": -0.5 + (-0.0625 - 0.25 - 1.25) - 0.75 + (-0.375 - 0.875),
}


@pytest.fixture
def arpa(tmp_path: Path) -> Path:
    path = tmp_path / "small.arpa"
    path.write_text(ARPA)
    return path


@pytest.mark.parametrize("packed", [False, True])
def test_by_hand(measure, arpa: Path, packed: bool):
    if packed:
        arpa = arpa.with_suffix(".gz")
        arpa.write_bytes(gzip.compress(ARPA.encode()))
    found = measure(Perplexity(model=str(arpa)), list(BY_HAND))["perplexity"]
    expected = [10 ** (-log10_p / (len(text.split()) + 1)) for text, log10_p in BY_HAND.items()]
    assert found == pytest.approx(expected, rel=1e-6)


def test_unknown_words(measure, arpa: Path):
    texts = ["the cat", "the dog", "a dog  ran\nhome the", "", "<unk>", "x"]
    found = measure(Perplexity(model=str(arpa), oov=True), texts)
    assert found["oov_ratio"] == pytest.approx([0, 0.5, 0.8, None, 1, 1])


def test_a_line_feed_is_a_space_and_cc_net_deletes_it(measure, arpa: Path):
    one, two, three = measure(Perplexity(model=str(arpa)), ["the cat", "the\ncat", " the \r\n\tcat "])["perplexity"]
    assert one == two == three
    glued, spelled = measure(Perplexity(model=str(arpa), normaliser="cc_net"), ["the\ncat", "thecat"])["perplexity"]
    assert glued == spelled != one


@pytest.mark.parametrize("normaliser", ["plain", "words", "cc_net"])
def test_no_token_no_perplexity(measure, arpa: Path, normaliser):
    texts = ["", " \n\t", "the", "\x00"]
    found = measure(Perplexity(model=str(arpa), normaliser=normaliser, oov=True), texts)
    for values in found.values():
        assert [value is None for value in values] == [True, True, False, True]
    assert measure(Perplexity(model=str(arpa), oov=True), []) == {"perplexity": [], "oov_ratio": []}


def test_a_model_without_unk_and_a_very_long_text(measure, tmp_path: Path):
    """KenLM gives an unknown word 10^-100 then: beyond a float32, which ends at 1e38."""
    path = tmp_path / "small.arpa"
    path.write_text(ARPA.replace("ngram 1=6", "ngram 1=5").replace("-3\t<unk>\n", ""))
    found = measure(Perplexity(model=str(path), oov=True), ["dog dog", "the cat " * 200_000])
    assert found["perplexity"][0] == pytest.approx(1e38, rel=1e-6)
    assert math.isfinite(found["perplexity"][1])
    assert found["oov_ratio"] == [1, 0]


def test_the_normaliser_is_the_files_own_or_the_given_one(measure, arpa: Path):
    stated = arpa.with_name("stated.arpa")
    stated.write_text(f"# cupel lm: normaliser=words order=3\n{ARPA}")
    assert b"by small.arpa, normaliser plain" in Perplexity(model=str(arpa)).adds[0].metadata[b"doc"]
    assert b"by stated.arpa, normaliser words" in Perplexity(model=str(stated)).adds[0].metadata[b"doc"]
    given = Perplexity(model=str(stated), normaliser="plain")
    assert b"normaliser plain" in given.adds[0].metadata[b"doc"]
    low, high = (measure(each, ["The CAT"])["perplexity"][0] for each in (Perplexity(model=str(stated)), given))
    assert low == pytest.approx(10 ** (2 / 3), rel=1e-6)
    assert high > 100
    unheard = arpa.with_name("unheard.arpa")
    unheard.write_text(f"# cupel lm: normaliser=shout order=3\n{ARPA}")
    with pytest.raises(ValueError, match="states the normaliser 'shout', which there is not; set one of plain, words"):
        _ = Perplexity(model=str(unheard)).adds


def test_pieces_of_a_sentencepiece_model(measure, arpa: Path, tmp_path: Path):
    sentencepiece = pytest.importorskip("sentencepiece")
    pieces = tmp_path / "pieces.model"
    texts = ["the cat sat", "a cat and the other cat", "sit on the mat"]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts * 20), model_prefix=str(pieces.with_suffix("")), vocab_size=20, minloglevel=2
    )
    processor = sentencepiece.SentencePieceProcessor(model_file=str(pieces))
    operator = Perplexity(model=str(arpa), sentencepiece=str(pieces), normaliser="cc_net")
    operator.setup()
    assert operator.files == (arpa, pieces)
    joined = [" ".join(processor.encode(text, out_type=str)) for text in texts]
    assert measure(operator, [text.title() for text in texts]) == measure(Perplexity(model=str(arpa)), joined)
    assert b"pieces of pieces.model" in operator.adds[0].metadata[b"doc"]
    pieces.write_bytes(b"no model")
    with pytest.raises(OSError, match=r"pieces\.model is no sound SentencePiece model; fetch it again"):
        Perplexity(model=str(arpa), sentencepiece=str(pieces)).setup()
    with pytest.raises(FileNotFoundError, match="no SentencePiece model 'absent'"):
        _ = Perplexity(model=str(arpa), sentencepiece="absent").files


BODY = ARPA.encode()
PACKED = gzip.compress(BODY)
BINARY = b"mmap lm http://kheafield.com/code format version 5\n\x00"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is neither an ARPA file \(no \\data\\ at its beginning\) nor a KenLM binary file"),
        (b"<!DOCTYPE html>", "is neither an ARPA file"),
        (bytes(range(256)) * 9, "is neither an ARPA file"),
        (b"iARPA\n" + BODY, "is neither an ARPA file"),
        *((BODY[:size], r"is an ARPA file that is cut short .*make or fetch it again") for size in (8, 30, 90, 200)),
        (BODY.replace(b"\\end\\\n", b""), "is an ARPA file that is cut short"),
        (BODY.replace(b"ngram 1=6", b"ngram 1=99999999999999"), "is an ARPA file that is cut short"),
        (BODY.replace(b"ngram 2=3", b"ngram 2=9"), "is no sound KenLM model; make or fetch it again"),
        (BODY.replace(b"-1.5\tcat", b"-1.5 cat"), "is no sound KenLM model"),
        (BODY.replace(b"-1.5\tcat", b"\xff\xfe\xff"), "is no sound KenLM model"),
        (BODY.replace(b"-1.5\tcat", b"nan\tcat"), "is no sound KenLM model"),
        (BODY.replace(b"<s> the", b"<s> xxx"), "is no sound KenLM model"),
        (BODY.replace(b"</s>", b"end"), "is no sound KenLM model"),
        (b"\\data\\\nngram 1=4\n\n\\1-grams:\n-1 <unk>\n\\end\\\n", "is no sound KenLM model"),
        *((PACKED[:size], "is a gzip file that is cut short or damaged") for size in (5, 60, len(PACKED) - 3)),
        (PACKED[:60] + b"\0\0\0\0" + PACKED[64:], "is a gzip file that is cut short or damaged"),
        (gzip.compress(b"hello"), "is neither an ARPA file"),
        *((BINARY[:size], "is (no sound KenLM model|neither an ARPA file)") for size in (20, 33, len(BINARY))),
        (BINARY + bytes(5000), "is no sound KenLM model"),
    ],
    ids=range(26),
)
def test_a_file_that_is_no_sound_model(tmp_path: Path, content: bytes, message: str):
    path = tmp_path / "bad.arpa"
    path.write_bytes(content)
    with pytest.raises(OSError, match=rf"bad\.arpa {message}"):
        Perplexity(model=str(path), normaliser="plain").setup()


@pytest.mark.parametrize("name", ["absent.arpa", "."])
def test_a_model_that_is_not_there(name):
    with pytest.raises(FileNotFoundError, match=rf"no model '{re.escape(name)}'; give 'cupel-en' or the path"):
        _ = Perplexity(model=name).files


@pytest.fixture(scope="module")
def figures(shared_data: Path) -> dict[str, float]:
    """What the model card says, measured as it says."""
    script = Path(__file__).parents[3] / "infra/train_cupel_en.py"
    spec = importlib.util.spec_from_file_location("train_cupel_en", script)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.evaluate("cupel-en", shared_data)


def test_cupel_en_prefers_sentences_to_their_words_shuffled(figures):
    assert figures["paired, wikitext-2 valid"] >= 0.97
    assert figures["paired, lingua en"] >= 0.97


def test_cupel_en_tells_english_from_other_languages(figures):
    assert figures["auc, lingua en against 74 languages"] >= 0.95


def test_cupel_en_is_as_its_card_says(figures):
    card = (Path(__file__).parents[3] / "operators/models/cupel_en/README.md").read_text("utf-8")
    for name, value in figures.items():
        assert f"| {name} | {value:.4f} |" in card
    (path,) = Perplexity().files
    assert f"{path.stat().st_size:,} bytes" in card
    assert path.stat().st_size < 6_000_000


def test_cupel_en_orders_what_people_write(measure):
    texts = [
        *("A man is riding a horse on the beach.", "horse a the on is beach A riding man."),
        *("Un homme monte un cheval sur la plage.", "asdf qwer zxcv uiop hjkl", "buy cheap watches watches cheap buy"),
    ]
    sentence, shuffled, french, noise, spam = measure(Perplexity(), texts)["perplexity"]
    assert sentence < min(shuffled, spam) < french
    assert sentence < noise
    assert measure(Perplexity(normaliser="words"), texts[:1])["perplexity"] == [sentence], "stated in the file"
