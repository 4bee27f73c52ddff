"""The trainer against KenLM's lmplz, whose output for a small text is kept in lmplz/; CUPEL_LMPLZ names a program."""

from __future__ import annotations

import collections
import gzip
import itertools
import json
import os
import random
import re
import subprocess
from pathlib import Path

import kenlm
import polars as pl
import pytest
from typer.testing import CliRunner

from cupel.operators.text.perplexity import load
from cupel.pipeline.lm import texts, trainer
from cupel.pipeline.lm.cli import app
from cupel.pipeline.lm.trainer import TrainError, train

LMPLZ = Path(__file__).parent / "lmplz"  # lmplz -o 3 --discount_fallback; -o 4 --prune 0 1 2 --discount_fallback
TEXT = LMPLZ / "text.txt"
pytestmark = pytest.mark.usefixtures("ray_session")


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def read_arpa(path: Path) -> dict[str, tuple[float, float]]:
    """n-gram -> log10 p, log10 backoff."""
    fields = [line.split("\t") for line in path.read_text("utf-8").splitlines() if "\t" in line]
    return {words: (float(p), float(*backoff or [0])) for p, words, *backoff in fields}


def assert_same(ours: Path, theirs: Path) -> None:
    one, other = read_arpa(ours), read_arpa(theirs)
    assert one.keys() == other.keys()
    for words, figures in one.items():
        assert figures == pytest.approx(other[words], abs=1e-5), words


@pytest.fixture(scope="module")
def english(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 kB of Wikipedia, a paragraph a line; lmplz refuses <unk>."""
    lines = (shared_data / "text/wikitext-2/test.txt").read_text("utf-8").replace("<unk>", "unk").splitlines()
    path = tmp_path_factory.mktemp("text") / "english.txt"
    path.write_text("".join(f"{line.strip()}\n" for line in lines if line.strip())[:400_000].rpartition("\n")[0] + "\n")
    return path


@pytest.mark.parametrize(("name", "order", "prune"), [("order3", 3, ()), ("order4_prune012", 4, (0, 1, 2))])
def test_every_figure_is_that_of_lmplz(name: str, order: int, prune: tuple[int, ...]) -> None:
    made = train([TEXT], "o.arpa", order=order, prune=prune)
    assert_same(Path("o.arpa"), LMPLZ / f"{name}.arpa")
    assert (made.sentences, made.words) == (90, len(TEXT.read_text().split()))
    assert made.fallback == (1,)
    assert f"ngram {order}={made.ngrams[-1]}\n" in (LMPLZ / f"{name}.arpa").read_text()


@pytest.mark.skipif("CUPEL_LMPLZ" not in os.environ, reason="needs KenLM's lmplz, named by CUPEL_LMPLZ")
@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({"order": 2}, []),
        ({"order": 3}, []),
        ({"order": 5}, []),
        ({"order": 3, "prune": (0, 0, 1)}, ["--prune", "0", "0", "1"]),
        ({"order": 4, "prune": (1,)}, ["--prune", "1"]),
        ({"order": 3, "vocab_size": 2000}, ["--limit_vocab_file", "vocabulary"]),
        ({"order": 4, "vocab_size": 2000, "prune": (0, 1)}, ["--limit_vocab_file", "vocabulary", "--prune", "0", "1"]),
    ],
    ids=str,
)
def test_real_text_against_lmplz_itself(english: Path, options: dict, given: list[str]) -> None:
    counts = collections.Counter(english.read_text("utf-8").split())
    frequent = sorted(counts, key=lambda word: (-counts[word], word.encode()))[:2000]
    Path("vocabulary").write_text("\n".join(frequent), "utf-8")
    command = [os.environ["CUPEL_LMPLZ"], "-S", "100M", "-o", str(options["order"]), "--text", english]
    subprocess.run([*command, "--arpa", "k.arpa", *given], check=True, capture_output=True)
    train([english], "o.arpa", **options)
    assert_same(Path("o.arpa"), Path("k.arpa"))


def test_p_sums_to_one_after_any_words(english: Path) -> None:
    """Closed form, by KenLM's own reading of the file: seen contexts and unseen ones, and those that lost n-grams."""
    train([english], "o.arpa", order=4, prune=(0, 0, 1), vocab_size=1500)
    vocabulary = [words for words in read_arpa(Path("o.arpa")) if " " not in words and words != "<s>"]
    model = kenlm.Model("o.arpa")
    lines = english.read_text("utf-8").splitlines()
    for line in random.Random(0).sample(lines, 12):
        words = [word if word in vocabulary else "<unk>" for word in line.split()[:9]]
        state, after = kenlm.State(), kenlm.State()
        model.BeginSentenceWrite(state)
        for word in words:
            assert sum(10 ** model.BaseScore(state, each, after) for each in vocabulary) == pytest.approx(1, abs=1e-4)
            model.BaseScore(state, word, after)
            state, after = after, state


def test_parts_buckets_and_repeats_change_nothing(english: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes however the work is cut up among workers; buckets only order the lines."""
    train([english], "one.arpa")
    train([english], "again.arpa")
    monkeypatch.setattr(texts, "PART_BYTES", 30_001)
    train([english], "parts.arpa")
    assert Path("one.arpa").read_bytes() == Path("again.arpa").read_bytes() == Path("parts.arpa").read_bytes()
    monkeypatch.setattr(trainer, "BUCKET_GRAMS", 9_000)
    train([english], "buckets.arpa")
    assert sorted(Path("buckets.arpa").read_text().splitlines()) == sorted(Path("one.arpa").read_text().splitlines())
    assert Path("buckets.arpa").read_text() != Path("one.arpa").read_text(), "there were several buckets"


def test_gzip_and_parquet_hold_the_same_text() -> None:
    lines = TEXT.read_text().splitlines()
    train([TEXT], "txt.arpa")
    with gzip.open("text.txt.gz", "wb") as file:
        file.write(TEXT.read_bytes())
    pl.DataFrame({"caption": [*lines, None, ""]}).write_parquet("text.parquet", row_group_size=17)
    Path("a.txt").write_text("\n".join(lines[:40]))  # no line feed at the end
    Path("b.txt").write_text("\r\n".join(["", "  ", *lines[40:], ""]))
    for paths in (["text.txt.gz"], ["text.parquet"], ["a.txt", "b.txt"], ["b.txt", "a.txt"]):
        train(paths, "o.arpa.gz", column="caption")
        assert gzip.decompress(Path("o.arpa.gz").read_bytes()) == Path("txt.arpa").read_bytes(), paths
    assert load(Path("o.arpa.gz")).score("the cat .") == load(Path("txt.arpa")).score("the cat .")


def test_the_normaliser_is_applied_and_stated() -> None:
    Path("t.txt").write_text("The Cat, the cat & <s> the </s> dog.\n" * 3 + "1987\n")
    train(["t.txt"], "o.arpa", normaliser="words")
    assert Path("o.arpa").read_text().startswith("# cupel lm: normaliser=words order=3 prune=0,0,0\n\\data\\\n")
    assert {"the", "cat", ",", "&", "0000", "<", "s"} <= read_arpa(Path("o.arpa")).keys()
    train(["t.txt"], "o.arpa")
    assert {"The", "Cat,", "dog."} <= read_arpa(Path("o.arpa")).keys()
    assert {"& the", "the dog."} <= read_arpa(Path("o.arpa")).keys(), "<s> and </s> in a text are passed over"


def test_min_count_and_vocab_size() -> None:
    counts = collections.Counter(TEXT.read_text().split())
    train([TEXT], "o.arpa", min_count=20, order=2)
    kept = {words for words in read_arpa(Path("o.arpa")) if " " not in words} - {"<unk>", "<s>", "</s>"}
    assert kept == {word for word, count in counts.items() if count >= 20}
    train([TEXT], "o.arpa", vocab_size=3, order=2)
    assert {words for words in read_arpa(Path("o.arpa")) if " " not in words} >= {"the", "cat", "."}
    assert not any("dog" in words.split() for words in read_arpa(Path("o.arpa")))


@pytest.mark.parametrize("order", [2, 3, 6])
@pytest.mark.parametrize("text", ["a\n", "a b\nb\n", "a a a a a a a a\n", "x\ny\nz"])
def test_hardly_any_text_still_makes_a_model(text: str, order: int) -> None:
    Path("t.txt").write_text(text)
    made = train(["t.txt"], "o.arpa", order=order)
    assert set(made.fallback) == set(range(1, order + 1))
    assert kenlm.Model("o.arpa").order == order
    assert kenlm.Model("o.arpa").score(text.split("\n")[0]) < 0


@pytest.mark.parametrize(
    ("paths", "options", "message"),
    [
        (["absent.txt"], {}, "no such file: absent.txt"),
        (["."], {}, "is a folder; name its files"),
        (["empty.txt"], {}, "no text in empty.txt"),
        (["white.txt"], {}, "no text in white.txt"),
        (["cut.txt.gz"], {}, r"cut.txt.gz is no sound gzip file .*; fetch or pack it again"),
        (["bad.parquet"], {}, "bad.parquet is no sound Parquet file"),
        (["number.parquet"], {}, r"column 'text' holds int64, not text; name another with --column"),
        (["number.parquet"], {"column": "caption"}, r"no column 'caption' \(it has: text\)"),
        (["a.txt"], {"order": 1}, "order is 1; KenLM reads orders 2 to 6"),
        (["a.txt"], {"order": 7}, "order is 7"),
        (["a.txt"], {"prune": (0, 2, 1)}, "prune is 0,2,1; thresholds are counts that never fall"),
        (["a.txt"], {"prune": (0, 0, 0, 1)}, "4 thresholds for a model of order 3"),
        (["a.txt"], {"normaliser": "upper"}, "normaliser is 'upper'; there are plain, words, cc_net"),
        (["a.txt"], {"min_count": 9}, "no word is seen 9 times"),
        (["a.txt"], {"vocab_size": -1}, "vocab_size is at least 0"),
        (["a.txt"], {"out": "absent/o.arpa"}, "cannot write absent/o.arpa: there is no such folder"),
    ],
)
def test_what_a_user_can_mend(paths: list[str], options: dict, message: str) -> None:
    Path("a.txt").write_text("a b\n")
    Path("empty.txt").touch()
    Path("white.txt").write_text(" \n\n\t\n")
    Path("cut.txt.gz").write_bytes(gzip.compress(random.Random(0).randbytes(5000).hex().encode())[:3000])
    Path("bad.parquet").write_bytes(b"PAR1, says this file")
    pl.DataFrame({"text": [1]}).write_parquet("number.parquet")
    before = {*Path().iterdir()}
    with pytest.raises((TrainError, texts.TextError), match=message):
        train(paths, **{"out": "o.arpa", **options})
    assert {*Path().iterdir()} == before, "nothing is left behind"


def test_the_command() -> None:
    run = CliRunner().invoke
    assert "Example: cupel lm train" in run(app, ["train", "--help"]).output
    done = run(app, ["train", str(TEXT), "-o", "o.arpa", "--order", "4", "--prune", "0,1,2", "--json"])
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)
    assert made["ngrams"] == [int(count) for count in re.findall(r"ngram \d=(\d+)", Path("o.arpa").read_text())]
    assert_same(Path("o.arpa"), LMPLZ / "order4_prune012.arpa")
    plain = run(app, ["train", str(TEXT), "-o", "o.arpa"])
    assert "678 words in 90 sentences" in plain.stdout
    assert "1-grams: 21, discounts 0.500, 1.000, 1.500" in plain.stdout
    for arguments in (["absent.txt"], [str(TEXT), "--order", "1"], [str(TEXT), "--prune", "x"]):
        failed = run(app, ["train", *arguments, "-o", "o.arpa"])
        assert failed.exit_code == 2
        assert failed.stderr.startswith("cupel: "), failed.stderr
        assert "Traceback" not in failed.output


def test_chunks_of_a_part_are_whole_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"{'é' * (i % 7)}{i}" for i in range(500)]
    Path("t.txt").write_text("\n".join(lines), "utf-8")
    for part_bytes, chunk_bytes in itertools.product((1, 7, 100, 10_000), (1, 50, 10_000)):
        monkeypatch.setattr(texts, "PART_BYTES", part_bytes)
        monkeypatch.setattr(texts, "CHUNK_BYTES", chunk_bytes)
        found = [line for part in texts.split([Path("t.txt")], "text") for one in texts.chunks(part) for line in one]
        assert found == lines
