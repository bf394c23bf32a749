"""The MQTT channel, opened while the stages before it are still waiting for the network.

On a long way each round trip counts: dialling and the second TLS handshake need not wait for the
verdict on the first. Nothing is sent over this channel until mqtt.connect takes it, which it does
only after tls.verify passed.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from tbdiag.deadline import Deadline

SLOW_MS = 20.0
"""A TCP connect that takes longer than this makes a spare channel worth a connection."""
SECONDS = 10.0


class Spare:
    """One socket that `open_socket(deadline)` makes in a thread of its own, to be taken once."""

    def __init__(self, open_socket: Callable[[Deadline], socket.socket]) -> None:
        self._opened: queue.SimpleQueue[socket.socket | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._taken = False
        threading.Thread(
            target=self._open, args=(open_socket,), name="tbdiag spare", daemon=True
        ).start()

    def _open(self, open_socket: Callable[[Deadline], socket.socket]) -> None:
        opened = None
        with suppress(Exception):  # whoever takes None opens its own and hears what is wrong
            opened = open_socket(Deadline.after(SECONDS))
        if opened and self._closed.is_set():
            opened.close()
        self._opened.put(opened)

    def take(self, deadline: Deadline) -> socket.socket | None:
        """The socket, waiting for it; None when there is none, or it was taken before."""
        if self._taken:
            return None
        self._taken = True
        with suppress(queue.Empty):
            return self._opened.get(timeout=deadline.remaining())
        self._closed.set()
        return None

    def close(self) -> None:
        """Close the socket unless it was taken."""
        if self._taken:
            return
        self._taken = True
        self._closed.set()
        with suppress(queue.Empty):
            opened = self._opened.get_nowait()
            if opened:
                opened.close()
