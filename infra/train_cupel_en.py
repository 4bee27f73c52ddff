"""How cupel-en was made, and what it reaches: fetch texts, extract sentences, train, evaluate.

    python infra/train_cupel_en.py --work /tmp/cupel-en                 # fetch and train; writes the shipped model
    python infra/train_cupel_en.py --evaluate                           # both figures of the model card

Texts come from Debian packages (`apt-get download`, `dpkg-deb -x`: nothing is installed; root is not needed) and from
WikiText-2's test file under --data, which is CC BY-SA and lies outside the repository. The evaluation's texts are
other files: WikiText-2's valid file and the sentences of lingua-rs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "operators/models/cupel_en/cupel-en.arpa.gz"
ORDER, PRUNE, VOCABULARY, DECIMALS = 3, (0, 1, 2), 40_000, 3
SENTENCE_END = re.compile(r"(?<=[.!?])[\"')]*\s+(?=[\"'(]*[A-Z0-9])")
JOINED = ((" @-@ ", "-"), (" @,@ ", ","), (" @.@ ", "."))  # WikiText's marks inside words and numbers


@dataclass(frozen=True)
class Text:
    """One source: a Debian package (or a file of --data), its licence, and how sentences are got out of it."""

    name: str
    package: str
    licence: str
    extract: Callable[[Path], Iterator[str]]


class Paragraphs(HTMLParser):
    """Text of the block elements of a page, without code listings."""

    BLOCKS = frozenset(
        [
            *("p", "li", "dd", "dt", "td", "th", "h1", "h2", "h3", "h4", "title", "div", "section", "blockquote"),
            *("body", "table", "tr", "ul", "ol", "dl", "br", "hr"),
        ]
    )
    SKIPPED = frozenset(["pre", "script", "style", "head", "nav", "svg", "footer"])

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._held: list[str] = []
        self._skipping = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._skipping += tag in self.SKIPPED
        if tag in self.BLOCKS or tag in self.SKIPPED:
            self.end()

    def handle_endtag(self, tag: str) -> None:
        if tag in self.BLOCKS:
            self.end()
        self._skipping -= tag in self.SKIPPED

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self._held.append(data)

    def end(self) -> None:
        if text := " ".join("".join(self._held).split()):
            self.found.append(text)
        self._held = []


def pages(pattern: str) -> Callable[[Path], Iterator[str]]:
    """Sentences of a package's HTML pages."""

    def extract(folder: Path) -> Iterator[str]:
        for path in sorted(folder.glob(pattern)):
            if path.is_file():
                page = Paragraphs()
                page.feed(path.read_text("utf-8", errors="replace"))
                page.end()
                for paragraph in page.found:
                    yield from SENTENCE_END.split(paragraph)

    return extract


def glosses(folder: Path) -> Iterator[str]:
    """WordNet's definitions and the examples in them."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"usr/share/wordnet/data.{part}").read_text("utf-8").splitlines():
            if "| " in line:
                yield from (
                    piece.strip(' "') for piece in re.split(r'; (?=")|(?<="); ', line.partition("| ")[2].strip())
                )


def wikitext(path: Path) -> Iterator[str]:
    """Sentences of a WikiText file; headings are left out, and sentences with a hole (<unk>)."""
    for line in path.read_text("utf-8").splitlines():
        if line.strip() and not line.startswith(" ="):
            for mark, plain in JOINED:
                line = line.replace(mark, plain)
            for sentence in re.split(r"(?<= [.!?]) (?=[\"(]* ?[A-Z0-9])", line.strip()):
                if "<unk>" not in sentence:
                    yield sentence


TEXTS = (
    Text("wordnet", "wordnet-base", "WordNet 3.0 License (permissive)", glosses),
    Text("wikitext-2 test", "", "CC BY-SA 3.0, Wikipedia's authors", wikitext),
    Text("debian-handbook", "debian-handbook", "CC BY-SA 3.0 or GPL-2+", pages("usr/share/doc/**/en-US/**/*.html")),
    Text("python", "python3.11-doc", "PSF License 2", pages("usr/share/doc/python3.11/html/**/*.html")),
    Text("gnome", "gnome-user-docs", "CC BY-SA 3.0", pages("usr/share/help/C/**/*.page")),
)


def is_prose(sentence: str) -> bool:
    """Three words and more, most of it letters: no code, no table, no index."""
    letters = sum(character.isalpha() or character == " " for character in sentence)
    return 3 <= len(sentence.split()) <= 120 and letters >= 0.85 * len(sentence)


def gather(work: Path, data: Path) -> list[Path]:
    """One file of distinct sentences for each text."""
    seen: set[str] = set()
    files = []
    for text in TEXTS:
        folder = work / text.package if text.package else data / "text/wikitext-2/test.txt"
        if not folder.exists():
            subprocess.run(["apt-get", "download", "-q", text.package], cwd=work, check=True)
            (package,) = work.glob(f"{text.package}_*.deb")
            subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
        files.append(work / f"{text.name.replace(' ', '-')}.txt")
        sentences = [one for one in text.extract(folder) if is_prose(one)]
        new = [one for one in dict.fromkeys(sentences) if one not in seen]
        seen.update(new)
        files[-1].write_text("".join(f"{one}\n" for one in new), "utf-8")
        print(f"{text.name}: {len(new):,} sentences, {sum(len(one.split()) for one in new):,} words", flush=True)
    return files


def rounded(source: Path, out: Path) -> None:
    """The same ARPA with fewer decimals: a third of the bytes less; the card's figures are of this one."""
    with (
        gzip.open(source, "rt", encoding="utf-8") as lines,
        out.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed,
    ):
        for line in lines:
            fields = line.rstrip("\n").split("\t")
            for i in {0, 2} & set(range(len(fields))) if len(fields) > 1 else ():
                fields[i] = f"{float(fields[i]):.{DECIMALS}f}".rstrip("0").rstrip(".")
            packed.write(("\t".join(fields) + "\n").encode())


def perplexities(model: str, texts: list[str]) -> np.ndarray:
    from cupel.operators.base import Batch
    from cupel.operators.text.perplexity import Perplexity

    return np.array(Perplexity(model=model)(Batch(pa.table({"text": texts})))["perplexity"])


def paired(model: str, sentences: list[str]) -> float:
    """Share of sentences that score better than themselves with their words in a random order."""
    whole = [one for one in sentences if len(set(one.split())) > 2]
    shuffle = random.Random(0)
    shuffled = [" ".join(shuffle.sample(words, len(words))) for words in map(str.split, whole)]
    return float((perplexities(model, whole) < perplexities(model, shuffled)).mean())


def auc(lower: np.ndarray, higher: np.ndarray) -> float:
    """Share of pairs of which the first is lower, ties one half."""
    ordered = np.sort(higher)
    above = len(ordered) - np.searchsorted(ordered, lower, "right")
    ties = np.searchsorted(ordered, lower, "right") - np.searchsorted(ordered, lower, "left")
    return float((above + ties / 2).mean() / len(ordered))


def evaluate(model: str, data: Path) -> dict[str, float]:
    """The figures of the card, on texts that the model was not trained on."""
    folder = data / "text/lingua-sentences"
    english = (folder / "en.txt").read_text("utf-8").splitlines()
    others = {path.stem: path.read_text("utf-8").splitlines() for path in sorted(folder.glob("*.txt"))}
    del others["en"]
    of_english = perplexities(model, english)
    of_others = {language: perplexities(model, lines) for language, lines in others.items()}
    by_language = {language: auc(of_english, values) for language, values in of_others.items()}
    worst = min(by_language, key=lambda language: by_language[language])
    return {
        "paired, wikitext-2 valid": paired(model, list(wikitext(data / "text/wikitext-2/valid.txt"))),
        "paired, lingua en": paired(model, english),
        "auc, lingua en against 74 languages": auc(of_english, np.concatenate([*of_others.values()])),
        f"auc, lowest of a language ({worst})": by_language[worst],
        "median perplexity, lingua en": float(np.median(of_english)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared/data")
    parser.add_argument("--work", type=Path, default=Path("cupel-en-texts"), help="folder for what is fetched")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--evaluate", action="store_true", help="only measure the model")
    options = parser.parse_args()
    if not options.evaluate:
        from cupel.pipeline.lm.trainer import train

        options.work.mkdir(parents=True, exist_ok=True)
        files = gather(options.work, options.data)
        settings = {"order": ORDER, "prune": PRUNE, "vocab_size": VOCABULARY, "normaliser": "words"}
        whole = options.work / "whole.arpa.gz"
        print(json.dumps(train(files, whole, **settings).as_dict()))
        rounded(whole, options.model)
        print(f"{options.model.stat().st_size:,} bytes")
    for name, value in evaluate(str(options.model), options.data).items():
        print(f"{name}: {value:.4f}")


if __name__ == "__main__":
    main()
