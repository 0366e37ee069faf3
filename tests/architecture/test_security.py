"""Static security rules that no linter has: about SQL, secrets, chance and what is called."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tradewind"
SERVED = sorted(
    path for part in ("contexts", "kernel", "platform") for path in (PACKAGE / part).rglob("*.py")
)
# Methods whose first argument is SQL.
RUNS_SQL = frozenset(
    {
        "execute", "executemany", "fetch", "fetchrow", "fetchval", "fetch_one", "fetch_value",
        "fetch_values", "write", "cursor",
    }
)  # fmt: skip
# Of text that is put into SQL, what may be a name: a schema, a role, a table, columns. Values are
# parameters. Each with the place that makes sure of it.
NAMES = frozenset(
    {
        "role", "schema", "source.schema", "source", "name", "table", "columns", "conditions",
        "COLUMNS", "lock", "channel", "segment", "number", "names", "numbers", "self._witness",
        "self._role",
    }
)  # fmt: skip
# Chance that an attacker must not guess comes from `secrets` and `os.urandom`.
NEEDS_SECRETS = ("platform/security", "platform/vault", "platform/audit", "contexts/identity")
FORBIDDEN_CALLS = frozenset(
    {
        "eval", "exec", "compile", "__import__", "pickle.loads", "pickle.load", "marshal.loads",
        "yaml.load", "yaml.unsafe_load", "os.system", "os.popen", "subprocess.getoutput",
        "tempfile.mktemp", "ssl._create_unverified_context", "jwt.decode",
    }
)  # fmt: skip
SECRET = re.compile(
    r"tw_live_[0-9a-z]{26}_[A-Za-z0-9_-]{43}|-----BEGIN (?:EC |RSA )?PRIVATE KEY|AKIA[0-9A-Z]{16}"
)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of a name or attribute; "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def spliced(sql: ast.expr) -> Iterator[str]:
    """What is put into a text that is run as SQL, but for constants of the module."""
    if isinstance(sql, ast.JoinedStr):
        for part in sql.values:
            if isinstance(part, ast.FormattedValue):
                yield dotted(part.value) or ast.unparse(part.value)
    elif isinstance(sql, ast.BinOp):
        yield from spliced(sql.left)
        yield from spliced(sql.right)
    elif isinstance(sql, ast.Call) and getattr(sql.func, "attr", "") == "format":
        for value in [*sql.args, *(keyword.value for keyword in sql.keywords)]:
            yield dotted(value) or ast.unparse(value)


def sql_faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr not in RUNS_SQL or not node.args:
            continue
        for value in spliced(node.args[0]):
            constant = re.fullmatch(r"[A-Z][A-Z0-9_]*", value)
            if (
                not constant
                and value not in NAMES
                and "plan." not in value
                and "in columns" not in value
            ):
                yield f"line {node.lineno}: {value} becomes part of a statement"


@pytest.mark.parametrize("path", SERVED, ids=relative)
def test_no_value_becomes_part_of_a_statement(path: Path) -> None:
    assert list(sql_faults(ast.parse(path.read_text()))) == []


@pytest.mark.parametrize(
    "bad",
    [
        'db.fetch(f"SELECT 1 FROM t WHERE a = {value}")',
        'db.fetch("SELECT " + f"{request.body.name}")',
        'tx.write("DELETE FROM t WHERE a = {}".format(email))',
    ],
)
def test_a_spliced_value_is_found(bad: str) -> None:
    assert list(sql_faults(ast.parse(bad)))


@pytest.mark.parametrize("path", SERVED, ids=relative)
def test_nothing_dangerous_is_called(path: Path) -> None:
    tree = ast.parse(path.read_text())
    called = [dotted(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not FORBIDDEN_CALLS & set(called)
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg in ("verify", "verify_ssl", "shell"):
            off = isinstance(node.value, ast.Constant) and node.value.value is (node.arg == "shell")
            assert not off, f"line {node.value.lineno}: {node.arg} is turned the wrong way"
        if isinstance(node, ast.keyword) and node.arg == "allow_redirects":
            assert isinstance(node.value, ast.Constant)
            assert node.value.value is False, "a redirect leads where nobody looked"


@pytest.mark.parametrize(
    "path", [p for p in SERVED if any(n in p.as_posix() for n in NEEDS_SECRETS)], ids=relative
)
def test_what_must_not_be_guessed_is_not_made_by_random(path: Path) -> None:
    imported = {
        name.name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert "random" not in imported


def test_no_secret_lies_in_the_repository() -> None:
    """Keys that could open something; those of tests are made up and open nothing."""
    for folder in ("src", "scripts", "docs", "benchmarks"):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in {".py", ".md", ".toml", ".sql", ".json", ".txt"}:
                assert not SECRET.search(path.read_text(errors="replace")), relative(path)
