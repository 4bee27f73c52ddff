"""Causal language models of transformers' as models that operators run: texts to log-likelihoods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..batch import Batch, Model, kept
from .weights import ModelError

PAD: Final = -1
ON_GPU: Final = 64  # rows computed at once, halved for good when the memory does not hold them
ON_CPU: Final = 8


@dataclass(frozen=True, kw_only=True)
class CausalLm(Model):
    """Texts to (rows, 2): minus the sum of ln p over the tokens, and how many tokens it is the sum of.

    Prepared: token ids (rows, max_tokens), -1 after the end. Where the tokenizer has a token for the beginning it
    stands before the text; otherwise the first token only conditions the others.
    """

    place: str  # a folder that transformers saved, or a hub's name
    max_tokens: int = 512
    width = 2
    rows = 32

    @property
    def reads(self) -> str:
        return "text"

    def setup(self) -> None:
        network(self.place)

    def ready(self) -> None:
        tokenizer(self.place)

    def prepare(self, batch: Batch) -> np.ndarray:
        found = np.full((len(batch), self.max_tokens), PAD, np.int32)
        tokens = tokenizer(self.place)
        first = [] if tokens.bos_token_id is None else [tokens.bos_token_id]
        encoded = tokens(batch.column("text").to_pylist(), add_special_tokens=False)["input_ids"] if len(batch) else []
        for row, ids in enumerate(encoded):
            cut = [*first, *ids][: self.max_tokens]
            found[row, : len(cut)] = cut
        return found

    def __call__(self, prepared: np.ndarray) -> np.ndarray:
        return network(self.place).log_likelihoods(prepared)


@kept
def tokenizer(place: str) -> Any:
    """The model's tokenizer."""
    transformers = _library()
    try:
        return transformers.AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ModelError(_missing(place, error)) from error


@kept
def network(place: str) -> Network:
    """The network in this process, loaded once."""
    return Network(place)


class Network:
    """A causal language model on this process's device: bf16 on a GPU, fp32 on a CPU."""

    def __init__(self, place: str) -> None:
        import torch

        transformers = _library()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if self.device.type == "cuda" else torch.float32
        try:
            model = transformers.AutoModelForCausalLM.from_pretrained(
                place, dtype=dtype, use_safetensors=True, trust_remote_code=False
            )
        except Exception as error:
            raise ModelError(_missing(place, error)) from error
        self.model: Any = model.to(self.device).eval()
        self.rows = ON_GPU if self.device.type == "cuda" else ON_CPU

    def log_likelihoods(self, prepared: np.ndarray) -> np.ndarray:
        """(rows, 2) of token ids (rows, tokens)."""
        import torch

        ids = torch.from_numpy(prepared.astype(np.int64))
        with torch.inference_mode():
            while True:
                size = self.rows
                try:
                    return np.concatenate([self._part(part) for part in torch.split(ids, size)])
                except torch.OutOfMemoryError:
                    if size == 1:
                        raise
                torch.cuda.empty_cache()
                self.rows = min(self.rows, size // 2)

    def _part(self, ids: Any) -> np.ndarray:
        """Padding stands at the end, so with a causal mask it changes nothing before it."""
        import torch

        there = ids != PAD
        length = max(2, int(there.sum(dim=1).max()))
        ids, there = ids[:, :length].to(self.device), there[:, :length].to(self.device)
        logits = (
            self.model(input_ids=ids.clamp(min=0), attention_mask=there.long(), use_cache=False).logits[:, :-1].float()
        )
        counts = there[:, 1:]
        nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:].clamp(min=0), reduction="none")
        return torch.stack([(nats * counts).sum(dim=1), counts.sum(dim=1)], dim=1).cpu().numpy().astype(np.float32)


def causal_lm_files(place: str) -> tuple[Path, ...]:
    """The folder whose content decides the scores; none for a hub's name."""
    return (Path(place),) if Path(place).is_dir() else ()


def _library() -> Any:
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ModelError("causal language models need transformers: pip install 'cupel[transformers]'") from error
    return transformers


def _missing(place: str, error: Exception) -> str:
    why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return (
        f"the causal language model {place!r} cannot be loaded ({why[:300]}); give a folder that transformers saved, "
        "with its tokenizer and safetensors, or a hub's name where there is a network"
    )
