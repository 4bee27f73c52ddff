"""pair.augment: more pairs out of each: cropped, slightly turned, captioned by other templates."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Mapping, Sequence
from random import Random
from typing import Annotated

import numpy as np
import pyarrow as pa
from PIL import Image
from pydantic import AfterValidator, Field

from ...schemas.fields import field
from ..base import Batch, Extractor, operator
from ..decode import Pixels

TRIES = 10  # of a crop that fits, as torchvision has it


def _rising(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] > span[1]:
        raise ValueError(f"must be the smaller number first, not {list(span)}")
    return span


Share = Annotated[float, Field(gt=0, le=1)]
Shape = Annotated[float, Field(ge=0.1, le=10)]
Rising = AfterValidator(_rising)


@operator
class Augment(Extractor):
    """Makes `copies` new pairs out of each, and hands the pair itself on as it is (unless `keep_original: false`).

    A copy is turned by up to `max_rotation_deg` either way, then cropped as torchvision's RandomResizedCrop does: a
    share of the area within `scale`, an aspect ratio within `ratio` (drawn evenly in its logarithm), any place. Its
    `ratio` is absolute, as it makes squares; ours is relative to the image's own, or a panorama would lose its sides
    whatever the scale. The default scale is open_clip's for training; below 0.5 a crop easily loses what the caption
    names. Crops lie inside the turned image, so no corner is filled; images too thin for that are not turned. They keep
    their own pixels, unless `size_px` asks for squares. No mirroring by default, as captions say left and right, and
    images hold writing. The caption is put into one of `templates`, drawn evenly.

    What is drawn depends on `seed`, the image's bytes, the caption and the copy's number alone, so a pair that occurs
    twice has the same copies twice: find duplicates before. Copies inherit the pair's `key`. PNG stays PNG, other
    formats become JPEG of `quality`; metadata is left out, transparency laid on white. A row without an image or
    a caption, or whose image does not decode, makes nothing, not even itself.
    """

    copies: int = Field(1, ge=1, le=1000, description="new rows of each")
    keep_original: bool = Field(True, description="the pair itself comes first, its bytes untouched")
    scale: Annotated[tuple[Share, Share], Rising] = Field((0.9, 1.0), description="share of the area kept: from, to")
    ratio: Annotated[tuple[Shape, Shape], Rising] = Field(
        (3 / 4, 4 / 3), description="aspect ratio of a crop by the image's: from, to"
    )
    size_px: int | None = Field(None, ge=8, le=4096, description="resize crops to squares of this side; null: do not")
    max_rotation_deg: float = Field(3.0, ge=0, le=45, description="turn by up to so much, left or right")
    flip: bool = Field(False, description="mirror half of the copies; wrong for captions that say left and right")
    templates: tuple[Annotated[str, Field(pattern=r"^[^{}]*\{\}[^{}]*$")], ...] = Field(
        ("{}",), min_length=1, description="captions of copies; {} stands for the caption"
    )
    quality: int = Field(90, ge=1, le=100, description="of JPEG")
    seed: int = Field(0, description="another one draws other copies")

    reads = ("image", "text")
    adds = (
        field("image", pa.large_binary(), "the copy's image, encoded", unit="bytes"),
        field("text", pa.string(), "the copy's caption"),
        field("augmentation", pa.string(), "what was done; null: this is the pair itself"),
    )

    def __call__(self, batch: Batch) -> tuple[np.ndarray, Mapping[str, Sequence[object]]]:
        texts, encoded = batch.column("text").to_pylist(), dict(batch.image_bytes())
        parents: list[int] = []
        children: list[tuple[bytes, str, str | None]] = []
        for row, image in batch.images(Pixels()):
            data, text = encoded[row], texts[row]
            children += [(data, text, None)] if self.keep_original else []
            pair = hashlib.blake2b(hashlib.blake2b(data).digest() + text.encode()).digest()
            for copy in range(1, self.copies + 1):
                draw = Random(f"{self.seed} {copy} {pair.hex()}".encode())
                children.append(self._copy(image, text, draw, png=data.startswith(b"\x89PNG")))
            parents += [row] * (len(children) - len(parents))
        columns = zip(*children, strict=True) if children else ((), (), ())
        return np.array(parents, np.int64), dict(zip((f.name for f in self.adds), map(list, columns), strict=True))

    def _copy(self, image: Image.Image, text: str, draw: Random, *, png: bool) -> tuple[bytes, str, str]:
        angle = self.max_rotation_deg * (2 * draw.random() - 1)
        inside = upright_inside(image.size, angle)
        if min(inside) < 1:
            angle, inside = 0.0, image.size
        own = inside[0] / inside[1]
        box = random_crop(inside, self.scale, (self.ratio[0] * own, self.ratio[1] * own), draw)
        made = turned_crop(image, angle, inside, box)
        if self.size_px is not None:
            made = made.resize((self.size_px, self.size_px), Image.Resampling.BICUBIC)
        flipped = self.flip and draw.random() < 0.5
        if flipped:
            made = made.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        template = self.templates[int(draw.random() * len(self.templates))]
        out = io.BytesIO()
        made.save(out, **({"format": "PNG"} if png else {"format": "JPEG", "quality": self.quality}))
        left, top, width, height = box
        done = f"turned {angle:.2f} degrees, {width} x {height} px at {left}, {top}{', mirrored' * flipped}, {template}"
        return out.getvalue(), template.replace("{}", text), done


def upright_inside(size: tuple[int, int], angle_deg: float) -> tuple[int, int]:
    """Width and height of the largest upright rectangle around the centre of an image turned by this angle."""
    long, short = max(size), min(size)
    sine, cosine = abs(math.sin(math.radians(angle_deg))), abs(math.cos(math.radians(angle_deg)))
    if short <= 2 * sine * cosine * long:  # two corners touch the long sides, the others lie inside
        along, across = short / 2 / max(sine, 1e-12), short / 2 / cosine
    else:
        square = cosine**2 - sine**2
        along, across = (long * cosine - short * sine) / square, (short * cosine - long * sine) / square
    return (int(along), int(across)) if size[0] >= size[1] else (int(across), int(along))


def random_crop(
    size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float], draw: Random
) -> tuple[int, int, int, int]:
    """Left, top, width, height: drawn as torchvision.transforms.RandomResizedCrop draws them."""
    width, height = size
    for _ in range(TRIES):
        area = width * height * (scale[0] + (scale[1] - scale[0]) * draw.random())
        shape = math.exp(math.log(ratio[0]) + (math.log(ratio[1]) - math.log(ratio[0])) * draw.random())
        w, h = round(math.sqrt(area * shape)), round(math.sqrt(area / shape))
        if 0 < w <= width and 0 < h <= height:
            return int(draw.random() * (width - w + 1)), int(draw.random() * (height - h + 1)), w, h
    shape = min(max(width / height, ratio[0]), ratio[1])  # the largest around the centre
    w, h = min(width, max(1, round(height * shape))), min(height, max(1, round(width / shape)))
    return (width - w) // 2, (height - h) // 2, w, h


def turned_crop(
    image: Image.Image, angle_deg: float, inside: tuple[int, int], box: tuple[int, int, int, int]
) -> Image.Image:
    """The box in the rectangle `inside` of the image turned counterclockwise; at 0 degrees as it is.

    Bilinear: bicubic takes five times as long, and is no sharper by turns so small.
    """
    left, top, width, height = box
    if angle_deg == 0:
        return image.crop((left, top, left + width, top + height))
    sine, cosine = math.sin(math.radians(angle_deg)), math.cos(math.radians(angle_deg))
    x, y = left - inside[0] / 2, top - inside[1] / 2
    matrix = (
        *(cosine, -sine, image.width / 2 + cosine * x - sine * y),
        *(sine, cosine, image.height / 2 + sine * x + cosine * y),
    )
    return image.transform((width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
