"""What a process remembers of what strangers wrote, bounded by its size and not by how many wrote it."""

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Remembered(Generic[Key, Value]):
    """A mapping that forgets what was longest unused, once the whole weighs more than `most`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._weight = 0
        self._kept: OrderedDict[Key, tuple[int, Value]] = OrderedDict()

    @property
    def weight(self) -> int:
        return self._weight

    def get(self, key: Key) -> Value | None:
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[1]

    def put(self, key: Key, value: Value, weight: int) -> None:
        self.drop(key)
        if weight > self._most:
            return
        self._kept[key] = (weight, value)
        self._weight += weight
        while self._weight > self._most:
            _, (lost, _) = self._kept.popitem(last=False)
            self._weight -= lost

    def drop(self, key: Key) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self._weight -= found[0]
