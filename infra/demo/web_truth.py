"""What stands on the demo's web, and what should become of it: a record for each page, image and paragraph."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class PageTruth:
    """A page. `flaw` is empty for a sound article; `original` is the URL of the page that a copy was made of."""

    url: str
    kind: str  # article, gallery, front, or trap: an address that leads to no page
    flaw: str = ""
    control: str = ""  # odd, but sound
    original: str = ""
    final_url: str = ""  # where a redirect leads


@dataclass(frozen=True)
class ImageTruth:
    """An image as a page shows it. `flaw` concerns the picture, `caption_flaw` what the page says of it.

    `furniture` (a share icon, a thumbnail) belongs to no article. `original` is the URL of the picture that a copy was
    made of, `original_page` a page that shows it.
    """

    page_url: str
    image_url: str
    flaw: str = ""
    caption_flaw: str = ""
    furniture: str = ""
    control: str = ""
    original: str = ""
    original_page: str = ""


@dataclass(frozen=True)
class TextTruth:
    """A paragraph of a page. `flaw` is empty where it is part of the article, `neutral` where either is right."""

    page_url: str
    text: str
    flaw: str = ""


@dataclass
class Truth:
    """All of it."""

    pages: list[PageTruth] = field(default_factory=list)
    images: list[ImageTruth] = field(default_factory=list)
    texts: list[TextTruth] = field(default_factory=list)

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), ensure_ascii=False, indent=0), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Self:
        found = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            [PageTruth(**row) for row in found["pages"]],
            [ImageTruth(**row) for row in found["images"]],
            [TextTruth(**row) for row in found["texts"]],
        )
