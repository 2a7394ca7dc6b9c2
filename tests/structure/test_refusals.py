"""Every refusal of the domain has its line in the table to HTTP."""

import importlib
from pathlib import Path

from libs.common.http.problems import INTERNAL, problem_for
from libs.common.refusals import DomainError

ROOT = Path(__file__).resolve().parents[2]


def import_everything() -> None:
    for folder in ("libs", "services"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))


def every_refusal(kind: type[DomainError]) -> list[type[DomainError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in every_refusal(child))]


def test_every_refusal_has_a_problem() -> None:
    import_everything()
    # A refusal that others refine is a family: what is raised are its members.
    refusals = [
        kind
        for kind in every_refusal(DomainError)[1:]
        if kind.__module__.split(".")[0] != "tests" and not kind.__subclasses__()
    ]

    assert len(refusals) > 5
    untold = [
        f"{kind.__module__}.{kind.__name__}"
        for kind in refusals
        if problem_for(kind.__new__(kind)) is INTERNAL
    ]
    assert untold == []


def test_every_refusal_says_why() -> None:
    import_everything()
    silent = [kind.__name__ for kind in every_refusal(DomainError) if not (kind.__doc__ or "").strip()]
    assert silent == []
