"""One place per question: every context has the same files, and every file says what it holds."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tradewind"
CONTEXTS = sorted(path.parent for path in (PACKAGE / "contexts").glob("*/__init__.py"))
MODULES = sorted(PACKAGE.rglob("*.py"))

# In reading order. STYLE.md says what each may hold.
REQUIRED = ("__init__", "events", "tables", "handlers", "context", "migrations")
OPTIONAL = ("commands", "problems", "rules", "clients", "queries", "routes")
MIGRATION = re.compile(r"([0-9]{4})_[a-z][a-z0-9_]*\.sql")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def context_name(folder: Path) -> str:
    return folder.name


def parts_of(context: Path) -> set[str]:
    """What stands in a context: `rules.py` and `rules/` are both "rules"."""
    found = (path for path in context.iterdir() if path.name != "__pycache__")
    return {path.stem if path.suffix == ".py" else path.name for path in found}


def test_there_are_contexts() -> None:
    """The tests below would pass on an empty folder."""
    assert {"orders", "inventory", "payments", "notifications"} <= {c.name for c in CONTEXTS}


@pytest.mark.parametrize("context", CONTEXTS, ids=context_name)
def test_a_context_has_the_files_it_must_have_and_no_others(context: Path) -> None:
    parts = parts_of(context)
    missing = set(REQUIRED) - parts
    assert not missing, f"every context has these; see STYLE.md: {sorted(missing)}"
    unknown = parts - {*REQUIRED, *OPTIONAL}
    assert not unknown, f"no place for these in a context; STYLE.md lists the names: {unknown}"


@pytest.mark.parametrize("context", CONTEXTS, ids=context_name)
def test_a_context_opens_with_what_it_owns(context: Path) -> None:
    """`__init__.py` is a docstring and no code: importing its events must not load the context."""
    tree = ast.parse((context / "__init__.py").read_text(encoding="utf-8"))
    text = ast.get_docstring(tree) or ""
    assert len(tree.body) == 1, "no code in the __init__.py of a context"
    for word in ("Owns", "Announces", "Listens"):
        assert word in text, f"the docstring of {context.name} must say what it {word.lower()}"


@pytest.mark.parametrize("context", CONTEXTS, ids=context_name)
def test_migrations_are_numbered_without_gaps(context: Path) -> None:
    names = sorted(path.name for path in (context / "migrations").iterdir())
    numbers = []
    for name in names:
        match = MIGRATION.fullmatch(name)
        assert match, f"{name}: migrations are called 0001_what_it_adds.sql"
        numbers.append(int(match[1]))
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("context", CONTEXTS, ids=context_name)
def test_rules_and_handlers_have_tests_where_one_looks_for_them(context: Path) -> None:
    """tests/contexts/<name>/ mirrors src: something there imports them."""
    tests = ROOT / "tests" / "contexts" / context.name
    texts = [path.read_text(encoding="utf-8") for path in tests.glob("*.py")]
    for part in parts_of(context) & {"rules", "handlers"}:
        imported = re.compile(
            rf"contexts\.{context.name}(\.{part}\b| import (\([^)]*|[^\n]*)\b{part}\b)"
        )
        assert any(map(imported.search, texts)), f"write {relative(tests)}/test_{part}.py"


@pytest.mark.parametrize("module", MODULES, ids=relative)
def test_a_module_says_what_it_holds(module: Path) -> None:
    docstring = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8")))
    assert docstring, "start the file with a sentence: what it holds and what always holds in it"
    first = docstring.partition("\n\n")[0].strip()
    assert first[-1] in ".:?!", f"the first line is a sentence: {first!r}"
