"""From a request's path to what serves it: plain paths by a dict, the others by one regex.

A path is matched with its percent escapes decoded, so ``sku%3AMUG`` finds what ``sku:MUG`` does. An
escaped slash stays inside its parameter: it never ends a segment.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from tradewind.kernel.texts import refused_character

T = TypeVar("T")

PARAMETER = re.compile(r"\{([a-z_]+)(:path)?\}")
ESCAPED_SLASH = re.compile("%2[Ff]")
# Stands for an escaped slash while matching: a character that no decoded path can hold.
SLASH = "\udc2f"

NO_PARAMETERS: Mapping[str, str] = {}


class Paths(Generic[T]):
    """A table of path templates. Where two match, the one with more literal text wins."""

    def __init__(self, entries: Iterable[tuple[str, T]]) -> None:
        self._plain: dict[str, T] = {}
        templates: list[tuple[str, T]] = []
        for template, target in entries:
            if PARAMETER.search(template):
                templates.append((template, target))
            else:
                assert template not in self._plain, f"{template} is declared twice"
                self._plain[template] = target
        templates.sort(key=lambda entry: rank(entry[0]))
        self._targets: dict[int, tuple[T, tuple[str, ...]]] = {}
        pattern = []
        group = 0
        for template, target in templates:
            names = tuple(found[1] for found in PARAMETER.finditer(template))
            group += 1
            self._targets[group] = (target, names)
            group += len(names)
            pattern.append(f"({regex_of(template)})")
        self._match = re.compile("|".join(pattern) or r"(?!)").fullmatch

    def find(self, path: str, raw_path: bytes | None) -> tuple[T, Mapping[str, str]] | None:
        """What serves a path, and the parameters in it. `path` is decoded, `raw_path` as sent."""
        target = self._plain.get(path)
        if target is not None:
            return target, NO_PARAMETERS
        if raw_path is not None and b"%" in raw_path:
            decoded = decode(raw_path)
            if decoded is None:
                return None
            path = decoded
        found = self._match(path)
        if found is None or found.lastindex is None:
            return None
        # The group that closes last is the whole alternative, so its number is the template's.
        first = found.lastindex
        target, names = self._targets[first]
        values = {name: found[first + i + 1] for i, name in enumerate(names)}
        for name, value in values.items():
            if refused_character(value.replace(SLASH, "/")):
                return None
            if SLASH in value:
                values[name] = value.replace(SLASH, "/")
        return target, values


def decode(raw_path: bytes) -> str | None:
    """A path with its escapes decoded and escaped slashes marked; None where it is not UTF-8."""
    pieces = ESCAPED_SLASH.split(raw_path.decode("ascii", "replace"))
    try:
        return SLASH.join(unquote_to_bytes(piece).decode() for piece in pieces)
    except UnicodeDecodeError:
        return None


def regex_of(template: str) -> str:
    """A template as a regular expression, a group per parameter."""
    pattern = []
    end = 0
    for found in PARAMETER.finditer(template):
        pattern.append(re.escape(template[end : found.start()]))
        pattern.append("(.+)" if found[2] else "([^/]+)")
        end = found.end()
    pattern.append(re.escape(template[end:]))
    return "".join(pattern)


def rank(template: str) -> tuple[tuple[int, int], ...]:
    """Sorts templates by how much of each segment is literal."""
    ranks = []
    for segment in template.split("/"):
        found = PARAMETER.search(segment)
        if found is None:
            ranks.append((0, -len(segment)))
        else:
            literal = len(PARAMETER.sub("", segment))
            ranks.append((1 if literal else 3 if found[2] else 2, -literal))
    # Where one goes on after the other's end, `{sku:path}/movements`, it is tried first.
    return (*ranks, (4, 0))
