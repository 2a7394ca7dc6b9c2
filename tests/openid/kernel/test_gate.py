"""The subject gate by itself: each of its reasons, whichever other check would have come first."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from services.identity.openid.subject_gate import Stopped, check_grant, check_token
from tests.openid.kernel import world


def offline(**changes: Any) -> Any:
    return world.grant(granted=replace(world.grant().granted, offline=True), **changes)


STOPS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "client_disabled": lambda: (world.grant(), replace(world.client(), state="disabled")),
    "grant_revoked": lambda: (world.grant(revoked=True), world.client()),
    "grant_of_another_client": lambda: (world.grant(client_id="client_2"), world.client()),
    "client_proves_nothing_more": lambda: (world.grant(), replace(world.client(), not_before=world.NOW)),
    "person_suspended": lambda: (
        world.grant(subject=world.subject(person_state="suspended")),
        world.client(),
    ),
    "account_not_active": lambda: (
        world.grant(subject=world.subject(account_state="frozen")),
        world.client(),
    ),
    "adherent_struck_off": lambda: (
        world.grant(subject=world.subject(adherent_state="struck_off")),
        world.client(),
    ),
    "session_over": lambda: (world.grant(subject=world.subject(session_ends_at=world.NOW)), world.client()),
    "grant_outdated": lambda: (offline(outdated=True), world.client()),
}


@pytest.mark.parametrize("reason", STOPS)
def test_each_reason_stops_by_itself(reason: str) -> None:
    found, client = STOPS[reason]()
    for check in (
        lambda: check_grant(found, client, world.NOW),
        lambda: check_token(world.presented(world.grant()), None, found, client, world.NOW),
    ):
        with pytest.raises(Stopped, match=reason):
            check()


def test_what_is_in_force_passes() -> None:
    check_grant(world.grant(), world.client(), world.NOW)
    # An offline grant outlives its session; any other does not care for what came before the session.
    check_grant(offline(subject=world.subject(session_ends_at=None)), world.client(), world.NOW)
    check_grant(world.grant(outdated=True), world.client(), world.NOW)
    earlier = world.NOW - timedelta(seconds=1)
    check_grant(world.grant(), replace(world.client(), not_before=earlier), world.NOW)
