"""The published language: typed facts, one JSON form, one subject each.

The subject is `{service}.{caisse}.{tag}`; the tag, such as
`account.activated.v1`, ends in the version of its meaning. A new field has a
default; a changed meaning is a new version.
"""

import importlib
from datetime import datetime
from functools import cache
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from libs.common.values.caisse_slug import CaisseSlug, parse_caisse_slug

SERVICES = ("identity", "adherent", "documents")


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """A fact, in the past tense. Subclasses name their tag; no secret or e-mail travels."""

    event_id: UUID
    at: datetime
    version: int = 1
    """The aggregate's version after this fact: a reader ignores what is older than it knows."""

    urgent: ClassVar[bool] = False
    """Whether the relay is woken at the commit instead of at its next round."""


class UnknownEvent(Exception):
    """A subject no class of ours speaks; the consumer lays it aside."""


def tag_of(kind: type[Event]) -> str:
    """The tag of an event class, such as `account.activated.v1`."""
    return str(kind.__struct_config__.tag)


def service_of(kind: type[Event]) -> str:
    """The service that publishes this fact: the module that defines it."""
    return kind.__module__.rsplit(".", 1)[-1]


@cache
def _subject_parts(kind: type[Event]) -> tuple[str, str]:
    return service_of(kind), tag_of(kind)


def subject_of(event: Event, caisse: CaisseSlug) -> str:
    service, tag = _subject_parts(type(event))
    return f"{service}.{caisse}.{tag}"


_ENCODER = msgspec.json.Encoder()


def encode(event: Event) -> bytes:
    return _ENCODER.encode(event)


@cache
def event_classes(service: str) -> dict[str, type[Event]]:
    """Every fact of a service, by tag."""
    module = importlib.import_module(f"libs.common.events.{service}")
    kinds: list[Any] = list(vars(module).values())
    return {
        tag_of(kind): kind
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, Event) and kind.__module__ == module.__name__
    }


@cache
def _decoder(kind: type[Event]) -> msgspec.json.Decoder[Event]:
    return msgspec.json.Decoder(kind)


def decode(subject: str, body: bytes) -> tuple[CaisseSlug, Event]:
    """The caisse and the fact a message tells.

    Raises `UnknownEvent` for a subject or body that is not ours.
    """
    try:
        service, caisse, tag = subject.split(".", 2)
        kind = event_classes(service)[tag]
        return parse_caisse_slug(caisse), _decoder(kind).decode(body)
    except (ValueError, KeyError, ImportError, msgspec.MsgspecError) as error:
        raise UnknownEvent(subject) from error
