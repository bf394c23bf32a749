"""Real TLS servers on loopback, one for each chain."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tbdiag.sandbox.authority import pem
from tests.chains import Chain, chains

ACCEPT_SECONDS = 0.2


class Server:
    """A TLS server that presents one chain and closes every connection after the handshake."""

    def __init__(self, chain: Chain, folder: Path) -> None:
        self.chain = chain
        self.cafile = folder / "ca.pem"
        self.cafile.write_bytes(pem(*chain.anchors))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.set_ciphers("ALL:@SECLEVEL=0")
        certfile, keyfile = folder / "server.pem", folder / "server.key"
        certfile.write_bytes(pem(*chain.presented))
        keyfile.write_bytes(chain.issued.key_pem())
        self._context.load_cert_chain(certfile, keyfile)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(ACCEPT_SECONDS)
        self.port: int = self._listener.getsockname()[1]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            with connection, contextlib.suppress(OSError):
                connection.settimeout(5)
                with self._context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(1)

    def close(self) -> None:
        """Stop serving."""
        self._stop.set()
        self._thread.join()
        self._listener.close()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """A server for every chain of tests/chains.py, by its name."""
    running: dict[str, Server] = {}
    try:
        for name, chain in chains().items():
            running[name] = Server(chain, tmp_path_factory.mktemp(name))
        yield running
    finally:
        for server in running.values():
            server.close()
