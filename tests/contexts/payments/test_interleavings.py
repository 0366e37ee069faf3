"""Whatever comes in whatever order: money ends where the order wants it, each move made once.

A script is a list of steps: an order says something, a call to the provider is answered, lost or
never sent, an outcome arrives late or twice, a process dies, time passes, the sweep runs, somebody
asks for a refund. `World.check` holds after every commit; `check_end` when all has settled.
"""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from tests.contexts.payments.world import World, outcome_of, terms_of
from tradewind.contexts.payments.commands import ProviderOutcome
from tradewind.contexts.payments.rules import Absent, Aim, Begin

ORDERS = 2
TOKENS = (*["tok_ok"] * 4, "tok_declined", "tok_capture_declined", "tok_refund_declined")
# In this order each; the first ends of an order may come before its payment begins.
LIVES = (
    *[("begin", "confirmed", "cancelled")] * 4,
    *[("begin", "confirmed")] * 3,
    ("begin", "cancelled"),
    ("begin", "rejected"),
    ("cancelled", "begin"),
    ("expired", "begin"),
    ("begin",),
)
ABSENT: dict[str, Absent] = {"cancelled": "announce", "expired": "remember"}
WAITS_S = (0.05, 0.5, 2.0, 5.0, 60.0, 4_000.0)
# Repeated: how likely. What goes well must be likely enough to get anywhere.
STEPS = (
    *("say", "say", "say"),
    *("answer",) * 6,
    *("lose", "unreached", "fail"),
    *("hold_back", "arrive", "arrive"),
    *("repeat", "crash", "wait", "wait", "sweep"),
    *("refund", "refund"),
)


class Step(Struct, frozen=True):
    """One thing that happens; `pick` chooses among what it can happen to."""

    name: str
    pick: int


class Script:
    """A world, the orders' lives in it, and outcomes that were said but may not have arrived."""

    def __init__(
        self, tokens: tuple[str, ...], lives: tuple[tuple[str, ...], ...], amounts: tuple[int, ...]
    ) -> None:
        self.world = World()
        self.terms = [terms_of(n, token=tokens[n], amount_minor=amounts[n]) for n in range(ORDERS)]
        self.ahead = [list(life) for life in lives]
        self.behind: list[list[str]] = [[] for _ in lives]
        self.said: list[ProviderOutcome] = []
        self.refunds = 0

    def message(self, number: int, name: str) -> Begin | Aim:
        """What an order, or inventory about it, says."""
        terms = self.terms[number]
        if name == "begin":
            return Begin(terms)
        return Aim(
            order_id=terms.order_id,
            payment_id=terms.payment_id,
            wanted="captured" if name == "confirmed" else "nothing",
            absent=ABSENT.get(name, "ignore"),
        )

    def say(self, number: int, count: int) -> None:
        """The next `count` messages of an order, in one unit of work."""
        names = [self.ahead[number].pop(0) for _ in self.ahead[number][:count]]
        self.behind[number] += names
        self.world.follow(*[self.message(number, name) for name in names])

    def play(self, step: Step) -> None:
        """One step."""
        world, number = self.world, step.pick % ORDERS
        match step.name:
            case "say":
                self.say(number, 1 + (step.pick % 5 == 0))
            case "repeat":
                names = self.behind[number]
                if names and step.pick % 3:
                    names = [names[step.pick % len(names)]]
                world.follow(*[self.message(number, name) for name in names])
            case "arrive" if self.said:
                world.record(self.said[step.pick % len(self.said)])
            case "crash":
                world.calls.clear()
            case "wait":
                world.later(WAITS_S[step.pick % len(WAITS_S)])
            case "sweep":
                world.sweep()
            case "refund":
                self.refunds += 1
                amount_minor = (1, 400, 1_000)[step.pick % 3]
                world.refund(f"pay_{number}", f"ref_asked_{self.refunds:04d}", amount_minor)
            case name if world.calls:
                self.call(name, step.pick)

    def call(self, fate: str, pick: int) -> None:
        """A call goes out, and something comes of it."""
        world = self.world
        call = world.calls.pop(pick % len(world.calls))
        if fate == "unreached":
            outcome = outcome_of(call, "unreached")
        elif fate == "fail" and not call.look_up:
            outcome = outcome_of(call, "failed")
        elif fate == "lose":
            if not call.look_up and pick % 3:
                world.bank.decide(call)  # it was done; only the answer is lost
            outcome = outcome_of(call, "no_answer")
        else:
            outcome = world.bank.answer(call)
        self.said.append(outcome)
        if fate != "hold_back":
            world.record(outcome)

    def end(self) -> None:
        """The orders say what they have left, and all is well from here on."""
        for number in range(ORDERS):
            self.say(number, len(self.ahead[number]))
        self.world.settle()
        self.world.record(*self.said)
        for number in range(ORDERS):
            self.check_end(number)
        for refund in self.world.refunds.values():
            answers = self.world.answers.get(refund.refund_id, [])
            assert len(answers) == (1 if refund.asked else 0)

    def check_end(self, number: int) -> None:
        """Ours and the provider's record agree, and are what the order wants."""
        terms, said = self.terms[number], set(self.behind[number])
        payment = self.world.payments.get(terms.payment_id)
        held = self.world.bank.held.get(f"{terms.payment_id}:authorise")
        if payment is None or self.behind[number][0] in ("cancelled", "expired"):
            assert payment is None, "it ended before it began"
            assert held is None
            return
        if held is None:
            assert payment.status in ("declined", "failed")
            return
        assert payment.captured_minor == held.captured_minor
        assert payment.refunded_minor == held.refunded_minor
        told = self.world.announced(number)
        over = {"cancelled", "rejected"} & said or {"PaymentFailed", "CaptureRefused"} & set(told)
        if payment.halted is not None:
            assert over
            assert terms.token == "tok_refund_declined"
        elif over:
            assert held.voided or (held.captured and held.refunded_minor == held.captured_minor)
            assert payment.status in ("voided", "refunded")
        elif "confirmed" in said:
            assert held.captured_minor == terms.amount_minor
            assert payment.status in ("captured", "partially_refunded", "refunded")
        else:
            assert payment.status == "authorised"
            assert not held.voided
            assert not held.captured


STEP = st.builds(Step, st.sampled_from(STEPS), st.integers(0, 29))


@settings(max_examples=400, deadline=None)
@given(
    tokens=st.tuples(*[st.sampled_from(TOKENS)] * ORDERS),
    lives=st.tuples(*[st.sampled_from(LIVES)] * ORDERS),
    amounts=st.tuples(*[st.sampled_from((1_000, 1_000, 1, 0))] * ORDERS),
    steps=st.lists(STEP, min_size=30, max_size=80),
)
def test_money_ends_where_the_order_wants_it(
    tokens: tuple[str, ...],
    lives: tuple[tuple[str, ...], ...],
    amounts: tuple[int, ...],
    steps: list[Step],
) -> None:
    script = Script(tokens, lives, amounts)
    for step in steps:
        script.play(step)
    script.end()
