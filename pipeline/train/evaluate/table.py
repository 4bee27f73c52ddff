"""What `cupel evaluate` prints: a table for each place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

Row = tuple[str, ...]


def tables(result: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The whole result: shares in per cent with 95 % intervals, and what guessing gives."""
    yield Text(f"model {result['model']} on {result['device']}")
    for place, found in result["on"].items():
        yield Text(f"\n{place}", "bold")
        yield Text("  ".join(_counts(found)))
        if found.get("is_training_data"):
            yield Text("this is what the model was trained on: these figures say what it remembers", "yellow")
        yield _table(_of_classes(found) if found["kind"] == "classes" else _of_pairs(found))
        yield from map(Text, _notes(found))


def _table(rows: Iterator[Row]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    for i, name in enumerate(("", "%", "95 % interval", "by guessing", "without looking")):
        table.add_column(name, justify="left" if i == 0 else "right", header_style="dim")
    for row in rows:
        table.add_row(*row)
    return table


def _counts(found: Mapping[str, Any]) -> Iterator[str]:
    for name in ("images", "captions", "classes"):
        if name in found:
            yield f"{found[name]:,} {name}"
    for kind, n in found["bad_images"].items():
        yield f"{n:,} images {kind}"
    for kind, n in found.get("left_out", {}).items():
        yield f"{n:,} rows with {kind}"


def _of_classes(found: Mapping[str, Any]) -> Iterator[Row]:
    yield _share("zero-shot top-1", found["zero_shot"]["top1"])
    yield _share("zero-shot top-5", found["zero_shot"]["top5"])
    yield _share("zero-shot mean per class", found["zero_shot"]["mean_per_class"])
    if "linear_probe" in found:
        yield _share("linear probe", found["linear_probe"]["top1"])
        for k, drawn in found["k_shot"]["shots"].items():
            yield f"{k}-shot", _per_cent(drawn["value"]), f"sd {_per_cent(drawn['sd'])}"


def _of_pairs(found: Mapping[str, Any]) -> Iterator[Row]:
    for way, name in (("image_to_text", "image to text"), ("text_to_image", "text to image")):
        for measure, share in found["retrieval"][way].items():
            if isinstance(share, Mapping):
                yield _share(f"{name} {measure}", share)
            else:
                yield f"{name} median rank", f"{share:g}"
    score = found["clip_score"]
    wide = "" if score["low"] is None else f"{score['low']:.3f} to {score['high']:.3f}"
    other = "" if score["shuffled"] is None else f"{score['shuffled']:.3f}"
    yield f"CLIPScore by {score['scorer']}", f"{score['value']:.3f}", wide, other
    for kind, told in found["compositional"].items():
        name = f"{kind} ({told['items']:,} pairs)"
        if told["items"]:
            blind = max(share["value"] for share in told["blind"].values())
            yield *_share(name, told["accuracy"]), _per_cent(blind)
        else:
            yield (name,)


def _share(name: str, share: Mapping[str, float]) -> Row:
    wide = f"{_per_cent(share['low'])} to {_per_cent(share['high'])}" if "low" in share else ""
    return name, _per_cent(share["value"]), wide, _per_cent(share["chance"])


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f}"


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    if found["kind"] == "classes" and "linear_probe" not in found:
        yield "no probe: a class has too few images (five at least, and two to train on)"
    if found.get("captions_cut_short"):
        yield f"{found['captions_cut_short']:,} captions are longer than the model reads"
    if found.get("retrieval", {}).get("equal_captions"):
        fair = found["retrieval"]["equal_captions_count"]
        one, other = (_per_cent(fair[way]["R@1"]["value"]) for way in ("image_to_text", "text_to_image"))
        yield (
            f"{found['retrieval']['equal_captions']:,} captions are said of another image too; if these count, R@1 is "
            f"{one} and {other}"
        )
