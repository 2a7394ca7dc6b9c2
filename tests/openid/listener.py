"""A client's own little web server: serves what it is told, keeps what it is sent."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import parse_qsl


@dataclass
class Listener:
    """`pages` by path; `status` answers posts; `heard` keeps their forms in order."""

    port: int = 0
    status: int = 200
    delay: float = 0.0
    pages: dict[str, bytes] = field(default_factory=dict[str, bytes])
    heard: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    redirect_to: str = ""
    content_type: str = "application/json"
    more_headers: str = ""
    scheme: str = "http"
    asked: list[str] = field(default_factory=list[str])
    """Host header of each request, in order."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first request, before it is answered."""

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        length = next(
            (int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0
        )
        body = await reader.readexactly(length)
        self.asked += [line[6:] for line in head.split("\r\n") if line.lower().startswith("host: ")]
        self.arrived.set()
        await asyncio.sleep(self.delay)
        status, content, more = self.status, b"", self.more_headers
        if method == "POST":
            self.heard.append(dict(parse_qsl(body.decode())))
        elif self.redirect_to:
            status, more = 302, f"Location: {self.redirect_to}\r\n"
        else:
            content = self.pages.get(path, b"")
            status = 200 if path in self.pages else 404
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: {self.content_type}\r\nContent-Length: {len(content)}\r\n"
            f"{more}Connection: close\r\n\r\n".encode()
            + content
        )
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncGenerator[Listener, None]:
    listener = Listener(scheme="https" if tls else "http")
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0, ssl=tls)
    listener.port = server.sockets[0].getsockname()[1]
    async with server:
        yield listener
