"""What the supervisor tells the nursery: one message an order, one answer (the child's number) each."""

import msgspec

LONGEST_ORDER = 128 * 1024
"""Bytes; the environment of a process makes most of it."""


class Order(msgspec.Struct, frozen=True):
    """One of our commands to run, as `start` would have executed it; its log comes beside, as a descriptor."""

    arguments: list[str]
    environment: dict[str, str]
    directory: str
    stop_signal: int
