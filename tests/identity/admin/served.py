"""Identity in a thread of its own, for a client that knows nothing of asyncio: schemathesis."""

import asyncio
import io
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import httpx
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse

from libs.common.access.service_client import DpopAuth
from tests.identity.admin.machines import Machine

PATIENCE = 30
THE_MACHINE = "DPoP the-machine"
"""Requests are drawn before there is a token."""
Found = TypeVar("Found")


class Loop:
    """An event loop in a thread; `run` waits for what it is given."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="identity", daemon=True)

    def run(self, work: Coroutine[Any, Any, Found]) -> Found:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    @contextmanager
    def running(self) -> Iterator["Loop"]:
        self._thread.start()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)
            self._loop.close()


class ToTheApplication(HTTPAdapter):
    """What `requests` prepared, sent to the application byte for byte.

    `THE_MACHINE` in its Authorization becomes the machine's token and proof; any other is left as it is.
    """

    def __init__(self, loop: Loop, machine: Machine) -> None:
        super().__init__()
        self._loop = loop
        self._machine = machine
        clock = machine.party.issuer.clock
        self._proof = DpopAuth(
            machine.party.dpop, machine.token, nonces={}, clock=lambda: clock().timestamp()
        )

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        answer = self._loop.run(self._send(request))
        raw = HTTPResponse(
            io.BytesIO(answer.content),
            headers=HTTPHeaderDict(answer.headers.multi_items()),
            status=answer.status_code,
            reason=answer.reason_phrase,
            preload_content=False,
        )
        return self.build_response(request, raw)

    async def _send(self, request: requests.PreparedRequest) -> httpx.Response:
        ours = request.headers.get("Authorization") == THE_MACHINE
        headers = [
            (name.encode("latin-1"), _latin(value))
            for name, value in request.headers.items()
            if not (ours and name.lower() == "authorization")
        ]
        body = request.body
        async with self._machine.party.issuer.http() as http:
            return await http.request(
                request.method or "GET",
                request.url or "",
                headers=headers,
                content=body.encode() if isinstance(body, str) else cast(bytes | None, body),
                auth=self._proof if ours else None,
            )


def _latin(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("latin-1")
