"""Keeps the demo's web in a folder, so that it is drawn once: web.parquet has the answers, truth.json the truth."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq
from web import Answer, free_ports
from web_build import SEED, Answers, build
from web_plan import SITES
from web_truth import Truth

SOURCES: Final = ("draw.py", "scenes.py", "flaws.py", "pictures.py", "web*.py")


def kept_web(out: Path, seed: int = SEED) -> tuple[Answers, Truth, int, bool]:
    """Answers, truth and first port of the web in `out`, made if it is not there; and whether it was made now.

    A corpus that was crawled from another web is deleted. Raises FileExistsError rather than touch a folder that was
    not made by this program.
    """
    mark = out / "web.json"
    made_by = {"seed": seed, "versions": {name: version(name) for name in ("pillow", "numpy")}, "code": _code()}
    known = json.loads(mark.read_text()) if mark.is_file() else {}
    if known.get("complete") and all(known[name] == value for name, value in made_by.items()):
        port = known["first_port"]
        if free_ports(len(SITES), port) == port:
            return _load(out / "web.parquet"), Truth.read(out / "truth.json"), port, False
    corpus = out / "corpus"
    if corpus.exists() and not mark.is_file():
        raise FileExistsError(f"{corpus} is there and was not made by the demo; choose another folder with --out")
    shutil.rmtree(corpus, ignore_errors=True)
    out.mkdir(parents=True, exist_ok=True)
    port = free_ports(len(SITES))
    mark.write_text(json.dumps({**made_by, "first_port": port, "complete": False}))
    answers, truth = build(seed, port)
    _save(answers, out / "web.parquet")
    truth.write(out / "truth.json")
    mark.write_text(json.dumps({**made_by, "first_port": port, "complete": True}))
    return answers, truth, port, True


def _code() -> str:
    """A digest of the programs that make the web: another version of them makes another one."""
    here = Path(__file__).parent
    files = [path for name in SOURCES for path in sorted(here.glob(name))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _save(answers: Answers, path: Path) -> None:
    rows = [
        {"site": site, "path": name, **vars(answer), "headers": [list(pair) for pair in answer.headers]}
        for site, served in answers.items()
        for name, answer in served.items()
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


def _load(path: Path) -> Answers:
    answers: Answers = {site: {} for site in SITES}
    for row in pq.read_table(path).to_pylist():
        site, name = row.pop("site"), row.pop("path")
        answers[site][name] = Answer(**{**row, "headers": tuple((name, value) for name, value in row["headers"])})
    return answers
