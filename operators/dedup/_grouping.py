"""What the operators that look for near-duplicates share: a measured column, who is kept, an existing corpus."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ..base import CorpusOperator, operator
from ._against import AGAINST, bytes_of, files_of
from ._prefer import Prefer, reads


@operator
class Grouping(CorpusOperator):
    """Groups rows by what an earlier step measured, and names the one that is kept."""

    column: str = Field(description="column that says what rows are alike")
    prefer: Prefer | None = Field(None, description="{highest: column} or {lowest: column}: which of them is kept")
    against: str | None = Field(None, min_length=1, description=AGAINST)

    @property
    def compared(self) -> tuple[str, ...]:
        """The columns that say what rows are alike."""
        return (self.column,)

    @property
    def reads(self) -> tuple[str, ...]:
        return reads(self.compared, self.prefer)

    @property
    def files(self) -> tuple[Path, ...]:
        return files_of(self.against, *self.compared)

    @property
    def more_bytes(self) -> int:
        return bytes_of(self.against, *self.compared)
