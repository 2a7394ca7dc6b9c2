"""No way to a client leads around the rule that nobody grants what they lack."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "services" / "identity"
REGISTER = ROOT / "openid" / "write_client.py"
WRITES = {
    "add",
    "replace",
    "disable",
    "replace_secret",
    "add_initial_token",
    "set_open_registration",
}
"""What changes a client, or who may become one, in SQL."""

RULES = {"touches", "writes", "gives"}


def calls(tree: ast.AST) -> set[str]:
    """The attributes that are called: `by.writes(…)` is `by.writes`."""
    return {
        f"{call.func.value.id}.{call.func.attr}"
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
    }


def test_whoever_takes_a_hand_asks_it() -> None:
    """Each use case that changes a client judges the caller before it writes."""
    taking = [
        function
        for function in ast.parse(REGISTER.read_text("utf-8")).body
        if isinstance(function, ast.AsyncFunctionDef)
        and any(one.arg == "by" for one in [*function.args.args, *function.args.kwonlyargs])
        and not function.name.startswith("_")
    ]

    assert len(taking) >= 6
    assert [one.name for one in taking if not {f"by.{rule}" for rule in RULES} & calls(one)] == []


def test_only_use_cases_with_a_hand_write_clients() -> None:
    """Two files write them: registration, and the machines of cabinets, whose ceiling is what a mandate gives."""
    stores = {f"client_store.{name}" for name in WRITES} | {"caisses.set_open_registration"}
    writing = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if stores & calls(ast.parse(path.read_text("utf-8")))
    }

    assert writing == {"openid/write_client.py"}
    tables = ("INTO client ", "UPDATE client SET", "UPDATE client\n")
    in_sql = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if any(table in path.read_text("utf-8") for table in tables)
    }
    assert in_sql == {"openid/client_store.py", "cabinets/machine_store.py"}
