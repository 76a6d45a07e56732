"""Two that need the same thing at once: one makes it, and the other waits."""

import threading


class Slow:
    """Work that has begun, and ends when it may."""

    def __init__(self):
        self.begun, self.may_end = threading.Event(), threading.Event()

    def wait(self):
        """Say that the work has begun, and wait until it may end."""
        self.begun.set()
        assert self.may_end.wait(60)


def results_of(first, second, slow, caplog):
    """Run two functions in threads: the second once the first works, which ends once that waits.

    Locks are of files, so that threads exclude one another as processes do.

    Args:
        first: calls `slow.wait()` where it works.
        second: waits for it.
        slow: the work.
        caplog: where the second says that it waits.

    Returns:
        What they returned, in the order in which they did.
    """
    caplog.set_level("INFO")
    results = []
    threads = [
        threading.Thread(target=lambda run=run: results.append(run())) for run in (first, second)
    ]
    threads[0].start()
    assert slow.begun.wait(60)
    threads[1].start()
    while threads[1].is_alive() and "waiting for another process" not in caplog.text:
        threads[1].join(0.01)
    slow.may_end.set()
    for thread in threads:
        thread.join(60)
    return results
