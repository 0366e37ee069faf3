"""Live figures of a running replay, for whoever shows them."""

import time
from collections import Counter, deque

RATE_WINDOW_S = 5.0
LATENCIES_KEPT = 1_024


class Pulse:
    """What was done so far, how fast of late, how long it took."""

    def __init__(self, actions_count: int) -> None:
        self.actions_count = actions_count
        self.done = 0
        self.orders = 0
        self.known_already = 0  # done by an earlier run
        self.refused: Counter[str] = Counter()
        self.started_at = time.monotonic()
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES_KEPT)
        self._finished_at: deque[float] = deque()

    def action_done(self, *, refused: str, known_already: bool) -> None:
        """Count an action, with the code of its refusal where it was refused."""
        self.done += 1
        self.known_already += known_already
        if refused:
            self.refused[refused] += 1

    def order_answered(self, seconds: float) -> None:
        """Count an order, and how long its answer took."""
        now = time.monotonic()
        self.orders += 1
        self._latencies_s.append(seconds)
        self._finished_at.append(now)
        while self._finished_at[0] < now - RATE_WINDOW_S:
            self._finished_at.popleft()

    @property
    def orders_per_s(self) -> float:
        """Orders answered per second, of late."""
        now = time.monotonic()
        recent = sum(1 for at in self._finished_at if at >= now - RATE_WINDOW_S)
        return recent / max(min(RATE_WINDOW_S, now - self.started_at), 0.001)

    @property
    def p95_ms(self) -> float:
        """The 95th percentile of the last answers' times."""
        return self.percentile_ms(95)

    def percentile_ms(self, percent: int) -> float:
        """A percentile of the last answers' times."""
        ordered = sorted(self._latencies_s)
        return ordered[len(ordered) * percent // 100] * 1000 if ordered else 0.0

    @property
    def age_s(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.started_at
