"""A request's words, read as whatever a stranger wrote."""

from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import FormMultiDict
from litestar.enums import RequestEncodingType
from litestar.types import Empty

from libs.common.http.encoded import MOST_OF_A_QUERY, cookies_of, pairs_of
from libs.common.http.forms import MalformedForm
from libs.common.refusals import DomainError
from libs.common.values.foreign_json import UnreadableJson, read_json

_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Any)


class UnreadableBody(DomainError):
    """The body is no JSON, no UTF-8, nested too deep, or holds U+0000."""


class StrictRequest(Request[Any, Any, Any]):
    """The request of every route: one reader of JSON bodies, whose refusal is the caller's to hear, and of queries,
    forms and cookies, which it does not remember (`encoded.py`).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Before the framework fills a handler's arguments: it takes what is read already.
        self._parsed_query = pairs_of(self.scope.get("query_string", b""))[:MOST_OF_A_QUERY]

    @property
    def cookies(self) -> dict[str, str]:
        """This browser's cookies, by name."""
        if self._cookies is Empty:
            self._cookies = cookies_of(value for name, value in self.scope["headers"] if name == b"cookie")
        return self._cookies

    async def form(self) -> FormMultiDict:
        """The posted form; empty for a body that is none. Raises `MalformedForm`."""
        if self._form is Empty and self.content_type[0] == RequestEncodingType.URL_ENCODED:
            self._form = FormMultiDict(pairs_of(await self.body()))
        try:
            return await super().form()
        except (LookupError, ValueError) as error:
            # In parts: an encoding that does not exist, or bytes that are not of the one that is said.
            raise MalformedForm from error

    async def json(self) -> Any:
        """The body; `None` when there is none. Raises `UnreadableBody`."""
        try:
            return read_json(await self.body() or b"null", _anything)
        except UnreadableJson as error:
            raise UnreadableBody from error
