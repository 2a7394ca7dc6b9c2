"""A client's own little web server: serves what it is told, keeps what it is sent."""

import asyncio
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

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, _ = head.split(" ", 2)
        length = next((int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0)
        body = await reader.readexactly(length)
        await asyncio.sleep(self.delay)
        status, content, more = self.status, b"", ""
        if method == "POST":
            self.heard.append(dict(parse_qsl(body.decode())))
        elif self.redirect_to:
            status, more = 302, f"Location: {self.redirect_to}\r\n"
        else:
            content = self.pages.get(path, b"")
            status = 200 if path in self.pages else 404
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n"
            f"{more}Connection: close\r\n\r\n".encode() + content
        )
        await writer.drain()
        writer.close()


@asynccontextmanager
async def listening() -> AsyncGenerator[Listener, None]:
    listener = Listener()
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    async with server:
        yield listener
