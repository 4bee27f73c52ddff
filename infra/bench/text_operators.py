"""Rows per second and core of the text operators, against the same rules in plain Python and against a peer.

    python infra/bench/text_operators.py --data ../shared/data --peer-python PEER/bin/python

One process, one thread (POLARS_MAX_THREADS=1; nothing else in it has threads). Texts: 10,000 alt texts of the web
(LAION) and 2,690 textbook captions (OpenStax), tiled to --rows. Each figure is the best of --repeat passes over batches
of 10,000 rows: Arrow tables for ours, lists of str for plain Python, its own batches for the peer. Making the batches
is not counted. Plain Python computes the same columns; for text.language it is the bare library. The peer is
Data-Juicer, with as many of our columns as it has (`pip install py-data-juicer aiohttp fasttext-predict` in an
environment of its own; lid.176.ftz stands in for its lid.176.bin, our word lists for those it would download).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

os.environ["POLARS_MAX_THREADS"] = "1"  # before polars is imported

B = TypeVar("B")
NAMES = ("text.length", "text.language", "text.characters", "text.repetition", "text.words")
PEERS = {
    "text.length": {"text_length_filter": {}, "words_num_filter": {}},
    "text.language": {"language_id_score_filter": {}},
    "text.characters": {"alphanumeric_filter": {}, "special_characters_filter": {}},
    "text.repetition": {"character_repetition_filter": {}, "word_repetition_filter": {"rep_len": 5}},
    "text.words": {"stopwords_filter": {"stopwords_dir": "."}, "flagged_words_filter": {"flagged_words_dir": "."}},
}


def rate(batches: Sequence[B], once: Callable[[B], object], rows: int, repeat: int) -> float:
    """Rows a second: the best of some passes over all batches, after one batch to warm up."""
    once(batches[0])
    seconds = []
    for _ in range(repeat):
        begin = time.perf_counter()
        for batch in batches:
            once(batch)
        seconds.append(time.perf_counter() - begin)
    return rows / min(seconds)


def batched(texts: list[str], rows: int = 10_000) -> list[list[str]]:
    return [texts[start : start + rows] for start in range(0, len(texts), rows)]


def read_texts(data: Path, rows: int) -> list[str]:
    """Real captions, tiled."""
    import pyarrow.parquet as pq

    found = pq.read_table(data / "url_lists/laion-sample/test_10000.parquet")["TEXT"].to_pylist()
    with (data / "pairs/openstax/captions.jsonl").open(encoding="utf-8") as lines:
        found += [json.loads(line)["caption"] for line in lines]
    texts = [text for text in found if text]
    return (texts * (rows // len(texts) + 1))[:rows]


def ours(name: str, texts: list[str], repeat: int) -> float:
    import pyarrow as pa

    from cupel.operators.base import Batch, RowOperator
    from cupel.operators.registry import find

    operator = find(name)()
    assert isinstance(operator, RowOperator)
    operator.setup()
    batches = [Batch(pa.table({"text": pa.array(batch)})) for batch in batched(texts)]
    return rate(batches, operator, len(texts), repeat)


# Plain Python, written for speed as far as loops go: sets, Counter, comprehensions.


def plain(name: str) -> Callable[[list[str]], object]:
    if name == "text.language":
        return _bare_library()
    rule = {
        "text.length": lambda text: (len(text), len(text.split())),
        "text.characters": _characters,
        "text.repetition": _repetition,
        "text.words": _words_rule(),
    }[name]
    return lambda texts: [rule(text) for text in texts]


def _bare_library() -> Callable[[list[str]], object]:
    import fasttext

    from cupel.operators.text.language import Language

    predict = fasttext.load_model(str(Language().files[0])).predict
    return lambda texts: [predict(text.replace("\n", " ")) for text in texts]


def _characters(text: str) -> tuple[float, ...]:
    categories = Counter(map(unicodedata.category, text))
    of = Counter[str]()
    for category, count in categories.items():
        of[category[0]] += count
    whole = len(text) or 1
    return (
        *(of["L"] / whole, categories["Nd"] / whole, of["P"] / whole, (len(text) - of["L"] - of["M"]) / whole),
        *(categories["Lu"] / (of["L"] or 1), sum(character > "\x7f" for character in text) / whole),
    )


def _words(text: str) -> list[str]:
    found = []
    for word in text.lower().split():
        first, last = 0, len(word)
        while first < last and not _is_letter(word[first]):
            first += 1
        while first < last and not _is_letter(word[last - 1]):
            last -= 1
        if first < last:
            found.append(word[first:last])
    return found


def _is_letter(character: str) -> bool:
    return character.isalpha() or unicodedata.category(character)[0] == "M"


def _repetition(text: str) -> tuple[float, float]:
    frequencies = sorted(Counter(text[i : i + 10] for i in range(len(text) - 9)).values(), reverse=True)
    k = min(math.isqrt(len(frequencies)), len(frequencies) - frequencies.count(1))
    words = _words(text)
    of_words = Counter(zip(*(words[i:] for i in range(5)), strict=False)).values()
    again = sum(frequency for frequency in of_words if frequency > 1)
    return sum(frequencies[:k]) / (sum(frequencies) or 1), again / (sum(of_words) or 1)


def _words_rule() -> Callable[[str], tuple[float, float, int]]:
    stop, flagged, spatial = word_lists()

    def rule(text: str) -> tuple[float, float, int]:
        words = _words(text)
        whole = len(words) or 1
        return (
            *(sum(word in stop for word in words) / whole, sum(word in flagged for word in words) / whole),
            sum(word in spatial for word in words),
        )

    return rule


def word_lists() -> list[set[str]]:
    from cupel.operators.text.words import Words

    lines = [path.read_text("utf-8").splitlines() for path in Words().files]
    return [{line for line in listed if not line.startswith("#")} for listed in lines]


def peer(python: Path, texts: list[str], repeat: int) -> dict[str, float]:
    """Data-Juicer's rates: this file once more, in its interpreter, in a folder with texts, word lists and model."""
    from cupel.operators.text.language import Language

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "texts").write_text(json.dumps(texts))
        (folder / "lid.176.bin").write_bytes(Language().files[0].read_bytes())  # the name it looks for
        for kind, words in zip(("stopwords", "flagged_words"), word_lists(), strict=False):
            (folder / f"{kind}.json").write_text(json.dumps({"en": sorted(words)}))
        command = [str(python.absolute()), str(Path(__file__).absolute()), "--as-peer", "--repeat", str(repeat)]
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "DATA_JUICER_MODELS_CACHE": name}, capture_output=True
        )
        if done.returncode:
            sys.exit(f"the peer failed:\n{done.stderr.decode()[-2000:]}")
        rates: dict[str, float] = json.loads((folder / "rates").read_text())
        return rates


def as_peer(repeat: int) -> None:
    """Runs in the peer's interpreter: knows nothing of ours."""
    from data_juicer.ops import load_ops
    from data_juicer.utils.constant import Fields

    texts = json.loads(Path("texts").read_text())
    rates = {}
    for name, process in PEERS.items():
        operators = load_ops([{operator: parameters} for operator, parameters in process.items()])

        def once(batch: list[str], operators: list = operators) -> None:
            samples = {"text": batch, Fields.stats: [{} for _ in batch]}
            for operator in operators:
                samples = operator.compute_stats(samples)
            assert all(len(stats) >= len(operators) for stats in samples[Fields.stats])

        rates[name] = rate(batched(texts), once, len(texts), repeat)
    Path("rates").write_text(json.dumps(rates))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared/data")
    parser.add_argument("--peer-python", type=Path, help="interpreter with Data-Juicer")
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--as-peer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_peer:
        return as_peer(options.repeat)
    texts = read_texts(options.data, options.rows)
    peers = peer(options.peer_python, texts, options.repeat) if options.peer_python else {}
    mean = sum(map(len, texts)) / len(texts)
    print(f"{len(texts):,} texts of {mean:.0f} characters on average; rows/s of one core, best of {options.repeat}\n")
    print(f"{'operator':<16}{'ours':>11}{'plain Python':>14}{'ours/plain':>12}{'Data-Juicer':>13}{'ours/peer':>11}")
    for name in NAMES:
        own, loop = ours(name, texts, options.repeat), rate(batched(texts), plain(name), len(texts), options.repeat)
        line = f"{name:<16}{own:>11,.0f}{loop:>14,.0f}{own / loop:>12.2f}"
        print(
            line + (f"{peers[name]:>13,.0f}{own / peers[name]:>11.1f}" if peers else f"{'-':>13}{'-':>11}"), flush=True
        )
    return None


if __name__ == "__main__":
    main()
