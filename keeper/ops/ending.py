"""How commands that run until they are stopped are stopped."""

import signal
import threading
from types import FrameType


def on_signal() -> threading.Event:
    """Set by Ctrl-C or a request to terminate, from now on."""
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    return ended
