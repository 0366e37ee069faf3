"""A plan, carried out through the public HTTP API.

``requests`` says what is sent for an action, ``carrying`` sends it, ``outcomes`` keeps what was
answered, ``pulse`` is what one sees meanwhile.
"""

from tradewind.samples.replay.carrying import CAPTURED_WITHIN_S, CONCURRENCY, replay
from tradewind.samples.replay.outcomes import CONFIRMED, SHIPPED, Outcome, Outcomes
from tradewind.samples.replay.pulse import Pulse
from tradewind.samples.replay.requests import fees, placing

__all__ = [
    "CAPTURED_WITHIN_S",
    "CONCURRENCY",
    "CONFIRMED",
    "SHIPPED",
    "Outcome",
    "Outcomes",
    "Pulse",
    "fees",
    "placing",
    "replay",
]
