"""Train n-gram models: text in, ARPA out; counts in shards on Ray, so that memory does not grow with the corpus."""

from .trainer import Trained, TrainError, train

__all__ = ["TrainError", "Trained", "train"]
