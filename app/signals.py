"""Hears of SIGTERM and SIGINT beside whoever handles them."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_stop_signal(hear: Callable[[], None]) -> Iterator[None]:
    """Calls `hear` on the loop when the process is told to stop, then whoever handled the signal before.

    A server waits for the answers that are open before it ends the lifespan; those that last must hear of it from here.
    Outside the main thread, where Python hears of no signal, and where nobody handled it before, it does nothing.
    """
    loop = asyncio.get_running_loop()
    former: dict[int, Callable[[int, FrameType | None], object]] = {}

    def heard(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(hear)
        former[number](number, frame)

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(number)
            if callable(before):
                former[number] = before
                signal.signal(number, heard)
    try:
        yield
    finally:
        for known, handler in former.items():
            if signal.getsignal(known) is heard:
                signal.signal(known, handler)
