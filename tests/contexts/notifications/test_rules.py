"""Which mails there are, what they say, and when a mail is given up."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradewind.contexts.notifications import rules
from tradewind.contexts.notifications.commands import Attempt
from tradewind.contexts.notifications.events import MessageFailed, MessageSent
from tradewind.contexts.notifications.tables import MessageState

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ORDER = "ord_00000000000000000000000001"
OTHER = "ord_00000000000000000000000002"


def request(**changes: Any) -> rules.Request:
    values: dict[str, Any] = {
        "order_id": ORDER,
        "kind": "confirmation",
        "template": "confirmed.1",
        "person": "prs_1",
        "contact": "ctc_1",
        "total_minor": 1275,
        "currency": "GBP",
    }
    return rules.Request(**{**values, **changes})


def post(
    requests: list[rules.Request], states: list[MessageState], *, to_mailbox: bool
) -> rules.Posted:
    ids = [f"msg_{number}" for number in range(len(requests))]
    return rules.post(requests, states, message_ids=ids, to_mailbox=to_mailbox, now=NOW)


def queued(message_id: str, kind: Any, *, order_id: str = ORDER, attempts: int = 1) -> MessageState:
    return MessageState(message_id, order_id, kind, "queued", attempts)


def attempt(message_id: str, result: Any, *, number: int = 1, order_id: str = ORDER) -> Attempt:
    return Attempt(
        message_id=message_id,
        order_id=order_id,
        attempt=number,
        result=result,
        via="smtp",
        reason="" if result == "sent" else "smtp_450",
    )


def test_a_confirmed_order_gets_one_mail_however_often_it_is_told() -> None:
    """A repeat in the same batch and a repeat of an earlier batch are both left alone."""
    first = post([request(), request()], [], to_mailbox=False)
    assert [(m.order_id, m.kind) for m in first.messages] == [(ORDER, "confirmation")]
    again = post([request()], [queued("msg_0", "confirmation")], to_mailbox=False)
    assert not again.messages
    assert not again.events


def test_an_order_without_an_address_gets_no_mail() -> None:
    """Imported history often has a customer number and no e-mail."""
    assert not post([request(contact=None)], [], to_mailbox=True).messages


def test_the_embedded_mailbox_takes_a_mail_at_once() -> None:
    """Both mails of an order are announced, numbered in the order they were kept."""
    posted = post(
        [request(), request(kind="cancellation", template="cancelled.1"), request(order_id=OTHER)],
        [],
        to_mailbox=True,
    )
    assert [(e.order_id, e.kind, e.sequence) for e in posted.events] == [
        (ORDER, "confirmation", 1),
        (ORDER, "cancellation", 2),
        (OTHER, "confirmation", 1),
    ]
    assert [m.sequence for m in posted.messages] == [1, 2, 1]


def test_nothing_is_announced_of_a_mail_that_is_only_queued() -> None:
    posted = post([request()], [], to_mailbox=False)
    assert not posted.events
    assert posted.messages[0].sequence is None


def test_a_failure_puts_a_mail_off_and_a_refusal_buries_it() -> None:
    states = [queued("msg_1", "confirmation"), queued("msg_2", "confirmation", order_id=OTHER)]
    recorded = rules.record(
        [attempt("msg_1", "failed"), attempt("msg_2", "refused", order_id=OTHER)], states, now=NOW
    )
    put_off, buried = recorded.changes
    assert (put_off.status, put_off.due_at) == ("queued", NOW + timedelta(seconds=30))
    assert (buried.status, buried.due_at, buried.reason) == ("dead", None, "smtp_450")
    (event,) = recorded.events
    assert isinstance(event, MessageFailed)
    assert (event.order_id, event.sequence, event.reason) == (OTHER, 1, "smtp_450")


def test_the_last_attempt_that_fails_is_the_end() -> None:
    state = queued("msg_1", "confirmation", attempts=rules.ATTEMPTS_MAX)
    recorded = rules.record(
        [attempt("msg_1", "failed", number=rules.ATTEMPTS_MAX)], [state], now=NOW
    )
    assert [change.status for change in recorded.changes] == ["dead"]
    assert isinstance(recorded.events[0], MessageFailed)


def test_a_late_failure_does_not_count_but_a_late_success_does() -> None:
    """The first sender was slow, its claim lapsed, a second attempt is on its way."""
    state = queued("msg_1", "confirmation", attempts=2)
    assert not rules.record([attempt("msg_1", "failed", number=1)], [state], now=NOW).changes
    late = rules.record([attempt("msg_1", "sent", number=1)], [state], now=NOW)
    assert [change.status for change in late.changes] == ["sent"]


def test_all_attempts_together_span_more_than_a_day() -> None:
    """A mail server that is down overnight costs no mail."""
    waits = [rules.retry_delay_s(attempts) for attempts in range(1, rules.ATTEMPTS_MAX)]
    assert waits == sorted(waits)
    assert 24 * 3_600 < sum(waits) < 48 * 3_600


RESULTS = st.sampled_from(["sent", "failed", "refused"])


@given(
    st.lists(st.tuples(st.integers(0, 3), RESULTS, st.integers(1, 2)), max_size=12),
    st.integers(1, 12),
)
def test_a_message_settles_once_and_its_order_counts_without_gaps(
    tried: list[tuple[int, str, int]], cut: int
) -> None:
    """Two orders, two mails each; results in any order, repeated, over two batches."""
    states = {
        f"msg_{index}": queued(
            f"msg_{index}",
            ("confirmation", "cancellation")[index % 2],
            order_id=(ORDER, OTHER)[index // 2],
        )
        for index in range(4)
    }
    events: list[Any] = []
    for part in (tried[:cut], tried[cut:]):
        attempts = [
            attempt(f"msg_{index}", result, number=number, order_id=states[f"msg_{index}"].order_id)
            for index, result, number in part
        ]
        recorded = rules.record(attempts, list(states.values()), now=NOW)
        changed = [change.message_id for change in recorded.changes]
        assert len(set(changed)) == len(changed), "one write per row and unit"
        for change in recorded.changes:
            old = states[change.message_id]
            assert old.status == "queued"
            states[change.message_id] = MessageState(
                old.message_id, old.order_id, old.kind, change.status, old.attempts
            )
        events += recorded.events
    settled = [state for state in states.values() if state.status != "queued"]
    assert sorted(event.message_id for event in events) == sorted(s.message_id for s in settled)
    for order_id in (ORDER, OTHER):
        numbers = [event.sequence for event in events if event.order_id == order_id]
        assert numbers == list(range(1, len(numbers) + 1))
    for event in events:
        sent = states[event.message_id].status == "sent"
        assert isinstance(event, MessageSent if sent else MessageFailed)


@pytest.mark.parametrize("template", rules.TEXTS)
def test_a_mail_says_which_order_and_how_much(template: str) -> None:
    text = rules.write_text(
        template,
        name="Ada <script>",
        order_id=ORDER,
        total_minor=1275,
        currency="JPY",
        shop_url="https://shop.example",
    )
    assert ORDER in text.subject
    for body in (text.text, text.html):
        assert "1275 JPY" in body
        assert f"https://shop.example/v1/orders/{ORDER}" in body
    assert "Hello Ada <script>," in text.text
    assert "Hello Ada &lt;script&gt;," in text.html


@given(st.text())
def test_no_name_can_break_a_text(name: str) -> None:
    """Dollar signs, braces and tags in a name are only a name."""
    text = rules.write_text(
        "confirmed.1",
        name=name,
        order_id=ORDER,
        total_minor=1,
        currency="GBP",
        shop_url="https://shop.example",
    )
    assert name in text.text
    assert "<script" not in text.html


def test_the_message_id_depends_on_order_and_kind_alone() -> None:
    sender = "A Shop <hello@shop.example>"
    assert rules.header_id(ORDER, "confirmation", sender) == f"<{ORDER}.confirmation@shop.example>"
    assert rules.header_id(ORDER, "cancellation", sender) != rules.header_id(
        ORDER, "confirmation", sender
    )
