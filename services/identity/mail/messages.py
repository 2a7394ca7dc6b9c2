"""Every mail we send: what it needs, and how it is written (HTML from MJML, and plain text).

Texts live in `templates/<name>.txt` (first line: the subject) and `<name>.mjml`.
One subject, one purpose, the exact deadline, what to do if it was not you.
"""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from libs.common.pages.formats import filters

TEMPLATES = Path(__file__).with_name("templates")
SUBJECT = "Objet : "


class Message(NamedTuple):
    """A mail we know how to write; `needs` names its values, neither more nor less."""

    name: str
    needs: frozenset[str]

    def check(self, values: dict[str, str]) -> None:
        """Raises `ValueError` naming what is missing or unknown, never a value."""
        given = frozenset(values)
        if given != self.needs:
            raise ValueError(f"{self.name}: {sorted(self.needs ^ given)} missing or unknown")


class Sender(NamedTuple):
    """The caisse that writes, for the head and foot of its mails."""

    name: str
    mail_from: str
    phone: str
    email: str


class Written(NamedTuple):
    subject: str
    text: str
    html: str


def _messages(**needs: str) -> dict[str, Message]:
    return {name: Message(name, frozenset(values.split())) for name, values in needs.items()}


MESSAGES: dict[str, Message] = _messages(
    # First connection
    confirm_email="firm link code deadline",
    already_known="firm link deadline",
    account_activated="firm link",
    # Sign-in
    password_reset="link deadline",
    step_up_code="code deadline",
    notice_new_device="at device",
    notice_password_changed="at",
    notice_factor_added="at link deadline",
    notice_factor_removed="at",
    # Mandates; `rights` is the plain sentence of what the cabinet may do, `ends_on` an ISO date
    mandate_offered="firm cabinet rights ends_on link",
    mandate_requested="firm cabinet rights ends_on link",
    mandate_given="firm cabinet rights ends_on link",
    mandate_declined="firm cabinet link",
    mandate_ended="firm cabinet at link",
    mandate_ending="firm cabinet ends_on link",
)


ONE_BUDGET: tuple[frozenset[str], ...] = (frozenset({"confirm_email", "already_known"}),)
"""Mails of which one act sends one or the other, by what only their reader may know: counted apart, their limits
would tell it to whoever asks."""


def counted_with(name: str) -> frozenset[str]:
    """The mails that share the limits of this one."""
    return next((together for together in ONE_BUDGET if name in together), frozenset({name}))


def write(message: Message, sender: Sender, values: dict[str, str]) -> Written:
    """The mail in both forms. Values are data: they are escaped in HTML, and a line break in one is a space."""
    known: dict[str, Any] = {name: " ".join(value.split()) for name, value in values.items()}
    known["caisse"] = sender
    text = _environment(escaped=False).get_template(f"{message.name}.txt").render(known)
    first, _, body = text.partition("\n")
    # Imported where a mail is written, in the worker: whoever only queues one is spared it.
    import mrml

    mjml = _environment(escaped=True).get_template(f"{message.name}.mjml").render(known)
    return Written(first.removeprefix(SUBJECT), body.strip() + "\n", mrml.to_html(mjml).content)


@cache
def _environment(*, escaped: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=escaped,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(filters("fr"))
    return environment
