"""What is said of a setting beside its type."""

from msgspec import Struct


class About(Struct, frozen=True, kw_only=True):
    """What the type of a setting cannot say."""

    text: str  # one sentence
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    schemes: tuple[str, ...] = ()  # of a URL
    pattern: str = ""  # what a text must match as a whole
    like: str = ""  # and what such a text looks like
    networks: bool = False  # of several texts: each is a network
    pairs: tuple[str, ...] = ()  # of several texts: each is name=URL, with one of these schemes
    secret: bool = False  # never printed
    variable: str = ""  # where it is not TRADEWIND_ + the name
