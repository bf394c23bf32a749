"""What a scenario is built from (`Room`) and what it offers (`Stand`)."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tbdiag.model import TELEMETRY_PAYLOAD, Credentials, Secret, Target, Transport
from tbdiag.sandbox.authority import Authority, Issued
from tbdiag.sandbox.broker import Broker
from tbdiag.sandbox.connection import Tls
from tbdiag.sandbox.datagrams import DatagramServer
from tbdiag.sandbox.knobs import Fault
from tbdiag.sandbox.profile import DEFAULT_TOKEN
from tbdiag.sandbox.server import Server

_PAYLOAD = TELEMETRY_PAYLOAD.decode()


@dataclass(frozen=True, slots=True)
class Stand:
    """A running scenario: the target a device would have, and the server to look into.

    `options` are the fields of `tbdiag.Options` that the scenario needs (a short timeout, `at`).
    `others` are the servers beside it: the HTTP API, a proxy.
    """

    target: Target
    server: Server | DatagramServer | None = None
    options: dict[str, Any] = field(default_factory=dict)
    others: tuple[Server, ...] = ()

    @property
    def secrets(self) -> dict[str, str]:
        """The environment variables that the two commands read, with their values."""
        credentials, found = self.target.credentials, {}
        if credentials.token:
            found["TBDIAG_TOKEN"] = credentials.token.reveal()
        if credentials.password:
            found["TBDIAG_PASSWORD"] = credentials.password.reveal()
        return found

    @property
    def check_line(self) -> str:
        """The `tbdiag check` command that diagnoses this stand; secrets are in the environment."""
        target, credentials = self.target, self.target.credentials
        words = ["tbdiag", "check", f"{target.transport}://{target.address}"]
        words += [word for source in self._cafiles for word in ("--cafile", source)]
        if target.server_name:
            words += ["--server-name", target.server_name]
        if target.http_url:
            words += ["--http-url", target.http_url]
        if credentials.username:
            words += ["--username", credentials.username]
        if credentials.client_id:
            words += ["--client-id", credentials.client_id]
        words += self._certificate
        if self.options.get("proxy"):
            words += ["--proxy", self.options["proxy"]]
        words += [word for name in self.options.get("alpn", ()) for word in ("--alpn", name)]
        return shlex.join(words)

    @property
    def mosquitto_line(self) -> str:
        """The mosquitto_pub command of a device here; it reads secrets from the environment."""
        target, credentials = self.target, self.target.credentials
        words = ["mosquitto_pub", "-d", "-q", "1", "-h", target.host]
        words += ["-p", str(target.effective_port), "-t", "v1/devices/me/telemetry"]
        words += [word for source in self._cafiles for word in ("--cafile", source)]
        words += self._certificate
        if credentials.client_id:
            words += ["-i", credentials.client_id]
        words += [word for name in self.options.get("alpn", ()) for word in ("--tls-alpn", name)]
        words += ["-m", _PAYLOAD]
        line = shlex.join(words)
        if credentials.token:
            return f'{line} -u "$TBDIAG_TOKEN"'
        if credentials.username:
            return f'{line} -u {shlex.quote(credentials.username)} -P "$TBDIAG_PASSWORD"'
        return line

    @property
    def device_line(self) -> str:
        """The documentation's command of a device here: mosquitto_pub, curl or coap-client."""
        target, held = self.target, self.target.credentials
        if target.transport in (Transport.MQTTS, Transport.MQTT):
            return self.mosquitto_line
        token = "$TBDIAG_TOKEN/" if held.token else ""
        url = f'"{target.transport}://{target.address}/api/v1/{token}telemetry"'
        if target.transport in (Transport.HTTPS, Transport.HTTP):
            words = ["curl", "-v", "-X", "POST", "--header", "Content-Type:application/json"]
            trust, data = "--cacert", "--data"
        else:
            words = ["coap-client-openssl", "-v", "6", "-m", "POST", "-t", "application/json"]
            trust, data = "-R", "-e"
            words += ["-c", held.certfile, "-j", held.keyfile or ""] if held.certfile else []
        words += [word for source in self._cafiles for word in (trust, source)]
        return f"{shlex.join([*words, data, _PAYLOAD])} {url}"

    @property
    def _certificate(self) -> list[str]:
        held = self.target.credentials
        if held.certfile is None:
            return []
        return ["--cert", held.certfile, "--key", held.keyfile or held.certfile]

    @property
    def _cafiles(self) -> tuple[str, ...]:
        return self.target.cafile if self.target.transport.encrypted else ()


@dataclass
class Room:
    """Where a scenario is set up: a folder for its files, and parts that are valid by default.

    `port` 0 means any free port. `now` is the moment certificates are dated by.
    """

    folder: Path
    port: int = 0
    profile: str = "default"
    generation: str = "4.x"
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @cached_property
    def root(self) -> Authority:
        """The sandbox's root."""
        return Authority.root("tbdiag Sandbox Root", now=self.now)

    @cached_property
    def intermediate(self) -> Authority:
        """The intermediate that issues server certificates."""
        return self.root.intermediate("tbdiag Sandbox Intermediate", now=self.now)

    def issue(self, **options: Any) -> Issued:
        """A server certificate for loopback; `options` override what is at fault."""
        names = options.pop("names", ())
        return self.intermediate.issue_server(*names, **{"now": self.now, **options})

    def write(self, name: str, data: bytes) -> str:
        """Put a file into the scenario's folder; returns its path."""
        path = self.folder / name
        path.write_bytes(data)
        return str(path)

    def identity(self, issued: Issued) -> Credentials:
        """The credentials of a device with this client certificate, its files written."""
        return Credentials(
            certfile=self.write("device.pem", issued.pem()),
            keyfile=self.write("device.key", issued.key_pem()),
        )

    def broker(
        self,
        *faults: Fault,
        issued: Issued | None = None,
        tls: Tls | None = None,
        plain: bool = False,
        **options: Any,
    ) -> Broker:
        """A ThingsBoard-like broker, over TLS unless `plain`; not started yet."""
        if tls is None and not plain:
            tls = Tls(issued or self.issue())
        options = {"profile": self.profile, "generation": self.generation, **options}
        return Broker(tls=tls, faults=faults, port=self.port, **options)

    def target(self, port: int, cafile: bytes | str | None = None, **changes: Any) -> Target:
        """The target of a device whose CA file holds `cafile` (default: the sandbox's root)."""
        path = cafile
        if not isinstance(path, str):
            path = self.write("ca.pem", self.root.pem() if path is None else path)
        changes.setdefault("credentials", Credentials(token=Secret(DEFAULT_TOKEN)))
        return Target("localhost", port, cafile=(path,), **changes)

    @contextlib.contextmanager
    def serve(
        self,
        server: Server | DatagramServer,
        cafile: bytes | str | None = None,
        options: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Iterator[Stand]:
        """Run `server` and yield its stand; `changes` go to the target."""
        with server:
            yield Stand(self.target(server.port, cafile, **changes), server, options or {})

    @contextlib.contextmanager
    def serve_chain(
        self,
        issued: Issued,
        cafile: bytes | str | None = None,
        options: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Iterator[Stand]:
        """A healthy broker that presents `issued` and its chain."""
        with self.serve(self.broker(issued=issued), cafile, options, **changes) as stand:
            yield stand

    @contextlib.contextmanager
    def serve_plain(
        self, *faults: Fault, options: dict[str, Any] | None = None, **broker: Any
    ) -> Iterator[Stand]:
        """A plain MQTT broker with these faults."""
        server = self.broker(*faults, plain=True, **broker)
        with self.serve(server, options=options, transport=Transport.MQTT) as stand:
            yield stand


def token_credentials(text: str) -> Credentials:
    """Credentials of a device with this access token."""
    return Credentials(token=Secret(text))
