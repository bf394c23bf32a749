"""A client written with our own codec, for what paho-mqtt would not send or show."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from tbdiag.protocol.mqtt import (
    Connect,
    Disconnect,
    Packet,
    PacketReader,
    Ping,
    Puback,
    Publish,
    Version,
    encode,
    parse,
)
from tbdiag.sandbox.profile import DEFAULT_TOKEN

TELEMETRY = "v1/devices/me/telemetry"


class Client:
    """A blocking MQTT client; `receive` returns None when the server closed."""

    def __init__(self, port: int, version: Version) -> None:
        self.version = version
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._reader = PacketReader()
        self._packets: list[Packet] = []

    def send(self, *packets: Packet) -> None:
        self.sock.sendall(b"".join(map(encode, packets)))

    def receive(self) -> Packet | None:
        while not self._packets:
            try:
                data = self.sock.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            found = self._reader.feed(data)
            self._packets += [parse(header, body, self.version) for header, body in found]
        return self._packets.pop(0)

    def connect(self, **fields: object) -> Packet | None:
        if not {"username", "client_id"} & set(fields):
            fields["username"] = DEFAULT_TOKEN
        self.send(Connect(version=self.version, **fields))  # type: ignore[arg-type]
        return self.receive()

    def publish(self, topic: str = TELEMETRY, payload: bytes = b'{"temperature":25}') -> str:
        """Publish at QoS 1 and say what came back.

        "0x00" is a PUBACK's code, "0x83+closed" a DISCONNECT's, "nothing" the answer to a ping.
        """
        self.send(Publish(topic, payload, 1, 7, version=self.version), Ping())
        answer = self.receive()
        if isinstance(answer, Puback):
            return f"0x{answer.code:02X}"
        if isinstance(answer, Disconnect):
            assert self.receive() is None
            return f"0x{answer.code:02X}+closed"
        return "closed" if answer is None else "nothing"


@pytest.fixture
def dial() -> Iterator[Callable[..., Client]]:
    """Open clients; all are closed in the end."""
    clients: list[Client] = []

    def open_client(port: int, version: Version = Version.V311) -> Client:
        clients.append(Client(port, version))
        return clients[-1]

    yield open_client
    for client in clients:
        client.sock.close()
