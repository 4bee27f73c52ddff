"""Cuts held against labels: counts are those of a plain loop, shares those of the known truth."""

from __future__ import annotations

import csv
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import two_cuts
from PIL import Image
from two_cuts import PAGE_CUTS, PAGES, SHORTEST, TEXTS

from cupel import Recipe, run
from cupel.pipeline.inspect.fates import Fates, path_of
from cupel.pipeline.inspect.labels.audit import Audit, Audited, audit
from cupel.pipeline.inspect.labels.file import Label, Labels, frame_name
from cupel.pipeline.inspect.opened import OpenedCut, open_cut
from cupel.pipeline.rates import wilson
from cupel.pipeline.read import CorpusError


@pytest.fixture(scope="module")
def texts(ray_session, tmp_path_factory) -> Path:
    return two_cuts.corpus("texts", tmp_path_factory.mktemp)


@pytest.fixture(scope="module")
def pages(ray_session, tmp_path_factory) -> Path:
    return two_cuts.corpus("pages", tmp_path_factory.mktemp)


def line(found: Audit, step: str | None, rule: str | None = None) -> Audited:
    (one,) = [each for each in found.lines if (each.step, each.rule) == (step, rule)]
    return one


def cells(audited: Audited) -> tuple[int, ...]:
    return tuple(asdict(audited.counts).values())  # gone and bad, gone and good, stayed and bad, stayed and good


def counted(pairs: list[tuple[bool, bool]]) -> tuple[int, ...]:
    """Of (gone, bad)."""
    found = Counter(pairs)
    return tuple(found[pair] for pair in ((True, True), (True, False), (False, True), (False, False)))


def labels_of(keys: list[str], bad: list[bool], path: Path) -> str:
    frame = pl.DataFrame({"key": keys, "label": ["drop" if each else "keep" for each in bad]})
    frame.write_parquet(path) if path.suffix == ".parquet" else frame.write_csv(path)
    return str(path)


@pytest.mark.parametrize("file", ["labels.parquet", "labels.csv"])
def test_a_rule_is_judged_by_the_rows_that_it_saw(texts, tmp_path, file):
    """Every third text is labelled: bad are those of fewer than four words."""
    chosen = list(range(0, 700, 3))
    bad = [len((TEXTS[i] or "").split()) < 4 for i in chosen]
    cut = open_cut(str(texts), "a")
    found = audit(cut, labels_of([f"k{i}" for i in chosen], bad, tmp_path / file))
    assert found.labelled == len(chosen)
    ledger = pl.read_parquet(f"{cut.uri}/dropped/*.parquet")
    gone_by = {key: f"{column} {rule}" for key, column, rule in ledger.select("key", "column", "rule").rows()}
    rules = [each for each in Fates(cut).exits if each.column]
    order = [str(rule) for rule in rules]
    alive = {f"k{i}": wrong for i, wrong in zip(chosen, bad, strict=True)}
    assert cells(line(found, None)) == counted([(key in gone_by, wrong) for key, wrong in alive.items()])
    for rule in rules:
        pairs = [(gone_by.get(key) == str(rule), wrong) for key, wrong in alive.items()]
        assert cells(line(found, rule.label, str(rule))) == counted(pairs), rule
        alive = {key: wrong for key, wrong in alive.items() if gone_by.get(key) != str(rule)}
    least = line(found, rules[0].label, order[0])
    assert least.quality.drop_precision == wilson(least.counts.gone_bad, least.counts.gone_bad + least.counts.gone_good)
    assert (least.quality.drop_precision.share, least.stands_for, least.frame) == (1.0, None, None)


def test_a_step_is_all_its_rules(texts, tmp_path):
    bad = [i % 2 == 0 for i in range(300)]
    labels = labels_of([f"k{i}" for i in range(300)], bad, tmp_path / "l.parquet")
    cut = open_cut(str(texts), "a")
    step = "keep words, characters, site"
    found = audit(cut, labels, step)
    assert {each.step for each in found.lines} == {step}
    rules = [each for each in found.lines if each.rule is not None]
    whole = line(found, step)
    assert len(rules) == 3
    assert whole.counts.gone_bad == sum(each.counts.gone_bad for each in rules)
    assert whole.counts.stayed_good == rules[-1].counts.stayed_good
    with pytest.raises(CorpusError, match=r"has no rule 'keep word'; did you mean 'keep .*there are: keep words"):
        audit(cut, labels, "keep word")


def test_a_page_goes_with_the_last_of_its_nodes(pages, tmp_path):
    """Labels of pages, by their keys, which their nodes have too."""
    last, least, longest = PAGE_CUTS["a"]
    expected: dict[str, list[tuple[bool, bool]]] = {"rank": [], "page": [], "words": []}
    expected |= {"short": [], "longest": [], "all": []}
    bad = [i % 3 == 0 for i in range(len(PAGES))]
    for i, page in enumerate(PAGES):
        nodes = [node for node in page.split("|") if node]
        long_enough = [node for node in nodes if node.startswith("IMG:") or len(node.split()) >= least]
        lengths = [len(node) for node in long_enough if not node.startswith("IMG:")]
        fates = {"rank": i > last, "page": not nodes, "words": not long_enough}
        fates["short"] = bool(lengths) and min(lengths) < SHORTEST
        fates["longest"] = not lengths or max(lengths) > longest
        gone = False
        for name, leaves in fates.items():
            if not gone:
                expected[name].append((leaves, bad[i]))
            gone = gone or leaves
        expected["all"].append((gone, bad[i]))
    labels = labels_of([f"k{i}" for i in range(len(PAGES))], bad, tmp_path / "l.parquet")
    found = audit(open_cut(str(pages), "a"), labels)
    assert found.labelled == len(PAGES)
    asked = {"rank": "keep rank", "page": "test.page", "words": "keep words"}
    asked |= {"short": "keep characters", "longest": "keep longest"}
    got = {name: cells(next(each for each in found.lines if each.step == step)) for name, step in asked.items()}
    assert got == {name: counted(expected[name]) for name in asked}
    assert cells(line(found, None)) == counted(expected["all"])


def test_labels_that_fit_no_row_or_several_are_told_and_left_out(ray_session, tmp_path):
    (tmp_path / "t.csv").write_text("key,text\ntwin,a b c\ntwin,a\nonly,a\nother,a b\n")
    recipe = Recipe.model_validate({"name": "r", "steps": ["text.length", {"keep": {"words": {"min": 2}}}]})
    run(recipe, tmp_path / "t.csv", out=tmp_path / "c")
    (tmp_path / "l.csv").write_text("key,label\ntwin,keep\nonly,DROP \nnobody,keep\nother,\nother,true\nother,false\n")
    found = audit(open_cut(str(tmp_path / "c")), str(tmp_path / "l.csv"))
    judged = found.judged
    assert (judged.unmatched, judged.ambiguous, judged.contradicted) == (["nobody"], ["twin"], ["other"])
    assert (judged.unlabelled, found.labelled) == (1, 1)
    assert cells(line(found, None)) == (1, 0, 0, 0)
    (tmp_path / "l.csv").write_text("shard,row,label\n0,0,keep\n0,1,drop\n0,9,drop\n5,0,drop\n")
    found = audit(open_cut(str(tmp_path / "c")), str(tmp_path / "l.csv"))
    assert (found.judged.unmatched, found.labelled) == (["00000000:9", "00000005:0"], 2)
    assert cells(line(found, None)) == (1, 0, 0, 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("key,label\nk1,maybe\n", r"a label is keep or drop \(or true or false\), not 'maybe'"),
        ("key,verdict\nk1,keep\n", r"is no file of labels \(Parquet or CSV with `label`\)"),
        ("row,label\n1,keep\n", "does not say which rows it means"),
        ("key,label\nx,keep\ny,drop\n", "none of its labels is about a row of .*2 are unknown, such as 'x'"),
        ("", "is no file of labels"),
    ],
)
def test_what_is_no_file_of_labels_is_told(texts, tmp_path, content, message):
    (tmp_path / "l.csv").write_text(content)
    with pytest.raises(CorpusError, match=message):
        audit(open_cut(str(texts), "a"), str(tmp_path / "l.csv"))


def test_a_missing_or_odd_file_is_told(texts, tmp_path):
    cut = open_cut(str(texts), "a")
    with pytest.raises(CorpusError, match="there is no such file"):
        audit(cut, str(tmp_path / "l.parquet"))
    (tmp_path / "l.parquet").write_text("key,label\n")
    with pytest.raises(CorpusError, match="is no file of labels"):
        audit(cut, str(tmp_path / "l.parquet"))


# Labels drawn by stratum


def draw(cut: OpenedCut, labels: Labels, exit_: int | None, per_stratum: int, bad, seed: int = 0) -> None:
    """Label rows as the labelling page does: so many of those that a rule dropped, so many of those that passed it."""
    fates = Fates(cut)
    found = [
        (s.id, *row) for s in cut.shards for row in fates.shard(s.id, ["key"])[-1].select("row", "fate", "key").rows()
    ]
    if exit_ is None:
        strata = {"dropped": [r for r in found if r[2] >= 0], "passed": [r for r in found if r[2] < 0]}
        frame = frame_name(cut.title)
    else:
        strata = {
            "dropped": [r for r in found if r[2] == exit_],
            "passed": [r for r in found if r[2] < 0 or r[2] > exit_],
        }
        frame = frame_name(cut.title, fates.exits[exit_].step, str(fates.exits[exit_]))
    random = np.random.default_rng(seed)
    for stratum, rows in strata.items():
        for at in random.permutation(len(rows))[:per_stratum].tolist():
            shard, row, _, key = rows[at]
            path = path_of(cut.view(len(cut.plan.spaces) - 1, shard), row)
            place = {"space": len(cut.plan.spaces) - 1, "shard": shard, "row": row, "path": path, "key": key}
            said = {"label": "drop" if bad(key) else "keep", "frame": frame, "stratum": stratum}
            moment = datetime(2026, 1, 1, tzinfo=UTC)
            labels.append(Label(cut=cut.title, **place, **said, stratum_rows=len(rows), labelled_at=moment))


def is_bad(key: str) -> bool:
    return int(key[1:]) % 7 < 2 or len((TEXTS[int(key[1:])] or "").split()) < 3


def test_the_rule_that_was_asked_about_is_judged_by_its_own_labels(texts, tmp_path):
    cut = open_cut(str(texts), "a")
    labels = Labels(tmp_path / "l.parquet")
    draw(cut, labels, 0, 40, is_bad)
    draw(cut, labels, 1, 25, is_bad)
    found = audit(cut, str(labels.path))
    exits = Fates(cut).exits
    for i, drawn in ((0, 40), (1, 25)):
        one = line(found, exits[i].label, str(exits[i]))
        assert one.frame == frame_name(cut.title, exits[i].step, str(exits[i]))
        assert one.counts.rows == 2 * drawn
    assert line(found, None).frame == frame_name(cut.title, exits[0].step, str(exits[0])), "of the most rows"
    assert line(found, None).stands_for == 700 and line(found, None).since is None


def test_what_is_estimated_from_a_sample_is_near_what_all_labels_say(texts, tmp_path):
    cut = open_cut(str(texts), "a")
    everything = labels_of(
        [f"k{i}" for i in range(700)], [is_bad(f"k{i}") for i in range(700)], tmp_path / "all.parquet"
    )
    truth = audit(cut, everything)
    labels = Labels(tmp_path / "some.parquet")
    draw(cut, labels, None, 120, is_bad)
    some = line(audit(cut, str(labels.path)), None)
    assert some.stands_for == 700
    for name, known in vars(line(truth, None).quality).items():
        rate = getattr(some.quality, name)
        assert rate.low <= known.share <= rate.high, name
        assert rate.high - rate.low < 0.35
    unweighted = some.counts.gone_bad / (some.counts.gone_bad + some.counts.stayed_bad)
    assert abs(some.quality.drop_recall.share - unweighted) > 0.02, "strata are not drawn at one rate"


def test_labels_of_a_late_rule_say_nothing_of_earlier_ones(texts, tmp_path):
    cut = open_cut(str(texts), "a")
    labels, exits = Labels(tmp_path / "l.parquet"), Fates(cut).exits
    late = next(i for i, each in enumerate(exits) if each.column == "exact_of")
    draw(cut, labels, late, 20, is_bad)
    found = audit(cut, str(labels.path))
    assert line(found, exits[0].label, str(exits[0])).counts.rows == 0
    assert line(found, exits[0].label, str(exits[0])).quality.drop_recall.share is None
    whole = line(found, None)
    assert whole.since == "exact_of null" and whole.counts.rows == 40


def test_labels_of_children_hold_in_another_cut_by_their_paths(pages, tmp_path):
    """In the other cut the nodes have other numbers."""
    b, a = (open_cut(str(pages), name) for name in "ab")  # the labelled one has more pages
    labels = Labels(tmp_path / "l.parquet")
    draw(a, labels, None, 60, lambda key: int(key[1:]) % 2 == 0)
    table = pl.read_parquet(labels.path)
    there = {}
    for shard in b.shards:
        rows = Fates(b).shard(shard.id, ["key"])[1]
        there |= {
            (shard.id, f"{n0}/{n1}"): (fate, key) for fate, key, n0, n1 in rows.select("fate", "key", "n0", "n1").rows()
        }
    expected = []
    for shard, path, said in table.select("shard", "path", "label").rows():
        if (shard, path) in there:
            expected.append((there[shard, path][0] >= 0, said == "drop"))
    assert len(expected) < table.height
    found = audit(b, str(labels.path))
    assert cells(line(found, None)) == counted(expected)
    assert len(found.judged.unmatched) == table.height - len(expected)
    table.drop("path").write_parquet(tmp_path / "no_path.parquet")
    with pytest.raises(CorpusError, match=rf"labels of {a.title} number rows .* give the column `path`"):
        audit(b, str(tmp_path / "no_path.parquet"))
    assert cells(line(audit(a, str(tmp_path / "no_path.parquet")), None)) == cells(
        line(audit(a, str(labels.path)), None)
    )


# Real pictures, whose truth was looked at by eye


def test_near_duplicates_of_textbooks_are_dropped_and_little_else(shared_data, ray_session, tmp_path):
    folder = shared_data / "neardup" / "textbook-editions"
    pairs = list(csv.DictReader((folder / "pairs.csv").read_text().splitlines()))
    rows = {pair[side]: 0 for pair in pairs for side in ("file_a", "file_b")}
    for name in rows:
        with Image.open(folder / name) as image:
            rows[name] = image.width * image.height
    source = tmp_path / "t.csv"
    source.write_text("key,image,text\n" + "".join(f"{name},{folder / name},a figure\n" for name in rows))
    steps = ["image.size", "image.phash", {"dedup.near_images": {"prefer": {"highest": "pixels"}}}]
    steps.append({"keep": {"near_image_of": None}})
    read = {"table": str(source), "root": str(folder)}
    run(Recipe.model_validate({"name": "r", "read": read, "steps": steps}), out=tmp_path / "c")
    said = {}
    for pair in pairs:
        names = sorted((pair["file_a"], pair["file_b"]), key=lambda name: (-rows[name], name))
        if pair["label"] == "near-duplicate":
            said |= {names[0]: "keep", names[1]: "drop"}
        elif pair["label"] == "different":
            said |= dict.fromkeys(names, "keep")
    table = pl.DataFrame({"key": list(said), "label": list(said.values())})
    table.write_parquet(tmp_path / "l.parquet")
    cut = open_cut(str(tmp_path / "c"))
    found = line(
        audit(cut, str(tmp_path / "l.parquet"), "keep near_image_of"), "keep near_image_of", "near_image_of null"
    )
    dropped = set(pl.read_parquet(f"{cut.uri}/dropped/*.parquet")["key"])
    assert cells(found) == counted([(key in dropped, word == "drop") for key, word in said.items()])
    assert found.quality.drop_precision.share > 0.95
    assert found.quality.drop_recall.low > 0.8
