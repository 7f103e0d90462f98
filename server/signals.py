"""Being asked to stop, as an exception that unwinds whatever was started."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

STOPPING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupted(BaseException):
    """A signal asked us to stop. Not an Exception, so that nothing on the way swallows it."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn signals into Interrupted. The first one wins: stopping is bounded in time and not disturbed by a second Ctrl-C."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        for sign in STOPPING_SIGNALS:
            signal.signal(sign, signal.SIG_IGN)
        raise Interrupted

    def hang_up(_signal: int, _frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)  # whoever handles that now: we, or uvicorn while it serves

    before = {sign: signal.signal(sign, interrupt) for sign in STOPPING_SIGNALS}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
