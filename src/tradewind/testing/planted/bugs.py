"""Every planted bug by name, with what brings it to light and what it must be called."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from tradewind.testing.planted import of_the_bus, of_the_business

# What a nemesis does in a run that looks for one bug.
TRAPS = ("spring_a_trap",)
KILLS = ("kill_web",)
CRASHES = ("kill_postgres",)
PAUSES = ("pause_web",)
NOTHING = ("nothing",)


class Bug(Struct, frozen=True, kw_only=True):
    """A mistake. `caught_as`: the kinds of anomaly of which the judge must name at least one."""

    plant: Callable[[], None]
    caught_as: Sequence[str]
    acts: Sequence[str] = NOTHING
    windows: Sequence[str] = ()


UNDECIDED = ("order never decided", "never answered", "does not come to rest")

ALL = {
    "nobody-takes-turns": Bug(
        plant=of_the_business.no_turns,
        caught_as=("oversold", "refused without reason"),
    ),
    "cursor-without-horizon": Bug(
        plant=of_the_bus.no_horizon,
        caught_as=(*UNDECIDED, "feed has a gap"),
    ),
    "event-outside-transaction": Bug(
        plant=of_the_bus.event_apart,
        caught_as=(*UNDECIDED, "not allocated once", "log has a gap"),
        acts=TRAPS,
        windows=("batch-committed", "command-committed"),
    ),
    "relay-sends-again": Bug(
        plant=of_the_bus.relay_again,
        caught_as=("told twice",),
        acts=TRAPS,
        windows=("feed-numbered",),
    ),
    "zombie-lease": Bug(
        plant=of_the_bus.no_fence,
        caught_as=("told twice",),
        acts=PAUSES,
    ),
    "mark-before-effect": Bug(
        plant=of_the_bus.mark_first,
        caught_as=(*UNDECIDED, "not allocated once", "feed has a gap"),
        acts=TRAPS,
        windows=("batch-committed",),
    ),
    "commit-without-disk": Bug(
        plant=of_the_bus.never_synced,
        caught_as=("acknowledged order is gone", "order is not as told", "replay differs"),
        acts=CRASHES,
    ),
    "key-not-kept": Bug(
        plant=of_the_bus.no_key,
        caught_as=("order placed twice", "replay differs"),
    ),
    "replay-made-anew": Bug(
        plant=of_the_bus.replay_anew,
        caught_as=("replay differs",),
    ),
    "answer-before-decision": Bug(
        plant=of_the_business.answer_early,
        caught_as=("order is not as told", "accepted without money"),
    ),
    "clock-on-reservation": Bug(
        plant=of_the_business.reservation_expires,
        caught_as=("not allocated once",),
    ),
    "stock-from-a-cache": Bug(
        plant=of_the_business.stale_stock,
        caught_as=("refused without reason",),
    ),
    "cancel-keeps-units": Bug(
        plant=of_the_business.units_not_given_back,
        caught_as=("stock is not its history",),
    ),
    "provider-called-with-new-key": Bug(
        plant=of_the_business.new_provider_key,
        caught_as=("money kept", "charged twice", "refund is not as told"),
    ),
    "repayment-not-booked": Bug(
        plant=of_the_business.repayment_not_booked,
        caught_as=("ledger is not the provider's",),
    ),
}
