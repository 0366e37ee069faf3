"""Files are short, names say what they hold, decisions are pure, SQL stays in its own schema.

The limits follow from reading other code bases: few functions pass 70 lines, and a file past 500
is two files. They cost little when they hold from the first day.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tradewind"
SOURCES = sorted(PACKAGE.rglob("*.py"))
CODE = sorted(
    path for folder in ("src", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
TEXTS = sorted(
    path
    for pattern in ("*.md", "*.toml", "Makefile", "docs/**/*.md", "changelog.d/*", ".ci/*")
    for path in ROOT.glob(pattern)
    if path.is_file()
)
SQL_FILES = sorted(PACKAGE.rglob("*.sql"))

LINES_PER_FILE_MAX = 500
LINES_PER_FUNCTION_MAX = 70
POSITIONAL_MAX = 5

VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base", "impl"}
PURE = {"events", "commands", "problems", "tables", "rules"}
# Reads of the clock and of chance: in what decides, both come in as arguments.
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "uuid7", "new_id", "token_bytes"}
# Split, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b")
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|Users|root|work|mnt)/[A-Za-z0-9_]")
SQL = re.compile(r"\s*(?:--[^\n]*\n\s*)*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH)\s")
TABLE = re.compile(
    r"\b(?:FROM|JOIN|INTO|UPDATE|TABLE|REFERENCES)\s+(?:ONLY\s+|IF NOT EXISTS\s+)?([a-z_]+)\.[a-z_]"
)
INDEXED = re.compile(r"\bINDEX\b[^;]*?\bON\s+(?:ONLY\s+)?([a-z_]+)\.[a-z_]", re.DOTALL)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def context_of(path: Path) -> str | None:
    """The context a file belongs to."""
    parts = path.relative_to(PACKAGE).parts
    return parts[1] if parts[0] == "contexts" and len(parts) > 2 else None


def part_of(path: Path) -> str | None:
    """Which of a context's files it is: `rules/prices.py` is "rules"."""
    return None if context_of(path) is None else path.relative_to(PACKAGE).parts[2].split(".")[0]


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def statements(path: Path) -> Iterator[str]:
    """The SQL texts in a Python file."""
    for node in ast.walk(parsed(path)):
        text = ""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            text = "".join(str(p.value) for p in node.values if isinstance(p, ast.Constant))
        if SQL.match(text):
            yield text


@pytest.mark.parametrize("path", CODE, ids=relative)
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    assert lines <= LINES_PER_FILE_MAX, "split it: a package of the same name keeps the imports"
    for function in functions(parsed(path)):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        assert length <= LINES_PER_FUNCTION_MAX, f"{function.name} has {length} lines: name a part"


@pytest.mark.parametrize("path", CODE, ids=relative)
def test_calls_can_be_read_at_the_call_site(path: Path) -> None:
    """More than five positional parameters are told apart by nobody: put a `*` before the rest."""
    for function in functions(parsed(path)):
        names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
        count = len(names) - (names[:1] in (["self"], ["cls"]))
        # A test takes what pytest hands it, by name.
        if not function.name.startswith(("test_", "handle_")):
            assert count <= POSITIONAL_MAX, f"{function.name} takes {count} positional parameters"


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_names_say_what_they_hold(path: Path) -> None:
    words = set(path.stem.split("_"))
    assert not VAGUE & words, f"{path.stem}: say what it holds"
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ClassDef):
            parts = {word.lower() for word in re.findall("[A-Z][a-z]+", node.name)}
            assert not VAGUE & parts, f"{node.name}: say what it is"


@pytest.mark.parametrize("path", [p for p in SOURCES if part_of(p) in PURE], ids=relative)
def test_what_decides_reads_neither_clock_nor_chance(path: Path) -> None:
    """`now` comes in from the transaction, ids from the handler; so a rule can be run again."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            assert name not in IMPURE_CALLS, f"line {node.lineno}: {name}() in {part_of(path)}"


@pytest.mark.parametrize("path", [p for p in SOURCES if context_of(p)], ids=relative)
def test_sql_stands_in_handlers_and_queries_and_in_its_own_schema(path: Path) -> None:
    for sql in statements(path):
        assert part_of(path) in {"handlers", "queries"}, f"SQL in {part_of(path)}: {sql[:60]!r}"
        foreign = set(TABLE.findall(sql)) - {context_of(path)}
        assert not foreign, f"a context reads its own schema only, not {foreign}: keep a copy"


@pytest.mark.parametrize("path", [p for p in SQL_FILES if context_of(p)], ids=relative)
def test_migrations_touch_their_own_schema_only(path: Path) -> None:
    sql = re.sub(r"--[^\n]*", "", path.read_text(encoding="utf-8"))
    assert {*TABLE.findall(sql), *INDEXED.findall(sql)} <= {context_of(path)}


def test_the_schema_test_sees_foreign_tables() -> None:
    """The pattern is the guard: these are what it must find."""
    for sql in (
        "SELECT sku FROM inventory.stock",
        "UPDATE inventory.stock SET reserved = 0",
        "SELECT 1 FROM orders.orders o JOIN inventory.stock s ON s.sku = o.sku",
        "DELETE FROM ONLY inventory.stock",
    ):
        assert "inventory" in TABLE.findall(sql), sql


@pytest.mark.parametrize("path", [p for p in SOURCES if context_of(p)], ids=relative)
def test_sql_is_never_glued_together_from_values(path: Path) -> None:
    """Values travel as parameters; a statement may be put together from constants only."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(p.value) for p in node.values if isinstance(p, ast.Constant))
            parts = [p.value for p in node.values if isinstance(p, ast.FormattedValue)]
            assert all(map(is_constant, parts)) or not SQL.match(text), f"line {node.lineno}"


def is_constant(node: ast.expr) -> bool:
    """A literal, a name in capitals, or such a text formatted with such values."""
    match node:
        case ast.Constant():
            return True
        case ast.Name(id=name):
            return name.isupper()
        case ast.Call(func=ast.Attribute(value=text, attr="format"), args=args, keywords=named):
            return all(map(is_constant, [text, *args, *(each.value for each in named)]))
    return False


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_nothing_is_caught_to_be_dropped(path: Path) -> None:
    """`except Exception: pass` hides the bug that the next reader looks for."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ExceptHandler):
            broad = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in {"Exception", "BaseException"}
            )
            dropped = all(isinstance(statement, ast.Pass) for statement in node.body)
            assert not (broad and dropped), f"line {node.lineno}: name the error you expect"


@pytest.mark.parametrize("path", [*CODE, *SQL_FILES, *TEXTS], ids=relative)
def test_nothing_is_left_for_later_or_bound_to_one_machine(path: Path) -> None:
    """An open point is an issue, not a comment; a path of somebody's machine helps nobody else."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        assert not UNFINISHED.search(line), f"line {number}: {line.strip()}"
        assert not MACHINE_PATH.search(line), f"line {number}: {line.strip()}"
