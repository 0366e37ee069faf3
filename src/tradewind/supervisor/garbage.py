"""When the garbage collector looks: where nobody waits for an answer.

What a request leaves behind goes by itself, without cycles (a test counts), so the collector finds
next to nothing; but while it looks, everybody waits. By itself it comes only when very much has
grown, so that a cycle that somebody adds one day cannot fill the memory.
"""

import gc

# Objects more than at the last look. A thousand orders that wait are about a quarter of the second,
# and looking through that many takes a second.
WORTH_A_LOOK = 20_000
TOO_MANY = 1_000_000
# Looks at young objects before one at those that outlived them.
OLDER_EVERY = 10


def begin() -> None:
    """From now on it comes by itself only where it must."""
    gc.enable()
    gc.set_threshold(TOO_MANY, OLDER_EVERY, OLDER_EVERY)


def look() -> int | None:
    """Collect, where it is worth it; which generation. Call it when nobody waits."""
    young, middle, old = gc.get_count()
    if young < WORTH_A_LOOK:
        return None
    generation = 2 if old > OLDER_EVERY else 1 if middle > OLDER_EVERY else 0
    gc.collect(generation)
    return generation
