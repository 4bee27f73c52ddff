"""Label rows by key press, to learn how right a rule is: a few at a time, drawn at random, with no verdict in sight.

Rows are drawn without replacement from those that a rule dropped, from those that it let pass, or from both in turn.
Every label is in the file that `--labels` names before the next row comes, so a session may end at any time.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request

from ...rates import Counts, Rate, Stratum, weighted_quality
from ...read import CorpusError
from ..fates import path_of
from ..labels.file import (
    Label,
    Labels,
    Verdict,
    now,
)
from ..pictures.thumbnails import Pictures
from ..rows import CutRows
from .browse import shelf
from .cells import Cells
from .lots import STRATA, Frame, Side, frame_of
from .page import JSON, Page, page, post, state_of
from .words import visible

GOAL = 100  # labels: an interval of ± 10 points at most
HEADER = "x-cupel"  # a script of ours sets it; a form of another page cannot
LIMIT_BYTES = 4096
WORDS_CHARACTERS = 4000
PICTURE_PX = 1024
_OPENING = threading.Lock()


class Said(BaseModel):
    """What the page sends: what somebody said of a row, or that the last word is taken back."""

    model_config = ConfigDict(extra="forbid", strict=True)
    say: Literal["keep", "drop", "skip", "undo"]
    shard: int = 0
    row: int = 0


class Desk:
    """The file of labels, and what was skipped since the server began."""

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.lock = threading.Lock()
        self.skipped: dict[str, list[tuple[int, int]]] = {}  # frame -> (shard, row)
        self.said: list[tuple[str, str]] = []  # frame and word, in the order they came

    def done(self, frame: str) -> set[tuple[int, int]]:
        """(shard, row) of what needs no more asking."""
        labelled = ((label.shard, label.row) for label in self.labels.all if label.frame == frame)
        return {*labelled, *self.skipped.get(frame, ())}

    def add(self, frame: Frame, number: int, key: str | None, word: Verdict) -> None:
        """Write a label."""
        space = frame.rows.spaces[frame.space]
        shard, row = space.place_of(number)
        stratum = frame.stratum_of(number)
        view = frame.rows.cut.view(frame.space, shard)
        label = Label(
            cut=frame.rows.cut.title,
            space=frame.space,
            shard=shard,
            row=row,
            path=path_of(view, row),
            key=key,
            label=word,
            frame=frame.name,
            stratum=stratum,
            stratum_rows=frame.sizes[stratum],
            labelled_at=now(),
        )
        self.labels.append(label)
        self.said.append((frame.name, word))

    def skip(self, frame: Frame, number: int) -> None:
        """Ask no more about a row, until the server begins anew."""
        self.skipped.setdefault(frame.name, []).append(frame.rows.spaces[frame.space].place_of(number))
        self.said.append((frame.name, "skip"))

    def undo(self, frame: Frame) -> bool:
        """Take the last word on this frame back; False where there is none, or another frame's came after it."""
        if self.said and self.said[-1] == (frame.name, "skip"):
            self.skipped[frame.name].pop()
        elif self.last_label(frame):
            self.labels.undo()
        else:
            return False
        self.said = self.said[:-1]
        return True

    def last_label(self, frame: Frame) -> str | None:
        """The last word in the file, if it is about this frame."""
        last = self.labels.all[-1] if len(self.labels) else None
        return last.label if last is not None and last.frame == frame.name else None

    def can_undo(self, frame: Frame) -> bool:
        """Is there something to take back?"""
        return self.said[-1:] == [(frame.name, "skip")] or self.last_label(frame) is not None


def label_page(request: Request) -> Page:
    """The next row to label, and what is known by now."""
    if state_of(request).labels is None:
        cut = state_of(request).cut(request.path_params["cut"])
        data: dict[str, Any] = {"labels": None, "place": state_of(request).store.uri}
        return Page(template="label.html", title="Label", data=data, cut=cut.title, tab="Label")
    rows = shelf(request).rows
    return _page(request, rows, _frame(request), _side(request))


def say(request: Request, body: bytes) -> Page:
    """Take a label, or take one back; answers as `label_page` does."""
    if request.headers.get(HEADER) != "label":
        raise HTTPException(403, "Labels come from the page's own script.")
    if state_of(request).labels is None:
        raise HTTPException(403, "Start `cupel inspect` with --labels FILE to label rows.")
    try:
        said = Said.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(400, f"A label has say, shard and row: {error.errors()[0]['msg']}.") from None
    frame = _frame(request)
    desk = _desk(request)
    with desk.lock:
        try:
            _obey(desk, shelf(request).cards.cells, frame, said)
        except CorpusError:  # another program wrote the file: it is read anew by who comes next
            request.app.state.desk = None
            raise
    return _page(request, frame.rows, frame, _side(request))


def _obey(desk: Desk, cells: Cells, frame: Frame, said: Said) -> None:
    if said.say == "undo":
        if not desk.undo(frame):
            raise HTTPException(409, "There is nothing to undo here.")
        return
    number = frame.number(said.shard, said.row)
    if said.say == "skip":
        desk.skip(frame, number)
    else:
        key = cells.take(frame.space, [number], ["key"])["key"][0]
        desk.add(frame, number, key, said.say)


def _frame(request: Request) -> Frame:
    """What the address asks to judge: `rule=3`, or the whole cut."""
    rows = shelf(request).rows
    text = request.query_params.get("rule", "")
    if text and not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < len(rows.rules)):
        raise HTTPException(400, f"rule must be a number below {len(rows.rules)}, not {text[:40]!r}.")
    rule = int(text) if text else None
    cut = request.path_params["cut"]
    return state_of(request).once(cut, f"frame {rule}", lambda rows: frame_of(rows, rule))


def _side(request: Request) -> Side:
    text = request.query_params.get("side") or "both"
    side: Side | None = next((side for side in get_args(Side) if side == text), None)
    if side is None:
        raise HTTPException(400, f"side must be one of {', '.join(get_args(Side))}, not {text[:40]!r}.")
    return side


def _desk(request: Request) -> Desk:
    """One for all requests. Raises CorpusError for a file that holds something else."""
    path = state_of(request).labels
    assert path is not None
    with _OPENING:
        desk: Desk | None = getattr(request.app.state, "desk", None)
        if desk is None:
            desk = request.app.state.desk = Desk(Labels(path))
        return desk


def _page(request: Request, rows: CutRows, frame: Frame, side: Side) -> Page:
    desk = _desk(request)
    done = desk.done(frame.name)
    shown = _shown(request, frame, list(islice(_ahead(frame, side, done), 2)))
    tally = desk.labels.tally(frame.name)
    data = {
        "labels": desk.labels.path.name,
        "rule": frame.rule,
        "side": side,
        "asked": frame.words,
        "strata": {name: {"rows": size, **_counted(tally, name)} for name, size in frame.sizes.items()},
        "goal": min(GOAL, len(frame.orders[side])),
        "estimates": _estimates(frame, tally),
        "row": shown[0] if shown else None,
        "after": shown[1] if len(shown) > 1 else None,  # its picture can be fetched ahead
        "last": desk.last_label(frame),
        "can_undo": desk.can_undo(frame),
    }
    view = {} if request.url.path.endswith(JSON) else {"choices": _choices(rows)}
    return Page(template="label.html", title="Label", data=data, view=view, cut=rows.cut.title, tab="Label")


def _ahead(frame: Frame, side: Side, done: set[tuple[int, int]]) -> Iterator[int]:
    """The rows that are still to be looked at, in the order drawn."""
    space = frame.rows.spaces[frame.space]
    return (int(number) for number in frame.orders[side] if space.place_of(int(number)) not in done)


def _shown(request: Request, frame: Frame, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Rows without a word on what became of them: that would sway who labels."""
    cards = shelf(request).cards.of(frame.space, numbers, characters=WORDS_CHARACTERS)
    places = [(card["space"], card["shard"], card["row"]) for card in cards if card["picture"] not in (None, "hide")]
    state_of(request).of_cut(frame.rows.cut.title, "pictures", Pictures).prepare(places, PICTURE_PX)
    told = [{name: card[name] for name in ("name", "space", "shard", "row", "picture")} for card in cards]
    return [{**row, "words": visible(card["words"] or "")} for row, card in zip(told, cards, strict=True)]


def _counted(tally: dict[str, Any], stratum: str) -> dict[str, int]:
    found = tally.get(stratum, {})
    return {"keep": found.get("keep", 0), "drop": found.get("drop", 0)}


def _estimates(frame: Frame, tally: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """How right the rule (or the whole cut) is, by the labels so far."""
    gone, stayed = (_counted(tally, name) for name in STRATA)
    counts = (
        Counts(gone_bad=gone["drop"], gone_good=gone["keep"]),
        Counts(stayed_bad=stayed["drop"], stayed_good=stayed["keep"]),
    )
    populations = (frame.sizes[name] for name in STRATA)
    found = weighted_quality([Stratum(population=p, counts=c) for p, c in zip(populations, counts, strict=True)])
    both = bool(sum(gone.values())) and bool(sum(stayed.values()))
    return {
        "precision": _rate(found.drop_precision),
        "recall": _rate(found.drop_recall) if both else _rate(None),
        "kept_precision": _rate(found.keep_precision),
    }


def _rate(rate: Rate | None) -> dict[str, Any]:
    return vars(rate) if rate is not None else {"hits": 0, "of": 0, "share": None, "low": None, "high": None}


def _choices(rows: CutRows) -> list[dict[str, Any]]:
    """What can be judged: the whole cut, and every rule that dropped something."""
    dropped = int((~rows.last.kept).sum())
    whole = {"rule": None, "label": "the whole cut", "words": f"all rules, {dropped:,} dropped"}
    counts = [int((rows.spaces[rule.space].gone_by == i).sum()) for i, rule in enumerate(rows.rules)]
    return [
        whole,
        *(
            {"rule": i, "label": f"{rule.column} {rule.text}", "words": f"{counts[i]:,} dropped"}
            for i, rule in enumerate(rows.rules)
            if counts[i]
        ),
    ]


routes = [*page("/cut/{cut}/label", label_page), *post("/cut/{cut}/label", say, LIMIT_BYTES)]
