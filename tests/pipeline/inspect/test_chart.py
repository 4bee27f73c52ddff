"""Charts: what they count is what NumPy counts, and what they draw is well-formed and harmless."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cupel.pipeline.inspect.charts.axis import Axis, axis_for
from cupel.pipeline.inspect.charts.buckets import Buckets
from cupel.pipeline.inspect.charts.chart import (
    Bar,
    Limit,
    bars,
    curve,
    histogram,
    strip,
)
from cupel.pipeline.inspect.charts.svg import compact, cut_to, patterns
from cupel.schemas.summary import Numbers

NOT_XML = "<script>alert(1)</script>&\"'\u202e\x00"


def numbers(values, kept=None, here=None, whole=False) -> Numbers:
    """Fine buckets as a summary has them: one for each whole number, else 1/64 of a power of two."""
    values = np.asarray(values, np.float64)
    kept = np.ones(len(values), bool) if kept is None else kept
    here = ~kept if here is None else here
    mantissa, exponent = np.frexp(values)
    start = values if whole else np.ldexp(np.floor(mantissa * 64) / 64, exponent)
    end = values + 1 if whole else np.where(values == 0, 5e-324, start + np.ldexp(1 / 64, exponent))
    edges, at, back = np.unique(start, return_index=True, return_inverse=True)

    def counts(mask):
        return np.bincount(back[mask], minlength=len(edges)).tolist()

    return Numbers(
        column="x",
        space=0,
        step=None,
        whole=whole,
        edges=edges.tolist(),
        ends=end[at].tolist(),
        kept=counts(kept),
        dropped_here=counts(here),
        dropped=counts(~kept & ~here),
        nulls=0,
        least=float(values.min()),
        most=float(values.max()),
    )


def drawn(text: str) -> ET.Element:
    """A chart, parsed; the names of attributes that could do something are not in it."""
    root = ET.fromstring(text)
    assert root.tag == "svg" and root.get("role") == "img"
    assert root[0].tag == "title" and root[0].text
    for element in root.iter():
        assert element.tag in {"svg", "title", "desc", "path", "rect", "text", "circle", "g"}
        assert not {name for name in element.attrib if name == "style" or name.startswith("on") or "href" in name}
    return root


def words(root: ET.Element, kind: str) -> list[str]:
    return [element.text or "" for element in root.iter("text") if kind in (element.get("class") or "")]


RANDOM = np.random.default_rng(7)
SPREADS = {
    "scores": (RANDOM.normal(0.28, 0.05, 5000), False, "linear"),
    "bytes": (np.rint(RANDOM.lognormal(10, 1.5, 5000)), True, "log"),
    "perplexity": (RANDOM.lognormal(5, 1, 5000), False, "log"),
    "words": (RANDOM.poisson(9, 5000), True, "linear"),
    "ratio, mostly zero": (np.where(RANDOM.random(5000) < 0.9, 0, RANDOM.random(5000)), False, "linear"),
    "characters and none": (np.where(RANDOM.random(5000) < 0.1, 0, RANDOM.lognormal(5, 2, 5000)), False, "symlog"),
    "log probability": (-RANDOM.lognormal(2, 2, 5000), False, "symlog"),
    "one number": (np.full(50, 7), True, "linear"),
    "zero": (np.zeros(50), False, "linear"),
}


@pytest.mark.parametrize("name", SPREADS)
def test_the_axis_fits_what_is_there(name):
    values, whole, kind = SPREADS[name]
    buckets = Buckets.of(numbers(values, whole=whole))
    axis = axis_for(buckets)
    assert axis.kind == kind
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 6
    assert ticks == sorted(set(ticks)) and axis.low <= ticks[0] <= ticks[-1] <= axis.high
    quarters = np.histogram(axis.at(values[values != 0] if (values != 0).any() else values), bins=20, range=(0, 1))[0]
    assert (quarters > 0).sum() >= 6 or len(np.unique(values)) == 1, "what is there can be told apart"


@pytest.mark.parametrize("name", SPREADS)
def test_bins_count_what_numpy_counts(name):
    """But for the buckets that lie across two bins, which are split by width."""
    values, whole, _ = SPREADS[name]
    kept = RANDOM.random(len(values)) < 0.6
    buckets = Buckets.of(numbers(values, kept, whole=whole))
    bins = axis_for(buckets).spaced(60)
    counts = buckets.counted(bins)
    assert counts.sum(1).tolist() == [kept.sum(), (~kept).sum(), 0], "totals stay"
    true = np.array([np.histogram(values[mask], bins)[0] for mask in (kept, ~kept)])
    if whole:
        assert (counts[:2] == true).all()
    else:
        assert np.abs(np.cumsum(counts[:2] - true, 1)).max() <= max(buckets.counts.sum(0).max(), 1)
    assert 40 <= len(bins) - 1 <= 80 or whole or len(np.unique(values)) == 1


def test_a_bucket_across_bins_is_split_by_width():
    wide = numbers([5.0]).model_copy(update={"edges": [0.0], "ends": [10.0], "kept": [10], "least": 0.0, "most": 10.0})
    counts = Buckets.of(wide).counted(np.array([0, 2.0, 5.0, 5.5, 10.0]))
    assert counts[0].tolist() == [2, 3, 1, 4] or counts[0].tolist() == [2, 3, 0, 5]


FLOATS = st.floats(-1e299, 1e299)


@given(
    st.lists(FLOATS | st.integers(-10, 10).map(float) | st.just(5e-324), min_size=1, max_size=40),
    FLOATS,
    st.booleans(),
)
def test_any_values_make_a_chart(values, bound, whole):
    values = np.rint(np.clip(values, -(2**53), 2**53)) if whole else np.array(values)
    found = Buckets.of(numbers(values, values > bound, whole=whole))
    assert found.total == len(values)
    axis = axis_for(found, [bound])
    bins = axis.spaced(60, bound)
    assert (np.diff(bins) > 0).all() and len(bins) < 200
    assert bins[0] <= found.low and bins[-1] >= found.high
    assert found.counted(bins).sum() == len(values)
    places = axis.at(bins)
    assert (places >= 0).all() and (places <= 1).all() and (np.diff(places) >= 0).all()
    assert len(axis.ticks()) <= 6
    limit = Limit(value=bound, side="min", text="min")
    drawn(histogram(found, title="x", limits=[limit]))
    drawn(curve(found, limit, title="x"))


def test_a_bar_for_each_of_few_whole_numbers_and_bounds_between_them():
    values = np.repeat([1, 2, 3, 4, 9], [5, 4, 3, 2, 1])
    buckets = Buckets.of(numbers(values, values >= 3, whole=True))
    bins = axis_for(buckets).spaced(60)
    assert bins.tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5]
    assert buckets.counted(bins).tolist()[0] == [0, 0, 3, 2, 0, 0, 0, 0, 1]
    assert [Limit(value=v, side=side, text="").edge(buckets) for v, side in [(3, "min"), (2.5, "min"), (3, "max")]] == [
        *(2.5, 2.5, 3.5)
    ]


def test_bars_are_parted_at_the_bound():
    """Even where the bound lies within a bucket: what was kept is on its one side, what it dropped on the other."""
    values = RANDOM.normal(200, 40, 3000)
    kept = values >= 200.3
    buckets = Buckets.of(numbers(values, kept))
    assert ((buckets.edges < 200.3) & (buckets.ends > 200.3) & (buckets.counts[:2] > 0).all(0)).any()
    buckets = buckets.parted(200.3, above=True)
    bins = axis_for(buckets, [200.3]).spaced(60, 200.3)
    counts = buckets.counted(bins)
    assert 200.3 in bins
    assert counts[0][bins[1:] <= 200.3].sum() == 0 and counts[0].sum() == kept.sum()
    assert counts[1][bins[:-1] >= 200.3].sum() == 0 and counts[1].sum() == (~kept).sum()


@pytest.mark.parametrize("side", ["min", "max"])
def test_the_curve_says_what_passes_and_what_was_kept(side):
    values = RANDOM.normal(0.28, 0.05, 4000)
    passes = values >= 0.3 if side == "min" else values <= 0.3
    kept = passes & (RANDOM.random(4000) < 0.5)
    buckets = Buckets.of(numbers(values, kept, here=~passes))
    root = drawn(curve(buckets, Limit(value=0.3, side=side, text=f"{side} 0.3"), title="yield"))
    told = [float(text.removesuffix(" %")) for text in words(root, "point")]
    assert told[0] == pytest.approx(100 * passes.mean(), abs=1.0), "but for a bucket"
    assert told[1] == pytest.approx(100 * kept.mean(), abs=0.051), "all that was kept passes: no guess"
    (passing,) = (e.get("d") for e in root.iter("path") if e.get("class") == "line passing")
    heights = [float(y) for _, y in re.findall(r"([\d.]+) ([\d.]+)", passing)]
    assert heights == sorted(heights, reverse=side == "max"), "a looser bound lets no fewer pass"


def test_what_the_other_bound_drops_never_passes():
    values = RANDOM.random(2000)
    passes = (values >= 0.2) & (values <= 0.6)
    buckets = Buckets.of(numbers(values, passes))
    low, high = Limit(value=0.2, side="min", text="min 0.2"), Limit(value=0.6, side="max", text="max 0.6")
    root = drawn(curve(buckets, low, others=[high], title="yield"))
    assert float(words(root, "point")[0].removesuffix(" %")) == pytest.approx(100 * passes.mean(), abs=0.051)


def test_a_bound_far_outside_is_pointed_at():
    buckets = Buckets.of(numbers(RANDOM.random(200)))
    root = drawn(histogram(buckets, title="x", limits=[Limit(value=1e6, side="max", text="max 1000000")]))
    assert words(root, "threshold") == ["max 1000000 →"]


def test_one_bar_does_not_dwarf_the_others():
    values = [0] * 100_000 + list(range(1, 20)) * 10
    root = drawn(histogram(Buckets.of(numbers(values, whole=True)), title="x"))
    assert "100,000 ↑" in words(root, "tick")
    (bar,) = (e.get("d") for e in root.iter("path") if e.get("class") == "bar kept")
    heights = {164 - float(y) for y in re.findall(r"V([\d.]+)H", bar)}
    assert max(heights) == 130 and min(heights) > 40


def test_dropped_is_told_from_kept_without_colour():
    values = RANDOM.random(2000)
    buckets = Buckets.of(numbers(values, values > 0.5, here=values < 0.3))
    fills = {e.get("class"): e.get("fill") for e in drawn(histogram(buckets, title="x")).iter("path")}
    assert fills["bar kept"] is None
    assert fills["bar dropped"] == "url(#hatch-dropped)" and fills["bar later"] == "url(#hatch-later)"
    defined = {element.get("id") for element in ET.fromstring(patterns()).iter("pattern")}
    assert defined == {"hatch-dropped", "hatch-later"}


@pytest.mark.parametrize("text", [NOT_XML, "]]>", "\ud800", "x" * 10_000])
def test_words_of_strangers_are_text(text):
    buckets = Buckets.of(numbers(RANDOM.random(50)))
    limit = Limit(value=0.5, side="min", text=text)
    for chart in (
        histogram(buckets, title=text, limits=[limit], unit=text),
        curve(buckets, limit, title=text, unit=text),
        bars([Bar(label=text, kept=1, dropped=2)], title=text),
        strip(1, 2, 3, title=text),
    ):
        assert "\u202e" not in chart and "\x00" not in chart
        chart.encode()
        drawn(chart)


def test_bars_cut_long_labels_and_tell_them_whole():
    items = [Bar(label="en", kept=300, dropped=100), Bar(label="shop.example.org/very/long", kept=0, dropped=40)]
    root = drawn(bars(items, title="languages"))
    assert words(root, "label") == ["en", "shop.example.org/…"]
    assert "shop.example.org/very/long: 0 kept, 40 dropped" in [title.text for title in root.iter("title")]
    widths = [float(e.get("width")) for e in root.iter("rect")]
    assert widths == pytest.approx([159, 53, 21.2])


@pytest.mark.parametrize(("kept", "dropped", "whole"), [(70, 20, 100), (10**9, 1, 10**9 + 1), (0, 5, 5), (0, 0, 0)])
def test_a_funnel_bar_stays_within_its_place(kept, dropped, whole):
    root = drawn(strip(kept, dropped, whole, title="x"))
    widths = {e.get("class"): float(e.get("width")) for e in root.iter("rect")}
    assert widths.get("bar kept", 0) + widths.get("bar dropped", 0) <= 240
    assert (widths.get("bar dropped", 0) > 1) == (dropped > 0), "one row among a billion is seen"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.25, "0.25"), (1200, "1,200"), (12_000, "12k"), (-1_500_000, "−1.5M"), (2e9, "2G"), (1e-7, "1e-07"), (0, "0")],
)
def test_numbers_in_few_letters(value, text):
    assert compact(value) == text


@pytest.mark.parametrize(
    ("text", "cut"), [("short", "short"), ("日本語日本語", "日本…"), ("abcdef", "abcd…"), ("", "")]
)
def test_wide_letters_take_two_columns(text, cut):
    assert cut_to(text, 5) == cut


def test_a_symlog_axis_has_zero_and_both_sides():
    assert Axis(low=-1000, high=1000, kind="symlog").ticks() == [-100, -1, 0, 1, 100]
