"""`causal_lm` against transformers' own loss, with a small network of random weights."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import ValidationError
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from cupel.operators.base import Batch
from cupel.operators.models import causal_lm
from cupel.operators.models.weights import ModelError
from cupel.operators.text.perplexity import Perplexity

TEXTS = ["the cat sat on the mat", "cat", "", "le chat " * 40, "on the mat the cat sat", "日本"]


@pytest.fixture(scope="module", params=["with a token for the beginning", "without"])
def small_lm(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lm")
    tokens = Tokenizer(models.BPE(unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    tokens.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=60, special_tokens=["<unk>", "<s>"]))
    special = {"bos_token": "<s>"} if request.param != "without" else {}
    PreTrainedTokenizerFast(tokenizer_object=tokens, unk_token="<unk>", **special).save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=60, n_positions=64, n_embd=32, n_layer=2, n_head=2, bos_token_id=1, eos_token_id=1)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder


def test_is_exp_of_transformers_loss(small_lm, monkeypatch):
    model = GPT2LMHeadModel.from_pretrained(small_lm).eval()
    tokens = PreTrainedTokenizerFast.from_pretrained(small_lm)
    step = Perplexity(causal_lm=str(small_lm), max_tokens=50)
    found = step(Batch(pa.table({"text": TEXTS})))["perplexity"].to_pylist()
    for text, value in zip(TEXTS, found, strict=True):
        ids = [tokens.bos_token_id] * bool(tokens.bos_token) + tokens(text)["input_ids"]
        ids = torch.tensor([ids[:50]])
        if ids.shape[1] < 2:
            assert value is None, "nothing is foreseen"
            continue
        with torch.inference_mode():
            expected = math.exp(model(input_ids=ids, labels=ids).loss)
        assert value == pytest.approx(expected, rel=1e-4)
    network = causal_lm.network(str(small_lm))
    part, sizes = network._part, []

    def small_memory(ids):
        sizes.append(len(ids))
        if len(ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return part(ids)

    monkeypatch.setattr(network, "_part", small_memory)
    monkeypatch.setattr(network, "rows", 8)
    halved = step(Batch(pa.table({"text": TEXTS})))["perplexity"].to_pylist()
    assert sizes == [6, 4, 2, 2, 2]
    np.testing.assert_allclose(np.array(halved, float), np.array(found, float), rtol=1e-4)


def test_what_is_missing_or_contradicts_itself(tmp_path):
    with pytest.raises(ModelError, match="cannot be loaded .*give a folder that transformers saved"):
        causal_lm.CausalLm(place=str(tmp_path / "gone")).setup()
    with pytest.raises(ValidationError, match="causal_lm has its own tokenizer"):
        Perplexity(causal_lm="gpt2", normaliser="cc_net")


def test_a_pickle_is_not_read(small_lm, tmp_path):
    (tmp_path / "config.json").write_bytes((small_lm / "config.json").read_bytes())
    torch.save(GPT2LMHeadModel.from_pretrained(small_lm).state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        causal_lm.Network(str(tmp_path))
