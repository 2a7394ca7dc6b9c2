"""A JSON body, read as whatever a stranger wrote."""

from typing import Any

import msgspec
from litestar import Request

from libs.common.refusals import DomainError
from libs.common.values.foreign_json import UnreadableJson, read_json

_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Any)


class UnreadableBody(DomainError):
    """The body is no JSON, no UTF-8, nested too deep, or holds U+0000."""


class StrictRequest(Request[Any, Any, Any]):
    """The request of every route: one reader of JSON bodies, whose refusal is the caller's to hear."""

    async def json(self) -> Any:
        """The body; `None` when there is none. Raises `UnreadableBody`."""
        try:
            return read_json(await self.body() or b"null", _anything)
        except UnreadableJson as error:
            raise UnreadableBody from error
