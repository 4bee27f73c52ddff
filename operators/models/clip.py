"""CLIP's two towers as models that operators run: images and captions to unit vectors.

Preparation is open_clip's own transform up to the last pixel and its own tokenizer; normalisation and the towers run
where the network is, in bf16 on a GPU and fp32 on a CPU. Both towers of a model are one network in a worker, whoever
names it.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from ..batch import Batch, Model, kept
from ..decode import MAX_PIXELS, Pixels, RowError
from .weights import CONFIG, ModelError, checked_weights, is_file_name, model_config, model_folder

if TYPE_CHECKING:
    import torch

Decode = Literal["full", "scaled"]
Precision = Literal["auto", "fp32", "bf16"]

ON_GPU: Final = 1024  # rows computed at once; halved for good when the memory does not hold them
ON_CPU: Final = 32
# Parts that open_clip's bf16 leaves in fp32, so that it fails: networks with one of them run under autocast.
MIXED: Final = ("multimodal_cfg", "hf_model_name", "attentional_pool", "attn_pooler", "ls_init_value", "proj_bias")
KNOWN_WORDS: Final = 500_000
LONG_WORD: Final = 2_000
STEP: Final = 8  # captions are cut to the longest one's tokens, rounded up: fewer shapes, fewer GPU kernels to choose


@dataclass(frozen=True, kw_only=True)
class Tower(Model):
    """One tower of a CLIP-like model: open_clip's name and tag, a file of weights, or a folder."""

    model: str
    pretrained: str = ""
    precision: Precision = "auto"

    @property
    def width(self) -> int:
        return int(model_config(self.model)["embed_dim"])

    def setup(self) -> None:
        network(self.model, self.pretrained, self.precision)


@dataclass(frozen=True, kw_only=True)
class ImageTower(Tower):
    """Images to unit vectors (rows, embed_dim). Prepared: uint8 (rows, height, width, 3)."""

    decode: Decode = "full"

    @property
    def reads(self) -> str:
        return "image"

    def ready(self) -> None:
        geometry(self.model, self.pretrained)

    def prepare(self, batch: Batch) -> np.ndarray:
        """Decode, resize and crop as open_clip does; `scaled` decodes a JPEG no larger than the size needed."""
        transform, (height, width) = geometry(self.model, self.pretrained)
        by_short_side = preprocessing(self.model, self.pretrained).resize_mode == "shortest"
        request = Pixels(min_side_px=max(height, width) if self.decode == "scaled" else None)
        pixels = np.zeros((len(batch), height, width, 3), np.uint8)
        for row, image in batch.images(request):
            growth = max(height, width) / min(image.size) if by_short_side else 0
            if image.width * image.height * growth**2 > MAX_PIXELS:  # before the crop it would be a ribbon
                batch.fail(row, RowError("too_large", f"{image.width} x {image.height} pixels, too thin to be resized"))
                continue
            pixels[row] = np.asarray(transform(image))
        return pixels

    def __call__(self, prepared: np.ndarray) -> np.ndarray:
        return network(self.model, self.pretrained, self.precision).images(prepared)


@dataclass(frozen=True, kw_only=True)
class TextTower(Tower):
    """Captions to unit vectors, and whether the caption was longer than the context (rows, embed_dim + 1).

    Prepared: token ids (rows, context length + 1); the last one is 1 where more followed, 0 where not, -1 unknown.
    """

    rows = 256

    @property
    def reads(self) -> str:
        return "text"

    @property
    def width(self) -> int:
        return super().width + 1

    def ready(self) -> None:
        tokenizer(self.model)

    def prepare(self, batch: Batch) -> np.ndarray:
        return tokenize(self.model, batch.column("text").to_pylist())

    def __call__(self, prepared: np.ndarray) -> np.ndarray:
        return network(self.model, self.pretrained, self.precision).texts(prepared)


@kept
def geometry(model: str, pretrained: str) -> tuple[Callable[[Any], Any], tuple[int, int]]:
    """open_clip's evaluation transform up to the uint8 image, and that image's height and width."""
    from open_clip.transform import MaybeToTensor, Normalize, image_transform_v2

    settings = preprocessing(model, pretrained)
    steps = image_transform_v2(settings, is_train=False).transforms
    picture = [step for step in steps if not isinstance(step, MaybeToTensor | Normalize)]
    size = (settings.size, settings.size) if isinstance(settings.size, int) else tuple(settings.size)

    def transform(image: Any) -> Any:
        for step in picture:
            image = step(image)
        return image

    return transform, size


@kept
def preprocessing(model: str, pretrained: str) -> Any:
    """open_clip's PreprocessCfg: size, mean, std, interpolation, how to make it square."""
    import open_clip
    from open_clip.transform import PreprocessCfg, merge_preprocess_dict

    settings: dict[str, Any] = {}
    if folder := model_folder(model):
        settings = json.loads((folder / CONFIG).read_text()).get("preprocess_cfg", {})
    elif not is_file_name(pretrained):
        settings = open_clip.get_pretrained_cfg(model, pretrained)
    size = model_config(model)["vision_cfg"].get("image_size", 224)
    return PreprocessCfg(**merge_preprocess_dict(merge_preprocess_dict(PreprocessCfg(), settings), {"size": size}))


@kept
def tokenizer(model: str) -> Any:
    """The model's own tokenizer. ModelError where its files are not here."""
    import open_clip

    folder = model_folder(model)
    try:
        if folder and (merges := folder / "bpe.txt.gz").is_file():
            context = model_config(model)["text_cfg"]["context_length"]
            return open_clip.SimpleTokenizer(bpe_path=str(merges), context_length=context)
        return open_clip.get_tokenizer(f"local-dir:{folder}" if folder else model)
    except ImportError as error:
        raise ModelError(f"the tokenizer of {model} needs transformers: pip install 'cupel[transformers]'") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"the tokenizer of {model} is not on this machine and cannot be fetched: {error}") from error


def tokenize(model: str, texts: list[str]) -> np.ndarray:
    """Token ids (rows, context length + 1) int32; the last column is 1 where the caption did not fit, -1 unknown."""
    return token_ids(tokenizer(model), texts)


def token_ids(tokens: Any, texts: list[str]) -> np.ndarray:
    """What `tokenize` gives, by a tokenizer of open_clip's."""
    from open_clip import SimpleTokenizer

    context = tokens.context_length
    if len(getattr(tokens, "cache", ())) > KNOWN_WORDS:  # it would hold every word it has ever seen
        tokens.cache = {token: token for token in map(tokens.decoder.get, tokens.all_special_ids)}
    if not isinstance(tokens, SimpleTokenizer):
        ids = np.asarray(tokens(texts), np.int32)  # whether it cut one is not told
        return np.pad(ids, ((0, 0), (0, 1)), constant_values=-1)
    # The tokenizer takes the square of a word's length; of so long a word nothing behind the context's end matters.
    long = max(LONG_WORD, 32 * context)
    texts = [re.sub(rf"(\S{{{long}}})\S+", r"\1", text) if len(text) > long else text for text in texts]
    found = np.asarray(tokens(texts, context_length=context + 1), np.int32)  # a token more shows which ones are cut
    longer = found[:, context] != 0
    found[longer, context - 1] = tokens.eot_token_id
    found[:, context] = longer
    return found


@kept
def network(model: str, pretrained: str, precision: Precision) -> Network:
    """The network in this process, loaded once. Raises ModelError."""
    return Network(model, pretrained, precision)


class Network:
    """A model of open_clip's on this process's device. Its methods may be called from two threads."""

    def __init__(self, model: str, pretrained: str, precision: Precision) -> None:
        import torch

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        lean = precision == "bf16" or (precision == "auto" and self.device.type == "cuda")
        mixed = any(f'"{part}"' in json.dumps(model_config(model)) for part in MIXED)
        self.autocast = lean and mixed
        self.dtype = torch.bfloat16 if lean and not mixed else torch.float32
        self.model = load_model(model, pretrained, "bf16" if lean and not mixed else "fp32").to(self.device).eval()
        settings = preprocessing(model, pretrained)
        self.mean, self.std = (
            torch.tensor(numbers, device=self.device).view(1, 3, 1, 1) for numbers in (settings.mean, settings.std)
        )
        self.rows = ON_GPU if self.device.type == "cuda" else ON_CPU

    def images(self, pixels: np.ndarray) -> np.ndarray:
        """Unit vectors (rows, embed_dim) of uint8 pixels (rows, height, width, 3)."""
        import torch

        def tower(part: torch.Tensor) -> torch.Tensor:
            scaled = part.to(self.device).permute(0, 3, 1, 2).to(torch.float32).div(255)
            found: torch.Tensor = self.model.encode_image(scaled.sub_(self.mean).div_(self.std).to(self.dtype))
            return found

        return self._run(tower, torch.from_numpy(pixels))

    def texts(self, tokens: np.ndarray) -> np.ndarray:
        """Unit vectors of token ids (rows, context length + 1), with the last column passed on."""
        import torch

        ids = torch.from_numpy(tokens[:, :-1].astype(np.int64))
        vectors = self._run(lambda part: self._encode_text(part.to(self.device)), ids)
        return np.concatenate([vectors, tokens[:, -1:].astype(np.float32)], axis=1)

    def _encode_text(self, ids: torch.Tensor) -> torch.Tensor:
        """`encode_text` of the model, without the padding where nothing reads it."""
        if not trims(self.model):
            found: torch.Tensor = self.model.encode_text(ids)
            return found
        return encode_trimmed(self.model, ids[:, : trimmed_length(ids)], self.dtype)

    def _run(self, tower: Callable[[torch.Tensor], torch.Tensor], rows: torch.Tensor) -> np.ndarray:
        """All rows, as many at once as the memory holds; normalised in fp32."""
        import torch

        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            while True:
                size = self.rows
                try:
                    done = [
                        torch.nn.functional.normalize(tower(part).float(), dim=-1) for part in torch.split(rows, size)
                    ]
                    return np.asarray(torch.cat(done).cpu())
                except torch.OutOfMemoryError:
                    if size == 1:
                        raise
                torch.cuda.empty_cache()
                self.rows = min(self.rows, size // 2)


def trims(model: Any) -> bool:
    """Can padding be left out? With a causal mask nothing after the end token reaches it."""
    import torch
    from open_clip.model import CLIP

    causal = type(model) is CLIP and model.text_pool_type == "argmax" and model.attn_mask is not None
    return causal and isinstance(model.text_projection, torch.nn.Parameter)


def trimmed_length(ids: Any) -> int:
    """How many tokens of (rows, context length) NumPy or torch ids hold all end tokens; a multiple of STEP."""
    ends = int(ids.argmax(-1).max()) + 1
    return min(int(ids.shape[1]), -(-ends // STEP) * STEP)


def encode_trimmed(model: Any, ids: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """`encode_text` (rows, embed_dim) of a model that `trims`, for ids cut to `trimmed_length`."""
    import torch

    length = ids.shape[1]
    x = model.token_embedding(ids).to(dtype) + model.positional_embedding[:length].to(dtype)
    x = model.ln_final(model.transformer(x, attn_mask=model.attn_mask[:length, :length]))
    ends = ids.argmax(dim=-1)
    vectors: torch.Tensor = x[torch.arange(len(ids), device=ids.device), ends] @ model.text_projection
    return vectors


def load_model(model: str, pretrained: str, precision: str = "fp32") -> Any:
    """The network on the CPU, fp32 or bf16. ModelError where weights are missing, damaged or another model's."""
    import open_clip

    folder = model_folder(model)
    if folder:
        return _load(f"local-dir:{folder}", None, folder, precision=precision)
    model_config(model)
    if is_file_name(pretrained):
        if not Path(pretrained).is_file():
            raise ModelError(f"there is no file of weights {pretrained!r}")
        return _load(model, pretrained, Path(pretrained), precision=precision)
    path = checked_weights(model, pretrained)
    gelu = bool(open_clip.get_pretrained_cfg(model, pretrained).get("quick_gelu"))
    return _load(model, str(path), path, precision=precision, force_quick_gelu=gelu)


def _load(name: str, weights: str | None, place: Path, **settings: Any) -> Any:
    import open_clip

    root = logging.getLogger()
    level, root.level = root.level, logging.CRITICAL  # what open_clip logs on its way is told by the error below
    try:
        return open_clip.create_model(name, weights, require_pretrained=True, weights_only=True, **settings)
    except Exception as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        why = "; ".join(lines[:3])[:400]
        raise ModelError(f"the weights {place} cannot be loaded as {name}: {why}") from error
    finally:
        root.level = level
