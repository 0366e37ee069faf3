"""Metrics: one process, and several that are added up."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tradewind.platform.telemetry import metrics

COUNT = """
import os, sys
from pathlib import Path
from tradewind.platform.telemetry import metrics
metrics.be_worker(int(sys.argv[1]))
metrics.COMMANDS.labels("PlaceOrder", metrics.worker()).inc(3)
metrics.WAITING_REQUESTS.set(5)
if sys.argv[2]:
    metrics.forget_process(int(sys.argv[2]), Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
print(os.getpid())
sys.stderr.write(metrics.exposition().decode())
"""


def test_names_say_their_unit_and_every_metric_its_meaning() -> None:
    metrics.HTTP_REQUESTS.labels("GET", "/v1/orders", "200").inc(0)
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    assert len(families) > 10
    for family in families:
        assert family.documentation.endswith("."), family.name
        assert family.name.startswith("tradewind_")


def samples(text: str) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.items())}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_processes_are_added_up_and_the_dead_forgotten(tmp_path: Path) -> None:
    metrics.begin_sharing(tmp_path)
    environ = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}

    def process(worker: str, dead: str) -> tuple[str, dict[str, float]]:
        done = subprocess.run(
            [sys.executable, "-c", COUNT, worker, dead],
            env=environ,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip(), samples(done.stderr)

    first, alone = process("1", "")
    assert alone["tradewind_waiting_requests[]"] == 5
    _, both = process("2", first)
    done = "tradewind_commands_total[('command', 'PlaceOrder'), ('worker', '{}')]"
    assert both[done.format(1)] == both[done.format(2)] == 3, "counters outlive a process"
    assert both["tradewind_waiting_requests[]"] == 5, "the gauge of the dead one is gone"
