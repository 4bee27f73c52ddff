"""text.perplexity: how surprised an n-gram model is by a text."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol, cast, get_args

import numpy as np
import polars as pl
import pyarrow as pa
from pydantic import Field

from ...schemas.fields import field
from ..base import Batch, Model, Resources, RowOperator, operator
from ..models.causal_lm import CausalLm, causal_lm_files
from ..models.ngram import Scorer, load, shipped_model, stated_normaliser
from ._normalise import NORMALISERS, Normaliser

SHIPPED: Final = "cupel-en"


class Pieces(Protocol):
    """What we use of a SentencePiece model."""

    def encode(self, texts: list[str], *, out_type: type[str]) -> list[list[str]]: ...


@operator
class Perplexity(RowOperator):
    """Perplexity of a text under an n-gram model: 10^(-sum of log10 p / (tokens + 1)), the 1 being </s>; 1 and more.

    As cc_net defines it (arXiv:1911.00359), by KenLM (W11-2123), so that any ARPA or KenLM binary file can be used. A
    text is one sentence: <s> stands before it and </s> after it, and a line feed in it is a space (cc_net's normaliser
    deletes it, as cc_net does). An unknown word has the probability of <unk>; `oov: true` adds their share among the
    tokens. Both are null for a text without a token.

    Figures of two models, or of one model under two normalisers, cannot be compared: cut by percentile on your own
    corpus (`keep: {perplexity: {bottom: 0.6}}`; cc_net calls the lowest 30 % head, the next 30 % middle) and not by
    another corpus' number. Model file, normaliser and pieces are part of the fingerprint, and are named in the columns'
    documentation. `causal_lm` is the other engine: exp of the mean of -ln p over the tokens of a network, on the GPU
    where there is one. A very low value is no praise: boilerplate and titles of two or three words are foreseen.
    """

    model: str = Field(
        SHIPPED, description="cupel-en (shipped), or the path of an ARPA (also gzip) or KenLM binary file"
    )
    normaliser: Normaliser | None = Field(
        None, description="plain, words or cc_net; by default what the model file states, else plain"
    )
    sentencepiece: str | None = Field(
        None, description="path of a SentencePiece model whose pieces are the model's tokens, as cc_net has them"
    )
    oov: bool = Field(False, description="add oov_ratio too, which takes longer")
    causal_lm: str | None = Field(
        None,
        description="a causal language model of transformers' instead of an n-gram model: a folder, or a hub's name",
    )
    max_tokens: int = Field(512, ge=2, description="tokens of a text that a causal_lm reads, from its beginning")

    needs = Resources(gpus=1.0, memory_gb=2.0)
    reads = ("text",)

    def __post_init__(self) -> None:
        if self.causal_lm is not None and (self.model != SHIPPED or self.normaliser or self.sentencepiece or self.oov):
            raise ValueError(
                "causal_lm has its own tokenizer: model, normaliser, sentencepiece and oov are for n-grams"
            )

    @property
    def adds(self) -> tuple[pa.Field, ...]:
        if self.causal_lm is not None:
            by = f"per token by {Path(self.causal_lm).name}; null for one token or none"
            return (field("perplexity", pa.float32(), by, range="1 and more"),)
        by = f"by {Path(self.model).name}, normaliser {self._normaliser}"
        by += f", pieces of {Path(self.sentencepiece).name}" if self.sentencepiece else ""
        return (
            field("perplexity", pa.float32(), f"per token and </s>, {by}; null without a token", range="1 and more"),
            *([field("oov_ratio", pa.float32(), f"share of unknown tokens, {by}", range="0 to 1")] if self.oov else []),
        )

    @property
    def files(self) -> tuple[Path, ...]:
        if self.causal_lm is not None:
            return causal_lm_files(self.causal_lm)
        pieces = () if self.sentencepiece is None else (Path(self.sentencepiece),)
        if pieces and not pieces[0].is_file():
            raise FileNotFoundError(f"no SentencePiece model {self.sentencepiece!r}")
        return self._ngram_file, *pieces

    @property
    def models(self) -> tuple[Model, ...]:
        return () if self.causal_lm is None else (CausalLm(place=self.causal_lm, max_tokens=self.max_tokens),)

    @property
    def _ngram_file(self) -> Path:
        model = shipped_model() if self.model == SHIPPED else Path(self.model)
        if not model.is_file():
            advice = f"give {SHIPPED!r} or the path of an ARPA or KenLM binary file (`cupel lm train` makes one)"
            raise FileNotFoundError(f"no model {str(model)!r}; {advice}")
        return model

    @functools.cached_property
    def _normaliser(self) -> Normaliser:
        stated = self.normaliser or stated_normaliser(self._ngram_file) or "plain"
        if stated not in NORMALISERS:
            known = ", ".join(get_args(Normaliser))
            raise ValueError(f"{self.model} states the normaliser {stated!r}, which there is not; set one of {known}")
        return cast(Normaliser, stated)

    @functools.cached_property
    def _model(self) -> Scorer:
        return load(self._ngram_file)

    @functools.cached_property
    def _pieces(self) -> Pieces | None:
        if self.sentencepiece is None:
            return None
        try:
            import sentencepiece
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("needs sentencepiece: pip install sentencepiece") from error
        try:
            return cast(Pieces, sentencepiece.SentencePieceProcessor(model_file=self.sentencepiece))
        except (OSError, RuntimeError) as error:
            raise OSError(f"{self.sentencepiece} is no sound SentencePiece model; fetch it again ({error})") from error

    def setup(self) -> None:
        if self.causal_lm is None:
            _ = self._model, self._pieces

    def __call__(self, batch: Batch) -> Mapping[str, pa.Array]:
        if self.models:
            nats, tokens = batch.run(self.models[0]).T
            return {"perplexity": pa.array(np.exp(np.minimum(nats / np.maximum(tokens, 1), 87.0)), mask=tokens == 0)}
        lines = NORMALISERS[self._normaliser](pl.Series(batch.column("text"), dtype=pl.String)).to_list()
        if self._pieces is not None:
            lines = [" ".join(pieces) for pieces in self._pieces.encode(lines, out_type=str)]
        tokens = _Tokens(lines)
        log10_p = np.fromiter(map(self._model.score, lines), np.float64, len(lines))
        perplexity = 10.0 ** np.minimum(-log10_p / (tokens.count + 1), 38.0)  # a float32 ends there
        found = {"perplexity": pa.array(perplexity.astype(np.float32), mask=tokens.count == 0)}
        if self.oov:
            share = tokens.unknown_to(self._model) / np.maximum(tokens.count, 1)
            found["oov_ratio"] = pa.array(share.astype(np.float32), mask=tokens.count == 0)
        return found


class _Tokens:
    """What stands between spaces in some lines, found in the bytes of all lines at once.

    A Python string for each token would take longer than KenLM takes for its score.
    """

    def __init__(self, lines: list[str]) -> None:
        self._text = " ".join(["", *lines, ""]).encode()
        space = np.frombuffer(self._text, np.uint8) == ord(" ")
        self._begins = space[:-1] & ~space[1:]  # at the space before a token
        length = np.fromiter((len(line) if line.isascii() else len(line.encode()) for line in lines), np.int64)
        starts = np.cumsum(length + 1) - length - 1
        self.count = np.add.reduceat(self._begins, starts, dtype=np.int64) if lines else starts  # [lines]

    def unknown_to(self, model: Scorer) -> np.ndarray:
        """Unknown tokens of each line, asking the model once for each different one (spaces after it and all)."""
        offsets = np.append(np.flatnonzero(self._begins) + 1, len(self._text))
        buffers = [None, pa.py_buffer(offsets), pa.py_buffer(self._text)]
        tokens = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(offsets) - 1, buffers).dictionary_encode()
        strange = np.array([token.rstrip() not in model for token in tokens.dictionary.to_pylist()], bool)
        before = np.concatenate([[0], np.cumsum(strange[tokens.indices.to_numpy()])])
        ends = np.cumsum(self.count)
        found: np.ndarray = before[ends] - before[ends - self.count]
        return found
