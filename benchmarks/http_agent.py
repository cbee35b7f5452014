"""What HTTP agents cost: predictions over loopback, a rollback of a hundred agents, a large model on its way.

    python benchmarks/http_agent.py [--quick] [--agents 100]

Every agent is a process of its own (`python -m upm_cli.agent serve`) with a folder of its own, on this machine, beside
the process that sends to them.
"""

import argparse
import hashlib
import http.client
import json
import os
import re
import secrets
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from upm_cli.adapters.base import Deadline, Delivery
from upm_cli.adapters.http import HttpAdapter
from upm_cli.clock import SystemClock
from upm_cli.core.delivery import places
from upm_cli.core.delivery.pointer import Place, Pointer
from upm_cli.safehttp.addresses import Allowed
from upm_cli.safehttp.client import FileBody, Site
from upm_cli.safehttp.urls import parse
from upm_cli.testing import Publisher, key_of, trust_file

ROOT = Path(__file__).resolve().parents[1]
MESSAGE = json.loads((ROOT / "examples/triage.jsonl").read_text().splitlines()[0])["features"]
MANIFEST: dict[str, Any] = {
    "schema_version": 1,
    "version": 1,
    "labels": {"task": "binary", "names": [], "classes": [], "max_classes": 1000, "truth": "number"},
}
CLOCK = SystemClock()


@dataclass
class Serving:
    """One agent."""

    url: str
    process: "subprocess.Popen[str]"

    def memory_mib(self, what: str) -> float:
        """Return VmRSS or VmHWM of the process."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{what}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Serving]:
    """Run an agent until the block ends."""
    command = [sys.executable, "-m", "upm_cli.agent", "serve", "--port", "0", "--max-rate", "0", "--dir", str(folder)]
    process = subprocess.Popen(
        [*command, *options], env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        yield Serving(process.stderr.readline().split(" listens on ")[1].split()[0], process)
    finally:
        process.terminate()
        process.communicate()


def model(weights: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return arrays and manifest of a model with so many weights."""
    bits = max(18, (weights * 2).bit_length())
    chance = np.random.default_rng(seed)
    slots = np.append(np.sort(chance.choice(1 << bits, weights, replace=False)), 1 << bits).astype(np.uint32)
    shape = {"kind": "linear", "format": 1, "task": "binary", "link": "logistic", "bits": bits, "outputs": 1}
    arrays = {"slots": slots, "weights": chance.standard_normal((slots.size, 1), np.float32)}
    return arrays, {**MANIFEST, "model": shape}


def deliver(url: str, publisher: Publisher, pointer: Pointer, envelope: bytes) -> None:
    path = publisher.root / places.model(pointer.digest, pointer.model.codec)
    ack = HttpAdapter(url, clock=CLOCK).deliver(
        Delivery(pointer=pointer, envelope=envelope, model=path), Deadline.after(CLOCK, 120)
    )
    assert ack.confirms(pointer)


def predicting(folder: Path, requests: int) -> None:
    """One client and eight, one window and a hundred in a request."""
    publisher = Publisher(folder / "models")
    pointer = publisher.publish(*model(5000))
    with serving(folder / "agent") as agent:
        deliver(agent.url, publisher, pointer, publisher.sent[-1][1])
        for clients, windows in ((1, 1), (8, 1), (1, 100)):
            body = json.dumps({"windows": [{"features": MESSAGE}] * windows}).encode()
            count = max(50, requests // (10 if windows > 1 else 1))
            with ThreadPoolExecutor(clients) as pool:
                begun = time.perf_counter()
                parts = list(pool.map(lambda _: ask(agent.url, body, count // clients), range(clients)))  # noqa: B023
                took = time.perf_counter() - begun
            times = sorted(each for part in parts for each in part)
            print(
                f"{clients} client{'s' if clients > 1 else ' '} × {windows:3d} windows{'':12s}"
                f"{len(times) * windows / took:10,.0f} predictions/s; "
                f"{times[len(times) // 2]:.2f} ms median, {times[len(times) * 99 // 100]:.2f} ms 99 %"
            )


def ask(url: str, body: bytes, requests: int) -> list[float]:
    """Return how many milliseconds each request took, on one connection."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    found = []
    for _ in range(requests):
        begun = time.perf_counter()
        connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        response.read()
        assert response.status == 200
        found.append((time.perf_counter() - begun) * 1000)
    connection.close()
    return found


def rolling_back(folder: Path, agents: int) -> None:
    """How long until every one of so many agents has confirmed that it serves the version before."""
    seed = key_of("bench")
    trust = trust_file(folder / "trust.json", seed)
    publisher = Publisher(folder / "models", seeds=(seed,))
    good = publisher.publish(*model(5000, 1), version=1)
    bad = publisher.publish(*model(5000, 2), version=2)
    sent = [publisher.sent[-2][1], publisher.sent[-1][1]]
    with ExitStack() as stack, ThreadPoolExecutor(16) as pool:
        start = [folder / f"agent-{number}" for number in range(agents)]
        fleet = list(pool.map(lambda path: stack.enter_context(serving(path, "--trust", str(trust))), start))
        for pointer, envelope in ((good, sent[0]), (bad, sent[1])):
            list(pool.map(lambda agent: deliver(agent.url, publisher, pointer, envelope), fleet))  # noqa: B023
        rounds = []
        for number in range(5):
            back = replace(good, place=Place(10 + number, 10 + number), kind="rollback")
            envelope = publisher.sealed(back)
            begun = time.perf_counter()
            list(pool.map(lambda agent: deliver(agent.url, publisher, back, envelope), fleet))  # noqa: B023
            rounds.append(time.perf_counter() - begun)
        memory = statistics.median(agent.memory_mib("VmRSS") for agent in fleet)
        print(
            f"{agents} agents after a rollback    {statistics.median(rounds):10.2f} s until all have confirmed "
            f"(of 5: {min(rounds):.2f} to {max(rounds):.2f}); {memory:.0f} MiB each"
        )


def large(folder: Path, mebibytes: int) -> None:
    """How much memory both sides need for a model on its way, and how long it takes."""
    path, proof = folder / "large.bin", hashlib.sha256()
    with path.open("wb") as file:
        for _ in range(mebibytes):
            piece = secrets.token_bytes(1 << 20)
            file.write(piece)
            proof.update(piece)
    digest = proof.hexdigest()
    size = mebibytes << 20
    headers = {
        "Content-Type": "application/octet-stream",
        "Upm-Codec": "none",
        "Upm-Raw-Bytes": str(size),
        "Upm-File-Digest": digest,
    }
    with serving(folder / "agent") as agent:
        before, own = agent.memory_mib("VmRSS"), _own_mib()
        deadline = Deadline.after(CLOCK, 600)
        site = Site.look_up(parse(agent.url), Allowed(), deadline.left_s)
        begun = time.perf_counter()
        with path.open("rb") as file:
            body = FileBody(file=file, size=size)
            reply = site.request("PUT", f"/models/{digest}", deadline.left_s, headers=headers, body=body)
        took = time.perf_counter() - begun
        assert reply.status == 201, reply.body
        print(
            f"a model of {mebibytes} MiB sent{'':8s}{took:10.1f} s; the agent grew by "
            f"{agent.memory_mib('VmHWM') - before:.1f} MiB at most, the sender by {_own_mib() - own:.1f} MiB"
        )


def _own_mib() -> float:
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def slow_clients(folder: Path, clients: int) -> None:
    """How long a prediction takes while so many clients send a byte of a request now and then."""
    import socket

    publisher = Publisher(folder / "models")
    pointer = publisher.publish(*model(5000))
    with serving(folder / "agent") as agent, ExitStack() as stack:
        deliver(agent.url, publisher, pointer, publisher.sent[-1][1])
        host, _, port = agent.url.removeprefix("http://").partition(":")
        over = threading.Event()

        def drip() -> None:
            while not over.is_set():
                slow = [stack.enter_context(socket.create_connection((host, int(port)))) for _ in range(clients // 10)]
                for each in slow:
                    try:
                        each.sendall(b"POST /predict HTTP/1.1\r\nHo")
                    except OSError:
                        continue
                over.wait(0.1)

        thread = threading.Thread(target=drip)
        thread.start()
        body = json.dumps({"windows": [{"features": MESSAGE}]}).encode()
        times = sorted(ask(agent.url, body, 1)[0] for _ in range(200))
        over.set()
        thread.join()
        print(
            f"{clients} slow connections a second{'':5s}{times[100]:10.1f} ms median for a prediction "
            f"on a new connection, {times[-2]:.1f} ms 99 %"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of it")
    parser.add_argument("--agents", type=int, default=0)
    options = parser.parse_args()
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, Python {sys.version.split()[0]}")
    for part, size in (
        (predicting, 500 if options.quick else 5000),
        (slow_clients, 1000),
        (large, 20 if options.quick else 100),
        (rolling_back, options.agents or (10 if options.quick else 100)),
    ):
        with tempfile.TemporaryDirectory() as folder:
            part(Path(folder), size)


if __name__ == "__main__":
    main()
