"""The text rules of published recipes on real alt texts: what they keep, beside what their authors report.

    python infra/bench/published.py [FILE]      10,000 rows of LAION-type metadata, half a minute

Each rule by itself, on the same rows, then each recipe's text rules one after the other. The rows are from Common Crawl
by way of LAION, so LAION's own rules have been over them; CommonPool, which DataComp reports on, is wider. Why the
numbers differ is said in infra/LOG.md.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import ray

from cupel import Recipe, run

SAMPLE = Path(__file__).resolve().parents[2].parent / "shared/data/url_lists/laion-sample/test_10000.parquet"
ENGLISH = ["text.language", {"keep": {"language": {"in": ["en"]}}}]
LENGTH = ["text.length", {"keep": {"words": {"min": 3}, "characters": {"min": 6}}}]
BOILERPLATE = [
    "text.boilerplate",
    {
        "keep": {
            "boilerplate_pattern": {
                "not_in": ["cc3m_dropped", "avatar", "missing", "file_name", "url", "no_words"],
                "null": "keep",
            }
        }
    },
]
RULES: dict[str, tuple[list, str]] = {  # rule -> steps, what was reported
    "LAION: 5 characters and more": (["text.length", {"keep": {"characters": {"min": 5}}}], "all of LAION"),
    "DataComp: English (fastText)": (ENGLISH, "49 % of CommonPool (6.3M of 12.8M)"),
    "DataComp: 3 words, 6 characters": (LENGTH, "68 % of CommonPool (8.7M)"),
    "DataComp: both": ([*ENGLISH, *LENGTH], "37.5 % of CommonPool (4.8M)"),
    "COYO: 6 to 1,000 characters, 3 to 256 words": (
        ["text.length", {"keep": {"characters": {"min": 6, "max": 1000}, "words": {"min": 3, "max": 256}}}],
        "not reported",
    ),
    "COYO: a noun": (["text.grammar", {"keep": {"nouns": {"min": 1}}}], "not reported"),
    "COYO: text 10 times at most": (
        [{"select.frequency": {"column": "text"}}, {"keep": {"frequency": {"max": 10}}}],
        "not reported",
    ),
    "no flagged word": (["text.words", {"keep": {"flagged_word_ratio": {"max": 0}}}], "95 % of CommonPool (Detoxify)"),
    "CC3M: noun, determiner, preposition": (
        ["text.grammar", {"keep": {"nouns": {"min": 1}, "determiners": {"min": 1}, "prepositions": {"min": 1}}}],
        "not by itself",
    ),
    "CC12M: noun and determiner": (
        ["text.grammar", {"keep": {"nouns": {"min": 1}, "determiners": {"min": 1}}}],
        "not by itself",
    ),
    "CC12M: repeated words 0.2 at most": (
        ["text.grammar", {"keep": {"repeated_word_ratio": {"max": 0.2}}}],
        "not by itself",
    ),
    "CC3M: no boiler-plate to drop": (BOILERPLATE, "not by itself"),
    "no mail, phone or IP": (
        ["text.pii", {"keep": {"pii_emails": {"max": 0}, "pii_phones": {"max": 0}, "pii_ips": {"max": 0}}}],
        "-",
    ),
}
TEXT_STEPS = ("text.", "select.frequency")
OTHERS = ("image_", "min_side", "aspect", "exact_of", "near_", "balance_", "labels_")  # columns that need more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=SAMPLE)
    file = parser.parse_args().file
    if not file.exists():
        print(f"{file} is not there; give a table of captions")
        return
    ray.init(address="local", include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    with tempfile.TemporaryDirectory(prefix="cupel-bench-") as folder:
        print(f"{'rule, by itself':46}{'kept':>7}  reported")
        for name, (steps, reported) in RULES.items():
            found = run(Recipe(name="rule", steps=steps), file, out=folder, write=False)
            print(f"{name:46}{found.kept / found.rows_in:7.1%}  {reported}", flush=True)
        for name in ("datacomp_basic", "coyo", "cc3m", "cc12m", "metaclip_400m"):
            funnel(name, file, folder)
    ray.shutdown()


def funnel(name: str, file: Path, folder: str) -> None:
    """A shipped recipe without what needs a picture or a list, rule by rule."""
    found = run(Recipe(name=name, steps=text_steps(name)), file, out=folder, write=False)
    print(f"\n{name}, its text rules: {found.kept / found.rows_in:.1%} of {found.rows_in:,}")
    left = found.rows_in
    for step in found.manifest.steps:
        for rule, dropped in step.rules.items():
            left -= dropped
            print(f"    {rule:60}{dropped:7,}{left / found.rows_in:8.1%}")


def text_steps(name: str) -> list:
    """The recipe's steps that need texts alone."""
    from cupel.pipeline.recipe_file import load_recipe
    from cupel.schemas.recipe import Step

    steps: list[object] = []
    for step in load_recipe(name).recipe.steps:
        if isinstance(step, Step):
            if step.operator.startswith(TEXT_STEPS):
                steps.append(step)
        elif not any(column.startswith(OTHERS) for column in step.bounds):
            steps.append(step)
    return steps


if __name__ == "__main__":
    main()
