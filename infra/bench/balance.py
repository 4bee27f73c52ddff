"""Texts per second and core of select.balance with 500,000 entries, against MetaCLIP's published loop over all entries.

    python infra/bench/balance.py --data ../shared/data

One process, one thread (POLARS_MAX_THREADS=1), its CPU time, the best of --repeat passes. Texts: 10,000 alt texts of
the web (LAION) and 2,690 textbook captions (OpenStax), tiled to --rows. Entries: the words and pairs of words of
Wikipedia (wikitext-2) and of sentences in 75 languages, the frequent ones first, then runs of three to five words up to
--entries.

The loop is the published rule (arXiv:2309.16671) written plainly: spaces around text and marks, then
`" entry " in text` for each entry. It runs on --loop-rows texts; the automata, where `pip install ahocorasick_rs
pyahocorasick` has put them, on all different texts. All must find the same entries.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ["POLARS_MAX_THREADS"] = "1"  # before polars is imported

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from cupel.operators.frames import InMemory
from cupel.operators.select._entries import read_entries
from cupel.operators.select.balance import Balance

MARKS = {ord(mark): f" {mark} " for mark in ",.;:?!`"} | {ord(white): " " for white in "\t\n\r"}
Found = list[list[int]]


def timed(once: Callable[[], Found], repeat: int) -> tuple[float, Found]:
    """Seconds of the best pass, and what it found."""
    seconds = []
    for _ in range(repeat):
        begin = time.process_time()
        found = once()
        seconds.append(time.process_time() - begin)
    return min(seconds), found


def captions(data: Path) -> list[str]:
    found = pq.read_table(data / "url_lists/laion-sample/test_10000.parquet")["TEXT"].to_pylist()
    with (data / "pairs/openstax/captions.jsonl").open(encoding="utf-8") as lines:
        found += [json.loads(line)["caption"] for line in lines]
    return [text for text in found if text]


def metadata(data: Path, wanted: int) -> list[str]:
    """So many different entries of one to five words."""
    files = [data / "text/wikitext-2/valid.txt", data / "text/wikitext-2/test.txt"]
    files += sorted((data / "text/lingua-sentences").glob("*.txt"))
    runs: list[Counter[str]] = [Counter() for _ in range(5)]
    for path in files:
        for line in path.read_text("utf-8").splitlines():
            words = re.findall(r"[^\s,.;:?!`\"()<>]+", line)
            for length, counts in enumerate(runs, 1):
                counts.update(" ".join(words[i : i + length]) for i in range(len(words) - length + 1))
    entries = [entry for counts in runs for entry, _ in counts.most_common()][:wanted]
    if len(entries) < wanted:
        raise SystemExit(f"{data} holds {len(entries):,} different runs of words; ask for no more --entries")
    return entries


def loop(texts: list[str], entries: list[str]) -> Found:
    spaced = [f" {entry} " for entry in entries]
    texts = [f" {text} ".translate(MARKS) for text in texts]
    return [[i for i, entry in enumerate(spaced) if entry in text] for text in texts]


def automata(entries: list[str]) -> Iterator[tuple[str, float, Callable[[list[str]], Found]]]:
    """Name, seconds to build, and matcher of the automata that are installed."""
    spaced = [f" {entry} " for entry in entries]
    begin = time.process_time()
    try:
        import ahocorasick

        automaton = ahocorasick.Automaton()
        for i, entry in enumerate(spaced):
            automaton.add_word(entry, i)
        automaton.make_automaton()
        took = time.process_time() - begin
        yield (
            "pyahocorasick",
            took,
            lambda texts: [sorted({i for _, i in automaton.iter(f" {text} ".translate(MARKS))}) for text in texts],
        )
    except ImportError:
        print("pyahocorasick is not installed: pip install pyahocorasick to compare")
    begin = time.process_time()
    try:
        from ahocorasick_rs import AhoCorasick, Implementation

        machine = AhoCorasick(spaced, implementation=Implementation.ContiguousNFA)
        took = time.process_time() - begin
        yield (
            "ahocorasick_rs",
            took,
            lambda texts: [
                sorted(
                    {i for i, _, _ in machine.find_matches_as_indexes(f" {text} ".translate(MARKS), overlapping=True)}
                )
                for text in texts
            ],
        )
    except ImportError:
        print("ahocorasick_rs is not installed: pip install ahocorasick_rs to compare")


def whole(path: Path, texts: list[str], rows: int) -> int:
    """The operator over tiled texts; the rows it draws."""
    tiled = (texts * (rows // len(texts) + 1))[:rows]
    number = np.arange(rows, dtype=np.int32)
    frame = pl.DataFrame({"shard": number // 10_000, "row": number % 10_000, "text": tiled})
    frame = frame.with_columns(key=pl.format("{}", pl.int_range(pl.len())))
    found = Balance(metadata=str(path), t=100)(InMemory().frames(frame)).collect()
    return int(found["balance_drawn"].sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared/data")
    parser.add_argument("--entries", type=int, default=500_000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--loop-rows", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()

    texts, entries = captions(options.data), metadata(options.data, options.entries)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metadata.txt"
        path.write_text("\n".join(entries) + "\n", encoding="utf-8")
        begin = time.process_time()
        tree = read_entries(path)
        built = time.process_time() - begin
        mine, found = timed(lambda: tree.match(pl.Series(texts)).to_list(), options.repeat)
        begin = time.process_time()
        drawn = whole(path, texts, options.rows)
        all_of_it = time.process_time() - begin

    length, matches = sum(map(len, texts)) / len(texts), sum(map(len, found)) / len(texts)
    print(f"{len(entries):,} entries; {len(texts):,} texts of {length:.0f} characters, {matches:.1f} matches each\n")
    print(f"{'matcher':<28}{'build s':>9}{'texts':>9}{'texts/s':>10}{'ours is faster':>16}")
    own = len(texts) / mine
    print(f"{'ours':<28}{built:>9.2f}{len(texts):>9,}{own:>10,.0f}")
    for name, took, match in automata(entries):
        seconds, others = timed(lambda match=match: match(texts), options.repeat)
        assert others == found, name
        rate = len(texts) / seconds
        print(f"{name:<28}{took:>9.2f}{len(texts):>9,}{rate:>10,.0f}{own / rate:>15.1f}x", flush=True)
    some = texts[:: max(1, len(texts) // options.loop_rows)][: options.loop_rows]
    seconds, others = timed(lambda: loop(some, entries), 1)
    assert others == found[:: max(1, len(texts) // options.loop_rows)][: options.loop_rows]
    rate = len(some) / seconds
    print(f"{'loop over entries':<28}{'':>9}{len(some):>9,}{rate:>10,.1f}{own / rate:>15,.0f}x (target: 50)")
    share = drawn / options.rows
    print(f"\nselect.balance as a whole: {options.rows / all_of_it:,.0f} rows/s; t=100 keeps {share:.1%}")


if __name__ == "__main__":
    main()
