"""A training run: the model, what it is taught by, how long and how fast. Unknown keys and wrong types are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from .recipe import Strict

Share = Annotated[float, Field(ge=0, le=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]


class Exact(Strict):
    """Numbers are finite, too."""

    model_config = ConfigDict(allow_inf_nan=False)


class Lora(Exact):
    """Low-rank adapters in the towers' linear layers; the towers stay as they are (arXiv:2106.09685)."""

    rank: int = Field(8, ge=1)
    alpha: int = Field(16, ge=1, description="the adapters' weight is alpha / rank")
    dropout: float = Field(0, ge=0, lt=1)
    targets: tuple[str, ...] = Field(
        ("attn", "c_fc", "c_proj"), strict=False, min_length=1, description="names of the layers that get one"
    )


class Model(Exact):
    """What is trained: an architecture by name or by its parts, from scratch or from weights."""

    architecture: str | None = Field(
        None, description="a name of open_clip's, cupel-tiny, or a folder with an open_clip_config.json"
    )
    config: dict[str, Any] | None = Field(
        None, description="instead: open_clip's model_cfg (embed_dim, vision_cfg, text_cfg)"
    )
    pretrained: str = Field(
        "", description="nothing: from scratch; own: a folder's own weights; else a tag of open_clip's or a file"
    )
    image_tower: str | None = Field(None, description="any image model of timm's, in place of the architecture's")
    image_px: int | None = Field(None, ge=8, le=4096, description="side of the images; default: the architecture's")
    lock_image: bool = Field(False, description="train the text tower alone (LiT, arXiv:2111.07991)")
    unlocked_groups: int = Field(0, ge=0, description="last groups of a locked image tower that are trained after all")
    lock_text: bool = Field(False, description="train the image tower alone")
    lora: Lora | None = None

    @model_validator(mode="after")
    def _one_architecture(self) -> Self:
        if (self.architecture is None) == (self.config is None):
            raise ValueError("model needs exactly one of architecture and config")
        if self.config is not None and not {"embed_dim", "vision_cfg", "text_cfg"} <= self.config.keys():
            raise ValueError("config needs embed_dim, vision_cfg and text_cfg")
        if self.config is not None and not all(isinstance(self.config[k], dict) for k in ("vision_cfg", "text_cfg")):
            raise ValueError("vision_cfg and text_cfg are mappings")
        if self.config is not None and self.pretrained:
            raise ValueError("pretrained goes with architecture")
        if self.unlocked_groups and not self.lock_image:
            raise ValueError("unlocked_groups goes with lock_image")
        if self.lora is not None and (self.lock_image or self.lock_text):
            raise ValueError("lora locks both towers by itself")
        if self.pretrained and (self.image_tower is not None or self.image_px is not None):
            raise ValueError("pretrained brings an image tower and its size: leave image_tower and image_px out")
        return self


class Negatives(Exact):
    """Captions that are nearly right, as further texts that no image matches (NegCLIP, arXiv:2210.01936)."""

    kinds: tuple[Literal["attribute", "relation", "order", "negation", "counting"], ...] = Field(
        ("attribute", "relation", "order"), strict=False, min_length=1
    )
    share: Share = Field(1.0, description="of the captions that allow it, how many get one")


class Objective(Exact):
    """What the model is taught by."""

    name: Literal["clip", "siglip", "coca"] = "clip"
    caption_weight: float = Field(2.0, ge=0, description="coca: weight of the caption loss beside the contrastive one")
    negatives: Negatives | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.name == "coca" and self.negatives is not None:
            raise ValueError("negatives go with clip and siglip: coca's decoder wants an image for each caption")
        return self


class Augment(Exact):
    """What is done to the images on the device, drawn anew for each image and epoch."""

    crop: float = Field(0.9, gt=0, le=1, description="least share of the image's area that is shown; 1: all of it")
    flip: bool = Field(False, description="mirror every second image; not where captions say left and right")
    resize: Literal["shortest", "squash"] | None = Field(
        None, description="make it square: centre crop, or squash; default: the architecture's way, centre crop"
    )


class Optimizer(Exact):
    """AdamW. Weight decay is for matrices and filters alone."""

    lr: float = Field(1e-3, gt=0, description="learning rate at its highest")
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Share = Field(0.05, description="share of the steps over which it rises")
    betas: tuple[Decay, Decay] = Field((0.9, 0.98), strict=False)
    eps: float = Field(1e-6, gt=0)
    weight_decay: float = Field(0.1, ge=0)
    clip_norm: float | None = Field(1.0, gt=0, description="longest gradient")


class TrainRecipe(Exact):
    """One complete training run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80)
    model: Model
    objective: Objective = Objective()
    augment: Augment = Augment()
    optimizer: Optimizer = Optimizer()
    samples: int | None = Field(None, ge=1, description="pairs seen in all, rounded up to whole batches")
    epochs: float | None = Field(None, gt=0, description="instead: times that each pair is seen")
    batch: int = Field(256, ge=2, description="pairs a step, over all ranks")
    accumulate: int = Field(1, ge=1, description="parts of a batch, one after the other; the loss is the whole's")
    seed: int = Field(0, ge=0, lt=2**63)
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 on a GPU, fp32 on a CPU")
    compile: bool = Field(False, description="torch.compile the towers: a minute at the start, faster steps on a GPU")
    ema: float | None = Field(None, gt=0, lt=1, description="keep a moving average of the weights; it is what is saved")
    window_rows: int = Field(20_000, ge=1, description="rows among which the order is drawn at random")
    max_bad_share: float = Field(
        0.001, ge=0, le=1, description="share of rows that may be unreadable, and are replaced; more end the run"
    )
    checkpoint_steps: int = Field(1000, ge=1, description="steps between two checkpoints")
    log_steps: int = Field(20, ge=1, description="steps between two lines of the log")

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if (self.samples is None) == (self.epochs is None):
            raise ValueError("a run needs exactly one of samples and epochs")
        if self.batch % self.accumulate:
            raise ValueError(f"batch {self.batch} cannot be computed in {self.accumulate} equal parts")
        return self
