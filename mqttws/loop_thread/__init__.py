"""One event loop in a background thread, for programs that have none.

Knows threads, Ctrl-C, forked children, a loop that died, and the interpreter's exit. Does not know
what runs on the loop. ``Client``, ``LocalDps`` and the other synchronous classes each start one, or
share one.
"""

from .callbacks import Callbacks, off_the_loop
from .thread import CLOSE_TIMEOUT, LoopThread, Work, wait_for
from .twins import AsyncOnly, SynchronousOnly, run_to_the_end

__all__ = [
    "CLOSE_TIMEOUT",
    "AsyncOnly",
    "Callbacks",
    "LoopThread",
    "SynchronousOnly",
    "Work",
    "off_the_loop",
    "run_to_the_end",
    "wait_for",
]
