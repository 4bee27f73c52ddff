"""Reading web archives: records of each file beside warcio's, and records a second beside warcio and FastWARC.

    python infra/bench/warc.py ../shared/data/warc        # a folder of .warc .warc.gz .arc .arc.gz
    python infra/bench/warc.py ../shared/data/warc 200    # the speeds on 200 copies of its largest archive

The first table counts the records of every file, all kinds; where the numbers differ the last column says why. The
second reads one archive whole: every record's header and body, HTTP headers parsed, content codings undone (FastWARC,
which reads no ARC: `auto_decode="all"`). `scan` is the first pass of `read: {warc: ...}`, `again` a later one that
makes rows, digests compared. All run in one thread and are told in CPU seconds, the least of three runs.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa

from cupel.operators.source import open_source
from cupel.operators.source._warc_bytes import Raw
from cupel.operators.source._warc_http import decode_body
from cupel.operators.source._warc_records import walk
from cupel.operators.source._warc_rows import response_of
from cupel.operators.source.base import cut, unify
from cupel.schemas.recipe import Read

SUFFIXES = (".warc", ".warc.gz", ".arc", ".arc.gz")


def ours(path: Path) -> tuple[Counter[str], str]:
    """Records by kind, and the classes of those that are damaged."""
    counts, errors = Counter[str](), Counter[str]()
    for record in walk(Raw(pa.OSFile(str(path)))):
        counts[record.type or "?"] += 1
        if record.error is not None:
            errors[record.error.kind] += 1
    return counts, ", ".join(f"{number} {kind}" for kind, number in errors.items())


def theirs(path: Path) -> tuple[Counter[str], str]:
    """The same by warcio, and why it stopped."""
    from warcio.archiveiterator import ArchiveIterator

    counts = Counter[str]()
    try:
        with path.open("rb") as handle:
            for record in ArchiveIterator(handle):
                counts["warcinfo" if record.rec_type == "arc_header" else record.rec_type] += 1
                record.raw_stream.read()
    except Exception as error:  # noqa: BLE001
        return counts, f"warcio stops: {' '.join(str(error).split())[:60]}"
    return counts, ""


def with_warcio(path: Path) -> int:
    """Records whose bodies were read and decoded."""
    from warcio.archiveiterator import ArchiveIterator

    with path.open("rb") as handle:
        return sum(record.content_stream().read() is not None for record in ArchiveIterator(handle))


def with_fastwarc(path: Path) -> int:
    """The same by FastWARC."""
    from fastwarc.warc import ArchiveIterator

    with path.open("rb") as handle:
        records = ArchiveIterator(handle, parse_http=True, auto_decode="all")
        return sum(record.reader.read() is not None for record in records)


def with_ours(path: Path) -> int:
    """The same by Cupel's reader."""
    number = 0
    for number, record in enumerate(walk(Raw(pa.OSFile(str(path)))), 1):  # noqa: B007
        response = response_of(record)
        if response is not None:
            decode_body(response, 1 << 26)
    return number


def as_rows(path: Path) -> Iterator[tuple[str, Callable[[], int]]]:
    """What a recipe's first pass and its later passes do."""
    source = open_source(Read(warc=str(path)))
    scan = source.scan(str(path))
    schema = unify({scan.file: scan.schema})

    def read() -> int:
        shards = cut(scan, 1000, 0)
        return sum(len(rows.slots) for shard in shards for rows in source.rows(shard, schema, schema.names))

    def first() -> int:
        return source.scan(str(path)).marks[-1].row

    return iter([("scan", first), ("again", read)])


def speed(name: str, run: Callable[[], int], records: int, mb: float, than: float | None) -> float:
    """One line of the second table; records a second."""
    best, number = float("inf"), 0
    for _ in range(3):
        began = time.process_time()
        number = run()
        best = min(best, time.process_time() - began)
    ratio = f"{records / best / than:5.2f} x warcio" if than else ""
    print(f"{name:26} {number:9,} {records / best:11,.0f}/s {mb / best:8.1f} MB/s  {ratio}")
    return records / best


def main(folder: Path, copies: int) -> None:
    files = sorted(path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES))
    print(f"{'file':32} {'ours':>6} {'warcio':>6}  kinds; what is damaged; what differs")
    for path in files:
        (mine, damage), (other, why) = ours(path), theirs(path)
        kinds = " ".join(f"{kind}:{number}" for kind, number in sorted(mine.items()))
        notes = "; ".join(filter(None, [kinds, damage, why if mine != other else ""]))
        print(f"{path.name:32} {mine.total():6} {other.total():6}  {notes}")
    largest = max((path for path in files if path.name.endswith(".warc.gz")), key=lambda path: path.stat().st_size)
    with TemporaryDirectory() as temporary:
        many = Path(temporary) / "many.warc.gz"
        many.write_bytes(largest.read_bytes() * copies)
        records, mb = ours(many)[0].total(), many.stat().st_size / 1e6
        print(f"\n{copies} x {largest.name}: {records:,} records, {mb:,.0f} MB packed; by CPU seconds, best of three")
        base = speed("warcio", lambda: with_warcio(many), records, mb, None)
        speed("FastWARC", lambda: with_fastwarc(many), records, mb, base)
        speed("Cupel, records", lambda: with_ours(many), records, mb, base)
        for name, run in as_rows(many):
            speed(f"Cupel, {name}", run, records, mb, base)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 20)
