"""The rights: one taxonomy, `resource.verb`, for people, cabinets, clients and machines.

A mandate belongs to one family, so that two cabinets may share the work of one
firm. What each word covers, and why three rights are never delegable, is told in
docs/explanation/delegation.md.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple, get_args

Family = Literal["contributions", "time_off"]
Role = Literal["principal", "observer"]
Bundle = Literal["consult", "declare", "declare_and_pay", "leave", "full"]

FAMILIES: Final[tuple[Family, ...]] = get_args(Family)
BUNDLES: Final[tuple[Bundle, ...]] = get_args(Bundle)

CONTRIBUTIONS: Final = frozenset(
    {"declaration.read", "declaration.submit", "payment.read", "payment.prepare", "payment.order"}
)
TIME_OFF: Final = frozenset({"leave.read", "leave.plan", "weather.read", "weather.declare"})
SHARED: Final = frozenset(
    {
        "employee.read",
        "attestation.read",
        "attestation.request",
        "document.read",
        "document.deposit",
        "message.read",
        "message.send",
    }
)
"""Rights that a mandate of either family may hold."""

DELEGABLE: Final = CONTRIBUTIONS | TIME_OFF | SHARED

NEVER_DELEGABLE: Final = frozenset({"mandate.manage", "account.manage", "bank.manage"})
"""The mandates themselves, the users, the bank details: the firm's administrators alone."""

ADMINISTRATOR: Final = DELEGABLE | NEVER_DELEGABLE
"""Everything that an administrator of an adhérent may do for its own firm."""

ADMINISTRATION: Final = frozenset(
    {"caisse.read", "client.manage", "key.manage", "letters.issue", "session.manage"}
)
"""What a caisse's own programs may do at its issuer, beside the command line."""

SERVICE: Final = ADMINISTRATION | {"standing.read"}
"""Between services and for operators (client credentials); no person ever holds them."""

PAYMENT_ORDER: Final = "payment.order"
"""Capped, stepped up each time, and closed to machines."""


def is_read(scope: str) -> bool:
    """True for the rights that look and change nothing: all that an observer may hold."""
    return scope.endswith(".read")


def delegable_in(family: Family) -> frozenset[str]:
    """Every right that a mandate of this family may hold."""
    return (CONTRIBUTIONS if family == "contributions" else TIME_OFF) | SHARED


def allowed_to(role: Role, family: Family) -> frozenset[str]:
    """Every right that this role may hold in this family: an observer only looks."""
    rights = delegable_in(family)
    return rights if role == "principal" else frozenset(filter(is_read, rights))


class Grant(NamedTuple):
    """What a bundle gives in one family."""

    role: Role
    scopes: frozenset[str]


_READ_OF_CONTRIBUTIONS = frozenset(filter(is_read, CONTRIBUTIONS | SHARED))
_DECLARE = _READ_OF_CONTRIBUTIONS | {
    "declaration.submit",
    "attestation.request",
    "document.deposit",
    "message.send",
}
_DECLARE_AND_PAY = _DECLARE | {"payment.prepare", "payment.order"}
_LEAVE = TIME_OFF | SHARED

BUNDLE_GRANTS: Final[Mapping[Bundle, Mapping[Family, Grant]]] = {
    "consult": {
        "contributions": Grant("observer", allowed_to("observer", "contributions")),
        "time_off": Grant("observer", allowed_to("observer", "time_off")),
    },
    "declare": {"contributions": Grant("principal", _DECLARE)},
    "declare_and_pay": {"contributions": Grant("principal", _DECLARE_AND_PAY)},
    "leave": {"time_off": Grant("principal", _LEAVE)},
    "full": {
        "contributions": Grant("principal", _DECLARE_AND_PAY),
        "time_off": Grant("principal", _LEAVE),
    },
}
"""The bundles offered on the page; one over both families makes one mandate in each."""


def by_family(scopes: Iterable[str]) -> dict[Family, Grant]:
    """Sort rights ticked one by one into families, the role following from them.

    A shared right goes to each family that has a right of its own; alone, to
    `contributions`. A family with nothing but `.read` makes an observer. Rights
    that are not delegable are left out: the caller refuses them beforehand.
    """
    ticked = frozenset(scopes) & DELEGABLE
    shared = ticked & SHARED
    own: dict[Family, frozenset[str]] = {
        family: ticked & (CONTRIBUTIONS if family == "contributions" else TIME_OFF) for family in FAMILIES
    }
    if shared and not any(own.values()):
        own["contributions"] = shared
    grants: dict[Family, Grant] = {}
    for family, rights in own.items():
        if rights:
            together = rights | shared
            grants[family] = Grant("observer" if all(map(is_read, together)) else "principal", together)
    return grants
