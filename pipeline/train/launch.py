"""Train on a Ray cluster: Ray Train starts the processes, the loop in them is the same as torchrun's."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Final

from ...operators.models.weights import ModelError
from ...schemas.train import TrainRecipe
from ..cluster import ray_session
from ..progress import Reporter, Silent
from ..read import CorpusError, RunError
from .errors import TrainError
from .folder import SAID
from .log import Result

ASK_S: Final = 0.5
LINE_BYTES: Final = 1 << 16  # more than a line of the log has


def fit_on_ray(
    recipe: TrainRecipe,
    data: str,
    out: Path,
    *,
    workers: int,
    cut: str | None = None,
    ray_address: str | None = None,
    threads: int | None = None,
    progress: Reporter | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Result:
    """Train in `workers` processes, a GPU each where the cluster has any; `out` must be seen by all machines.

    A Ray that runs already is used and left alone. `stop` is asked twice a second: a file in `out` tells the processes,
    and Stopped is raised once their checkpoint is written. Raises TrainError, CorpusError, ModelError and RunError.
    """
    import ray

    try:
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
        from ray.train.v2.api.exceptions import TrainingFailedError
    except ImportError as error:
        raise TrainError("--workers needs Ray Train: pip install 'cupel[ray-train]'") from error

    out, recipe = out.absolute(), _absolute(recipe)  # Ray Train's processes work in a folder of their own
    data = str(Path(data).absolute()) if Path(data).exists() else data
    config = {"recipe": recipe.model_dump_json(), "data": data, "cut": cut, "out": str(out), "threads": threads}
    notes = tempfile.mkdtemp(prefix="cupel-train-")  # Ray Train's own; what is worth keeping lies in `out`
    progress = progress or Silent()
    progress.begin("start Ray Train", 0)
    _stop_file(out).unlink(missing_ok=True)
    try:
        with ray_session(ray_address):
            gpus = int(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
            if 0 < gpus < workers:
                print(f"the cluster has {gpus} GPUs for {workers} workers: training on CPUs", file=sys.stderr)
            scaling = ScalingConfig(num_workers=workers, use_gpu=gpus >= workers)
            run = RunConfig(storage_path=notes)
            trainer = TorchTrainer(_train, train_loop_config=config, scaling_config=scaling, run_config=run)
            thread = ThreadPoolExecutor(1)  # in the main one, Ray Train answers Ctrl-C by killing the processes
            try:
                _follow(thread.submit(trainer.fit), out, recipe, progress, stop)
            finally:
                thread.shutdown(wait=False)  # Ray's end is its end
    except TrainingFailedError as error:
        raise _told(error) from error
    finally:
        shutil.rmtree(notes, ignore_errors=True)
        _stop_file(out).unlink(missing_ok=True)
    return Result(**json.loads((out / "result.json").read_text()))


def _follow(
    training: Future[Any], out: Path, recipe: TrainRecipe, progress: Reporter, stop: Callable[[], bool]
) -> object:
    """Until it has ended: tell how far its log is, and pass on that it is to stop."""
    told = None
    while True:
        wait([training], timeout=ASK_S)
        if training.done():
            return training.result()
        if stop() and (out / SAID).is_file():
            _stop_file(out).touch()
        if (step := _last_step(out / "log.jsonl")) is None:
            continue
        if told is None:
            told = step
            progress.begin("train", 0 if recipe.samples is None else recipe.samples - step * recipe.batch, "pairs")
        progress.advance((step - told) * recipe.batch)
        told = step


def _last_step(log: Path) -> int | None:
    """Of the log's last whole line, read from its end: a long run's log is long."""
    if not log.is_file():
        return None
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LINE_BYTES))
        lines = file.read().split(b"\n")[:-1]
    return int(json.loads(lines[-1])["step"]) if lines else None


def _stop_file(out: Path) -> Path:
    return out / ".stop"


def _absolute(recipe: TrainRecipe) -> TrainRecipe:
    """The recipe with the model's folder and file of weights named from the root."""
    paths = {"architecture": recipe.model.architecture or "", "pretrained": recipe.model.pretrained}
    found = {name: str(Path(path).absolute()) for name, path in paths.items() if path and Path(path).exists()}
    return recipe.model_copy(update={"model": recipe.model.model_copy(update=found)})


def _train(config: dict[str, Any]) -> None:
    """In each process, where Ray Train has made the process group."""
    from .loop import fit
    from .ranks import joined
    from .reader import open_dataset

    recipe = TrainRecipe.model_validate_json(config["recipe"])
    with joined() as ranks:
        dataset = open_dataset(config["data"], cut=config["cut"])
        stop = _stop_file(Path(config["out"])).exists
        fit(recipe, dataset, config["out"], ranks=ranks, threads=config["threads"], stop=stop)


def _told(error: Exception) -> Exception:
    """What went wrong in a process: the error as it was there, where it is one for the user."""
    failures = getattr(error, "worker_failures", {}).values()
    return next(
        (failure for failure in failures if isinstance(failure, TrainError | CorpusError | ModelError)),
        RunError(f"Ray Train gave up: {str(error).strip().splitlines()[-1]}"),
    )
