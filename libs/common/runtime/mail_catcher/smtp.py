"""The SMTP side: accepts everything for everyone and delivers nothing, or fails as a test asks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session

from libs.common.runtime.mail_catcher.mailbox import Mailbox

Mode = Literal["none", "slow", "busy", "refused", "answer_lost", "silent"]


class Fault(msgspec.Struct, kw_only=True):
    """How the catcher misbehaves for the next `times` mails (None: until told otherwise).

    - `slow`: answers after `seconds`, then accepts
    - `busy`: 451, nothing kept
    - `refused`: 550, nothing kept
    - `answer_lost`: keeps the mail, then hangs up without an answer
    - `silent`: hangs up at once, nothing kept
    """

    mode: Mode = "none"
    seconds: float = 2.0
    times: int | None = None
    to: str | None = None
    """Only mails for this address misbehave."""


class Catcher:
    """The handler aiosmtpd calls; `fault` is changed while it runs."""

    def __init__(self, mailbox: Mailbox) -> None:
        self.mailbox = mailbox
        self.fault = Fault()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Called by aiosmtpd with a whole mail; the answer is the SMTP reply."""
        mode = self._next_fault(envelope.rcpt_tos)
        if mode == "slow":
            await asyncio.sleep(self.fault.seconds)
        if mode == "busy":
            return "451 4.3.0 Try again later"
        if mode == "refused":
            return "550 5.1.1 No such mailbox"
        if mode == "silent":
            return _hang_up(server)
        content = envelope.content or b""
        raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
        await asyncio.to_thread(self.mailbox.keep, envelope.mail_from or "", list(envelope.rcpt_tos), raw)
        return _hang_up(server) if mode == "answer_lost" else "250 2.0.0 Caught"

    def _next_fault(self, recipients: list[str]) -> Mode:
        fault = self.fault
        if fault.to is not None and fault.to.lower() not in (recipient.lower() for recipient in recipients):
            return "none"
        if fault.times is not None:
            if fault.times <= 0:
                return "none"
            fault.times -= 1
        return fault.mode


@asynccontextmanager
async def catching(catcher: Catcher, host: str, port: int) -> AsyncIterator[None]:
    """Listen for SMTP on `host`:`port` for the length of the block."""

    def protocol() -> Any:
        return SMTP(
            catcher,
            hostname="espace",
            ident="Espace",
            enable_SMTPUTF8=True,
            data_size_limit=5_000_000,
            timeout=30,
        )

    server = await asyncio.get_running_loop().create_server(protocol, host, port)
    try:
        yield
    finally:
        server.close()


def _hang_up(server: SMTP) -> str:
    if isinstance(server.transport, asyncio.WriteTransport):
        server.transport.abort()
    return "421 4.4.2 Gone"
