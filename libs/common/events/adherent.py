"""What the adherent service tells: that a cabinet has looked, and at what."""

from uuid import UUID

from libs.common.events.envelope import Event


class ActNoted(Event, frozen=True, kw_only=True, tag="act.noted.v1"):
    """Somebody acted for a firm under a mandate: `action` is `member_file.read`, `standing.read`, `statements.read`.

    What was read does not travel. `person_id` is absent for a cabinet's software, which `client_id` names.
    """

    action: str
    adherent_id: UUID
    cabinet_id: UUID
    mandate_id: UUID
    mandate_version: int
    person_id: UUID | None = None
    client_id: str | None = None
