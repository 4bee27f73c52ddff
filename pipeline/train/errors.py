"""What can go wrong in training, in words for the user."""

from __future__ import annotations

from ..read import RunError


class TrainError(RunError):
    """A training run that cannot begin, go on or be compared: says what was seen and what to do."""


class Stopped(TrainError):  # noqa: N818
    """A run that was asked to stop; the same command goes on."""
