"""Time one thousand TLS checks on loopback: tbdiag, blackbox_exporter, openssl under xargs.

    python benchmarks/fleet.py [--targets 1000] [--rounds 3]

Every round runs each contender once over the same listeners, so that the machine's moods hit all
alike; medians and ratios are printed. CPU is that of the contender's processes, not of the
listeners or of whoever asks. A contender that is not installed is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import multiprocessing
import os
import queue
import resource
import shutil
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tbdiag.sandbox.authority import Authority

LISTENERS = 4
THREADS = 64
"""Handshakes that one listener process serves at once."""
JOBS = 32
CROWD = 500
NAME = "device.fleet.test"
TICKS = os.sysconf("SC_CLK_TCK")


class Figure(NamedTuple):
    """What one contender took for one round."""

    seconds: float
    cpu: float
    peak_mb: float | None = None


class Field(NamedTuple):
    """What is checked: the ports of the listeners, how many targets, where the files are."""

    folder: Path
    ports: list[int]
    targets: int

    def port(self, number: int) -> int:
        """The port of target `number`."""
        return self.ports[number % len(self.ports)]


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with field(max(1, min(given.targets, 20_000))) as listeners:
        rounds = [one_round(listeners) for _ in range(max(1, min(given.rounds, 20)))]
    show(listeners.targets, rounds)


@contextmanager
def field(targets: int) -> Iterator[Field]:
    """Listeners that present a chain of two certificates, and the files to check them with."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        root = Authority.root()
        (folder / "ca.pem").write_bytes(root.pem())
        issuer = root.intermediate()
        ports = []
        for number in range(LISTENERS):
            issued = issuer.issue_server("*.fleet.test", "127.0.0.1")
            chain, key = folder / f"chain{number}.pem", folder / f"key{number}.pem"
            chain.write_bytes(issued.chain_pem())
            key.write_bytes(issued.key_pem())
            listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
            ports.append(listener.getsockname()[1])
            stack.callback(listen(listener, chain, key))
        made = Field(folder, ports, targets)
        (folder / "fleet.toml").write_text(fleet_of(made))
        yield made


def fleet_of(made: Field) -> str:
    """The fleet file: every target has a name of its own."""
    lines = ["[defaults]", 'cafile = "ca.pem"']
    for number in range(made.targets):
        lines += ["[[targets]]", f'name = "t{number}"', 'host = "127.0.0.1"']
        lines += [f"port = {made.port(number)}", f'server_name = "d{number}.fleet.test"']
    return "\n".join(lines) + "\n"


def listen(listener: socket.socket, chain: Path, key: Path) -> Callable[[], None]:
    """Start a listener: mosquitto, which costs little, else Python's ssl; returns its end."""
    program = shutil.which("mosquitto", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        server = multiprocessing.Process(target=serve, args=(listener, chain, key), daemon=True)
        server.start()
        listener.close()
        return server.terminate
    port = listener.getsockname()[1]
    listener.close()
    config = chain.with_suffix(".conf")
    config.write_text(
        f"listener {port} 127.0.0.1\ncertfile {chain}\nkeyfile {key}\nallow_anonymous true\n"
        "log_dest none\nset_tcp_nodelay true\nuser root\n"
    )
    broker = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    await_port(port)
    return broker.kill


def serve(listener: socket.socket, chain: Path, key: Path) -> None:
    """Shake hands with everybody, wait for the end, in many threads."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)

    def answer() -> None:
        while True:
            client, _ = listener.accept()
            try:
                client.settimeout(20)
                with context.wrap_socket(client, server_side=True) as channel:
                    channel.recv(64)
            except OSError:
                client.close()

    for _ in range(THREADS):
        threading.Thread(target=answer, daemon=True).start()
    threading.Event().wait()


Contender = Callable[[Field], Figure | None]


def one_round(made: Field) -> dict[str, Figure]:
    """Each contender once."""
    figures = {name: contender(made) for name, contender in CONTENDERS.items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def tbdiag(made: Field, jobs: int = JOBS) -> Figure:
    """`tbdiag fleet --only-tls` as a user runs it: start-up, history and journal included."""
    command = [sys.executable, "-m", "tbdiag", "fleet", str(made.folder / "fleet.toml")]
    command += ["--only-tls", "-f", "nagios", "-j", str(jobs)]
    command += ["--history", str(made.folder / "history.sqlite")]
    return timed(command, b"TBDIAG OK")


def tbdiag_crowd(made: Field) -> Figure:
    """The same with many connections open at once."""
    return tbdiag(made, CROWD)


def openssl(made: Field) -> Figure | None:
    """`openssl s_client`, which verifies, under `xargs -P`."""
    if not (shutil.which("openssl") and shutil.which("xargs")):
        return None
    ports = "\n".join(str(made.port(number)) for number in range(made.targets))
    check = f"openssl s_client -connect 127.0.0.1:{{}} -servername {NAME} -CAfile"
    check += f" {made.folder}/ca.pem -verify_return_error </dev/null >/dev/null 2>&1"
    return timed(["xargs", "-P", str(JOBS), "-I{}", "sh", "-c", check], b"", ports.encode())


def timed(command: list[str], expected: bytes, given: bytes = b"") -> Figure:
    """Run a command; its time, its CPU with that of its children, its peak memory."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    output, peak = communicate(process, given)
    seconds = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode or not output.startswith(expected):
        raise SystemExit(f"{command[0]} failed: {output[:300]!r}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figure(seconds, cpu, peak)


def communicate(process: subprocess.Popen[bytes], given: bytes) -> tuple[bytes, float]:
    """Feed a process and read it to the end; returns its output and its peak memory in MB."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(given)
    process.stdin.close()
    peak = 0.0
    reader: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    output = process.stdout
    threading.Thread(target=lambda: reader.put(output.read()), daemon=True).start()
    while True:
        peak = max(peak, memory(process.pid))
        try:
            text = reader.get(timeout=0.02)
        except queue.Empty:
            continue
        process.wait()
        return text, peak


def memory(pid: int) -> float:
    """The memory that a process and its children hold now, in MB: what they share counts once."""
    held = 0
    for folder in (Path(f"/proc/{number}") for number in [pid, *children(pid)]):
        with contextlib.suppress(OSError):
            lines = (folder / "smaps_rollup").read_text().splitlines()
            held += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return held / 1024


def children(pid: int) -> list[str]:
    """The ids of the processes that a process has started."""
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def blackbox(made: Field) -> Figure | None:
    """blackbox_exporter, asked over kept connections by as many threads as are useful."""
    program = shutil.which("prometheus-blackbox-exporter") or shutil.which("blackbox_exporter")
    if program is None:
        return None
    config = made.folder / "blackbox.yml"
    config.write_text(
        "modules:\n  tls:\n    prober: tcp\n    timeout: 20s\n    tcp:\n      tls: true\n"
        f"      tls_config: {{ca_file: {made.folder}/ca.pem, server_name: {NAME}}}\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [program, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        await_port(port)
        ask_all(made, port, 8)
        cpu, started = cpu_of(process.pid), time.monotonic()
        ask_all(made, port, made.targets)
        seconds = time.monotonic() - started
        return Figure(seconds, cpu_of(process.pid) - cpu, memory(process.pid))
    finally:
        process.terminate()
        process.wait()


def await_port(port: int) -> None:
    """Wait until something listens."""
    limit = time.monotonic() + 10
    while time.monotonic() < limit:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


def ask_all(made: Field, port: int, targets: int) -> None:
    """Probe every target; ends the program when a probe does not succeed."""
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(targets):
        waiting.put(made.port(number))
    bad: list[bytes] = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        while True:
            try:
                target = waiting.get_nowait()
            except queue.Empty:
                return connection.close()
            connection.request("GET", f"/probe?target=127.0.0.1:{target}&module=tls")
            text = connection.getresponse().read()
            if b"\nprobe_success 1" not in text:
                bad.append(text)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if bad:
        raise SystemExit(f"blackbox_exporter failed: {bad[0][-300:]!r}")


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


CONTENDERS: dict[str, Contender] = {
    "tbdiag fleet --only-tls": tbdiag,
    f"the same, {CROWD} at once": tbdiag_crowd,
    "blackbox_exporter": blackbox,
    "openssl s_client, xargs": openssl,
}


def show(targets: int, rounds: list[dict[str, Figure]]) -> None:
    """Medians over the rounds, and each contender's ratio to tbdiag."""
    print(f"{targets} targets, {len(rounds)} rounds, medians; ratio: its figure / tbdiag's")
    print(f"{'':27}{'targets/s':>10}{'ratio':>8}{'CPU ms/target':>15}{'ratio':>8}{'peak MB':>9}")
    base: tuple[float, float] | None = None
    for name in CONTENDERS:
        figures = [done[name] for done in rounds if name in done]
        if not figures:
            print(f"{name:27}not installed")
            continue
        rate = targets / statistics.median(f.seconds for f in figures)
        cpu = statistics.median(f.cpu for f in figures) / targets * 1000
        peaks = [f.peak_mb for f in figures if f.peak_mb is not None]
        base = base or (rate, cpu)
        peak = f"{max(peaks):9.0f}" if peaks and "xargs" not in name else ""
        print(f"{name:27}{rate:10.0f}{rate / base[0]:8.2f}{cpu:15.2f}{cpu / base[1]:8.2f}{peak:>9}")


if __name__ == "__main__":
    main()
