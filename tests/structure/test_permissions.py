"""No permission forgets that a mandate may be limited to some establishments (delegation.md §3, check 4)."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2] / "services"
ASK = {"establishments_of", "reach_the_whole_firm"}
NOT_DELEGABLE = {"may_read_acts"}
"""Of routes that no delegated token opens: `delegable=False`, held below."""

OF_NO_FIRM = {"may_withdraw"}
"""The caisse's own act: a token in a firm's name, delegated or not, is refused."""


def permissions() -> Iterator[ast.FunctionDef]:
    """Every `may_…(token, …)` of a service that checks access tokens."""
    for path in sorted(ROOT.rglob("permission.py")):
        for function in ast.parse(path.read_text("utf-8")).body:
            if isinstance(function, ast.FunctionDef) and function.name.startswith("may_"):
                yield function


def called(tree: ast.AST) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def test_every_permission_says_which_establishments_it_reaches() -> None:
    found = {function.name: called(function) for function in permissions()}

    assert len(found) >= 7
    assert {name for name, calls in found.items() if not calls & ASK} == NOT_DELEGABLE | OF_NO_FIRM


def test_what_does_not_ask_is_open_to_nobody_s_cabinet() -> None:
    """Each route that uses one of them says `delegable=False`."""
    seen: set[str] = set()
    for path in sorted(ROOT.rglob("routes.py")):
        text = path.read_text("utf-8")
        for function in ast.walk(ast.parse(text)):
            if not isinstance(function, ast.AsyncFunctionDef):
                continue
            if used := called(function) & NOT_DELEGABLE:
                seen |= used
                declared = " ".join(
                    ast.get_source_segment(text, one) or "" for one in function.decorator_list
                )
                assert "delegable=False" in declared, f"{path}: {function.name}"
    assert seen == NOT_DELEGABLE
