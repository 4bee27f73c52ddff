"""The model of a training recipe: open_clip's towers from scratch or from weights, and the folder they are kept in.

A run's model is a folder that open_clip and `model:` of Cupel's operators load: config, weights in safetensors, and
the merges of the tokenizer where it has fewer than open_clip's.
"""

from __future__ import annotations

import copy
import gzip
import json
import math
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...operators.models.clip import load_model, preprocessing, token_ids, tokenizer
from ...operators.models.weights import CONFIG, ModelError, model_config, model_folder
from ...schemas.train import Lora, Model, TrainRecipe
from .errors import TrainError

if TYPE_CHECKING:
    import torch

WEIGHTS: Final = "model.safetensors"
MERGES: Final = "bpe.txt.gz"
MARKS: Final = 514  # tokens of the vocabulary that are no merges: 512 bytes and 2 marks
ALL_TOKENS: Final = 49_408
SIGLIP: Final = {"init_logit_scale": math.log(10), "init_logit_bias": -10.0}  # arXiv:2303.15343, section 3.1
LORA_EXTRA: Final = "lora needs peft: pip install 'cupel[lora]'"


@dataclass(frozen=True, kw_only=True)
class Built:
    """A model ready to be trained, and what its folder needs to know."""

    model: torch.nn.Module
    config: dict[str, Any]
    preprocess: dict[str, Any]
    tokens: Any  # open_clip's tokenizer

    @property
    def side_px(self) -> int:
        """Height and width of its images."""
        size = self.preprocess["size"]
        sides = {size} if isinstance(size, int) else set(size)
        if len(sides) > 1 or not all(isinstance(side, int) for side in sides):
            raise TrainError(f"image_size of this model is {size!r}; the trainer makes square images of so many px")
        return int(sides.pop())

    def tokenize(self, texts: list[str]) -> np.ndarray:
        """Token ids int32 (texts, context length); what is too long is cut, with the end token last."""
        return token_ids(self.tokens, texts)[:, :-1]


def build(recipe: TrainRecipe) -> Built:
    """The model on the CPU in fp32, initialised by the recipe's seed. Raises ModelError, TrainError."""
    import torch

    torch.manual_seed(recipe.seed)
    try:
        config = _config(recipe)
        model = _weighted(recipe.model, config) if recipe.model.pretrained else _from_config(config)
        _lock(model, recipe.model, recipe.objective.name)
        built = Built(
            model=model, config=config, preprocess=_preprocess(recipe, config), tokens=_tokens(recipe, config)
        )
        side_px = built.side_px
    except (TrainError, ModelError):
        raise
    except (TypeError, RuntimeError, AssertionError, ValueError, AttributeError, LookupError) as error:
        why = (str(error) or type(error).__name__).splitlines()[0]
        raise TrainError(f"open_clip cannot build this model: {why}") from error
    if side_px < 8:
        raise TrainError(f"images of {side_px} px are too small to be trained on")
    return built


def _config(recipe: TrainRecipe) -> dict[str, Any]:
    """open_clip's model_cfg of a recipe."""
    spec = recipe.model
    config = copy.deepcopy(spec.config if spec.config is not None else model_config(spec.architecture or ""))
    vision = config["vision_cfg"]
    if spec.image_tower is not None:
        known = {"image_size": vision.get("image_size", 224)}
        vision = known | {"timm_model_name": spec.image_tower, "timm_pool": "", "timm_proj": "linear"}
        _known_to_timm(spec.image_tower)
    if spec.image_px is not None:
        vision = vision | {"image_size": spec.image_px}
    config["vision_cfg"] = vision
    if recipe.objective.name == "siglip":
        config = SIGLIP | config
    if recipe.objective.name == "coca" and "multimodal_cfg" not in config:
        raise TrainError("objective coca needs a model with a multimodal_cfg: coca_ViT-B-32, or one in config")
    if recipe.objective.name != "coca" and "multimodal_cfg" in config:
        raise TrainError(f"a model with a multimodal_cfg is trained by objective coca, not {recipe.objective.name}")
    return config


def _known_to_timm(name: str) -> None:
    import timm

    if not timm.is_model(name):
        near = timm.list_models(f"*{name[:8]}*")[:5]
        raise TrainError(f"timm has no image model {name!r} (near: {', '.join(near) or 'none'})")


def _from_config(config: dict[str, Any]) -> torch.nn.Module:
    import torch
    from open_clip.coca_model import CoCa
    from open_clip.model import CLIP, CustomTextCLIP

    parts = {name: value for name, value in copy.deepcopy(config).items() if name != "custom_text"}
    custom = config.get("custom_text") or "hf_model_name" in config["text_cfg"]
    model: torch.nn.Module = (CoCa if "multimodal_cfg" in parts else CustomTextCLIP if custom else CLIP)(**parts)
    if isinstance(model, CoCa):
        head = model.text_decoder.text_projection  # which open_clip 3.3 leaves as it was in the memory
        torch.nn.init.normal_(head, std=len(head) ** -0.5)
    return model


def _weighted(spec: Model, config: dict[str, Any]) -> torch.nn.Module:
    """The architecture with its weights; a bias that SigLIP wants and they lack begins as in the paper."""
    import torch

    name = spec.architecture or ""
    own = spec.pretrained == "own"
    if own != (model_folder(name) is not None):
        raise TrainError(
            f"{name} has its weights with it: `pretrained: own`"
            if not own
            else f"pretrained: own is for a folder with weights; {name} is a name of open_clip's: give a tag or a file"
        )
    model: torch.nn.Module = load_model(name, "" if own else spec.pretrained)
    if "init_logit_bias" in config and getattr(model, "logit_bias", None) is None:
        model.logit_bias = torch.nn.Parameter(torch.tensor(float(config["init_logit_bias"])))
    return model


def _lock(model: Any, spec: Model, objective: str) -> None:
    """LiT: a tower that stays as it is (`frozen_norms` are left in evaluation mode); a bias only where it is used."""
    if spec.lock_image and not spec.unlocked_groups:  # open_clip leaves the projection of timm's towers free
        model.visual.requires_grad_(False)
    if spec.lock_image and spec.unlocked_groups:  # open_clip's frozen normalisation drops timm's activations
        model.lock_image_tower(unlocked_groups=spec.unlocked_groups, freeze_bn_stats=False)
    if spec.lock_text:
        model.lock_text_tower(unlocked_layers=0, freeze_layer_norm=True)
    if objective != "siglip" and getattr(model, "logit_bias", None) is not None:
        model.logit_bias.requires_grad_(False)


def norms(model: torch.nn.Module, *, frozen: bool) -> list[torch.nn.Module]:
    """Batch normalisations whose gains are trained, or are not: these keep their running statistics."""
    from torch.nn.modules.batchnorm import _BatchNorm

    found = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    return [norm for norm in found if frozen != any(parameter.requires_grad for parameter in norm.parameters())]


def with_lora(model: torch.nn.Module, lora: Lora) -> Any:
    """peft's model round ours: adapters and the logit scale learn, all else is frozen. Raises TrainError."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError as error:
        raise TrainError(LORA_EXTRA) from error
    learns = {
        name.rsplit(".", 1)[-1]
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and name.endswith(("logit_scale", "logit_bias"))
    }
    settings = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets)
    )
    try:
        adapted = get_peft_model(model, settings)
    except ValueError as error:
        raise TrainError(f"lora: {str(error).splitlines()[0]}") from error
    for name, parameter in adapted.named_parameters():
        if name.rsplit(".", 1)[-1] in learns:  # a bias that the objective does not read stays locked
            parameter.requires_grad_(True)
    return adapted


def _preprocess(recipe: TrainRecipe, config: dict[str, Any]) -> dict[str, Any]:
    """open_clip's preprocess_cfg: as the architecture has it, at the model's size, resized as in training."""
    from dataclasses import asdict

    from open_clip.transform import PreprocessCfg

    spec = recipe.model
    found = asdict(PreprocessCfg())
    if spec.architecture is not None:
        tag = "" if spec.pretrained == "own" else spec.pretrained
        found = asdict(preprocessing(spec.architecture, tag))
    found["size"] = config["vision_cfg"].get("image_size", 224)
    if recipe.augment.resize is not None:
        found["resize_mode"] = recipe.augment.resize
    if found["resize_mode"] not in ("shortest", "squash"):
        raise TrainError(
            f"this model resizes by {found['resize_mode']!r}; the trainer knows shortest and squash: set augment.resize"
        )
    return found


def _tokens(recipe: TrainRecipe, config: dict[str, Any]) -> Any:
    """open_clip's tokenizer; where the vocabulary is smaller than open_clip's, of its first merges."""
    spec, text = recipe.model, config["text_cfg"]
    if spec.architecture is not None:
        return tokenizer(spec.architecture)
    if "hf_tokenizer_name" in text:
        raise TrainError("a config with an hf_tokenizer_name is for architectures by name; leave it out here")
    return _simple_tokenizer(text.get("vocab_size", ALL_TOKENS), text.get("context_length", 77))


@cache
def _simple_tokenizer(vocab_size: int, context_length: int) -> Any:
    import tempfile

    import open_clip

    if not MARKS < vocab_size <= ALL_TOKENS:
        raise TrainError(f"vocab_size is {vocab_size}; open_clip's tokenizer has {MARKS + 1} to {ALL_TOKENS} tokens")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, MERGES)
        path.write_bytes(_merges(vocab_size))
        return open_clip.SimpleTokenizer(bpe_path=str(path), context_length=context_length)


def _merges(vocab_size: int) -> bytes:
    """The first merges of open_clip's own vocabulary file; packed, the same bytes for the same size."""
    import open_clip

    lines = gzip.decompress(Path(open_clip.tokenizer.default_bpe()).read_bytes()).decode().split("\n")
    text = "\n".join(lines[: vocab_size - MARKS + 1])  # no newline at the end: it would become an empty token
    return gzip.compress(text.encode(), mtime=0)


def write_model(built: Built, recipe: TrainRecipe, folder: Path) -> None:
    """Write the folder that open_clip loads as `local-dir:`; the weights come last, and whole."""
    from open_clip.tokenizer import HFTokenizer
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": built.config, "preprocess_cfg": built.preprocess}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
    source = model_folder(recipe.model.architecture or "")
    vocab_size = built.config["text_cfg"].get("vocab_size", ALL_TOKENS)
    if isinstance(built.tokens, HFTokenizer):
        built.tokens.save_pretrained(str(folder))
    elif source is not None and (source / MERGES).is_file():
        shutil.copyfile(source / MERGES, folder / MERGES)
    elif vocab_size < ALL_TOKENS:
        (folder / MERGES).write_bytes(_merges(vocab_size))
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in built.model.state_dict().items()}
    save_file(weights, folder / f"{WEIGHTS}.new")
    (folder / f"{WEIGHTS}.new").replace(folder / WEIGHTS)


def decayed(name: str, parameter: torch.nn.Parameter) -> bool:
    """Does weight decay apply? To matrices and filters; not to biases, gains, the logit scale (as open_clip does)."""
    return parameter.ndim >= 2 and not name.endswith(("logit_scale", "logit_bias"))
