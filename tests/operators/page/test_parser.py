"""A page may kill the process that reads it, and costs nothing but itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cupel.operators.decode import RowError
from cupel.operators.page._parser import MESSAGE_BYTES, Page, Parser

GOOD = b"<p>A paragraph that is long enough, and that says something, too.</p>"
ENDLESS = b"<div>" * 1_000_000  # quadratic in the parser, which takes minutes
PROSE = b"<p>" + b"word, " * 80 + b"</p>"
HOSTILE = {
    "nested elements": (b"<font>" * 100_000 + b"x", "too_deep"),
    "nested tables": (b"<table><tr><td>" * 100_000, "too_deep"),
    "nested divs": (ENDLESS, "timed_out"),
    "attributes": (b"<p " + b" ".join(b"a%d=1" % i for i in range(400_000)) + b">x", "timed_out"),
    "elements": (b"<p>x" * 1_000_000, "too_large"),
    "links": (b"<a>" * 1_000_000, "too_large"),
    "entities": (b"<p>" + b"&amp;&#x10FFFF;&nothing;" * 300_000, None),
    "NULs": (b"<p>\0a\0b" * 1000, None),
    "colspan": (b"<table><tr><td colspan=9007199254740991 rowspan=9007199254740991>x</table>", None),
    "comment": (b"<!--" * 2_000_000, None),
    "srcset": (b"<img src=a.jpg srcset='" + b"a 1w," * 1_000_000 + b"'>", None),
    "tabs in srcset": (PROSE + (b"<img src=a.jpg srcset='a" + b"\t" * 49_000 + b"\0,'>") * 4, None),
    "only spaces in srcset": (PROSE + (b"<img src=a.jpg srcset='" + b" " * 49_000 + b"'>") * 20, None),
    "spaces in srcset": (b"<img src=a.jpg srcset='" + b" " * 5_000_000 + b"x'>", None),
    "class": (b"<div class='" + b"a-" * 2_000_000 + b"'>x</div>", None),
    "style": (b"<div style='" + b"display:" * 1_000_000 + b"'>x</div>", None),
    "title": (b"<title>" + b"word " * 1_000_000, None),
    "doctype": (b"<!doctype " + b"x" * 5_000_000, None),
    "metas": (b"<meta name=robots content=noai>" * 100_000, None),
    "select": (b"<select><option>" * 200_000, None),
    "frames": (b"<frameset><frame src=x></frameset>", None),
    "base": (b"<base href=file:///etc/><img src=passwd>", None),
    "all bytes": (bytes(range(256)) * 4000, None),
    "nothing": (b"", None),
}


@pytest.fixture
def parser():
    made = Parser()
    yield made
    made.stop()


def parse(parser: Parser, *htmls: bytes, max_seconds: float = 20.0) -> list[str | None]:
    """The class of each page's error, None where there is none."""
    pages = [Page(html=html, url="https://example.org/") for html in htmls]
    found = parser.parse(pages, task="document", opt_outs=[], max_seconds=max_seconds)
    return [one.kind if isinstance(one, RowError) else None for one in found]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_page_is_an_error_with_a_class_or_sensible_and_its_neighbours_are_read(parser, name):
    html, error = HOSTILE[name]
    seconds = 1.0 if error == "timed_out" else 20.0
    assert parse(parser, GOOD, html, GOOD, max_seconds=seconds) == [None, error, None]


def test_answers_come_in_order_through_many_messages(parser):
    htmls = [b"<p>%d</p>" % i + b" " * (MESSAGE_BYTES // 3) for i in range(10)]
    pages = [Page(html=html, url="") for html in htmls]
    found = parser.parse(pages, task="document", opt_outs=[], max_seconds=20)
    assert [nodes[0][1] for _, nodes in found] == [str(i) for i in range(10)]


def test_a_page_that_kills_the_process_twice_is_to_blame(parser):
    parser.start()
    done = threading.Event()
    killer = threading.Thread(target=kill_while_busy, args=(parser, done))
    killer.start()
    try:
        found = parse(parser, GOOD, ENDLESS, GOOD, GOOD, max_seconds=60)
    finally:
        done.set()
        killer.join()
    assert found == [None, "parser_crash", None, None]


def kill_while_busy(parser: Parser, done: threading.Event) -> None:
    """Twice, kill a process that has been at one page for half a second of CPU."""
    killed: set[int] = set()
    while len(killed) < 2 and not done.wait(0.02):
        process = parser._process
        if process is not None and process.pid not in killed and cpu_seconds(process.pid) > 1.0:
            os.kill(process.pid, signal.SIGSEGV)
            killed.add(process.pid)


def cpu_seconds(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_process_that_something_else_killed_is_started_again(parser):
    assert parse(parser, GOOD) == [None]
    os.kill(parser._process.pid, signal.SIGKILL)
    assert parse(parser, GOOD, GOOD) == [None, None]


def test_an_interrupt_leaves_no_answers_behind(parser):
    with pytest.raises(TypeError):
        parser.parse([Page(html=GOOD, url="")], task="document", opt_outs=[], max_seconds=object())
    assert parse(parser, GOOD) == [None]


def test_a_process_that_cannot_start_is_no_pages_fault(parser, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="does not start: exit status 1"):
        parse(parser, GOOD)


@pytest.mark.parametrize("html", [GOOD, ENDLESS], ids=["idle", "busy"])
def test_it_ends_when_its_parent_is_killed(html):
    script = f"""
import json, sys, threading
from cupel.operators.page._parser import PARSER, Page
PARSER.start()
page = Page(html={html[:5]!r} * {len(html) // 5}, url="")
threading.Thread(target=lambda: PARSER.parse([page], task="document", opt_outs=[], max_seconds=2), daemon=True).start()
print(json.dumps(PARSER._process.pid), flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        pid = json.loads(parent.stdout.readline())
        parent.kill()
    while Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        time.sleep(0.05)
