"""From Parquet to batches of pixels, in an order that nothing but its seed decides; for any trainer.

from cupel.pipeline.train.reader import Reader, open_dataset

for batch in Reader(open_dataset("corpus"), batch=256, side_px=224):
    batch.images, batch.texts, batch.rows
"""

from .dataset import Dataset, open_dataset
from .reader import Batch, Reader

__all__ = ["Batch", "Dataset", "Reader", "open_dataset"]
