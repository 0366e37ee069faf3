"""Every metric of the platform, declared in one place, and how they are written out.

Names follow the Prometheus rules: a unit as the suffix, `_total` for counters. Labels have few
values: routes as templates, never paths; contexts and handlers, never ids. With several web
processes `PROMETHEUS_MULTIPROC_DIR` is set by the supervisor before this module is imported; the
figures of all processes are then added up by whichever is asked. Where a figure must be seen per
process, the number of the worker is a label.
"""

from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess, values
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

MEDIA_TYPE = CONTENT_TYPE_LATEST
# The client library has read the environment by now: figures lie in memory, or in shared files.
SHARED = values.ValueClass is not values.MutexValue

REGISTRY = CollectorRegistry()
_worker = "1"


def be_worker(number: int) -> None:
    """Say which web process this is; to be called before anything is counted."""
    global _worker
    _worker = str(number)


def worker() -> str:
    """The number of this web process, as a label."""
    return _worker


# A gateway answers in milliseconds; a waiting order takes up to 30 s.
REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)
CALL_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10)

# --- The edge -------------------------------------------------------------------------------------
HTTP_REQUESTS = Counter(
    "tradewind_http_requests_total",
    "Requests answered, by route template and status.",
    ("method", "route", "status"),
    registry=REGISTRY,
)
HTTP_SECONDS = Histogram(
    "tradewind_http_request_seconds",
    "Time from the request's head to its answer, waiting for a decision included.",
    ("method", "route"),
    buckets=REQUEST_BUCKETS_S,
    registry=REGISTRY,
)
HTTP_REFUSED = Counter(
    "tradewind_http_refused_total",
    "Requests refused before a handler saw them, by the code of the problem.",
    ("code",),
    registry=REGISTRY,
)
WAITING_REQUESTS = Gauge(
    "tradewind_waiting_requests",
    "Requests that wait for the decision of an order.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
REMEMBERED = Counter(
    "tradewind_remembered_answers_total",
    "Answers from memory (hit) and from the database (miss), by whose they are.",
    ("context", "outcome"),
    registry=REGISTRY,
)
# How many of a hundred answers came from memory is worked out of it when the page is asked for.
REMEMBERED_SHARE = "tradewind_remembered_ratio"
REMEMBERED_BYTES = Gauge(
    "tradewind_remembered_bytes",
    "What remembered answers take of the memory of a web process.",
    ("context",),
    registry=REGISTRY,
    multiprocess_mode="livesum",
)

# --- Batches and the bus --------------------------------------------------------------------------
COMMANDS = Counter(
    "tradewind_commands_total",
    "Commands carried out, by kind and by the worker that did it.",
    ("command", "worker"),
    registry=REGISTRY,
)
BATCH_SIZE = Histogram(
    "tradewind_batch_messages",
    "Messages in one unit of work.",
    ("handler",),
    buckets=BATCH_BUCKETS,
    registry=REGISTRY,
)
BATCH_SECONDS = Histogram(
    "tradewind_batch_seconds",
    "Time of one unit of work, commit included.",
    ("handler",),
    buckets=BATCH_BUCKETS_S,
    registry=REGISTRY,
)
BATCH_RETRIES = Counter(
    "tradewind_batch_retries_total",
    "Units of work that ran again, by reason: stale, conflict, split, connection.",
    ("handler", "reason"),
    registry=REGISTRY,
)
QUEUE_LENGTH = Gauge(
    "tradewind_queue_messages",
    "Commands that wait for their batch.",
    ("handler",),
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
QUEUE_REFUSED = Counter(
    "tradewind_queue_refused_total",
    "Commands refused because the queue was full.",
    ("handler",),
    registry=REGISTRY,
)
BUS_LAG = Gauge(
    "tradewind_bus_lag_seconds",
    "Age of the oldest event that a consumer has not handled.",
    ("consumer",),
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
BUS_EVENTS = Counter(
    "tradewind_bus_events_total",
    "Events handled, by consumer and by the worker that did it: orders.decisions decides orders.",
    ("consumer", "worker"),
    registry=REGISTRY,
)
HORIZON_AGE = Gauge(
    "tradewind_bus_horizon_age_seconds",
    "Age of the oldest writing transaction: it holds the whole bus back.",
    registry=REGISTRY,
    multiprocess_mode="livemax",
)
DEAD_LETTERS = Gauge(
    "tradewind_dead_letters",
    "Subjects whose events wait behind one that could not be handled.",
    ("consumer",),
    registry=REGISTRY,
    multiprocess_mode="livemax",
)

# --- The database and third parties ---------------------------------------------------------------
DATABASE_WAITING = Gauge(
    "tradewind_database_waiting",
    "Units of work and reads that wait for a connection.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
DATABASE_IN_USE = Gauge(
    "tradewind_database_connections_in_use",
    "Connections at work.",
    registry=REGISTRY,
    multiprocess_mode="livesum",
)
CALL_SECONDS = Histogram(
    "tradewind_call_seconds",
    "Calls to third parties, by party, operation and outcome.",
    ("party", "operation", "outcome"),
    buckets=CALL_BUCKETS_S,
    registry=REGISTRY,
)
RECONCILED = Counter(
    "tradewind_reconciled_total",
    "What a process left behind and a sweep settled or took up again, by case.",
    ("case",),
    registry=REGISTRY,
)


def exposition() -> bytes:
    """All metrics in the text format, of all web processes where there are several."""
    registry = REGISTRY
    if SHARED:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry) + generate_latest(Ratios(registry))


class Ratios(CollectorRegistry):
    """What follows from counters, and cannot be added up over processes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._counters = registry

    def collect(self) -> Iterator[Metric]:
        """The share of answers that came from memory, since the start."""
        ratio = GaugeMetricFamily(
            REMEMBERED_SHARE,
            "Answers from memory among all that may come from it, since the start.",
            labels=("context",),
        )
        counted: dict[str, dict[str, float]] = {}
        for metric in self._counters.collect():
            for sample in metric.samples if metric.name == "tradewind_remembered_answers" else ():
                if sample.name.endswith("_total"):
                    of_context = counted.setdefault(sample.labels["context"], {})
                    of_context[sample.labels["outcome"]] = sample.value
        for context, outcomes in sorted(counted.items()):
            hits, misses = outcomes.get("hit", 0.0), outcomes.get("miss", 0.0)
            if hits + misses:
                ratio.add_metric([context], hits / (hits + misses))
        yield ratio


def begin_sharing(folder: Path) -> None:
    """Make an empty folder for the figures of several processes. The supervisor calls it once."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for left in folder.glob("*.db"):
        left.unlink(missing_ok=True)


def forget_process(process_id: int, folder: Path) -> None:
    """Drop the gauges of a web process that died. The supervisor calls it; counters stay."""
    multiprocess.mark_process_dead(process_id, str(folder))  # type: ignore[no-untyped-call]
