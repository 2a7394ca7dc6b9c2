"""The name of a row says its bucket, so that it is looked for in one.

A secret begins with a symbol for each bucket, before 32 random bytes; an
identifier ends with one and says by its version (8: RFC 9562 §5.8) that it does.
Names of the version before say nothing: they are found wherever they may be.
A bucket tells no more than the week or the hour in which something expires.
"""

import hashlib
import secrets
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from libs.common.values.identifiers import new_id
from services.identity.openid.buckets import FORMER, RINGS, Bucketed, bucket_of

SYMBOLS = "0123456789abcdefg"
_UNNAMED = 43
"""Symbols of a secret of the version before: 32 bytes in base64url."""


class Span(NamedTuple):
    """The first and the last bucket where a row may be, both included."""

    first: int
    last: int


class Place(NamedTuple):
    """What finds the row of a secret: the SHA-256 of the whole, its buckets, those of its grant."""

    digest: bytes
    rows: Span
    grants: Span


ANY_OF_FOUR = Span(0, 3)
ANY_GRANT = Span(0, FORMER)
OF_BEFORE = Span(FORMER, FORMER)


def _id_in(bucket: int) -> UUID:
    """Version 7's order in time, 58 random bits, the bucket as the last digit."""
    number = new_id().int
    return UUID(int=number & ~(0xF << 76) & ~0xF | 8 << 76 | bucket)


def new_grant_id(expires_at: datetime) -> UUID:
    return _id_in(bucket_of("authorization_grant", expires_at))


def new_flow_id(expires_at: datetime) -> UUID:
    return _id_in(bucket_of("authorization_flow", expires_at))


def grant_bucket(grant_id: UUID | None) -> int:
    """Where a grant is; `FORMER` for one of the version before."""
    return FORMER if grant_id is None or grant_id.version != 8 else grant_id.int & 0xF


def flow_span(flow_id: UUID) -> Span:
    return ANY_OF_FOUR if flow_id.version != 8 else Span(flow_id.int & 0xF, flow_id.int & 0xF)


def new_code(expires_at: datetime, grant_id: UUID) -> str:
    return _secret(bucket_of("authorization_code", expires_at), grant_bucket(grant_id))


def new_refresh_secret(grant_id: UUID) -> str:
    """In the bucket of its grant: they are forgotten together."""
    return _secret(grant_bucket(grant_id))


def new_handle(expires_at: datetime) -> str:
    return _secret(bucket_of("pushed_request", expires_at))


def _secret(*buckets: int) -> str:
    return "".join(SYMBOLS[bucket] for bucket in buckets) + secrets.token_urlsafe(32)


def code_place(code: str) -> Place:
    if len(code) == _UNNAMED:
        return Place(_digest(code), ANY_OF_FOUR, OF_BEFORE)
    return Place(
        _digest(code), _named("authorization_code", code[:1]), _named("authorization_grant", code[1:2])
    )


def refresh_place(token: str) -> Place:
    """The version before may have rotated a token of ours: its successor is unnamed, its grant is not."""
    if len(token) == _UNNAMED:
        return Place(_digest(token), OF_BEFORE, ANY_GRANT)
    span = _named("refresh_token", token[:1])
    return Place(_digest(token), span, span)


def handle_place(handle: str) -> Place:
    if len(handle) == _UNNAMED:
        return kept_handle(_digest(handle), ANY_OF_FOUR)
    return kept_handle(_digest(handle), _named("pushed_request", handle[:1]))


def kept_handle(digest: bytes, rows: Span) -> Place:
    """A pushed request has no grant yet."""
    return Place(digest, rows, OF_BEFORE)


def _named(table: Bucketed, symbol: str) -> Span:
    """What nobody here can have named is looked for where it costs least, and not found."""
    bucket = SYMBOLS.find(symbol) if symbol else -1
    buckets = RINGS[table].buckets
    known = 0 <= bucket < buckets or (bucket == FORMER and buckets == FORMER)
    return Span(bucket, bucket) if known else Span(0, 0)


def _digest(secret: str) -> bytes:
    """What is stored of a secret: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()
