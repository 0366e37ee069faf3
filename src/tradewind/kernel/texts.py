"""Which characters a text may hold.

PostgreSQL cannot store U+0000, UTF-8 cannot carry half of a surrogate pair, and a control character
in a name or an e-mail address ends up in a mail header, a log line or a terminal. So the gateway
refuses control characters in every text; line breaks and tabs are allowed where a field is `Prose`.
"""

import re
from typing import Annotated

from msgspec import Meta

PROSE = "prose"
# A text of several lines, such as a description: may hold line breaks and tabs.
Prose = Annotated[str, Meta(extra={PROSE: True})]

NOT_IN_PROSE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def refused_character(text: str, *, prose: bool = False) -> str | None:
    """The first character of `text` that may not be there, or None."""
    found = (NOT_IN_PROSE if prose else NOT_IN_A_LINE).search(text)
    return found[0] if found else None


def why_refused(character: str) -> str:
    """Why a character is refused, as the message of a field error."""
    number = ord(character)
    if 0xD800 <= number <= 0xDFFF:
        return f"holds half of a surrogate pair (U+{number:04X}), which is no character"
    if character in "\t\n\r":
        return f"must be a single line without tabs: it holds U+{number:04X}"
    return f"must not hold the control character U+{number:04X}"
