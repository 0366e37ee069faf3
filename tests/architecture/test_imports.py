"""The dependency rule, as import-linter contracts in pyproject.toml, and proof that they bite."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(sys.argv[1], no_logo=True, cache_dir=sys.argv[2]))
"""

# Where, what is planted, and the contract that must break because of it.
PLANTED = (
    (
        "contexts/orders/handlers/desk.py",
        "from tradewind.contexts.inventory import tables as planted",
        "Contexts meet only through events and commands",
    ),
    (
        "contexts/inventory/helpers.py",
        '"""A file that no context has."""',
        "Every context has the same files in the same order",
    ),
    (
        "contexts/payments/handlers/units.py",
        "from tradewind.contexts.payments import clients as planted",
        "Every context has the same files in the same order",
    ),
    (
        "contexts/fraud/rules.py",
        "import time as planted",
        "What decides does no I/O",
    ),
    (
        "contexts/notifications/rules.py",
        "from tradewind.platform.database import transaction as planted",
        "What decides does no I/O",
    ),
    (
        "kernel/money.py",
        "from tradewind.platform import settings as planted",
        "Imports point down",
    ),
    (
        "platform/bus/log.py",
        "from tradewind.platform.gateway import routing as planted",
        "Platform parts are layered",
    ),
    (
        "contexts/catalog/handlers.py",
        "from tradewind.platform import node as planted",
        "Units of work see the database and nothing else outside",
    ),
    (
        "contexts/notifications/clients.py",
        "from tradewind.platform.database import transaction as planted",
        "SQL lives in handlers and queries",
    ),
    (
        "contexts/notifications/routes.py",
        "from tradewind.contexts.notifications import rules as planted",
        "Routes reach handlers through the bus",
    ),
    (
        "contexts/inventory/queries.py",
        "import asyncpg as planted",
        "Only the platform knows the drivers",
    ),
    (
        "simulator/__init__.py",
        "from tradewind.platform.database import pool as planted",
        "The simulated provider stands alone",
    ),
    (
        "contexts/payments/clients.py",
        "import tradewind.simulator as planted",
        "The business does not know its checks, samples or simulator",
    ),
    (
        "checks/__init__.py",
        "from tradewind.platform.bus import log as planted",
        "Checks read the database themselves",
    ),
    (
        "checks/stock.py",
        "from tradewind.contexts.inventory import rules as planted",
        "Only the exploration of a life runs the rules",
    ),
    (
        "checks/concurrency/races/stock.py",
        "from tradewind.checks.concurrency import tradewind_adapter as planted",
        "Races know no platform",
    ),
    (
        "checks/oversell/checker.py",
        "from tradewind.kernel import money as planted",
        "The judge of the oversell check stands alone",
    ),
)


def lint(source: Path, cache: Path) -> tuple[bool, str]:
    """Whether every contract is kept in the package that lies in `source`, and the report."""
    done = subprocess.run(
        [sys.executable, "-c", LINT, str(ROOT / "pyproject.toml"), str(cache)],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package's Python files, to be spoilt."""
    source = tmp_path / "src"
    for path in (ROOT / "src" / "tradewind").rglob("*.py"):
        target = source / path.relative_to(ROOT / "src")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return source


def test_every_import_contract_is_kept(tmp_path: Path) -> None:
    kept, report = lint(ROOT / "src", tmp_path)
    assert kept, report


def test_every_contract_catches_its_violation(copy: Path, tmp_path: Path) -> None:
    """All violations at once, in a copy: each contract must name the one that was meant for it."""
    for place, line, _ in PLANTED:
        path = copy / "tradewind" / place
        if path.with_suffix("").is_dir():
            path = path.with_suffix("") / "__init__.py"
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        path.write_text(f"{text}\n{line}\n", encoding="utf-8")
    kept, report = lint(copy, tmp_path / "cache")
    assert not kept
    broken = set(re.findall(r"^(.+) BROKEN", report, flags=re.MULTILINE))
    declared = set(re.findall(r"^(.+) (?:BROKEN|KEPT)", report, flags=re.MULTILINE))
    assert broken == declared == {contract for _, _, contract in PLANTED}, report
    details = sections(report)
    for place, _, contract in PLANTED:
        module = "tradewind." + place.removesuffix(".py").removesuffix("/__init__")
        assert module.replace("/", ".") in details[contract], f"{contract} did not see {place}"


def sections(report: str) -> dict[str, str]:
    """What the report says about each broken contract."""
    _, _, broken = report.partition("Broken contracts\n")
    parts = re.split(r"^(.+)\n-+$", broken, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))
