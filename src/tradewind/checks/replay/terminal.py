"""A replay as a person reads it."""

from tradewind.checks.replay.run import NOT_TOLD, Replayed


def print_replayed(replayed: Replayed) -> None:
    """Each table with its numbers, what differs, what could not be compared, the verdict."""
    print("\n".join(sentences(replayed)))


def sentences(replayed: Replayed) -> list[str]:
    """The report, line by line."""
    rate = replayed.events / max(replayed.took_s, 0.001)
    lines = [
        f"{replayed.events:,} events about {replayed.subjects:,} subjects, folded and compared in "
        f"{replayed.took_s:.1f} s ({rate:,.0f} events a second)."
    ]
    for table in replayed.tables:
        differ = f"{table.differing:,} DIFFER" if table.differing else "all as their events say"
        lines.append(f"  {table.name:24} {table.compared:>10,} rows  {differ}")
    for table in replayed.tables:
        lines += [f"DIFFERS: {table.name} {one.id}: {one.detail}" for one in table.first]
    lines += [f"Not told by events: {name}: {what}." for name, what in NOT_TOLD.items()]
    if replayed.holds:
        return [*lines, "The events reproduce every row."]
    return [*lines, "The events do NOT reproduce the rows."]
