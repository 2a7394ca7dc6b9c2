"""Line 18 of openid.md where it is written: no redirect leaves its status to the framework, and each says 303."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAYS_303 = {"303", "SEE_OTHER", "HTTP_303_SEE_OTHER"}


def test_line_18_every_redirect_that_is_written_says_303() -> None:
    found, wrong = 0, list[str]()
    for path in sorted([*ROOT.glob("services/**/*.py"), *ROOT.glob("libs/**/*.py")]):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Redirect"):
                found += 1
                status = [ast.unparse(one.value) for one in node.keywords if one.arg == "status_code"]
                if not (len(status) == 1 and status[0] in SAYS_303):
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert found >= 15
    assert wrong == []
