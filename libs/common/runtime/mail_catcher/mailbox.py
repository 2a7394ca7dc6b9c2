"""The mails that were caught: kept in a folder, newest first, the oldest thrown away beyond a bound."""

import email
import email.policy
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.errors import HeaderParseError
from email.message import EmailMessage
from html import unescape
from pathlib import Path

import msgspec

from libs.common.values.identifiers import new_id

MOST_KEPT = 2_000
_HREF = re.compile(r"""<a\b[^>]*\bhref\s*=\s*["']([^"']+)["']""", re.IGNORECASE)
_ADDRESS = re.compile(r"https?://[^\s<>\"')\]]+")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One caught mail; `to` is whom the envelope named, `links` are the http addresses it offers, each once."""

    id: str
    from_: str = msgspec.field(name="from")
    to: list[str]
    subject: str
    text: str
    html: str
    links: list[str]
    message_id: str
    received_at: datetime


@dataclass
class Mailbox:
    """Every caught mail; survives a restart of the catcher."""

    folder: Path
    _messages: list[Message] = field(default_factory=list[Message], repr=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in sorted(self.folder.glob("*.json")):
            try:
                self._messages.append(msgspec.json.decode(path.read_bytes(), type=Message))
            except msgspec.DecodeError:
                # Cut short by a kill: the sender was not answered and will send it again.
                path.unlink()

    def keep(self, sender: str, recipients: list[str], raw: bytes) -> Message:
        """Write one mail to the folder, then show it."""
        message = read_message(sender, recipients, raw)
        path = self.folder / f"{message.id}.json"
        draft = path.with_suffix(".draft")
        draft.write_bytes(msgspec.json.encode(message))
        draft.replace(path)
        self._messages.append(message)
        while len(self._messages) > MOST_KEPT:
            (self.folder / f"{self._messages.pop(0).id}.json").unlink(missing_ok=True)
        return message

    def newest(self, to: str | None = None) -> list[Message]:
        """Newest first; `to` keeps those whose envelope names this address, in any case."""
        wanted = to.strip().lower() if to else None
        return [
            message
            for message in reversed(self._messages)
            if wanted is None or wanted in (recipient.lower() for recipient in message.to)
        ]

    def find(self, message_id: str) -> Message | None:
        """The mail with this id of ours, or None."""
        return next((message for message in self._messages if message.id == message_id), None)

    def empty(self) -> None:
        """Throw every mail away."""
        for message in self._messages:
            (self.folder / f"{message.id}.json").unlink(missing_ok=True)
        self._messages.clear()


def read_message(sender: str, recipients: list[str], raw: bytes) -> Message:
    """What a person and a script want of the bytes of a mail."""
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    text, html = _part(parsed, "plain"), _part(parsed, "html")
    links = [unescape(link) for link in _HREF.findall(html) if link.startswith("http")]
    links += [link.rstrip(".,;") for link in _ADDRESS.findall(text)]
    return Message(
        id=str(new_id()),
        from_=_header(parsed, "From") or sender,
        to=list(recipients),
        subject=_header(parsed, "Subject"),
        text=text,
        html=html,
        links=list(dict.fromkeys(links)),
        message_id=_header(parsed, "Message-ID"),
        received_at=datetime.now(UTC),
    )


def _header(parsed: EmailMessage, name: str) -> str:
    """A header as sent, even one that its own standard refuses: the catcher hides nothing."""
    try:
        return str(parsed.get(name, ""))
    except (IndexError, ValueError, HeaderParseError):
        return str(dict(parsed.raw_items()).get(name, ""))


def _part(parsed: EmailMessage, kind: str) -> str:
    body = parsed.get_body((kind,))
    if body is None:
        return ""
    try:
        return str(body.get_content()).replace("\r\n", "\n")
    except (LookupError, UnicodeDecodeError):
        return (body.get_payload(decode=True) or b"").decode("utf-8", "replace")  # type: ignore[union-attr]
