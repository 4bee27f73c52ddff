"""Image operators on one core: the header against plain Python and a full decode, pHash against imagehash.

    python infra/bench/image_operators.py --data ../shared/data --large 300

Images: the figures of OpenStax textbooks (JPEG, longer side 320 px), and --large of them enlarged to 1,500 px and saved
as JPEGs of quality 90 in a temporary folder. All contenders read the same files from the page cache, one after the
other, in one thread; a rate is rows per second of processor time, the best of --repeat passes. Distances are bits
between our hash and imagehash's of all the pixels.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import imagehash
import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps

from cupel.operators.base import Batch, RowOperator
from cupel.operators.decode import Pixels
from cupel.operators.image import _hash
from cupel.operators.image.colour_layout import ColourLayout
from cupel.operators.image.digest import Digest
from cupel.operators.image.phash import Phash
from cupel.operators.image.quality import Quality
from cupel.operators.image.size import Size
from cupel.operators.images import ImageStore

BATCH_ROWS = 40  # large images that the engine holds at a time
SIDES_PX = (32, 64, 96, 128, 192, 256)


def ours(operator: RowOperator, paths: Sequence[Path], column: str) -> list[object]:
    """Read and measure, in batches as the engine makes them."""
    values: list[object] = []
    for start in range(0, len(paths), BATCH_ROWS):
        data = [path.read_bytes() for path in paths[start : start + BATCH_ROWS]]
        batch = Batch(pa.table({"row": range(len(data))}), ImageStore(dict(enumerate(data))))
        values += list(operator(batch)[column])
    return values


def opened_sizes(paths: Sequence[Path]) -> list[int]:
    """The rule of image.size in three lines of Python."""
    widths = []
    for path in paths:
        with Image.open(path) as image:
            widths.append(image.size[0])
    return widths


def decoded_sizes(paths: Sequence[Path]) -> list[int]:
    """As Data-Juicer's image_shape_filter: the loader (that of Hugging Face datasets) decodes every image."""
    widths = []
    for path in paths:
        with Image.open(path) as image:
            image.load()
            widths.append(ImageOps.exif_transpose(image).size[0])
    return widths


def hashes(paths: Sequence[Path]) -> list[int]:
    """imagehash in a loop."""
    found = []
    for path in paths:
        with Image.open(path) as image:
            found.append(int(str(imagehash.phash(image)), 16))
    return found


def timed(run: Callable[[], list[object]], rows: int, repeat: int) -> tuple[float, list[object]]:
    """Rows a second of processor time (others on the machine disturb it less), and what came out."""
    seconds = []
    for _ in range(repeat):
        begin = time.process_time()
        result = run()
        seconds.append(time.process_time() - begin)
    return rows / min(seconds), result


def enlarge(paths: Sequence[Path], folder: Path) -> Iterator[Path]:
    for path in paths:
        with Image.open(path) as image:
            scale = 1500 / max(image.size)
            size = [max(1, round(side * scale)) for side in image.size]
            image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(folder / path.name, quality=90)
        yield folder / path.name


def distances(found: Sequence[object], expected: Sequence[object]) -> str:
    """How many hashes are 0, 2, 4 ... bits away."""
    bits = np.bitwise_count(np.array(found, np.uint64) ^ np.array(expected, np.uint64))
    counts = Counter(bits.tolist())
    return "  ".join(f"{bits}:{counts[bits]}" for bits in sorted(counts))


def report(name: str, paths: Sequence[Path], repeat: int) -> None:
    rows = len(paths)
    print(f"\n{name}: {rows} images, {sum(path.stat().st_size for path in paths) / rows / 1024:.0f} KiB each")

    header, widths = timed(lambda: ours(Size(), paths, "width_px"), rows, repeat)
    for label, loop in (("Image.open(path).size", opened_sizes), ("full decode", decoded_sizes)):
        rate, expected = timed(lambda loop=loop: loop(paths), rows, repeat)
        assert widths == expected
        print(f"image.size {header:9,.0f}/s   {label} {rate:9,.0f}/s   ratio {header / rate:.2f}")
    for operator, column in ((Quality(), "sharpness"), (Digest(), "sha256"), (ColourLayout(), "colour_layout")):
        print(f"{column:<13} {timed(lambda o=operator, c=column: ours(o, paths, c), rows, 1)[0]:9,.0f}/s")

    plain, expected = timed(lambda: hashes(paths), rows, repeat)
    full, found = timed(lambda: ours(Phash(), paths, "phash"), rows, repeat)
    print(f"phash full {full:9,.0f}/s   imagehash {plain:9,.0f}/s   ratio {full / plain:.2f}")
    print(f"           bits away from imagehash: {distances(found, expected)}")
    for side in SIDES_PX:
        with mock.patch.dict(_hash.REQUESTS, scaled=Pixels(mode="L", min_side_px=side)):
            rate, found = timed(lambda: ours(Phash(decode="scaled"), paths, "phash"), rows, repeat)
        chosen = "*" if side == _hash.REQUESTS["scaled"].min_side_px else " "
        print(f"scaled {side:3}{chosen}{rate:9,.0f}/s   ratio {rate / plain:.2f}   {distances(found, expected)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--rows", type=int, default=3000, help="small images at most")
    parser.add_argument("--large", type=int, default=300, help="large images")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    small = sorted((options.data / "pairs/openstax/images").rglob("*.jpg"))[: options.rows]
    report("OpenStax, 320 px", small, options.repeat)
    with tempfile.TemporaryDirectory() as folder:
        chosen = small[:: max(1, len(small) // options.large)][: options.large]
        report("enlarged to 1,500 px", list(enlarge(chosen, Path(folder))), options.repeat)


if __name__ == "__main__":
    main()
