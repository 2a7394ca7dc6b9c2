"""`espace mail-catcher`: the demonstration's mailboxes and post office. Never part of a production."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import rich_click as click
from litestar import Litestar
from litestar.config.allowed_hosts import AllowedHostsConfig
from litestar.datastructures import State

from libs.common.http.health import live, ready
from libs.common.http.hosts import believed_hosts
from libs.common.http.security_headers import SecurityHeaders
from libs.common.pages.environment import Pages
from libs.common.pages.routes import static_routes
from libs.common.runtime.mail_catcher import routes
from libs.common.runtime.mail_catcher.letters import PostOffice
from libs.common.runtime.mail_catcher.mailbox import Mailbox
from libs.common.runtime.mail_catcher.smtp import Catcher, catching
from libs.common.runtime.serve import answer
from libs.common.runtime.settings import Settings, load_settings

PAGES = Path(__file__).with_name("pages")
ROUTES = [
    routes.message_list, routes.messages, routes.forget_messages, routes.message, routes.message_body,
    routes.fault, routes.set_fault, routes.letters, routes.letter, routes.letter_text,
]  # fmt: skip


@click.command("mail-catcher")
def mail_catcher() -> None:
    """Recevoir tous les mails et toutes les lettres de la démonstration, et les montrer."""
    settings = load_settings()
    settings.require("catcher.folder", "post_office")
    answer(f"{__name__}:create_app", "mail-catcher", settings.catcher.host, settings.catcher.port, settings)


def create_app(settings: Settings) -> Litestar:
    """The web side; SMTP listens for as long as it lives."""
    settings.require("catcher.folder", "post_office")
    assert settings.catcher.folder is not None
    assert settings.post_office is not None
    catcher = Catcher(Mailbox(settings.catcher.folder))

    @asynccontextmanager
    async def smtp(_: Litestar) -> AsyncIterator[None]:
        async with catching(catcher, settings.catcher.host, settings.catcher.smtp_port):
            yield

    return Litestar(
        [live, ready, *static_routes(), *ROUTES],
        allowed_hosts=AllowedHostsConfig(
            allowed_hosts=believed_hosts(settings.allowed_hosts or ("*",), settings.mail.web),
            www_redirect=False,
        ),
        lifespan=[smtp],
        middleware=[SecurityHeaders()],
        logging_config=None,
        openapi_config=None,
        state=State(
            {
                "catcher": catcher,
                "post_office": PostOffice(settings.post_office),
                "pages": Pages(PAGES, site=settings.portal.base),
                "readiness": {},
            }
        ),
    )
