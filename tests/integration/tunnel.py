"""Real Twitch as seen through a proxy: a CONNECT proxy on loopback that leads every name to one server behind TLS.

The program under test uses its production settings: https to Twitch's own names, checked by certificate. Only the
proxy and the certificate authority are ours, and both are given as any user gives them: by the environment.
"""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import program

HOST = "127.0.0.1"
_CONNECT = re.compile(rb"CONNECT ([^\s:]+):(\d+) HTTP/1\.[01]\r\n")
_AUTHORIZATION = re.compile(rb"(?i)\r\nproxy-authorization: ([^\r]*)")


@dataclass(frozen=True)
class Authority:
    """A private certificate authority, and a certificate of it for some names."""

    ca: Path
    certificate: Path
    key: Path


def authority(folder: Path, names: Sequence[str]) -> Authority:
    """Made with the openssl program."""
    openssl = program("openssl")
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    certificate, key, asked, extensions = (
        folder / name for name in ("leaf.pem", "leaf.key", "leaf.csr", "leaf.ext")
    )
    fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
    extensions.write_text(f"subjectAltName={','.join(f'DNS:{name}' for name in names)}\n")
    signing = ["-CA", str(ca), "-CAkey", str(ca_key), "-CAcreateserial", "-extfile", str(extensions)]
    for arguments in (
        ["req", "-x509", *fresh, *usage, "-subj", "/CN=Test CA", "-keyout", str(ca_key), "-out", str(ca)],
        ["req", *fresh, "-subj", "/CN=front", "-keyout", str(key), "-out", str(asked)],
        ["x509", "-req", "-in", str(asked), *signing, "-days", "2", "-out", str(certificate)],
    ):
        subprocess.run([openssl, *arguments], check=True, capture_output=True)
    return Authority(ca, certificate, key)


class Tunnel:
    """``asked``: hosts by CONNECT, in order; ``peak``: most tunnels open at a time by host; ``plain``: the rest.

    ``credentials``: ``user:password`` that the proxy asks for.
    """

    def __init__(self, target_port: int, made: Authority, names: Sequence[str], credentials: str = "") -> None:
        self.asked: list[str] = []
        self.peak: Counter[str] = Counter()
        self.plain: list[bytes] = []
        self.port = 0
        self._open: Counter[str] = Counter()
        self._target_port = target_port
        self._names = frozenset(names)
        self._front_port = 0
        self._wanted = base64.b64encode(credentials.encode())
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._tls.load_cert_chain(made.certificate, made.key)

    @contextmanager
    def running(self) -> Iterator[Tunnel]:
        """Serve in a thread of its own while the block runs."""
        loop = asyncio.new_event_loop()
        servers = loop.run_until_complete(self._listen())
        thread = threading.Thread(target=loop.run_forever, name="tunnel", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(_stop(servers), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _listen(self) -> list[asyncio.Server]:
        front = await asyncio.start_server(self._decrypt, HOST, 0, ssl=self._tls)
        proxy = await asyncio.start_server(self._tunnel, HOST, 0)
        self._front_port = front.sockets[0].getsockname()[1]
        self.port = proxy.sockets[0].getsockname()[1]
        return [front, proxy]

    async def _decrypt(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _join(reader, writer, self._target_port)

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            status = self._judge(head)
            writer.write(
                b"HTTP/1.1 %s\r\n%s\r\n" % (status, b"" if status[:1] == b"2" else b"Content-Length: 0\r\n")
            )
            if status[:1] != b"2":
                await writer.drain()
                writer.close()
                return
            await self._counted(self.asked[-1], reader, writer)

    def _judge(self, head: bytes) -> bytes:
        told = _AUTHORIZATION.search(head)
        if self._wanted and (told is None or told[1] != b"Basic " + self._wanted):
            return b"407 Proxy Authentication Required"
        match = _CONNECT.match(head)
        if match is None:
            self.plain.append(head)
            return b"405 Method Not Allowed"
        name = match[1].decode()
        self.asked.append(name)
        return b"200 Connection established" if name in self._names and match[2] == b"443" else b"403 Forbidden"

    async def _counted(self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open[name] += 1
        self.peak[name] = max(self.peak[name], self._open[name])
        try:
            await _join(reader, writer, self._front_port)
        finally:
            self._open[name] -= 1


async def _join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """Carry bytes both ways until either side ends."""
    with suppress(ConnectionError, ssl.SSLError):
        there, back = await asyncio.open_connection(HOST, port)
        ways = {asyncio.ensure_future(_carry(reader, back)), asyncio.ensure_future(_carry(there, writer))}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            back.close()
            writer.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, ssl.SSLError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


async def _stop(servers: Sequence[asyncio.Server]) -> None:
    for server in servers:
        server.close()
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
