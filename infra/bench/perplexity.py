"""Sentences per second and core of text.perplexity, against a bare loop over KenLM's `score` on the same texts.

    python infra/bench/perplexity.py --data ../shared/data

One process, one thread (POLARS_MAX_THREADS=1; nothing else in it has threads), its CPU time. Each figure is the best of
--repeat passes: Arrow batches of 10,000 rows for ours, list of str for the bare loop, making them not counted. The bare
loop does not normalise, so it scores other (and fewer) tokens; "normalised" is the same loop over texts that were
normalised beforehand, uncounted: what KenLM itself takes for the tokens that we score.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ["POLARS_MAX_THREADS"] = "1"  # before polars is imported


def rate(once: Callable[[], object], rows: int, repeat: int) -> float:
    """Rows a second: the best of some passes."""
    once()
    seconds = []
    for _ in range(repeat):
        begin = time.process_time()
        once()
        seconds.append(time.process_time() - begin)
    return rows / min(seconds)


def read_texts(data: Path) -> dict[str, list[str]]:
    """Sentences of Wikipedia, textbook captions, alt texts of the web, sentences in 75 languages."""
    import pyarrow.parquet as pq

    valid = (data / "text/wikitext-2/valid.txt").read_text("utf-8").splitlines()
    sentences = [one for line in valid if line.strip() and line[1] != "=" for one in line.strip().split(" . ")]
    with (data / "pairs/openstax/captions.jsonl").open(encoding="utf-8") as lines:
        captions = [json.loads(line)["caption"] for line in lines]
    alts = pq.read_table(data / "url_lists/laion-sample/test_10000.parquet")["TEXT"].drop_null().to_pylist()
    tongues = sorted((data / "text/lingua-sentences").glob("*.txt"))
    many = [line for path in tongues for line in path.read_text("utf-8").splitlines()]
    return {"wikitext-2 valid": sentences, "openstax": captions, "laion": alts, "lingua": many}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[3] / "shared/data")
    parser.add_argument("--model", default="cupel-en")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()

    import polars as pl
    import pyarrow as pa

    from cupel.operators.base import Batch
    from cupel.operators.text._normalise import NORMALISERS
    from cupel.operators.text.perplexity import Perplexity, load

    (path,) = Perplexity(model=options.model).files
    score = load(path).score
    print("sentences/s of one core\n")
    print(
        f"{'texts':<18}{'rows':>8}{'normaliser':>12}{'ours':>10}{'bare':>10}{'ours/bare':>11}{'normalised':>12}{'ours/normalised':>17}"
    )
    for name, found in read_texts(options.data).items():
        texts = (found * (20_000 // len(found) + 1))[:20_000]
        batches = [Batch(pa.table({"text": texts[start : start + 10_000]})) for start in range(0, len(texts), 10_000)]
        bare = rate(lambda texts=texts: [score(text) for text in texts], len(texts), options.repeat)
        for normaliser in ("words", "plain", "cc_net"):
            operator = Perplexity(model=options.model, normaliser=normaliser)
            operator.setup()
            own = rate(lambda of=operator, each=batches: [of(batch) for batch in each], len(texts), options.repeat)
            lines = NORMALISERS[normaliser](pl.Series(texts)).to_list()
            given = rate(lambda lines=lines: [score(line) for line in lines], len(texts), options.repeat)
            figures = f"{own:>10,.0f}{bare:>10,.0f}{own / bare:>11.2f}{given:>12,.0f}{own / given:>17.2f}"
            print(f"{name:<18}{len(texts):>8,}{normaliser:>12}{figures}", flush=True)


if __name__ == "__main__":
    main()
