"""A typed form, read strictly: text only, bounded, each field at most as often as it may be."""

from typing import Any

from litestar import Request

from libs.common.refusals import DomainError

LONGEST = 2000


class MalformedForm(DomainError):
    """A file where text was awaited, a doubled field, or a field of absurd length: no page of ours sends that."""


class Form:
    """What the visitor typed, as sent. `text` strips the ends, `secret` keeps every character."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        self._fields: dict[str, list[str]] = {}
        for name, value in pairs:
            if not isinstance(value, str) or len(value) > LONGEST:
                raise MalformedForm
            self._fields.setdefault(name, []).append(value)

    def secret(self, name: str) -> str:
        """One value exactly as typed: a password may begin with a space."""
        values = self._fields.get(name, [""])
        if len(values) > 1:
            raise MalformedForm
        return values[0]

    def text(self, name: str) -> str:
        """One value without the spaces around it; empty when absent."""
        return self.secret(name).strip()

    def all(self, name: str) -> list[str]:
        """Every ticked value of a group of boxes."""
        return list(self._fields.get(name, []))

    def ticked(self, name: str) -> bool:
        return bool(self._fields.get(name))


async def read_form(request: Request[Any, Any, Any]) -> Form:
    """The posted form. Raises `MalformedForm`."""
    return Form(list((await request.form()).multi_items()))
