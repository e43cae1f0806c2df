"""What no harvester can beat: the same ranges fetched and thrown away, the same keyframes without a network."""

from __future__ import annotations

import queue
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from bench.footage import QUALITIES
from bench.stock import Stock
from harvester.config import Config
from harvester.decode import open_backend
from harvester.model import AccessUnit
from harvester.vision import jpeg
from harvester.vision.phash import phash

if TYPE_CHECKING:
    from bench.rivals import Job

_BUFFER_BYTES = 1 << 20


def fetch_and_discard(job: Job) -> Callable[[], int]:
    """The ranges that harvester asked for, each connection one after another, bodies unread."""
    waiting: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
    for entry in job.ranges:
        waiting.put((entry[0], entry[1]))

    def work() -> int:
        with ThreadPoolExecutor(job.connections) as pool:
            list(pool.map(lambda _: _drain(waiting, job.port), range(job.connections)))
        return len(job.wanted)

    return work


def _drain(waiting: queue.SimpleQueue[tuple[str, str]], port: int) -> None:
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            try:
                path, asked = waiting.get_nowait()
            except queue.Empty:
                return
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nRange: {asked}\r\n\r\n".encode())
            _discard(connection, buffer)


def _discard(connection: socket.socket, buffer: memoryview) -> None:
    """Read one answer."""
    held = 0
    while (end := bytes(buffer[:held]).find(b"\r\n\r\n")) < 0:
        held += _some(connection, buffer[held:])
    head = bytes(buffer[:end]).lower()
    if not head.startswith(b"http/1.1 206"):
        raise SystemExit(f"a range was answered with {head[:40]!r}")
    left = int(head.split(b"content-length:")[1].split(b"\r\n")[0]) - (held - end - 4)
    while left > 0:
        left -= _some(connection, buffer[: min(left, len(buffer))])


def _some(connection: socket.socket, room: memoryview) -> int:
    count = connection.recv_into(room)
    if not count:
        raise SystemExit("the server hung up")
    return count


def from_memory(job: Job) -> Callable[[], int]:
    """Decode, measure, hash, JPEG, file, in as many threads as harvester decodes in."""
    config = Config.model_validate({"decode": {"backend": job.decoder}})
    stock = Stock(QUALITIES[job.quality], Path(job.folder))
    units = [(wanted.name, stock.unit(wanted.place)) for wanted in job.wanted]
    backend = open_backend(config.decode)

    def one(named: tuple[str, AccessUnit]) -> None:
        name, unit = named
        look = backend.decoder().look(unit)
        phash(look.measurement.grid)
        Path(job.out, name).write_bytes(jpeg.encode(look.picture(), quality=config.dataset.jpeg_quality))

    def work() -> int:
        with ThreadPoolExecutor(backend.threads) as pool:
            return len(list(pool.map(one, units)))

    return work


LIMITS: dict[str, Callable[[Job], Callable[[], int]]] = {
    "limit: fetch x 4": fetch_and_discard,
    "limit: fetch x 16": fetch_and_discard,
    "limit: decode": from_memory,
}
