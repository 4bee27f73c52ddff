"""What frozen vectors know of classes: a logistic regression on all training images (linear probe), or on k a class.

L-BFGS to the optimum of a convex loss in float64, on the GPU where there is one: no learning rate, no seed but that of
the split. The L2 penalty is chosen on a validation split, not on what is reported (CLIP_benchmark's issue 107).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from .shares import refuse_nan
from .zero_shot import Accuracy, accuracy

PENALTIES: Final = tuple(10.0**power for power in (1, 0, -1, -2, -3, -4))  # each begins where the last one ended
SHOTS: Final = (1, 2, 4, 8, 16)
DRAWS: Final = 3  # of the k images a class
STEPS: Final = 500
FEWEST: Final = 5  # images of a class that can be parted in training, validation and test
SMALL: Final = 1 << 27  # multiplications of a product that one thread does best
TUNED: Final = 4  # validation images a class that a k-shot probe is tuned on, at most (CoOp's rule, and k at most)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Numbers of images."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A linear classifier on vectors that were centred and scaled as those it was trained on."""

    weights: np.ndarray  # (d + 1, classes); the last row is the bias
    centre: np.ndarray
    scale: float

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """Scores (n, classes)."""
        found: np.ndarray = _with_ones((vectors - self.centre) / self.scale) @ self.weights
        return found


def split(labels: np.ndarray, trains: np.ndarray | None = None, seed: int = 0) -> Split | None:
    """Half of each class to test on, a fifth of the rest to choose the penalty; with `trains` (n,) the test is given.

    None where a class has too few images.
    """
    rng = np.random.default_rng(seed)
    train, validation, test = [], [], []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        tested = rows[: len(rows) // 2] if trains is None else rows[~trains[rows]]
        rest = rows[len(rows) // 2 :] if trains is None else rows[trains[rows]]
        if len(rows) < FEWEST or len(rest) < 2:
            return None
        held = max(1, len(rest) // 5)
        validation.append(rest[:held])
        train.append(rest[held:])
        test.append(tested)
    found = [np.sort(np.concatenate(part)) for part in (train, validation, test)]
    return Split(train=found[0], validation=found[1], test=found[2])


def linear_probe(vectors: np.ndarray, labels: np.ndarray, parts: Split, classes: int) -> dict[str, Any]:
    """Accuracy on the test images of a probe on all others; the penalty is chosen on the validation images."""
    refuse_nan(vectors)
    penalty = _chosen(vectors, labels, parts.train, parts.validation, classes)[0]
    both = np.concatenate([parts.train, parts.validation])
    probe = fit(vectors[both], labels[both], classes, (penalty,))[-1]
    return {"trained_on": len(both), "penalty": penalty, **_tested(probe, vectors, labels, parts.test).as_dict()}


def few_shot(
    vectors: np.ndarray, labels: np.ndarray, parts: Split, classes: int, shots: Sequence[int] = SHOTS, seed: int = 0
) -> dict[str, Any]:
    """k -> accuracy on the test images of probes on k training images a class: the mean and spread of three draws.

    Only the k that every class has. The penalty is chosen on min(k, 4) validation images a class.
    """
    refuse_nan(vectors)
    fewest = int(np.bincount(labels[parts.train], minlength=classes)[np.unique(labels)].min())
    found: dict[str, Any] = {}
    for k in (k for k in shots if k <= fewest):
        drawn = []
        for draw in range(DRAWS):
            rng = np.random.default_rng((seed, k, draw))
            some = _of_each(labels, parts.train, k, rng)
            tuned = _of_each(labels, parts.validation, min(k, TUNED), rng)
            probe = _chosen(vectors, labels, some, tuned, classes)[1]
            drawn.append(_tested(probe, vectors, labels, parts.test).top1)
        found[str(k)] = {"value": float(np.mean(drawn)), "sd": float(np.std(drawn, ddof=1)), "draws": drawn}
    return found


def fit(
    vectors: np.ndarray, labels: np.ndarray, classes: int, penalties: Sequence[float], steps: int = STEPS
) -> list[Probe]:
    """A probe for each penalty, the optimum of mean cross-entropy + penalty / 2 * |weights|^2 (the bias goes free).

    Vectors (n, d) are centred, and divided by one number so that they vary by 1 on average.
    """
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    centre = vectors.mean(axis=0, dtype=np.float64)
    scale = float(np.sqrt(np.mean((vectors - centre) ** 2))) or 1.0
    x = torch.from_numpy(_with_ones((vectors - centre) / scale)).to(device)
    y = torch.from_numpy(np.asarray(labels, np.int64)).to(device)
    w = torch.nn.Parameter(torch.zeros(x.shape[1], classes, dtype=torch.float64, device=device))

    def minimise(penalty: float) -> None:
        solver = torch.optim.LBFGS(
            [w], max_iter=steps, tolerance_grad=1e-5, tolerance_change=1e-7, line_search_fn="strong_wolfe"
        )

        def loss() -> torch.Tensor:
            log_p = torch.log_softmax(x @ w, dim=1)
            decay = penalty * torch.cat([w[:-1], torch.zeros_like(w[-1:])])
            error = log_p.exp()
            error[torch.arange(len(y), device=device), y] -= 1
            w.grad = x.T @ error / len(y) + decay
            return torch.nn.functional.nll_loss(log_p, y) + (decay * w).sum() / 2

        with torch.no_grad():
            solver.step(loss)  # type: ignore[no-untyped-call]

    found = []
    with _threads(1 if x.numel() * classes < SMALL else torch.get_num_threads()):
        for penalty in penalties:
            minimise(penalty)
            found.append(Probe(weights=w.detach().cpu().numpy().copy(), centre=centre, scale=scale))
    return found


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Threads of torch for a while: of small products the most would be spent on waiting for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _chosen(
    vectors: np.ndarray, labels: np.ndarray, train: np.ndarray, validation: np.ndarray, classes: int
) -> tuple[float, Probe]:
    """The penalty that does best on validation images, of equals the greatest, and the probe trained with it."""
    probes = fit(vectors[train], labels[train], classes, PENALTIES)
    scores = [_tested(probe, vectors, labels, validation).top1 for probe in probes]
    best = int(np.argmax(scores))
    return PENALTIES[best], probes[best]


def _tested(probe: Probe, vectors: np.ndarray, labels: np.ndarray, rows: np.ndarray) -> Accuracy:
    return accuracy(probe.logits(vectors[rows]), labels[rows])


def _of_each(labels: np.ndarray, rows: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """k of the rows of each class, or all where there are fewer."""
    mine = [rng.permutation(rows[labels[rows] == label])[:k] for label in np.unique(labels[rows])]
    return np.concatenate(mine)


def _with_ones(x: np.ndarray) -> np.ndarray:
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)
