"""Progress on the console, on a terminal and elsewhere."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time

from air.tracking.console import Progress

PROGRAM = """
import logging, sys, time
from air.tracking.console import Progress
logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="LOG %(message)s")
with Progress(200, 100) as progress:
    for iteration in range(101, 201):
        progress.advance(iteration)
        time.sleep(0.002)
        if iteration % 50 == 0:
            progress.show(iteration, loss=-1.5, count_accuracy=0.75)
            logging.info("a note at %d", iteration)
"""


def test_plain_lines_without_a_terminal():
    shown = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert shown.returncode == 0
    lines = shown.stderr.splitlines()
    assert len(lines) == 4
    for line, iteration in zip(lines[::2], (150, 200), strict=True):
        assert re.fullmatch(
            rf"LOG iteration {iteration}/200: loss -1.5, count_accuracy 0.75, "
            r"[\d.]+ it/s, 00:00 left",
            line,
        )
    assert "\r" not in shown.stderr


def test_the_first_iteration_has_no_part_in_the_speed(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    with Progress(101) as progress:
        for iteration, seconds in ((1, 50.0), (2, 0.5), (3, 0.5)):
            now[0] += seconds
            progress.advance(iteration)
            progress.show(iteration)
    shown = [record.message.split(", ", 1)[1] for record in caplog.records]
    assert shown == ["0.0 it/s, 1:23:20 left", "2.0 it/s, 00:50 left", "2.0 it/s, 00:49 left"]


def test_a_bar_on_a_terminal_that_log_lines_do_not_tear():
    reader, writer = pty.openpty()
    fcntl.ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stderr=writer)
    os.close(writer)
    shown = b""
    while True:
        try:
            part = os.read(reader, 4096)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(reader)
    assert process.wait() == 0
    text = shown.decode()
    assert "loss -1.5, count_accuracy 0.75" in text
    assert "200/200" in text
    assert "it/s" in text
    for iteration in (150, 200):  # on a line of its own: the bar is cleared, then drawn again
        assert re.search(rf"\rLOG a note at {iteration}\r\n", text)
    assert "iteration 150/200" not in text


def test_figures_stay_until_they_are_given_again(caplog):
    caplog.set_level(logging.INFO)
    with Progress(10) as progress:
        progress.show(5, loss=1.0)
        progress.show(5, count_accuracy=0.5)
        progress.show(10, loss=0.25)
    assert [record.getMessage().split(", ")[:2] for record in caplog.records[1:]] == [
        ["iteration 5/10: loss 1", "count_accuracy 0.5"],
        ["iteration 10/10: loss 0.25", "count_accuracy 0.5"],
    ]


def test_showing_before_the_first_iteration_is_fine(caplog):
    caplog.set_level(logging.INFO)
    with Progress(10) as progress:
        progress.show(0, loss=1.0)
    assert "iteration 0/10" in caplog.text


def test_advancing_costs_next_to_nothing():
    with Progress(100_000) as progress:
        start = time.perf_counter()
        for iteration in range(100_000):
            progress.advance(iteration)
    assert (time.perf_counter() - start) / 100_000 < 20e-6  # a training step takes milliseconds
