"""Debian's mosquitto on loopback, for tests against a broker that is not our own."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tbdiag.sandbox.authority import Authority, Issued

TOKEN = "MosquittoTestToken01"


def mosquitto_path() -> str | None:
    """Where mosquitto is installed; Debian puts it where users do not look."""
    return shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class Mosquitto:
    """A running mosquitto: a plain and a TLS listener, both asking for TOKEN as username.

    `password` None lets any username in without a password.
    """

    folder: Path
    root: Authority
    issued: Issued
    password: str | None = None
    port: int = 0
    tls_port: int = 0
    log: str = ""

    def __enter__(self) -> Mosquitto:
        self.port, self.tls_port = free_port(), free_port()
        self._process = subprocess.Popen(
            [str(mosquitto_path()), "-v", "-c", str(self._configured())],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._ready.wait(10), self.log
        return self

    def _read(self) -> None:
        assert self._process.stderr
        with contextlib.closing(self._process.stderr) as lines:
            for line in lines:
                self.log += line
                if re.search(r"running$", line.strip()):
                    self._ready.set()

    def _configured(self) -> Path:
        (self.folder / "ca.pem").write_bytes(self.root.pem())
        (self.folder / "server.pem").write_bytes(self.issued.chain_pem())
        (self.folder / "server.key").write_bytes(self.issued.key_pem())
        access = "allow_anonymous true"
        if self.password is not None:
            passwords = self.folder / "passwords"
            passwords.write_text("")
            command = ["mosquitto_passwd", "-b", str(passwords), TOKEN, self.password]
            subprocess.run(command, check=True, capture_output=True)
            access = f"allow_anonymous false\npassword_file {passwords}"
        config = self.folder / "mosquitto.conf"
        config.write_text(
            f"user root\n{access}\n"
            "set_tcp_nodelay true\n"  # else CONNACK waits 40 ms for an ACK
            f"listener {self.port} 127.0.0.1\n"
            f"listener {self.tls_port} 127.0.0.1\n"
            f"certfile {self.folder / 'server.pem'}\nkeyfile {self.folder / 'server.key'}\n"
        )
        return config

    @property
    def cafile(self) -> str:
        """The PEM file with the root that issued the server's certificate."""
        return str(self.folder / "ca.pem")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait(5)
        self._reader.join(5)
