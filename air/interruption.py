"""Ctrl-C and SIGTERM, noticed between iterations so that a run can save before it stops."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interruption:
    """Which signal has come, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def notice(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal; a second Ctrl-C stops at once."""
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)

    @property
    def exit_code(self) -> int:
        """The shell's convention: 128 plus the signal's number."""
        assert self.signal is not None
        return 128 + self.signal


@contextlib.contextmanager
def noticed() -> Iterator[Interruption]:
    """Notice SIGINT and SIGTERM inside the block, and handle them as before after it.

    A handler that has been changed inside the block stays.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption  # Python allows handlers in the main thread only
        return
    before = {
        number: signal.signal(number, interruption.notice)
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) == interruption.notice:
                signal.signal(number, handler)
