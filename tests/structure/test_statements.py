"""Every SQL statement of every store is prepared on the migrated schema, against the struct it fills."""

import ast
import importlib
import inspect
import types
import typing
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
import pytest

from libs.common.runtime.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
VERBS = {"fetch", "fetchrow", "fetchval", "execute", "executemany"}
PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "uuid": (UUID,),
    "text": (str,),
    "varchar": (str,),
    "bpchar": (str,),
    "bool": (bool,),
    "int2": (int,),
    "int4": (int,),
    "int8": (int,),
    "numeric": (Decimal,),
    "float8": (float,),
    "bytea": (bytes,),
    "date": (date,),
    "timestamptz": (datetime,),
    "interval": (object,),
    "jsonb": (str, bytes),
    "json": (str, bytes),
}


class Statement(NamedTuple):
    where: str
    service: str
    sql: str
    struct: type | None


def stores() -> list[Path]:
    return sorted((ROOT / "services").rglob("*store.py"))


def literal(node: ast.expr, module: Any) -> str | None:
    """The text of an SQL argument made of literals and of the module's constants; `None` for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Name(id=name) if name.isupper() or name.lstrip("_").isupper():
            text = getattr(module, name, None)
            return text if isinstance(text, str) else None
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = [literal(left, module), literal(right, module)]
        case ast.JoinedStr(values=values):
            parts = [literal(part, module) for part in values]
        case ast.FormattedValue(value=value, conversion=-1):
            parts = [literal(value, module)]
        case _:
            return None
    return None if None in parts else "".join(part for part in parts if part)


def filled_struct(function: ast.AST, module: Any) -> type | None:
    """The class of `Struct(*row)` in this function, when there is exactly one."""
    names = {
        node.func.id
        for node in ast.walk(function)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and len(node.args) == 1
        and isinstance(node.args[0], ast.Starred)
        and isinstance(node.args[0].value, ast.Name)
        and not node.keywords
    }
    found = [getattr(module, name) for name in names if inspect.isclass(getattr(module, name, None))]
    return found[0] if len(found) == 1 and issubclass(found[0], (msgspec.Struct, tuple)) else None


def statements() -> Iterator[Statement]:
    for path in stores():
        module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        folder = path.relative_to(ROOT).parts[1]
        service = "identity" if folder == "demonstration" else folder
        for function in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(function, ast.AsyncFunctionDef):
                continue
            calls = [
                node
                for node in ast.walk(function)
                if isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in VERBS
                and node.args
            ]
            for call in calls:
                sql = literal(call.args[0], module)
                if sql is None or sql.lstrip().upper().startswith(
                    ("CREATE TEMP", "SET ", "DROP", "TRUNCATE", "LOCK")
                ):
                    continue
                reads_rows = isinstance(call.func, ast.Attribute) and call.func.attr in {"fetch", "fetchrow"}
                struct = filled_struct(function, module) if reads_rows and len(calls) == 1 else None
                yield Statement(
                    f"{path.relative_to(ROOT)}:{call.lineno} {function.name}", service, sql, struct
                )


def accepts(hint: Any, kinds: tuple[type, ...]) -> bool:
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(accepts(one, kinds) for one in arguments if one is not type(None))
    if typing.get_origin(hint) is typing.Annotated:
        return accepts(arguments[0], kinds)
    if typing.get_origin(hint) is typing.Literal:
        return all(isinstance(value, kinds) for value in arguments)
    return (
        not isinstance(hint, type)
        or hint in kinds
        or object in kinds
        or any(issubclass(hint, k) for k in kinds)
    )


def mismatches(struct: type, columns: tuple[asyncpg.Attribute, ...]) -> list[str]:
    hints = typing.get_type_hints(struct, include_extras=True)
    names = getattr(struct, "__struct_fields__", None) or struct._fields  # type: ignore[attr-defined]
    if len(names) < len(columns):
        return [f"{len(columns)} columns for {len(names)} fields of {struct.__name__}"]
    faults: list[str] = []
    for name, column in zip(names, columns, strict=False):
        kinds = PYTHON_TYPES.get(column.type.name)
        if kinds is not None and not accepts(hints[name], kinds):
            faults.append(
                f"{struct.__name__}.{name} is {hints[name]}, the column {column.name} {column.type.name}"
            )
    return faults


async def test_every_statement_is_valid_and_fits_its_struct(settings: Settings) -> None:
    faults: list[str] = []
    count = 0
    connections: dict[str, list[asyncpg.Connection[Any]]] = {}
    for statement in statements():
        section = settings.service(statement.service)
        if statement.service not in connections:
            dsns = [dsn for dsn in (section.dsn, section.relay_dsn) if dsn]
            connections[statement.service] = [await asyncpg.connect(dsn) for dsn in dsns]
        errors: list[str] = []
        for connection in connections[statement.service]:
            try:
                prepared = await connection.prepare(statement.sql)
            except asyncpg.UndefinedTableError as error:
                errors.append(str(error))  # temporary tables are made by the statement before
                continue
            except asyncpg.PostgresError as error:
                errors.append(str(error))
                continue
            count += 1
            if statement.struct is not None:
                faults += [
                    f"{statement.where}: {fault}"
                    for fault in mismatches(statement.struct, prepared.get_attributes())
                ]
            break
        else:
            if not all("incoming" in error or "staging" in error for error in errors):
                faults.append(f"{statement.where}: {errors[0]}")
    for opened in connections.values():
        for connection in opened:
            await connection.close()

    assert faults == []
    assert count > 30


def test_every_store_is_found() -> None:
    assert len(stores()) > 8


@pytest.mark.parametrize("path", stores(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_store_builds_sql_from_text(path: Path) -> None:
    """SQL is a literal with `$n` (reliability.md §5): never formatted, never concatenated with a variable."""
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VERBS
        ):
            continue
        built = node.args and isinstance(node.args[0], (ast.JoinedStr, ast.BinOp, ast.Call))
        if built and literal(node.args[0], module) is None:
            pytest.fail(f"{path.relative_to(ROOT)}:{node.lineno} builds its SQL")
