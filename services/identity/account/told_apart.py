"""Which of several that look alike: two browsers of one make, seen in the same minute, read the same in a list."""

from collections import Counter
from collections.abc import Hashable, Mapping
from datetime import datetime
from uuid import UUID


def numbers_of_alike(looks: Mapping[UUID, Hashable]) -> dict[UUID, int]:
    """A number for each that another one looks like, from 1, oldest first: identifiers follow time (UUIDv7)."""
    common, met, numbers = Counter(looks.values()), Counter[Hashable](), dict[UUID, int]()
    for id in sorted(looks):
        look = looks[id]
        if common[look] > 1:
            met[look] += 1
            numbers[id] = met[look]
    return numbers


def minute(at: datetime) -> datetime:
    """As a page shows it."""
    return at.replace(second=0, microsecond=0)
