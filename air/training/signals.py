"""Ctrl-C and a scheduler's signals, caught between iterations so that a run can save and stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# EX_TEMPFAIL of sysexits.h, which asks for another try: the same for all of a scheduler's signals,
# on every system, and not what a shell says of a process that died of a signal without saving.
TRY_AGAIN = 75


class Interruption:
    """Which signal has come, if any."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def catch(self, number: int, frame: FrameType | None) -> None:
        """Remember the signal; a second Ctrl-C stops at once."""
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, as the shell has it: a person wants the run to end; else `TRY_AGAIN`."""
        assert self.signal is not None
        return 128 + self.signal if self.signal == signal.SIGINT else TRY_AGAIN


@contextlib.contextmanager
def caught() -> Iterator[Interruption]:
    """Catch Ctrl-C, SIGTERM and SIGUSR1 inside the block, and handle them as before after it.

    SIGUSR1 is what Slurm sends ahead of a time limit with `--signal=USR1@SECONDS`.

    A handler that has been changed inside the block stays.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption  # Python allows handlers in the main thread only
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGUSR1"):  # not on Windows
        numbers.append(signal.SIGUSR1)
    before = {number: signal.signal(number, interruption.catch) for number in numbers}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) == interruption.catch:
                signal.signal(number, handler)
