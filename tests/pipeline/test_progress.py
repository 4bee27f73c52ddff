"""Bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import pytest

from cupel.pipeline import progress
from cupel.pipeline.progress import Silent, Terminal


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test turns."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_tell_rate_and_time_left_every_ten_seconds(capsys, clock):
    with Terminal() as told:
        told.begin("scan", 2, "files")
        told.advance(2)
        told.begin("select.frequency", 0)
        told.begin("decide", 1000)
        for _ in range(4):
            clock[0] += 6
            told.advance(250)
        told.say("cannot read [red]x[/red]: " + "y" * 200)
    out, lines = capsys.readouterr()
    assert out == ""
    assert lines.splitlines() == [
        "scan: 0/2 files",
        "scan: 2/2 files",
        "select.frequency",
        "decide: 0/1,000 rows",
        "decide: 500/1,000 rows, 42 rows/s, 12 s left",
        "decide: 1,000/1,000 rows, 42 rows/s",
        "cannot read [red]x[/red]: " + "y" * 200,
    ]


def test_what_is_slow_and_what_nobody_counted(capsys, clock):
    with Terminal() as told:
        told.begin("arms", 4, "runs")
        clock[0] += 60
        told.advance(1)
        told.begin("photos", 0, "images")
        for _ in range(3):
            clock[0] += 6
            told.advance(1000)
    assert capsys.readouterr().err.splitlines() == [
        "arms: 0/4 runs",
        "arms: 1/4 runs, 0.017 runs/s, 180 s left",
        "photos",
        "photos: 2,000 images, 167 images/s",
    ]


def test_bars_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    with Terminal() as told:
        told.begin("scan", 2, "files")
        told.advance(2)
        told.begin("select.frequency", 0)
        told.say("cannot read x")
    shown = capsys.readouterr().err
    assert "\x1b[" in shown
    assert "2/2" in shown
    assert "cannot read x" in shown


def test_silence(capsys):
    told = Silent()
    told.begin("scan", 2)
    told.advance(2)
    told.say("something")
    assert capsys.readouterr() == ("", "")
