"""What a model is taught by: the losses of CLIP, SigLIP and CoCa over all ranks, hard negatives, a batch in parts.

On one process they are open_clip's to the last digits (tests hold them together). Theirs gather features by a function
that torch has deprecated, and know no hard negatives.

The loss is that of the whole batch, however many ranks share it and in however many parts a rank computes it: features
are gathered with their gradients, and of a batch in parts the features are computed first, the loss' gradient with
respect to them second, and the towers' gradients part by part (GradCache, arXiv:2101.06983).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ...operators.models.clip import encode_trimmed, trims
from ...schemas.train import Objective
from .ranks import Ranks

Features = dict[str, Tensor]


class Towers(nn.Module):
    """Both towers in one forward, which is what DDP and torch.compile want."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.trims = trims(model)

    def forward(self, images: Tensor, ids: Tensor, dtype: torch.dtype) -> Features:
        """Unit features (images, d) and (texts, d), the scale, and the bias where there is one.

        `images` float (n, 3, side, side); `ids` (n or 2n, length), the second half captions of no image. Of a CoCa also
        `caption_nll` (n,), in nats, and `caption_tokens` (n,).
        """
        model = self.model
        if hasattr(model, "text_decoder"):
            return _with_captions(model(images, ids))
        texts = encode_trimmed(model, ids, dtype) if self.trims else model.encode_text(ids)
        found = {
            "image_features": F.normalize(model.encode_image(images).float(), dim=-1),
            "text_features": F.normalize(texts.float(), dim=-1),
            "logit_scale": model.logit_scale.exp(),
        }
        return found if model.logit_bias is None else found | {"logit_bias": model.logit_bias.clone()}


def _with_captions(found: Features) -> Features:
    """CoCa's features, and in place of its decoder's logits what they say of the captions."""
    labels = found["labels"]
    nll = F.cross_entropy(found["logits"].float().transpose(1, 2), labels, ignore_index=0, reduction="none")
    kept = {name: found[name].float() for name in ("image_features", "text_features", "logit_scale")}
    return kept | {"caption_nll": nll.sum(dim=1), "caption_tokens": (labels != 0).sum(dim=1)}


@dataclass(frozen=True, kw_only=True)
class Loss:
    """The objective of a recipe, among all ranks."""

    objective: Objective
    ranks: Ranks

    def __call__(self, found: Features, real: Tensor | None) -> dict[str, Tensor]:
        """The parts of the loss by name, whose sum it is. `real`: which captions have a hard negative (n,) bool."""
        images, texts = found["image_features"], found["text_features"]
        texts, wrong = texts[: len(images)], texts[len(images) :]
        gather = self.ranks.gather
        to_texts = images @ gather(texts).T
        to_wrong = None if real is None else (images @ gather(wrong).T, gather(real))
        own = torch.arange(len(images), device=images.device) + len(images) * self.ranks.rank
        if self.objective.name == "siglip":
            return {"contrastive": _siglip(to_texts, to_wrong, own, found["logit_scale"], found["logit_bias"])}
        loss = _clip(to_texts, texts @ gather(images).T, to_wrong, own, found["logit_scale"])
        return {"contrastive": loss} | self._caption(found)

    def _caption(self, found: Features) -> dict[str, Tensor]:
        """CoCa's: the decoder's cross-entropy over real tokens (arXiv:2205.01917, equation 2)."""
        if "caption_nll" not in found:
            return {}
        tokens = self.ranks.total(found["caption_tokens"].sum())  # of all ranks: a mean of means is not the whole's
        return {"caption": self.objective.caption_weight * found["caption_nll"].sum() * self.ranks.world / tokens}


def _clip(
    to_texts: Tensor, to_images: Tensor, to_wrong: tuple[Tensor, Tensor] | None, own: Tensor, scale: Tensor
) -> Tensor:
    """InfoNCE both ways over cosines (n, all); images are held against wrong captions, too (NegCLIP, section 4)."""
    logits = scale * to_texts
    if to_wrong is not None:
        cosines, real = to_wrong
        logits = torch.cat([logits, (scale * cosines).masked_fill(~real, -torch.inf)], dim=1)
    return (F.cross_entropy(logits, own) + F.cross_entropy(scale * to_images, own)) / 2


def _siglip(
    to_texts: Tensor, to_wrong: tuple[Tensor, Tensor] | None, own: Tensor, scale: Tensor, bias: Tensor
) -> Tensor:
    """A sigmoid for each image and text (arXiv:2303.15343, algorithm 1); wrong captions are among those that differ."""
    matches = own[:, None] == torch.arange(to_texts.shape[1], device=own.device)
    logits = scale * to_texts + bias
    loss = F.logsigmoid(torch.where(matches, logits, -logits)).sum()
    if to_wrong is not None:
        cosines, real = to_wrong
        loss = loss + (F.logsigmoid(-(scale * cosines + bias)) * real).sum()
    return -loss / len(own)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A rank's share of a batch on its device."""

    images: Tensor  # float (n, 3, side, side)
    ids: Tensor  # int64 (n, length)
    wrong: Tensor | None  # int64 (n, length): hard negatives; rows of zeros where there is none

    @property
    def real(self) -> Tensor | None:
        """Which captions have a hard negative (n,)."""
        return None if self.wrong is None else self.wrong.any(dim=1)

    def part(self, start: int, stop: int) -> tuple[Tensor, Tensor]:
        """Images and token ids of some rows, captions first."""
        ids = self.ids[start:stop]
        return self.images[start:stop], ids if self.wrong is None else torch.cat([ids, self.wrong[start:stop]])


def backward(
    towers: nn.Module, loss: Loss, inputs: Inputs, parts: int, dtype: torch.dtype, seed: Callable[[int], None]
) -> dict[str, Tensor]:
    """Compute the loss of a batch and its gradients; gives the loss's parts, detached.

    `seed(part)` sets the random state that a part's forward begins with, so that dropout is the same both times.
    """
    device = inputs.images.device.type

    def forward(part: int) -> Features:
        rows = len(inputs.images) // parts
        seed(part)
        with torch.autocast(device, torch.bfloat16, enabled=dtype is torch.bfloat16):
            found: Features = towers(*inputs.part(part * rows, (part + 1) * rows), dtype)
        return found

    if parts == 1:
        losses = loss(forward(0), inputs.real)
        _sum(losses).backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in losses.items()}
    return _in_parts(towers, loss, forward, inputs, parts)


def _in_parts(
    towers: nn.Module, loss: Loss, forward: Callable[[int], Features], inputs: Inputs, parts: int
) -> dict[str, Tensor]:
    with torch.no_grad():
        first = [forward(part) for part in range(parts)]
    whole, leaves = _joined(first)
    losses = loss(whole, inputs.real)
    _sum(losses).backward()  # type: ignore[no-untyped-call]
    losses = {name: value.detach() for name, value in losses.items()}
    for part in range(parts):
        with _unsynced(towers) if part < parts - 1 else nullcontext():
            found = forward(part)
            pulls = [(found[name] * leaf.grad).sum() for name, leaf in leaves[part].items() if leaf.grad is not None]
            torch.stack(pulls).sum().backward()  # type: ignore[no-untyped-call]
    return losses


def _joined(first: list[Features]) -> tuple[Features, list[Features]]:
    """The whole batch's features, and the leaves they are made of, a dict for each part.

    Captions stand before hard negatives in each part, and so they must in the whole. Scale and bias belong to no part:
    they are the last one's, with which DDP brings gradients together.
    """
    shared = [name for name in ("logit_scale", "logit_bias") if name in first[0]]
    leaves = [
        {name: value.requires_grad_(value.is_floating_point()) for name, value in part.items() if name not in shared}
        for part in first
    ]
    whole = {name: torch.cat([part[name] for part in leaves]) for name in leaves[0]}
    rows, texts = len(leaves[0]["image_features"]), [part["text_features"] for part in leaves]
    whole["text_features"] = torch.cat([*(part[:rows] for part in texts), *(part[rows:] for part in texts)])
    leaves[-1] |= {name: first[-1][name].requires_grad_() for name in shared}
    return whole | {name: leaves[-1][name] for name in shared}, leaves


def _unsynced(towers: nn.Module) -> AbstractContextManager[None]:
    """Gradients of all parts but the last stay on their rank."""
    found: AbstractContextManager[None] = towers.no_sync() if hasattr(towers, "no_sync") else nullcontext()  # type: ignore[operator]
    return found


def _sum(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()
