"""What the effects of a decision write, in SQL: one conditional statement an effect, all of a decision in one.

Each statement is a part of a `WITH`: its row came back, or somebody else was
first. Each sets its caisse before row-level security looks at a row, so that a
decision needs neither BEGIN nor COMMIT: an INSERT in the row's own value, which
is computed before the row is judged; an UPDATE in a condition that names no row,
which PostgreSQL judges once, before the scan. Were that order otherwise, an unset
caisse shows no row and every race would be lost: never another caisse's row.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from libs.common.access import proof_memory
from libs.common.access.store import REMEMBER_PROOF
from libs.common.database import journal
from libs.common.values.caisse_slug import CaisseSlug
from services.identity.openid import effects
from services.identity.openid.bucket_names import flow_span, grant_bucket
from services.identity.openid.buckets import SEEN_JTI, bucket_of
from services.identity.openid.effects import Effect
from services.identity.sign_in.store import LET_THROUGH


class Change(NamedTuple):
    """How one kind of effect is written. `values` are `$1`, `$2`… of all its `parts`, in which
    `{before}` is the part just before.

    `must`: without a row from its last part, the race is lost. `hot`: its row is one that many decisions
    change.
    """

    parts: tuple[str, ...]
    values: Callable[[Any, CaisseSlug], tuple[object, ...]]
    must: bool
    hot: bool = False


def _jti(effect: effects.RememberJti, caisse: CaisseSlug) -> tuple[object, ...]:
    return caisse, SEEN_JTI.at(effect.expires_at), effect.kind, effect.party, effect.jti, effect.expires_at


def _proof(effect: effects.RememberProof, _: CaisseSlug) -> tuple[object, ...]:
    return proof_memory.slot_of(effect.proof.issued_at), effect.proof.memory_key


def _revoked_grant(effect: effects.RevokeGrant, caisse: CaisseSlug) -> tuple[object, ...]:
    act = journal.values_of(effect.act, caisse)
    # Of a line, what is not the grant's already: its id, its subject, its details.
    return (
        caisse,
        effect.grant_id,
        effect.at,
        effect.why,
        grant_bucket(effect.grant_id),
        act[1],
        act[5],
        act[-1],
    )


def _consumed_code(effect: effects.ConsumeCode, caisse: CaisseSlug) -> tuple[object, ...]:
    return caisse, effect.place.digest, effect.at, *effect.place.rows


def _refresh(effect: effects.StoreRefresh, caisse: CaisseSlug) -> tuple[object, ...]:
    return (
        caisse, effect.place.digest, effect.grant_id, effect.dpop_jkt, effect.issued_at, effect.expires_at,
        effect.place.rows.first,
    )  # fmt: skip


def _rotated(effect: effects.RotateRefresh, caisse: CaisseSlug) -> tuple[object, ...]:
    new = effect.new
    return (
        caisse, effect.old.digest, new.place.digest, new.grant_id, new.dpop_jkt, new.issued_at, new.expires_at,
        *effect.old.rows, new.place.rows.first,
    )  # fmt: skip


def _prolonged(effect: effects.ProlongRefresh, caisse: CaisseSlug) -> tuple[object, ...]:
    return caisse, effect.place.digest, effect.expires_at, *effect.place.rows


def _seen(effect: effects.NoteSeen, caisse: CaisseSlug) -> tuple[object, ...]:
    return caisse, effect.session_id, effect.at


def _revoked_token(effect: effects.RevokeToken, caisse: CaisseSlug) -> tuple[object, ...]:
    return caisse, effect.jti, effect.expires_at, bucket_of("revoked_token", effect.expires_at)


def _pushed(effect: effects.StorePushedRequest, caisse: CaisseSlug) -> tuple[object, ...]:
    return (
        caisse, effect.place.digest, effect.client_id, effect.request.decode(), effect.expires_at,
        bucket_of("pushed_request", effect.expires_at),
    )  # fmt: skip


def _spent(effect: effects.SpendPushedRequest, caisse: CaisseSlug) -> tuple[object, ...]:
    return caisse, effect.place.digest, effect.at, *effect.place.rows


def _grant(effect: effects.StoreGrant, caisse: CaisseSlug) -> tuple[object, ...]:
    return (
        caisse, effect.grant_id, effect.client_id, effect.person_id, effect.session_id, effect.account_id,
        effect.granted.decode(), effect.at, effect.expires_at, effect.code.digest, effect.redirect_uri,
        effect.code_challenge, effect.dpop_jkt, effect.nonce, effect.code_expires_at,
        bucket_of("authorization_code", effect.code_expires_at), grant_bucket(effect.grant_id),
    )  # fmt: skip


def _finished(effect: effects.FinishFlow, caisse: CaisseSlug) -> tuple[object, ...]:
    return caisse, effect.flow_id, effect.at, *flow_span(effect.flow_id)


def _relied_on(effect: effects.RelyOnConsent, caisse: CaisseSlug) -> tuple[object, ...]:
    return (
        caisse, effect.person_id, effect.client_id, effect.account_id, list(effect.scopes), effect.at,
    )  # fmt: skip


def _consent(effect: effects.RememberConsent, caisse: CaisseSlug) -> tuple[object, ...]:
    return (
        caisse, effect.consent_id, effect.person_id, effect.client_id, effect.account_id,
        list(effect.scopes), effect.given_at, effect.expires_at,
    )  # fmt: skip


def _passed(effect: effects.SpendPass, _: CaisseSlug) -> tuple[object, ...]:
    return effect.key, effect.at, effect.allowance.every, effect.allowance.at_once


def _used(effect: effects.NoteUse, caisse: CaisseSlug) -> tuple[object, ...]:
    return caisse, effect.machine_id, effect.at


def _noted(effect: effects.Note, caisse: CaisseSlug) -> tuple[object, ...]:
    return journal.values_of(effect.act, caisse)


def _noted_once(effect: effects.NoteOnce, caisse: CaisseSlug) -> tuple[object, ...]:
    return journal.values_once(effect.act, effect.what, caisse)


CHANGES: dict[type[Effect], Change] = {
    effects.RememberJti: Change(
        (
            """
            INSERT INTO seen_jti (caisse, bucket, kind, party, jti, expires_at)
            VALUES (set_config('espace.caisse', $1, true), $2, $3, $4, $5, $6)
            ON CONFLICT DO NOTHING
            RETURNING true
            """,
        ),
        _jti, must=True,
    ),
    effects.RememberProof: Change((f"{REMEMBER_PROOF} RETURNING true",), _proof, must=True),
    effects.RevokeGrant: Change(
        (
            """
            UPDATE authorization_grant SET revoked_at = $3, revoked_why = $4
             WHERE (SELECT set_config('espace.caisse', $1, true)) IS NOT NULL
               AND id = $2 AND bucket = $5 AND revoked_at IS NULL
            RETURNING caisse
            """,
            """
            INSERT INTO journal (caisse, id, at, action, subject_kind, subject_id, details)
            SELECT caisse, $6, $3, 'grant.revoked', 'grant', $7, $8::text::jsonb FROM {before}
            RETURNING true
            """,
        ),
        _revoked_grant, must=False,
    ),
    effects.ConsumeCode: Change(
        (
            """
            UPDATE authorization_code SET consumed_at = $3
             WHERE (SELECT set_config('espace.caisse', $1, true)) IS NOT NULL
               AND code_hash = $2 AND bucket BETWEEN $4 AND $5 AND consumed_at IS NULL AND expires_at > $3
            RETURNING true
            """,
        ),
        _consumed_code, must=True,
    ),
    effects.StoreRefresh: Change(
        (
            """
            INSERT INTO refresh_token (caisse, token_hash, grant_id, dpop_jkt, issued_at, expires_at, bucket)
            VALUES (set_config('espace.caisse', $1, true), $2, $3, $4, $5, $6, $7)
            RETURNING true
            """,
        ),
        _refresh, must=True,
    ),
    # Spend the old and store the new together: fifty at once find one winner.
    effects.RotateRefresh: Change(
        (
            """
            UPDATE refresh_token SET spent_at = $6
             WHERE (SELECT set_config('espace.caisse', $1, true)) IS NOT NULL
               AND token_hash = $2 AND bucket BETWEEN $8 AND $9 AND spent_at IS NULL AND expires_at > $6
            RETURNING grant_id
            """,
            """
            INSERT INTO refresh_token (caisse, token_hash, grant_id, dpop_jkt, issued_at, expires_at, bucket)
            SELECT $1, $3, grant_id, $5, $6, $7, $10 FROM {before} WHERE grant_id = $4
            RETURNING true
            """,
        ),
        _rotated, must=True,
    ),
    effects.ProlongRefresh: Change(
        ("""
            UPDATE refresh_token SET expires_at = $3
             WHERE (SELECT set_config('espace.caisse', $1, true)) IS NOT NULL
               AND token_hash = $2 AND bucket BETWEEN $4 AND $5 AND spent_at IS NULL
            RETURNING true
            """,),
        _prolonged, must=False,
    ),
    effects.NoteSeen: Change(
        (
            """
            UPDATE session SET last_seen_at = $3
             WHERE (SELECT set_config('espace.caisse', $1, true)) IS NOT NULL
               AND id = $2 AND last_seen_at < $3 AND revoked_at IS NULL
            RETURNING true
            """,
        ),
        _seen, must=False, hot=True,
    ),
    effects.RevokeToken: Change(
        (
            """
            INSERT INTO revoked_token (caisse, jti, expires_at, bucket)
            VALUES (set_config('espace.caisse', $1, true), $2, $3, $4)
            ON CONFLICT DO NOTHING
            RETURNING true
            """,
        ),
        _revoked_token, must=False,
    ),
    effects.StorePushedRequest: Change(
        (
            """
            INSERT INTO pushed_request (caisse, handle_hash, client_id, request, expires_at, bucket)
            VALUES (set_config('espace.caisse', $1, true), $2, $3, $4::text::jsonb, $5, $6)
            RETURNING true
            """,
        ),
        _pushed, must=True,
    ),
    effects.SpendPushedRequest: Change(
        (
            """
            UPDATE pushed_request SET spent_at = $3
             WHERE (SELECT set_config('espace.caisse', $1, true)) IS NOT NULL
               AND handle_hash = $2 AND bucket BETWEEN $4 AND $5 AND spent_at IS NULL
            RETURNING true
            """,
        ),
        _spent, must=True,
    ),
    effects.StoreGrant: Change(
        (
            """
            INSERT INTO authorization_grant (caisse, id, client_id, person_id, session_id, account_id, granted,
                                             created_at, expires_at, bucket)
            VALUES (set_config('espace.caisse', $1, true), $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9, $17)
            RETURNING true
            """,
            """
            INSERT INTO authorization_code (caisse, code_hash, grant_id, redirect_uri, code_challenge, dpop_jkt,
                                            nonce, expires_at, bucket)
            VALUES (set_config('espace.caisse', $1, true), $10, $2, $11, $12, $13, $14, $15, $16)
            RETURNING true
            """,
        ),
        _grant, must=True,
    ),
    effects.FinishFlow: Change(
        (
            """
            UPDATE authorization_flow SET finished_at = $3
             WHERE (SELECT set_config('espace.caisse', $1, true)) IS NOT NULL
               AND id = $2 AND bucket BETWEEN $4 AND $5 AND finished_at IS NULL
            RETURNING true
            """,
        ),
        _finished, must=True,
    ),
    # Locked until the grant is committed: who takes the consent back meanwhile finds the grant and revokes it.
    effects.RelyOnConsent: Change(
        (
            """
            SELECT true FROM consent
             WHERE (SELECT set_config('espace.caisse', $1, true)) IS NOT NULL
               AND person_id = $2 AND client_id = $3 AND account_id IS NOT DISTINCT FROM $4::uuid
               AND scopes @> $5::text[] AND revoked_at IS NULL AND expires_at > $6
               FOR SHARE
            """,
        ),
        _relied_on, must=True,
    ),
    effects.RememberConsent: Change(
        (
            """
            INSERT INTO consent (caisse, id, person_id, client_id, account_id, scopes, given_at, expires_at)
            VALUES (set_config('espace.caisse', $1, true), $2, $3, $4, $5, $6, $7, $8)
            RETURNING true
            """,
        ),
        _consent, must=True,
    ),
    effects.SpendPass: Change((f"{LET_THROUGH} RETURNING true",), _passed, must=True, hot=True),
    effects.NoteUse: Change(
        (
            """
            UPDATE machine_client SET last_used_at = $3::timestamptz
             WHERE (SELECT set_config('espace.caisse', $1, true)) IS NOT NULL
               AND id = $2 AND (last_used_at IS NULL OR last_used_at < $3::timestamptz - interval '1 minute')
            RETURNING true
            """,
        ),
        _used, must=False, hot=True,
    ),
    effects.NoteOnce: Change((f"{journal.APPEND_ONCE} RETURNING true",), _noted_once, must=False, hot=True),
    effects.Note: Change((f"{journal.APPEND} RETURNING true",), _noted, must=True),
}  # fmt: skip


@lru_cache(maxsize=512)
def together(kinds: tuple[type[Effect], ...], *, judged: bool = True) -> str:
    """The statement that writes effects of these kinds, in this order.

    A part that finds its row taken raises through `found_or_lost`, so that the
    others are undone with it; the error names the effect's place. Unless `judged`,
    it changes nothing and the others are written. The last parameter is how long
    it waits for a row: PostgreSQL computes that item of the list first, and runs
    a part when it is asked for; in a message of several it holds from the one before.
    """
    named: list[str] = []
    verdicts: list[str] = []
    first = 1
    for place, kind in enumerate(kinds):
        change = CHANGES[kind]
        for text in change.parts:
            before = f"part{len(named) - 1}"
            named.append(f"part{len(named)} AS ({_from(first, text).replace('{before}', before)})")
        found = f"EXISTS (SELECT FROM part{len(named) - 1})"
        # Each part is asked for, so that all are run in the order of the effects.
        verdicts.append(f"found_or_lost({found}, {place})" if change.must and judged else found)
        first += _values_in(change.parts)
    waits = f"set_config('lock_timeout', ${first}, true)"
    return f"WITH {', '.join(named)} SELECT {', '.join([waits, *verdicts])}"


def shares_a_message(changes: Sequence[Effect]) -> bool:
    """Whether the decision may be committed with others: it changes no row that they change too."""
    return not any(CHANGES[type(change)].hot for change in changes)


def values_of(changes: Sequence[Effect], caisse: CaisseSlug) -> list[object]:
    """The parameters of `together`, in order."""
    return [value for change in changes for value in CHANGES[type(change)].values(change, caisse)]


_PLACE = re.compile(r"\$([0-9]+)")


def _from(first: int, text: str) -> str:
    return _PLACE.sub(lambda found: f"${int(found[1]) + first - 1}", text)


def _values_in(parts: tuple[str, ...]) -> int:
    return max(int(place) for text in parts for place in _PLACE.findall(text))
