"""One connection of a client, as uvicorn's parser hears it, with a bound on all that it can make us wait for or hold.

uvicorn bounds the pause between two requests. A head that trickles in, a head without end, what stands beside the
content of a body without being any, a body that nobody reads any more and a queue of requests sent ahead of their
answers are bounded here; a body that a handler reads is bounded by `deadlines`. What an answer waits for is bounded by
the socket (`TCP_USER_TIMEOUT`, `runtime.serve`).
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from libs.common.http.head_with_body import HeadWithBody

HEAD_SECONDS = 10.0
"""From the first byte of a head, or from the opening of a connection, to the head's end."""

LARGEST_HEAD = 32 * 1024
"""Bytes of request line and headers: twice what our largest cookies and a DPoP proof with its token need."""

MOST_BESIDE = 32 * 1024
"""Bytes in a row of chunk extensions and trailer fields (RFC 9112 §7.1), for which nobody here has a use."""

SENT_AHEAD = 16
"""Requests that may wait for the answer of the one before them (RFC 9112 §9.3.2); browsers and proxies send none."""


class TooMuch(Exception):
    """A head too large, too many requests ahead of their answers, or more than one host that is asked."""


class BoundedConnection(HttpToolsProtocol):
    """Ends a connection that takes its time over nothing; spends nothing on one whose requests arrive whole."""

    _due: asyncio.TimerHandle | None = None
    _in_head = True
    _head_size = 0
    _beside_body = 0
    _was_asked = False

    def connection_made(self, transport: Any) -> None:
        self._written_to = HeadWithBody(transport)
        super().connection_made(cast(asyncio.Transport, self._written_to))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_whole()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_size += len(data)
        else:
            self._beside_body += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            self._head_is_whole()
        elif self._in_head and self._head_size > LARGEST_HEAD:
            if self._nothing_is_asked():
                self.send_400_response("Header fields too large.")
            else:
                # Behind a request whose answer may be half sent.
                self.transport.abort()
        elif not self._in_head and self._beside_body > MOST_BESIDE:
            self.transport.abort()
        elif self._nothing_is_asked():
            # Part of a head, or of a body whose answer has left: no request is under way, the next one is due.
            self._await_head()
        elif self._due is not None:
            self._head_is_whole()

    def on_response_complete(self) -> None:
        self._written_to.answered()
        super().on_response_complete()

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        # What comes later is a trailer field, and no header (RFC 9110 §6.5.1): the proxy before us, who writes where
        # a request comes from, may never have looked at it.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._head_size > LARGEST_HEAD and self._bytes_of_head() > LARGEST_HEAD:
            raise TooMuch
        if len(self.pipeline) >= SENT_AHEAD:
            raise TooMuch
        # RFC 9112 §3.2: of two, the proxy before us may have read the other.
        if [name for name, _ in self.headers].count(b"host") > 1:
            raise TooMuch
        self._in_head = False
        self._head_size = self._beside_body = 0
        super().on_headers_complete()
        self._was_asked = True
        if self.expect_100_continue:
            # Refused before it is told to go on, the client may leave its body out (RFC 9110 §10.1.1), and its next
            # request would be read as that body.
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        self._beside_body = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._beside_body = 0
        super().on_message_complete()

    def _nothing_is_asked(self) -> bool:
        return not self._was_asked or self.cycle.response_complete

    def _await_head(self) -> None:
        if self._due is None:
            self._due = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _head_is_whole(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _bytes_of_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
