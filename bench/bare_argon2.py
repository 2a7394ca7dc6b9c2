"""The floor of a login: `python -m bench.bare_argon2 SECONDS ENCODED PASSWORD`.

Prints verifications a second, and the CPU of one in microseconds.
"""

import sys
import time

from argon2 import PasswordHasher


def measured(seconds: float, encoded: str, password: str) -> tuple[float, float]:
    """The parameters are those written in `encoded`, which are Espace's."""
    hasher, done = PasswordHasher(), 0
    hasher.verify(encoded, password)
    began, on_core = time.perf_counter(), time.process_time_ns()
    while (spent := time.perf_counter() - began) < seconds:
        hasher.verify(encoded, password)
        done += 1
    return done / spent, (time.process_time_ns() - on_core) / 1000 / done


if __name__ == "__main__":
    print(*measured(float(sys.argv[1]), sys.argv[2], sys.argv[3]))
