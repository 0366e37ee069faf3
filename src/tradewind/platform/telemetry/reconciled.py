"""What was settled for dead processes: a figure and a log line for each case."""

from collections.abc import Iterable

from tradewind.kernel.messages import Reconciled
from tradewind.platform.telemetry import logs, metrics

logger = logs.get(__name__)


def tell(cases: Iterable[Reconciled]) -> None:
    """Count and log; to be called once what settled them is committed."""
    for one in cases:
        metrics.RECONCILED.labels(one.case).inc()
        ids = {} if one.order_id is None else {"order_id": one.order_id}
        logger.info("reconciled", case=one.case, id=one.id, **ids)
