"""What a name server would say, for names that no name server knows.

Replaces `socket.getaddrinfo` in this process while its context is open; every other name is
resolved as before.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

_LAST = threading.Lock()


@contextmanager
def resolving(host: str, answer: Callable[[int], list[Any]]) -> Iterator[None]:
    """Lookups of `host` return `answer(port)`, or raise what it raises."""
    real = socket.getaddrinfo

    def lookup(name: Any, port: Any, *args: Any, **more: Any) -> Any:
        text = name.decode() if isinstance(name, bytes) else name
        if text != host:
            return real(name, port, *args, **more)
        return answer(int(port or 0))

    with _LAST, patch.object(socket, "getaddrinfo", lookup):
        yield


def no_such_name(_port: int) -> list[Any]:
    """The name server says that the name does not exist."""
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def addresses(*texts: str) -> Callable[[int], list[Any]]:
    """The name has these IPv4 addresses."""

    def answer(port: int) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (text, port)) for text in texts]

    return answer


@contextmanager
def hanging(host: str) -> Iterator[None]:
    """Lookups of `host` do not come back while the context is open."""
    released = threading.Event()

    def answer(_port: int) -> list[Any]:
        released.wait(60)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    with resolving(host, answer):
        try:
            yield
        finally:
            released.set()
