"""Figures for Prometheus, named alike everywhere: `espace_<what>_<unit>`; `/metrics` gives those of one process."""

from importlib.metadata import PackageNotFoundError, version

from prometheus_client import Counter, Gauge, Info, start_http_server


def counter(name: str, says: str, *labels: str) -> Counter:
    """What happened how often: `espace_<name>_total`. Labels have few values; never a person, an address, an id."""
    return Counter(f"espace_{name}", says, labels)


def gauge(name: str, says: str, *labels: str) -> Gauge:
    """How many there are now: `espace_<name>`."""
    return Gauge(f"espace_{name}", says, labels)


def name_process(service: str, role: str) -> None:
    """Say once who gives these figures: `espace_process_info{service, role, version}`."""
    PROCESS.info({"service": service, "role": role, "version": _version()})


def give_figures(host: str, port: int) -> None:
    """`http://host:port/metrics` for a process that serves nothing else; a thread of its own answers."""
    start_http_server(port, addr=host)


def _version() -> str:
    try:
        return version("espace")
    except PackageNotFoundError:
        return "from source"


PROCESS = Info("espace_process", "Service, role (serve or work) and version of this process.")
