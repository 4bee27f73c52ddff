"""The contenders of `reader.py`: each an endless iterator of (images, tokens) from the same pairs in its own form.

Where images are compared, a caption's number stands for its tokens.
"""

from __future__ import annotations

import argparse
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

FILES = 8  # shards at least: others share them out to their workers
GROUP_ROWS = 250
RAY_COPIES = 30
WORDS = ["a", "photo", "of", "red", "green", "small", "large", "round", "old", "bright", "dog", "house", "boat", "sky"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is measured."""

    loader: str
    way: str  # own, same, inside
    place: str
    side: int
    batch: int
    cores: int


class Work:
    """What a worker does to a sample, by the way."""

    def __init__(self, setting: Setting) -> None:
        self.way, self.side = setting.way, setting.side

    @cached_property
    def transform(self) -> Callable[[Image.Image], object]:
        from open_clip.transform import AugmentationCfg, image_transform

        if self.way == "own":
            return image_transform(self.side, is_train=True, aug_cfg=AugmentationCfg())
        steps = image_transform(self.side, is_train=False, resize_mode="shortest").transforms[:3]  # up to RGB
        return lambda image: _torch(np.asarray(_all(steps, image)))

    @cached_property
    def tokenizer(self) -> Callable[[list[str]], object]:
        import open_clip
        import torch

        if self.way == "own":
            return open_clip.get_tokenizer("ViT-B-32")
        return lambda texts: torch.tensor([[int(text.split()[-1])] for text in texts])

    def image(self, data: bytes) -> object:
        """Encoded bytes to a tensor."""
        return self.ours(data) if self.way == "inside" else self.transform(Image.open(io.BytesIO(data)))

    def ours(self, data: bytes) -> object:
        from cupel.pipeline.train.reader.decoding import decode_into

        out = np.empty((self.side, self.side, 3), np.uint8)
        decode_into(data, out, "shortest")
        return _torch(out)

    def opened(self, image: Image.Image) -> object:
        """Of a file that open_clip's CSV loader has opened."""
        return self.ours(Path(image.filename).read_bytes()) if self.way == "inside" else self.transform(image)

    def text(self, text: str) -> object:
        return self.tokenizer([text])[0]

    def pair(self, sample: dict[str, object]) -> tuple[object, object]:
        return self.image(sample["image"]), self.text(sample["text"])


def _all(steps: list[Callable[[Image.Image], Image.Image]], image: Image.Image) -> Image.Image:
    for step in steps:
        image = step(image)
    return image


def _torch(pixels: np.ndarray) -> object:
    import torch

    return torch.from_numpy(np.array(pixels))


def reference(setting: Setting, number: int) -> np.ndarray:
    """Pixels of the pair with this number as open_clip's evaluation makes them."""
    data = (Path(setting.place) / "images" / f"{number:06d}.jpg").read_bytes()
    work = Work(Setting(**vars(setting) | {"way": "same"}))
    return np.asarray(work.transform(Image.open(io.BytesIO(data)))).astype(float)


# The pairs


def drawn(seed: int, width: int, height: int) -> bytes:
    """Soft colours, shapes and grain, as a JPEG."""
    random = np.random.default_rng(seed)
    soft = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((width, height))
    pen = ImageDraw.Draw(soft)
    for _ in range(8):
        x, y = int(random.integers(width)), int(random.integers(height))
        box = (x, y, x + int(random.integers(10, 90)), y + int(random.integers(10, 90)))
        colour = tuple(random.integers(0, 256, 3).tolist())
        (pen.ellipse if random.random() < 0.5 else pen.rectangle)(box, fill=colour)
    grain = random.normal(0, 7, (height, width, 1))
    out = io.BytesIO()
    pixels = np.clip(np.asarray(soft) + grain, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(out, "JPEG", quality=90)
    return out.getvalue()


def pairs_of(name: str, count: int, folder: Path | None) -> Iterator[tuple[bytes, str]]:
    if folder is None:
        width, height = map(int, name.split("x"))
        random = np.random.default_rng(0)
        for i in range(count):
            yield drawn(i, width, height), f"{' '.join(random.choice(WORDS, 10))} {i}"
        return
    lines = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
    for i in range(count):
        line = lines[i % len(lines)]
        yield (folder / line["file"]).read_bytes(), f"{line['captions'][0]} {i}"


def prepare(place: Path, name: str, count: int, cores: int, loaders: list[str], folder: Path | None) -> None:
    """Write the pairs in every form that the loaders want."""
    pairs = list(pairs_of(name, count, folder))
    (place / "images").mkdir(parents=True)
    for i, (image, _) in enumerate(pairs):
        (place / "images" / f"{i:06d}.jpg").write_bytes(image)
    mean = sum(len(image) for image, _ in pairs) / len(pairs)
    print(f"\n{name}: {count:,} pairs, {mean / 1024:.1f} KiB a JPEG", flush=True)
    files = max(FILES, cores)
    size = -(-count // files)
    write_parquet(place / "parquet", pairs, size)
    write_csv(place, [text for _, text in pairs])
    write_tars(place / "tars", pairs, size)
    if "litdata" in loaders:
        write_litdata(place / "litdata", pairs)
    if "mosaic" in loaders:
        write_mds(place / "mds", pairs)


def write_parquet(folder: Path, pairs: list[tuple[bytes, str]], size: int) -> None:
    folder.mkdir()
    for number, start in enumerate(range(0, len(pairs), size)):
        images, texts = zip(*pairs[start : start + size], strict=True)
        pq.write_table(
            pa.table({"image": images, "text": texts}),
            folder / f"{number:08d}.parquet",
            row_group_size=GROUP_ROWS,
            compression="none",
            use_dictionary=False,
            write_page_checksum=True,
        )


def write_csv(place: Path, texts: list[str]) -> None:
    lines = [f"{place}/images/{i:06d}.jpg\t{text}" for i, text in enumerate(texts)]
    (place / "pairs.csv").write_text("\n".join(["filepath\ttitle", *lines]))


def write_tars(folder: Path, pairs: list[tuple[bytes, str]], size: int) -> None:
    folder.mkdir()
    for number, start in enumerate(range(0, len(pairs), size)):
        with tarfile.open(folder / f"{number:05d}.tar", "w") as tar:
            for i, (image, text) in enumerate(pairs[start : start + size], start):
                for suffix, data in (("jpg", image), ("txt", text.encode())):
                    entry = tarfile.TarInfo(f"{i:06d}.{suffix}")
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))


def write_litdata(folder: Path, pairs: list[tuple[bytes, str]]) -> None:
    from litdata.streaming.writer import BinaryWriter

    writer = BinaryWriter(str(folder), chunk_bytes="64MB")
    for i, (image, text) in enumerate(pairs):
        writer[i] = {"image": image, "text": text}
    writer.done()
    writer.merge()


def write_mds(folder: Path, pairs: list[tuple[bytes, str]]) -> None:
    from streaming import MDSWriter

    with MDSWriter(out=str(folder), columns={"image": "bytes", "text": "str"}) as writer:
        for image, text in pairs:
            writer.write({"image": image, "text": text})


# The loaders

Batches = Iterator[tuple[object, object]]


def ours(setting: Setting) -> Batches:
    from cupel.pipeline.train.reader import Reader

    work = Work(setting)
    reader = Reader(
        f"{setting.place}/parquet",
        batch=setting.batch,
        side_px=setting.side,
        threads=setting.cores,
        cache_mb=0,
        tokenize=lambda texts: np.asarray(work.tokenizer(texts)),
    )
    with reader:
        for batch in reader:
            yield batch.images, batch.tokens


def open_clip_arguments(setting: Setting, data: str) -> argparse.Namespace:
    return argparse.Namespace(
        train_data=data,
        train_num_samples=10**7,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        seed=0,
        batch_size=setting.batch,
        workers=setting.cores,
        world_size=1,
        distributed=False,
        csv_img_key="filepath",
        csv_caption_key="title",
        csv_separator="\t",
    )


def open_clip_webdataset(setting: Setting) -> Batches:
    import webdataset as wds
    from open_clip_train.data import get_wds_dataset

    work = Work(setting)
    tars = sorted((Path(setting.place) / "tars").iterdir())
    arguments = open_clip_arguments(setting, f"{setting.place}/tars/{{00000..{len(tars) - 1:05d}}}.tar")
    if setting.way == "inside":  # their pipeline, without the step that makes a Pillow image
        with mock.patch.object(wds, "decode", lambda *_, **__: wds.map(dict)):
            data = get_wds_dataset(arguments, work.ours, True, tokenizer=lambda text: work.tokenizer([text.decode()]))
    else:
        data = get_wds_dataset(arguments, work.transform, True, tokenizer=lambda text: work.tokenizer([text]))
    while True:
        yield from data.dataloader


def open_clip_csv(setting: Setting) -> Batches:
    from open_clip_train.data import get_csv_dataset

    work = Work(setting)
    arguments = open_clip_arguments(setting, f"{setting.place}/pairs.csv")
    dataset = get_csv_dataset(arguments, work.opened, True, tokenizer=work.tokenizer).dataloader.dataset
    return endless(dataset, setting, shuffle=True)


def endless(dataset: object, setting: Setting, **options: object) -> Batches:
    """torch's DataLoader as its users set it; workers stay, so that an epoch's end costs them little."""
    from torch.utils.data import DataLoader

    loader = DataLoader(
        dataset, batch_size=setting.batch, num_workers=setting.cores, persistent_workers=True, drop_last=True, **options
    )
    while True:
        yield from loader


def hugging_face(setting: Setting) -> Batches:
    import datasets

    work = Work(setting)
    files = sorted(map(str, (Path(setting.place) / "parquet").iterdir()))
    found = datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)
    shuffled = found.shuffle(seed=0, buffer_size=1000)
    for batch in endless(Mapped(shuffled, work), setting):
        yield batch[0], batch[1]


def Mapped(dataset: object, work: Work) -> object:  # noqa: N802  # a class whose base is imported late
    """Samples as pairs, in the worker."""
    from torch.utils.data import IterableDataset

    class Pairs(IterableDataset):
        def __iter__(self) -> Iterator[tuple[object, object]]:
            return map(work.pair, iter(dataset))

    return Pairs()


def ray_data(setting: Setting) -> Batches:
    import ray

    # Decoding has as many processes as there are cores, as with the others; one logical core more reads the files.
    ray.init(num_cpus=setting.cores + 1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = 16 << 20  # by default batches come in gusts of a thousand images

    class Made:
        def __init__(self) -> None:
            self.work = Work(setting)

        def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            pairs = zip(batch["image"], batch["text"], strict=True)
            samples = [self.work.pair({"image": bytes(image), "text": text}) for image, text in pairs]
            images, tokens = zip(*samples, strict=True)
            return {
                "images": np.stack(list(map(np.asarray, images))),
                "tokens": np.stack(list(map(np.asarray, tokens))),
            }

    # An epoch's end stops all of Ray Data's processes; so that one lasts, each file is there under several names.
    several = Path(setting.place) / "several"
    if not several.exists():
        several.mkdir()
        for file in (Path(setting.place) / "parquet").iterdir():
            for copy in range(RAY_COPIES):
                (several / f"{copy:03d}-{file.name}").hardlink_to(file)
    while True:
        found = ray.data.read_parquet(str(several), shuffle="files").map_batches(
            Made, batch_size=setting.batch, compute=ray.data.ActorPoolStrategy(size=setting.cores)
        )
        for batch in found.iter_torch_batches(batch_size=setting.batch, prefetch_batches=4, drop_last=True):
            yield batch["images"], batch["tokens"]


def litdata(setting: Setting) -> Batches:
    from litdata import StreamingDataLoader, StreamingDataset

    work = Work(setting)

    class Pairs(StreamingDataset):
        def __getitem__(self, index: object) -> tuple[object, object]:
            return work.pair(super().__getitem__(index))

    data = Pairs(f"{setting.place}/litdata", shuffle=True, drop_last=True)
    loader = StreamingDataLoader(
        data, batch_size=setting.batch, num_workers=setting.cores, persistent_workers=True, drop_last=True
    )
    while True:
        yield from loader


def mosaic(setting: Setting) -> Batches:
    from streaming import StreamingDataset

    work = Work(setting)

    class Pairs(StreamingDataset):
        def __getitem__(self, index: object) -> tuple[object, object]:
            return work.pair(super().__getitem__(index))

    return endless(Pairs(local=f"{setting.place}/mds", shuffle=True, batch_size=setting.batch), setting)


LOADERS: dict[str, Callable[[Setting], Batches]] = {
    "ours": ours,
    "open_clip-webdataset": open_clip_webdataset,
    "open_clip-csv": open_clip_csv,
    "hugging_face": hugging_face,
    "ray_data": ray_data,
    "litdata": litdata,
    "mosaic": mosaic,
}
NEEDS: dict[str, tuple[str, ...]] = {
    "open_clip-webdataset": ("open_clip_train", "webdataset", "pandas"),
    "open_clip-csv": ("open_clip_train", "pandas"),
    "hugging_face": ("datasets",),
    "ray_data": ("ray",),
    "litdata": ("litdata",),
    "mosaic": ("streaming",),
}
