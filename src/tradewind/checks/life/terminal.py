"""What a search came to, as a person reads it."""

from tradewind.checks.life.explore import Found


def print_found(found: Found) -> None:
    """What was explored, the numbers, and the way to a broken promise, if there is one."""
    print("\n".join(sentences(found)))


def sentences(found: Found) -> list[str]:
    """The report, line by line."""
    rate = found.states / max(found.took_s, 0.001)
    lines = [
        f"Explored: {found.setting}.",
        f"{found.states:,} states over {found.lives:,} lives of an order, {found.steps:,} steps, "
        f"{found.at_rest:,} states at rest, {found.depth} steps deep, "
        f"in {found.took_s:.1f} s ({rate:,.0f} a second).",
    ]
    if found.broken:
        lines += [f"{number:3}  {words}" for number, words in enumerate(found.trace, start=1)]
        return [*lines, f"BROKEN: {found.broken}."]
    if found.whole:
        return [*lines, "These are all there are. Every promise holds in each of them."]
    return [*lines, "There are more. Every promise holds in those that were visited."]
