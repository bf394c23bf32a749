"""Datagrams to one address, under one monotonic deadline: what DTLS and CoAP speak over."""

from __future__ import annotations

import contextlib
import socket

from tbdiag.deadline import Deadline
from tbdiag.fact import Record
from tbdiag.turns import READ, ready

LARGEST = 65536
"""Bytes that one datagram can hold at most."""


class DatagramRefused(OSError):
    """The address said that nothing listens there, or that there is no way to it.

    An ICMP message (port unreachable, host unreachable) came back for a datagram, or this machine
    would not send it; `strerror` is what the operating system calls it.
    """


class Datagrams(Record):
    """A connected UDP socket, non-blocking: only what this one peer sends is received."""

    socket: socket.socket
    address: str
    port: int
    received: int = 0
    """Bytes read so far."""
    sent: int = 0
    """Datagrams sent so far."""

    @property
    def peer(self) -> str:
        """The address, as evidence names it."""
        return self.address

    def send(self, data: bytes) -> None:
        """Send one datagram; DatagramRefused as the operating system reports it."""
        try:
            self.socket.send(data)
        except BlockingIOError:
            return  # a full buffer loses it as the network may: whoever needs an answer asks again
        except OSError as error:
            raise DatagramRefused(error.errno, error.strerror or str(error)) from error
        self.sent += 1

    def receive(self, deadline: Deadline) -> bytes:
        """The next datagram; TimeoutError when none comes in time, DatagramRefused after ICMP.

        Once the deadline has passed nothing is read any more, so a flood cannot hold anyone up.
        """
        while not deadline.passed:
            try:
                data = self.socket.recv(LARGEST)
            except BlockingIOError:
                self._wait(deadline)
                continue
            except OSError as error:
                raise DatagramRefused(error.errno, error.strerror or str(error)) from error
            self.received += len(data)
            return data
        raise TimeoutError("the deadline passed")

    def _wait(self, deadline: Deadline) -> None:
        ready({self.socket: READ}, deadline.remaining())

    def close(self) -> None:
        """Close the socket; closing twice is harmless."""
        with contextlib.suppress(OSError):
            self.socket.close()


def open_datagrams(address: str, port: int) -> Datagrams:
    """A UDP socket connected to an IP literal (an IPv6 zone included); nothing is sent yet.

    Raises DatagramRefused when this machine has no way to the address.
    """
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM, flags=flags)
        family, kind, _, _, target = found[0]
        sock = socket.socket(family, kind)
    except OSError as error:
        raise DatagramRefused(error.errno, error.strerror or str(error)) from error
    try:
        sock.setblocking(False)
        sock.connect(target)
    except OSError as error:
        sock.close()
        raise DatagramRefused(error.errno, error.strerror or str(error)) from error
    return Datagrams(sock, address, port)
