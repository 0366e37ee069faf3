"""What a process does for the vault now and then: orphans go, and papers whose time is over."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from tradewind.kernel.messages import Reconciled
from tradewind.platform.telemetry import logs, reconciled
from tradewind.platform.vault.vault import Vault

logger = logs.get(__name__)


async def sweep_vault(node: Any, *, faults: tuple[type[Exception], ...]) -> None:
    """One round, for a node. What one of `faults` stops is found in the next one."""
    vault: Vault = node.vault
    for context, in_use in node.plan.persons_in_use.items():
        asked = partial(ask, node, context, in_use)
        try:
            swept = await vault.sweep_orphans(context, asked)
        except faults as fault:
            logger.warning("vault.sweep_fault", fault=repr(fault)[:300])
            continue
        reconciled.tell(Reconciled(case="orphaned_record", id=person) for person in swept)
    try:
        # Whoever erased them may have been killed before the others were told.
        if erased := await vault.erased_lately():
            for knows in node.plan.personal.values():
                if knows.erased is not None:
                    await knows.erased(node, erased)
        ended = await vault.end_retention(datetime.now(UTC).year - 1)
    except faults as fault:
        logger.warning("vault.sweep_fault", fault=repr(fault)[:300])
    else:
        if ended:
            logger.info("vault.retention_ended", records=ended)


async def ask(node: Any, context: str, in_use: Any, persons: Sequence[str]) -> set[str]:
    """Which of these records a context points to."""
    async with node.reading(context) as snapshot:
        found: set[str] = await in_use(snapshot, persons)
    return found
