"""Every list of checks says by which clause each of them is asked."""

import importlib
import re
from pathlib import Path
from types import FunctionType

ROOT = Path(__file__).resolve().parents[2]
OPENID = ROOT / "services" / "identity" / "openid"

CLAUSE = re.compile(r"RFC \d{4}|OpenID Connect |OAuth 2\.0 |FAPI 2\.0 |openid\.md|delegation\.md")


def lists() -> dict[str, tuple[FunctionType, ...]]:
    """The tuples of functions, by the name of the module and their own: `steps.STEPS`."""
    found: dict[str, tuple[FunctionType, ...]] = {}
    for path in sorted(OPENID.rglob("*.py")):
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for name, value in vars(module).items():
            if not isinstance(value, tuple) or not value:
                continue
            if all(isinstance(one, FunctionType) and one.__module__ == module.__name__ for one in value):
                found[f"{path.stem}.{name}"] = value
    return found


def test_every_check_of_a_list_names_its_clause() -> None:
    found = lists()

    assert {"steps.STEPS", "authorization_request.CHECKS", "code_grant.OF_THE_CODE"} <= found.keys()
    assert len(found) >= 11
    assert [
        f"{name}: {check.__name__}"
        for name, checks in found.items()
        for check in checks
        if not CLAUSE.search(check.__doc__ or "")
    ] == []
