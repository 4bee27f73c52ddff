"""dedup.near_images: what it finds at each distance on real images, and how long a million hashes take.

    python infra/bench/near_images.py                    both
    python infra/bench/near_images.py --rows 10000000    time only, at another size

Precision and recall are of pairs: a pair counts as found when its pHashes are within the distance. Turned and mirrored
copies, which pHash is not made to find, are counted in the second recall only. Each set is shown as it is labelled
and with MISLABELLED put right. The labelled sets hold hardly any look-alikes, so they say how much is found and little
of what is found wrongly; `collection` shows that on all pairs of some 3,800 pictures, without labels. Both come a
second time with `colours`: images whose colour layouts differ by more than the operator's bound do not count.

The time is set against all-with-all comparison (numpy, popcount, one core), timed on a slice in the same run, and
against faiss where that is installed.
"""

from __future__ import annotations

import argparse
import itertools
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import imagehash
import numpy as np
import polars as pl
import pyarrow as pa
from PIL.Image import Image

from cupel.operators.base import Batch
from cupel.operators.decode import Pixels, RowError, decode, read_header
from cupel.operators.dedup.near_images import NearImages
from cupel.operators.frames import InMemory
from cupel.operators.image.colour_layout import ColourLayout
from cupel.operators.images import ImageStore

T = TypeVar("T")
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "neardup"
TURNED = r"rotat|flip"
DISTANCES = range(13)
# Looked at by eye after their pairs stood out. The four files of `exif` are four photographs of one desk, not copies;
# `alpha` is ukbench00120 (correlation of the grey pixels 0.999998).
MISLABELLED = {
    "alpha_channel_image.png": "ukbench00120",
    **{f"exif-rotn/exif-rotn-{n}.jpg": f"exif-{n}" for n in (1, 3, 6, 8)},
}
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, help="time this many hashes, and leave out the quality table")
    rows = parser.parse_args().rows
    if rows is None and DATA.is_dir():
        quality()
    speed(rows or 1_000_000)


def quality() -> None:
    """A line a distance, for each set as labelled, then corrected, then for all pairs of a collection."""
    tables(phash, lambda one, other: (one ^ other).bit_count(), DISTANCES)
    print("\nwith colours", end="")
    tables(phash_and_layout, coloured, DISTANCES)
    collection()


def tables(look: Callable[[Path], T | None], apart: Callable[[T, T], float], distances: Sequence[float]) -> None:
    """A line a distance for each labelled set: `look` at a file, and how far two are apart."""
    labelled = {name: grouped(DATA / name, {}, look, apart) for name in ("pdq", "imagededup")}
    labelled["textbooks"] = textbooks(look, apart)
    corrected = {name: grouped(DATA / name, MISLABELLED, look, apart) for name in ("pdq", "imagededup")}
    sets = {f"{name}, as labelled": pairs for name, pairs in labelled.items()}
    sets |= {f"{name}, corrected": pairs for name, pairs in corrected.items()}
    sets["all, corrected"] = pl.concat([*corrected.values(), labelled["textbooks"]])
    for name, pairs in sets.items():
        count = {kind: pairs.filter(pl.col("kind") == kind).height for kind in ("same", "turned", "different")}
        print(
            f"\n{name}: {count}\ndistance  found same  turned  different  precision  recall  recall with turned     F1"
        )
        for distance in distances:
            print(line(distance, pairs.filter(pl.col("apart") <= distance), count))


def collection() -> None:
    """Pairs at each exact distance, by how alike their 32 x 32 RGB thumbnails are: not labels, a second opinion."""
    folders = ("../pairs", "../sites", "textbook-editions", "pdq/labelme-subset", "imagededup/base_images")
    paths = [p for folder in folders for p in sorted((DATA / folder).rglob("*")) if p.suffix.lower() in SUFFIXES]
    read = [(*look, thumbnail(p)) for p in paths if (look := phash_and_layout(p)) is not None]
    hashes, thumbs = np.array([h for h, _, _ in read], np.uint64), np.array([t for _, _, t in read])
    layouts = np.array([layout for _, layout, _ in read])
    one, other = np.triu_indices(len(hashes), 1)
    apart = np.bitwise_count(hashes[one] ^ hashes[other])
    one, other, apart = (values[apart <= max(DISTANCES)] for values in (one, other, apart))
    alike = (thumbs[one] * thumbs[other]).sum(axis=1)
    agree = np.abs(layouts[one] - layouts[other]).max(axis=1) <= NearImages().max_colour_difference
    print(
        f"\ncollection: {len(hashes)} images; pairs, and those whose colours agree\n"
        "at exactly  correlation >= 0.95   0.80 to 0.95     below 0.80"
    )
    for distance in DISTANCES:
        bins = (alike >= 0.95, (alike < 0.95) & (alike >= 0.8), alike < 0.8)
        counts = [((apart == distance) & at, (apart == distance) & at & agree) for at in bins]
        print(f"{distance:10}" + "".join(f"  {every.sum():13} {agreeing.sum():5}" for every, agreeing in counts))


def thumbnail(path: Path) -> np.ndarray:
    """3072 values, centred, of length 1: a dot product is a correlation."""
    data = path.read_bytes()
    values = np.asarray(decode(data, read_header(data), Pixels(min_side_px=32)).resize((32, 32)), np.float32).ravel()
    values -= values.mean()
    return values / (np.linalg.norm(values) or 1)


def line(distance: float, found: pl.DataFrame, count: dict[str, int]) -> str:
    same, turned, different = (found.filter(pl.col("kind") == kind).height for kind in count)
    precision = (same + turned) / max(found.height, 1) if found.height else float("nan")
    recall = same / count["same"]
    with_turned = (same + turned) / (count["same"] + count["turned"])
    f1 = 2 * same / (same + different + count["same"])
    return (
        f"{distance:8}  {same:10}  {turned:6}  {different:9}  {precision:9.4f}  {recall:6.3f}  {with_turned:18.3f}"
        f"  {f1:5.3f}"
    )


def grouped(
    folder: Path, right: dict[str, str], look: Callable[[Path], T | None], apart: Callable[[T, T], float]
) -> pl.DataFrame:
    """All pairs of a set with `file, group, relation`: kind, and how far they are apart."""
    hashed = []
    for row in pl.read_csv(folder / "groundtruth.csv").to_dicts():
        if (value := look(folder / row["file"])) is not None:
            turned = row["relation"] if re.search(TURNED, row["relation"]) else ""
            hashed.append((right.get(row["file"], row["group"]), turned, value))
    pairs = []
    for (group, turned, one), (other_group, other_turned, other) in itertools.combinations(hashed, 2):
        kind = "different" if group != other_group else "same" if turned == other_turned else "turned"
        pairs.append((kind, apart(one, other)))
    return frame(pairs)


def textbooks(look: Callable[[Path], T | None], apart: Callable[[T, T], float]) -> pl.DataFrame:
    """The labelled pairs of two editions; those whose label is a matter of taste are left out."""
    folder = DATA / "textbook-editions"
    kinds = {"near-duplicate": "same", "different": "different"}
    pairs = []
    for row in pl.read_csv(folder / "pairs.csv").filter(pl.col("label").is_in(list(kinds))).iter_rows(named=True):
        one, other = look(folder / row["file_a"]), look(folder / row["file_b"])
        if one is not None and other is not None:
            pairs.append((kinds[row["label"]], apart(one, other)))
    return frame(pairs)


def frame(pairs: list[tuple[str, float]]) -> pl.DataFrame:
    return pl.DataFrame(pairs, schema={"kind": pl.String, "apart": pl.Float64}, orient="row")


def phash(path: Path) -> int | None:
    """As image.phash; None for what cannot be read."""
    image = grey(path)
    return None if image is None else int(str(imagehash.phash(image)), 16)


def phash_and_layout(path: Path) -> tuple[int, np.ndarray] | None:
    """As image.phash and image.colour_layout (int16 [8])."""
    if (hashed := phash(path)) is None:
        return None
    columns = ColourLayout()(Batch(pa.table({"key": ["0"]}), ImageStore({0: path.read_bytes()})))
    return hashed, columns["colour_layout"].astype(">u8").view(np.uint8).astype(np.int16)


def coloured(one: tuple[int, np.ndarray], other: tuple[int, np.ndarray]) -> float:
    """Bits apart; all of them where the colours do not agree."""
    agree = np.abs(one[1] - other[1]).max() <= NearImages().max_colour_difference
    return (one[0] ^ other[0]).bit_count() if agree else 64


def grey(path: Path) -> Image | None:
    """The picture upright in grey; None, with a word, when it cannot be read."""
    data = path.read_bytes()
    try:
        return decode(data, read_header(data), Pixels(mode="L"))
    except RowError as error:
        print(f"left out: {path}: {error}", file=sys.stderr)
        return None


def cases(rows: int) -> Iterator[tuple[str, int, np.ndarray]]:
    """(name, max_distance, hashes)"""
    rng = np.random.default_rng(7)
    hashes = rng.integers(0, 2**64, rows, dtype=np.uint64)
    copies = hashes[: rows // 10].copy()
    for _ in range(4):
        copies ^= np.uint64(1) << rng.integers(0, 64, len(copies), dtype=np.uint64)
    planted = rng.permutation(np.concatenate([hashes[len(copies) :], copies, hashes[: len(copies)]])[-rows:])
    for distance in (0, 4, 6, 8):
        yield "random, a tenth planted at up to 4 bits", distance, planted
    yield "all equal", 4, np.full(rows, 1 << 40, np.uint64)
    yield "a tenth of the rows, 17 free bits (sharing bands)", 4, cloud(rng, rows // 10, 17)
    yield "20 free bits", 4, cloud(rng, rows, 20)
    yield "32 free bits", 4, cloud(rng, rows, 32)


def cloud(rng: np.random.Generator, rows: int, bits: int) -> np.ndarray:
    return rng.integers(0, 2**bits, rows, dtype=np.uint64) << np.uint64(20)


def speed(rows: int) -> None:
    """Time the whole operator, and what the same answer would take by comparing all with all."""
    print(f"\n{'case':50}  bits     rows   found  seconds  all with all  ratio  peak MiB")
    for name, distance, hashes in cases(rows):
        table = pl.DataFrame(
            {
                "shard": np.arange(len(hashes), dtype=np.int32) // 10_000,
                "row": np.arange(len(hashes), dtype=np.int32) % 10_000,
            }
        ).with_columns(key=pl.lit("key"), phash=pl.Series(hashes))
        took, found = timed(lambda table=table, d=distance: NearImages(max_distance=d)(InMemory().frames(table)).rows)
        limit = all_with_all(hashes, distance)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        against = (
            f"{limit:12.1f}  {limit / took:5.1f}" if limit > 0.01 else f"{'-':>12}  {'-':>5}"
        )  # one hash: no pairs
        print(f"{name:50}  {distance:4}  {len(hashes):7}  {found:6}  {took:7.2f}  {against}  {peak:8}", flush=True)
        if distance == 4 and name.startswith("random"):
            print(with_faiss(hashes, distance))


def timed(call: Callable[[], int]) -> tuple[float, int]:
    start = time.perf_counter()
    answer = call()
    return time.perf_counter() - start, answer


def all_with_all(hashes: np.ndarray, distance: int) -> float:
    """Seconds to compare every distinct hash with those before it: the best of three slices of 700, extrapolated."""
    hashes = np.unique(hashes)
    blocks = [hashes[start :: max(1, len(hashes) // 700)][:700] for start in range(min(3, len(hashes)))]

    def compare(block: np.ndarray) -> int:
        return sum(int(np.count_nonzero(np.bitwise_count(hashes ^ one) <= distance)) for one in block)

    return min(timed(lambda block=block: compare(block))[0] / len(block) for block in blocks) * len(hashes) / 2


def with_faiss(hashes: np.ndarray, distance: int) -> str:
    """Seconds of faiss's multi-index hashing and flat binary index on a sample of the queries, as a line to print."""
    try:
        import faiss
    except ImportError:
        return "    (faiss is not installed: pip install faiss-cpu to compare)"
    codes = hashes.view(np.uint8).reshape(-1, 8)
    lines = []
    for name, index in (("IndexBinaryFlat", faiss.IndexBinaryFlat(64)), ("IndexBinaryMultiHash", multi_hash(faiss))):
        built, _ = timed(lambda index=index: index.add(codes) or 0)
        queries = codes[:: max(1, len(codes) // 5000)][:5000]
        took, _ = timed(lambda index=index, q=queries: len(index.range_search(q, distance + 1)[1]))
        lines.append(
            f"    faiss {name}, all pairs only, extrapolated: {built + took / len(queries) * len(codes):.1f} s"
        )
    return "\n".join(lines)


def multi_hash(faiss: object) -> object:
    """Four hash maps of 16 bits, one bit flipped: exact up to distance 7."""
    index = faiss.IndexBinaryMultiHash(64, 4, 16)
    index.nflip = 1
    return index


if __name__ == "__main__":
    main()
