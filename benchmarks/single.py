"""Time one diagnosis against the two C programs and sslyze, alternating, and print the ratios.

    make bench            (or: .venv/bin/python benchmarks/single.py [--runs N])

A local mosquitto with TLS is the server. Each round runs every contender once,
so a slow moment of the machine hits all of them; medians and their ratios are what counts.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tbdiag.sandbox.authority import Authority

TOKEN = "benchmarkToken000001"
TBDIAG = str(Path(sys.executable).with_name("tbdiag"))
LONG_WAY = """
import sys
from tbdiag.checks import _mqtt_spare
_mqtt_spare.SLOW_MS = -1.0
from tbdiag.cli import run
sys.exit(run(sys.argv[1:]))
"""
"""tbdiag for the delaying proxy, which accepts at once: the way looks short by its TCP connect."""
ONE_WAY = 0.05
"""Seconds that the delaying proxy holds every byte: 100 ms of round trip."""


def run(command: list[str], **environment: str) -> float:
    """Milliseconds that a command takes; its output is thrown away."""
    started = time.perf_counter()
    subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **environment},
        timeout=60,
        check=False,
    )
    return (time.perf_counter() - started) * 1000


def alternate(contenders: dict[str, Callable[[], float]], runs: int) -> dict[str, float]:
    """The median of each contender over `runs` rounds, each run once before to warm caches."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for name in contenders:
        contenders[name]()
    for _ in range(runs):
        for name, contender in contenders.items():
            times[name].append(contender())
    return {name: statistics.median(values) for name, values in times.items()}


@contextmanager
def mosquitto(folder: Path) -> Iterator[tuple[int, str]]:
    """A mosquitto with TLS that takes any username; yields its port and the CA file."""
    _write_certificates(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "mosquitto.conf").write_text(
        f"user root\nlistener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n"
        f"cafile {folder}/ca.pem\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key\n"
    )
    server = subprocess.Popen(
        [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", f"{folder}/mosquitto.conf"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield port, f"{folder}/ca.pem"
    finally:
        server.terminate()
        server.wait(10)


def _write_certificates(folder: Path) -> None:
    root = Authority.root("Benchmark Root")
    issued = root.intermediate("Benchmark Intermediate").issue_server()
    (folder / "ca.pem").write_bytes(root.pem())
    (folder / "server.pem").write_bytes(issued.chain_pem())
    (folder / "server.key").write_bytes(issued.key_pem())


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit("mosquitto did not start")


@contextmanager
def delayed(port: int) -> Iterator[int]:
    """A proxy on loopback that holds every chunk for ONE_WAY seconds; yields its port.

    A connection is accepted before it is delayed, so the dial itself costs no round trip: the
    proxy charges it to the first bytes instead, one more ONE_WAY in each direction.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, port), daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def _accept(listener: socket.socket, port: int) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        server = socket.create_connection(("127.0.0.1", port))
        for source, sink in ((client, server), (server, client)):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    import queue

    held: queue.Queue[tuple[float, bytes]] = queue.Queue()
    threading.Thread(target=_deliver, args=(held, sink), daemon=True).start()
    first = ONE_WAY
    while True:
        try:
            data = source.recv(65536)
        except OSError:
            data = b""
        held.put((time.monotonic() + ONE_WAY + first, data))
        first = 0.0
        if not data:
            return


def _deliver(held: object, sink: socket.socket) -> None:
    while True:
        due, data = held.get()  # type: ignore[attr-defined]
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
        except OSError:
            return


def contenders(
    port: int, cafile: str, tbdiag: tuple[str, ...] = (TBDIAG,)
) -> dict[str, Callable[[], float]]:
    """One full diagnosis, and what a person would type instead."""
    s_client = ["openssl", "s_client", "-connect", f"localhost:{port}", "-CAfile", cafile]
    publish = ["mosquitto_pub", "-h", "localhost", "-p", str(port), "--cafile", cafile, "-q", "1"]
    publish += ["-u", TOKEN, "-t", "v1/devices/me/telemetry", "-m", '{"temperature":25}']
    check = [*tbdiag, "check", f"localhost:{port}", "--cafile", cafile]
    found: dict[str, Callable[[], float]] = {
        "openssl s_client + mosquitto_pub": lambda: run(s_client) + run(publish),
        "tbdiag check": lambda: run(check, TBDIAG_TOKEN=TOKEN),
    }
    sslyze = shutil.which("sslyze") or next(map(str, Path().glob(".venv*/bin/sslyze")), None)
    if sslyze:
        scan = [sslyze, "--certinfo", f"localhost:{port}"]
        found["sslyze --certinfo"] = lambda: run(scan)
    return found


def show(title: str, medians: dict[str, float]) -> None:
    """The medians of one comparison, and tbdiag's ratio to each of the others."""
    print(f"\n{title}")
    ours = medians["tbdiag check"] if "tbdiag check" in medians else medians["tbdiag --version"]
    for name, median in medians.items():
        print(f"  {name:<34} {median:8.1f} ms   tbdiag / this = {ours / median:5.2f}")


def main() -> None:
    """Run every comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    for program in ("openssl", "mosquitto_pub"):
        if not shutil.which(program):
            raise SystemExit(f"{program} is missing: apt-get install mosquitto mosquitto-clients")
    start_up = {
        "python -c pass": lambda: run([sys.executable, "-c", "pass"]),
        "tbdiag --version": lambda: run([TBDIAG, "--version"]),
    }
    show("Start-up", alternate(start_up, runs))
    with tempfile.TemporaryDirectory() as name, mosquitto(Path(name)) as (port, cafile):
        show("Full diagnosis, loopback", alternate(contenders(port, cafile), runs))
        with delayed(port) as slow:
            slow_runs = {
                k: v
                for k, v in contenders(slow, cafile, (sys.executable, "-c", LONG_WAY)).items()
                if not k.startswith("sslyze")
            }
            show("Full diagnosis, 100 ms round trip", alternate(slow_runs, max(3, runs // 3)))


if __name__ == "__main__":
    main()
