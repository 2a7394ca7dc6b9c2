"""The registry names what each service needs to run, and nothing that it has not."""

import pytest

from libs.common.bus.streams import streams_of
from services.registry import SERVICES, Service, entry_point


@pytest.mark.parametrize(
    "service", [service for service in SERVICES if service.work], ids=lambda service: service.name
)
def test_whoever_has_urgent_facts_has_a_process_that_tells_them(service: Service) -> None:
    has_urgent = any(stream.urgent for stream in streams_of(service.name))
    assert has_urgent == (service.urgent is not None)


def test_what_is_urgent_is_begun_by_a_worker() -> None:
    assert all(service.work is not None for service in SERVICES if service.urgent is not None)


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_entry_points_exist(service: Service) -> None:
    for path in (service.app, service.work, service.urgent):
        assert path is None or callable(entry_point(path))
