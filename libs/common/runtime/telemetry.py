"""Figures for Prometheus, named alike everywhere: `espace_<what>_<unit>`; `/metrics` gives those of one process."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import Counter, Gauge, Histogram, Info

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def counter(name: str, says: str, *labels: str) -> Counter:
    """What happened how often: `espace_<name>_total`. Labels have few values; never a person, an address, an id."""
    return Counter(f"espace_{name}", says, labels)


def gauge(name: str, says: str, *labels: str) -> Gauge:
    """How many there are now: `espace_<name>`."""
    return Gauge(f"espace_{name}", says, labels)


def durations(name: str, says: str, *labels: str) -> Histogram:
    """How long it took: `espace_<name>_seconds`."""
    return Histogram(f"espace_{name}_seconds", says, labels, buckets=SECONDS)


@contextmanager
def timed(histogram: Histogram, **labels: str) -> Iterator[None]:
    """Observe the length of the block, whether it ends or raises."""
    began = perf_counter()
    try:
        yield
    finally:
        (histogram.labels(**labels) if labels else histogram).observe(perf_counter() - began)


def name_process(service: str, role: str, version: str) -> None:
    """Say once who gives these figures: `espace_process_info{service, role, version}`."""
    Info("espace_process", "Service, role (serve or work) and version of this process.").info(
        {"service": service, "role": role, "version": version}
    )
