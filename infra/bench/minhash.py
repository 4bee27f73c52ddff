"""text.minhash: documents per second and core against its peers, and what it finds of planted near-duplicates.

    python infra/bench/minhash.py --peers PEERS          speed, and duplicates found, beside the peers
    python infra/bench/minhash.py --edits                what is found by kind and share of edited words

One process, one thread. Texts: captions (LAION, OpenStax, COCO), paragraphs (WikiText-2), sentences (75 languages),
edited copies of them where there are fewer than --docs. All tools take them from `str` to 14 x 8 minima over 5-grams
of words; the best of --repeat passes, peers over the first --peer-docs texts.

- datatrove: `MinhashDedupSignature` as a user runs it, writing and sorting of its files included, with its English
  tokenizer (spaCy) and, to show what that costs, with the one of its tokenizers that splits on white space.
- datasketch: `MinHash.generator` (since 2.0 with 32-bit permutations) with xxhash, which is faster than its default. It
  makes no words, so it is given `re.findall(r"\\w+", text.lower())`, which is cheap, joined to 5-grams; then those of
  datatrove's `simplify_text`, without which it misses what differs in accents and numbers.
- rensa: `RMinHash.digest_matrix_from_token_sets`, words as for datasketch. Another method than the published one: a
  shingle chooses its slots (fast similarity sketching), so its time hardly grows with the number of minima.

Duplicates: a text and five edited copies of each; all pairs of one text's copies, in classes of their exact Jaccard
index s by our words: the share found, beside the closed form. Precision and recall are those of pairs with s above
0.72, where 14 x 8 is to find half; other texts: pairs found of two texts that are not copies.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

os.environ["POLARS_MAX_THREADS"] = os.environ["RAYON_NUM_THREADS"] = "1"  # before they are imported

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from cupel.operators.base import Batch
from cupel.operators.text._shingles import simplified
from cupel.operators.text.minhash import PRESETS, Minhash

INSTALL = 'pip install --target PEERS datatrove spacy regex datasketch rensa "xxhash<4"; then give --peers PEERS'
BANDS, ROWS, N = 14, 8, 5
SHARES = (1, 2, 5, 10, 20, 40)  # % of a text's words
CLASSES = (0.0, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0)
CAPTION_WAYS = {
    f"{n} {unit}": Minhash(unit=unit, ngram=n, numbers="keep")
    for unit, lengths in (("words", (5, 3, 2)), ("characters", (5, 8, 13)))
    for n in lengths
}
Edit = Callable[[list[str], list[int], list[str]], list[str]]


class Tool(NamedTuple):
    """`run` is what is timed; `read` makes of its result [texts, bands] to compare, and which texts have any."""

    run: Callable[[list[str]], object]
    read: Callable[..., tuple[np.ndarray, np.ndarray]]


# Texts, and edited copies of them.


def read_texts(data: Path) -> dict[str, list[str]]:
    captions = pq.read_table(data / "url_lists/laion-sample/test_10000.parquet")["TEXT"].to_pylist()
    captions += [row["caption"] for row in _lines(data / "pairs/openstax/captions.jsonl")]
    captions += [text for row in _lines(data / "pairs/coco-mini/captions.jsonl") for text in row["captions"]]
    wiki = [(data / f"text/wikitext-2/{name}.txt").read_text("utf-8").split("\n") for name in ("test", "valid")]
    lingua = [path.read_text("utf-8").splitlines() for path in sorted((data / "text/lingua-sentences").glob("*.txt"))]
    paragraphs = [line.strip() for line in itertools.chain(*wiki) if len(line) > 150]
    found = {"captions": captions, "paragraphs": paragraphs, "sentences": list(itertools.chain(*lingua))}
    return {name: shuffled(dict.fromkeys(text for text in texts if text)) for name, texts in found.items()}


def _lines(path: Path) -> Iterator[dict]:
    return map(json.loads, path.read_text("utf-8").splitlines())


def shuffled(texts: Iterable[str]) -> list[str]:
    texts = list(texts)
    return random.Random(0).sample(texts, len(texts))


def changed(words: list[str], places: list[int], others: list[str]) -> list[str]:
    for place, other in zip(places, others, strict=True):
        words[place] = other
    return words


def deleted(words: list[str], places: list[int], _: list[str]) -> list[str]:
    for place in sorted(places[: len(words) - 1], reverse=True):
        del words[place]
    return words


def swapped(words: list[str], places: list[int], _: list[str]) -> list[str]:
    for place in places:
        words[place : place + 2] = words[place : place + 2][::-1]
    return words


EDITS: dict[str, Edit] = {"changed": changed, "deleted": deleted, "swapped": swapped}


def edited(texts: Sequence[str], edit: Edit, share: float, seed: int = 0) -> list[str]:
    """Each text with `share` % of its words edited, rounded up; other words are those of the texts."""
    chance = random.Random(seed)
    others = chance.choices([word for text in texts for word in text.split()], k=10_000)
    found = []
    for words in map(str.split, texts):
        places = chance.sample(range(len(words)), math.ceil(len(words) * share / 100))
        found.append(" ".join(edit(words, places, chance.sample(others, len(places)))))
    return found


def copies(texts: Sequence[str], count: int) -> list[list[str]]:
    """Lists of copies, each with edits of one kind and share."""
    kinds = itertools.cycle(itertools.product(SHARES, EDITS.values()))
    return [edited(texts, edit, share, seed) for seed, (share, edit) in enumerate(itertools.islice(kinds, count))]


# What is compared.


def ours() -> Tool:
    operator = Minhash()

    def run(texts: list[str]) -> pa.Array:
        starts = range(0, len(texts), 10_000)
        batches = (Batch(pa.table({"text": pa.array(texts[start : start + 10_000])})) for start in starts)
        return pa.concat_arrays([operator(batch)["minhash"] for batch in batches])

    return Tool(run, digests)


def digests(found: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    return found.values.to_numpy().reshape(len(found), -1), found.is_valid().to_numpy(zero_copy_only=False)


def peers() -> dict[str, Tool]:
    """Those that can be imported; the others are named with how to install them."""
    found: dict[str, Tool] = {}
    for name, make in (("datatrove", datatrove), ("datasketch", datasketch), ("rensa", rensa)):
        try:
            found |= make()
        except ImportError as error:
            print(f"without {name} ({error}): {INSTALL}")
    return found


def datatrove() -> dict[str, Tool]:
    from datatrove.data import Document
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    from loguru import logger

    def step(folder: str, language: str) -> MinhashDedupSignature:
        return MinhashDedupSignature(folder, MinhashConfig(N, BANDS, ROWS), language)

    def tool(language: str) -> Tool:
        def run(texts: list[str]) -> tuple[int, list[np.ndarray]]:
            record = np.dtype([("minima", f"V{8 * ROWS}"), ("row", "<u4")])
            with tempfile.TemporaryDirectory() as folder:
                step(folder, language).run([Document(text, str(i)) for i, text in enumerate(texts)])
                files = sorted(Path(folder).glob("bucket_*/00000.minhash.sig"))
                return len(texts), [np.fromfile(file, record) for file in files]

        return Tool(run, read)

    def read(found: tuple[int, list[np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        bands = np.zeros((found[0], BANDS), f"V{8 * ROWS}")
        there = np.zeros(found[0], bool)
        for band, records in enumerate(found[1]):
            bands[records["row"], band] = records["minima"]
            there[records["row"]] = True
        return bands, there

    logger.remove()
    return {"datatrove": tool("eng"), "same, white space": tool("ace_Arab")}


def datasketch() -> dict[str, Tool]:
    import xxhash
    from datasketch import MinHash
    from datatrove.utils.text import simplify_text

    def tool(words: Callable[[str], list[str]]) -> Tool:
        def run(texts: list[str]) -> list[tuple[int, np.ndarray]]:
            grams = [[gram.encode() for gram in ngrams(words(text))] for text in texts]
            made = MinHash.generator(grams, num_perm=BANDS * ROWS, hashfunc=xxhash.xxh32_intdigest)
            return [(len(some), sketch.hashvalues) for some, sketch in zip(grams, made, strict=True)]

        return Tool(run, read)

    def read(found: list[tuple[int, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
        minima = np.array([values for _, values in found], np.uint32)
        return _in_bands(minima), np.array([many > 0 for many, _ in found])

    return {"datasketch": tool(cheap_words), "same, simplified": tool(lambda text: simplify_text(text).split())}


def rensa() -> dict[str, Tool]:
    from rensa import RMinHash, RMinHashDigestMatrix

    def run(texts: list[str]) -> RMinHashDigestMatrix:
        return RMinHash.digest_matrix_from_token_sets([ngrams(cheap_words(text)) for text in texts], BANDS * ROWS, 1)

    def read(found: RMinHashDigestMatrix) -> tuple[np.ndarray, np.ndarray]:
        minima = np.array(found.to_rows(), np.uint32)
        return _in_bands(minima), (minima < 2**32 - 1).any(axis=1)

    return {"rensa": Tool(run, read)}


def _in_bands(minima: np.ndarray) -> np.ndarray:
    return minima.reshape(len(minima), BANDS, ROWS).view(f"V{minima.itemsize * ROWS}")[..., 0]


def cheap_words(text: str, word: re.Pattern[str] = re.compile(r"\w+")) -> list[str]:
    return word.findall(text.lower())


def ngrams(words: list[str]) -> list[str]:
    return [" ".join(words[start : start + N]) for start in range(len(words) - N + 1)]


# Speed.


def speed(texts: dict[str, list[str]], tools: dict[str, Tool], docs: int, peer_docs: int, repeat: int) -> None:
    print(f"\ndocuments/s of one core, best of {repeat}; in brackets ours over the peer's")
    print(f"{'':<12}{'words':>6}" + "".join(f"{name:>20}" for name in tools))
    for name, few in texts.items():
        many = list(few)
        for more in copies(few, -(-docs // len(few)) - 1):
            many += more
        words = np.mean([len(text.split()) for text in many[:docs]])
        rates = dict.fromkeys(tools, 0.0)
        for tool in [*tools] * repeat:  # in turn, because what else the machine does changes by the second
            some = many[: docs if tool == "ours" else min(docs, peer_docs)]
            rates[tool] = max(rates[tool], rate(tools[tool].run, some))
        cells = [
            f"{of:,.0f}" + (f" ({rates['ours'] / of:.1f})" if tool != "ours" else "") for tool, of in rates.items()
        ]
        print(f"{name:<12}{words:>6.0f}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def rate(run: Callable[[list[str]], object], texts: list[str]) -> float:
    run(texts[:10])
    begin = time.perf_counter()
    run(texts)
    return len(texts) / (time.perf_counter() - begin)


# Duplicates.


def duplicates(name: str, texts: list[str], tools: dict[str, Tool]) -> None:
    """What each tool finds of the pairs of a text's copies, by their exact Jaccard index."""
    groups = [texts, *copies(texts, 5)]
    s = np.concatenate([jaccard(groups[i], groups[j]) for i, j in itertools.combinations(range(6), 2)])
    everything = list(itertools.chain(*groups))
    found, others = {}, {}
    for tool, (run, read) in tools.items():
        bands, there = read(run(everything))
        parts = [(bands[at : at + len(texts)], there[at : at + len(texts)]) for at in range(0, len(bands), len(texts))]
        found[tool] = np.concatenate([_share(*one, *other) for one, other in itertools.combinations(parts, 2)])
        others[tool] = pairs_of_others(bands, there, len(texts))
    expected = 1 - (1 - s**ROWS) ** BANDS
    print(f"\n{name}: share found of {len(s):,} pairs of copies of {len(texts):,} texts")
    print(f"{'s':<14}{'pairs':>7}{'expected':>10}" + "".join(f"{tool:>20}" for tool in tools))
    for low, high in itertools.pairwise([*CLASSES, 2.0]):
        of = (s >= low) & (s < high)
        label = "1" if low == 1 else f"{low:.2f} to {high:.2f}"
        shares = "".join(f"{found[tool][of].mean():>20.3f}" for tool in tools)
        print(f"{label:<14}{of.sum():>7,}{expected[of].mean():>10.3f}{shares}")
    wanted = s > 0.72
    ideal = (expected[wanted].sum() / expected.sum(), expected[wanted].mean())
    for row, values in {
        "precision": (ideal[0], *((found[tool] & wanted).sum() / found[tool].sum() for tool in tools)),
        "recall": (ideal[1], *(found[tool][wanted].mean() for tool in tools)),
    }.items():
        print(f"{row:<21}{values[0]:>10.3f}" + "".join(f"{value:>20.3f}" for value in values[1:]))
    print(f"{'other texts':<31}" + "".join(f"{others[tool]:>20,}" for tool in tools), flush=True)


def jaccard(
    some: list[str], others: list[str], words: re.Pattern[str] = re.compile(r"[a-z0-9\x80-\U0010ffff]+")
) -> np.ndarray:
    """Exact index of each text and its copy by our words; 0 where one has no shingle."""

    def sets(texts: list[str]) -> list[set[tuple[str, ...]]]:
        split = map(words.findall, simplified(pl.Series(texts), "words", "zero").to_list())
        return [set(zip(*(found[start:] for start in range(N)), strict=False)) for found in split]

    return np.array([len(a & b) / (len(a | b) or 1) for a, b in zip(sets(some), sets(others), strict=True)])


def _share(one: np.ndarray, is_one: np.ndarray, other: np.ndarray, is_other: np.ndarray) -> np.ndarray:
    shared: np.ndarray = (one == other).any(axis=1) & is_one & is_other
    return shared


def pairs_of_others(bands: np.ndarray, there: np.ndarray, texts: int) -> int:
    """Pairs that share a band and are no copies of one text (rows that differ by a multiple of `texts` are)."""
    found = set()
    for band in bands.T:
        _, which = np.unique(band[there], return_inverse=True)
        order = np.argsort(which, kind="stable")
        for group in np.split(np.flatnonzero(there)[order], np.flatnonzero(np.diff(which[order])) + 1):
            found |= {(a, b) for a, b in itertools.combinations(group.tolist(), 2) if (a - b) % texts}
    return len(found)


def by_edit(name: str, texts: list[str], some: list[str], operators: dict[str, Minhash]) -> None:
    """Recall for each kind and share of edits of some texts; then pairs found among all texts, which are no copies."""
    print(f"\n{name}: share found of {len(some):,} texts and their edited copies; mean s by 5-grams of words")
    print(f"{'edited words':<16}{'mean s':>7}" + "".join(f"{way:>15}" for way in operators))
    signed = {way: digests(operator(Batch(pa.table({"text": some})))["minhash"]) for way, operator in operators.items()}
    for edit, share in [("changed", 0), *itertools.product(EDITS, SHARES)]:
        others = edited(some, EDITS[edit], share)
        line = f"{f'{share} % {edit}' if share else 'none':<16}{jaccard(some, others).mean():>7.3f}"
        for way, operator in operators.items():
            theirs = digests(operator(Batch(pa.table({"text": others})))["minhash"])
            line += f"{_share(*signed[way], *theirs).mean():>15.3f}"
        print(line, flush=True)
    line = f"of {len(texts):,} texts"
    for operator in operators.values():
        found = pairs_of_others(*digests(operator(Batch(pa.table({"text": texts})))["minhash"]), len(texts))
        line += " " * (23 - len(line)) + f"{found:>15,}"
    print(f"{line}   pairs found", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[3] / "shared/data")
    parser.add_argument("--peers", type=Path, help="folder with datatrove, datasketch and rensa")
    parser.add_argument("--docs", type=int, default=20_000)
    parser.add_argument("--peer-docs", type=int, default=4_000)
    parser.add_argument("--texts", type=int, default=1_000, help="texts that copies are made of")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--edits", action="store_true", help="the table by edits instead")
    options = parser.parse_args()
    texts = read_texts(options.data)
    if options.edits:
        for name, ways in (
            ("paragraphs", {name: Minhash(preset=name) for name in PRESETS}),
            ("captions", CAPTION_WAYS),
        ):
            by_edit(name, texts[name], texts[name][: options.texts], ways)
        return
    sys.path += [str(options.peers)] if options.peers else []
    tools = {"ours": ours(), **peers()}
    speed(texts, tools, options.docs, options.peer_docs, options.repeat)
    for name, some in texts.items():
        duplicates(name, some[: options.texts], tools)


if __name__ == "__main__":
    main()
