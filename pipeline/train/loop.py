"""Train a model on a cut: the loop.

A run is a function of its recipe and its dataset. What a step draws, it draws from (seed, step); what it reads, from
(seed, epoch, digest of the dataset): so a run that was killed goes on from its checkpoint as if it had not been, bit
for bit on a CPU.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch

from ...schemas.train import TrainRecipe
from ..progress import Reporter, Silent
from . import checkpoint
from .augment import Views, draws
from .build import Built, build, write_model
from .errors import Stopped, TrainError
from .feed import Feed, on
from .folder import alone, claim, put
from .log import Log, Result, forward_flops, memory_gb, mfu
from .objectives import Inputs, Loss, Towers, backward
from .optimizer import learning_rate, steps_of
from .ranks import Ranks
from .reader import Batch, Dataset, Reader, open_dataset
from .skips import Skips
from .state import State
from .wrong import WrongCaptions

CACHE_MB: Final = 2048  # decoded images of a small dataset, of all processes of a machine
ASK_STEPS: Final = 10


def fit(
    recipe: TrainRecipe,
    data: Dataset | str,
    out: Path | str,
    *,
    ranks: Ranks = Ranks(),  # noqa: B008
    progress: Reporter | None = None,
    stop: Callable[[], bool] = lambda: False,
    threads: int | None = None,
) -> Result:
    """Train, or go on with, the run in the folder `out`; a finished one is not run again.

    `stop` is asked after each step; Stopped is raised when it says so and a checkpoint is written. `threads` decode
    images. Raises TrainError, ModelError and CorpusError in words.
    """
    dataset = open_dataset(data) if isinstance(data, str) else data
    folder = Path(out)
    with alone(folder, ranks):
        done = claim(folder, recipe, dataset, ranks)
        if done is not None:
            return done
        with _Run(recipe, dataset, folder, ranks, progress or Silent(), threads) as run:
            return run.go(stop)


class _Run:
    """A run under way on one rank."""

    def __init__(
        self, recipe: TrainRecipe, data: Dataset, folder: Path, ranks: Ranks, progress: Reporter, threads: int | None
    ) -> None:
        if recipe.batch % (ranks.world * recipe.accumulate):
            raise TrainError(
                f"a batch of {recipe.batch} cannot be shared by {ranks.world} ranks in {recipe.accumulate} parts each"
            )
        if data.rows < 2:
            raise TrainError(f"{data.place} has {data.rows} rows; a contrastive loss needs two at least")
        if recipe.batch > data.rows:
            progress.say(
                f"a batch of {recipe.batch:,} is more than the {data.rows:,} rows of {data.place}: pairs stand in it "
                "more than once, each as the others' negative"
            )
        self.recipe, self.data, self.folder, self.ranks, self.progress = recipe, data, folder, ranks, progress
        self.device = ranks.device()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        bf16 = recipe.precision == "bf16" or (recipe.precision == "auto" and _knows_bf16(self.device))
        self.dtype = torch.bfloat16 if bf16 else torch.float32
        self.steps = steps_of(recipe, data.rows)
        self.built = build(recipe)
        self.views = _views(recipe, self.built)
        self.state = State(recipe, self.built, self.steps, self.device)
        self.skips = Skips(folder, ranks)
        self.step = self._resume()
        self.towers = self._towers()
        self.loss = Loss(objective=recipe.objective, ranks=ranks)
        self.wrong = WrongCaptions(recipe.objective.negatives, recipe.seed) if recipe.objective.negatives else None
        self.log = Log(folder, self.step) if ranks.first else None
        self.flops = 0.0
        self.reader = Reader(
            data,
            batch=recipe.batch,
            side_px=self.views.read_px,
            resize=self.built.preprocess["resize_mode"],
            seed=recipe.seed,
            rank=ranks.rank,
            world=ranks.world,
            start=self.step,
            window_rows=recipe.window_rows,
            threads=threads,
            cache_mb=CACHE_MB // int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
            tokenize=self._tokenize,
            max_bad_share=recipe.max_bad_share,
        )

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.reader.close()
        if self.log is not None:
            self.log.close()

    def _towers(self) -> torch.nn.Module:
        towers: Any = Towers(self.state.model)
        if self.recipe.compile:
            towers = torch.compile(towers)
        if self.ranks.world == 1:
            return cast(torch.nn.Module, towers)
        where = [self.device.index] if self.device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(towers, device_ids=where)

    def _tokenize(self, texts: list[str]) -> np.ndarray:
        """Token ids (texts, context length), or (texts, 2, context length) with hard negatives."""
        ids = self.built.tokenize(texts)
        if self.wrong is None:
            return ids
        wrong = self.wrong(texts, self.built.tokenize)
        wrong[(wrong == ids).all(axis=1)] = 0  # they differ behind the context's end
        return np.stack([ids, wrong], axis=1)

    # Going

    def go(self, stop: Callable[[], bool]) -> Result:
        """All steps that are left; writes the model and the result."""
        feed, first, began = Feed(self.reader, self.device), self.step, time.perf_counter()
        self.progress.begin("train", (self.steps - first) * self.recipe.batch, "pairs")
        batches = iter(feed)
        while self.step < self.steps:
            batch, images = next(batches)
            losses = self._step(batch, images)
            self.step += 1
            self.progress.advance(self.recipe.batch)
            if self.step % self.recipe.log_steps == 0 or self.step == self.steps:
                self._tell(losses, first, began, feed)
            stopping = self._asked(stop) and self.step < self.steps
            if stopping or (self.step % self.recipe.checkpoint_steps == 0 and self.step < self.steps):
                self._means(losses)
                self._save()
            if stopping:
                raise Stopped(f"stopped at step {self.step} of {self.steps}; the same command goes on from there")
        return self._finish(first, time.perf_counter() - began, feed)

    def _asked(self, stop: Callable[[], bool]) -> bool:
        """Several ranks ask each other now and then: to ask is to wait for each other, and for the GPU."""
        return stop() if self.ranks.world == 1 else self.step % ASK_STEPS == 0 and self.ranks.agree(stop())

    def _step(self, batch: Batch, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """One step of the optimizer; gives this rank's losses."""
        inputs = self._inputs(batch, images)
        self.state.begin(self.step)
        losses = backward(self.towers, self.loss, inputs, self.recipe.accumulate, self.dtype, self._seed)
        self.state.end(self.step, losses)
        return losses

    def _inputs(self, batch: Batch, images: torch.Tensor) -> Inputs:
        assert batch.tokens is not None
        seen = self.views(images, batch.rows, batch.epochs).contiguous(memory_format=torch.channels_last)
        tokens = batch.tokens if self.wrong is None else batch.tokens.reshape(-1, batch.tokens.shape[-1])
        towers = getattr(self.towers, "module", self.towers)
        if getattr(towers, "trims", False):
            from ...operators.models.clip import trimmed_length

            tokens = tokens[:, : trimmed_length(tokens)]
        ids = on(self.device, np.ascontiguousarray(tokens).astype(np.int64))
        if not self.flops:
            self.flops = self._count(seen[:1], ids[:1])
        if self.wrong is None:
            return Inputs(images=seen, ids=ids, wrong=None)
        return Inputs(images=seen, ids=ids[0::2], wrong=ids[1::2])

    def _count(self, images: torch.Tensor, ids: torch.Tensor) -> float:
        """Operations of a pair forward and backward; backward costs twice the forward."""
        return 3 * forward_flops(Towers(self.state.model), images, ids)

    def _seed(self, part: int) -> None:
        """Dropout and the like depend on (seed, step, rank, part) alone."""
        here = np.array([self.step * self.ranks.world + self.ranks.rank])
        seed = int(draws(self.recipe.seed, here, np.array([part]), 1)[0, 0] * 2**62)
        torch.default_generator.manual_seed(seed)  # torch.manual_seed asks for a stack trace: 3 ms
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _tell(self, losses: dict[str, torch.Tensor], first: int, began: float, feed: Feed) -> None:
        """A line of the log."""
        values, took = self._means(losses), time.perf_counter() - began
        loss = sum(values.values())
        if self.log is None:
            return
        rate = (self.step - first) * self.recipe.batch / took
        speed = {
            "samples_per_s": round(rate, 1),
            "data_wait_share": round(feed.waited_s / took, 4),
            "mfu": self._mfu(rate),
            "memory_gb": round(memory_gb(self.device), 3),
        }
        lr = learning_rate(self.recipe, self.step - 1, self.steps)
        scale = float(self.state.logit_scale.detach().exp())
        seen = {"loss": loss, "lr": lr, "logit_scale": scale, "samples": self.step * self.recipe.batch}
        self.log.write(self.step, seen | (values if len(values) > 1 else {}) | speed)

    def _means(self, losses: dict[str, torch.Tensor]) -> dict[str, float]:
        """The parts of the loss over all ranks. TrainError where it is no number any more."""
        found = {f"loss_{name}": float(self.ranks.total(value)) / self.ranks.world for name, value in losses.items()}
        if not math.isfinite(loss := sum(found.values())):
            raise TrainError(f"the loss is {loss} at step {self.step}: lower optimizer.lr, or raise optimizer.warmup")
        return found

    def _mfu(self, samples_per_s: float) -> float | None:
        found = mfu(samples_per_s / self.ranks.world * self.flops, self.device)
        return None if found is None else round(found, 4)

    # Ending and beginning again

    def _save(self) -> None:
        self.skips.keep(self.reader.skips)
        state = self.state.tensors()
        state["sums"] = self.ranks.total(state["sums"]) / self.ranks.world
        if self.ranks.first:
            facts = {"digest": self.data.digest, "version": version("cupel"), "samples": self.step * self.recipe.batch}
            checkpoint.save(self.folder / "checkpoints", self.step, state, facts)
        self.ranks.wait()

    def _resume(self) -> int:
        """The step that the newest checkpoint was written after; 0 without one."""
        saved = checkpoint.found(self.folder / "checkpoints")
        if not saved:
            return 0
        state, facts = checkpoint.load(saved[-1])
        self.state.restore(state)
        self.progress.say(f"going on after step {facts['step']} of {self.steps}")
        return int(facts["step"])

    def _finish(self, first: int, took: float, feed: Feed) -> Result:
        losses = self.ranks.total(self.state.losses()) / self.ranks.world
        seen, rate = self.steps * self.recipe.batch, (self.steps - first) * self.recipe.batch / took
        self.skips.keep(self.reader.skips)
        self.ranks.wait()
        parameters = list(self.state.model.parameters())
        result = Result(
            name=self.recipe.name,
            loss_first=float(losses[0]),
            loss_last=float(losses[1]),
            steps=self.steps,
            samples_seen=seen,
            rows=self.data.rows,
            epochs=seen / self.data.rows,
            samples_per_s=rate,
            data_wait_share=feed.waited_s / took,
            mfu=self._mfu(rate),
            flops_per_sample=self.flops,
            memory_gb=memory_gb(self.device),
            skipped=len(self.skips.all()),
            seconds=took,
            parameters=sum(p.numel() for p in parameters),
            trained_parameters=sum(p.numel() for p in parameters if p.requires_grad),
            dataset=self.data.place,
            digest=self.data.digest,
            seed=self.recipe.seed,
            model=str(self.folder / "model"),
        )
        if self.ranks.first:
            self._write(result)
        self.ranks.wait()
        return result

    def _write(self, result: Result) -> None:
        """The model, what was skipped, and last the result; checkpoints have served."""
        write_model(replace(self.built, model=self.state.final()), self.recipe, self.folder / "model")
        self.skips.gather()
        put(self.folder / "result.json", json.dumps(asdict(result), indent=2))
        checkpoint.clear(self.folder / "checkpoints")


def _knows_bf16(device: torch.device) -> bool:
    """Is it faster with it?"""
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)


def _views(recipe: TrainRecipe, built: Built) -> Views:
    look = built.preprocess
    mean, std = tuple(look["mean"]), tuple(look["std"])  # of a folder, they are lists
    return Views(augment=recipe.augment, side_px=built.side_px, mean=mean, std=std, seed=recipe.seed)
