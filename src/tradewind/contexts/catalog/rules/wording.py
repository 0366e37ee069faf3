"""A search as the database understood it: words, joined by and, or and not.

PostgreSQL reads what people type and stems it, and writes down what it made of that:
``'lamp' & 'shad':*``. Here this text becomes a tree that an index in memory can follow.
"""

import re
from typing import NamedTuple

TOKEN = re.compile(r"\s*(?:('(?:[^'\\]|''|\\.)*')((?::[*A-D]+)?)|(<(?:-|\d+)>)|([&|!()]))")
ESCAPED = re.compile(r"''|\\(.)")
# Words of one search; a text field takes 200 characters.
DEPTH_MAX = 200


class NotPlain(Exception):
    """The search asks for more than which words occur: for their order."""


class Word(NamedTuple):
    """A word, or all words that begin so."""

    text: str
    begun: bool


class Node(NamedTuple):
    """Two searches joined: ``&`` both, ``|`` either; or ``!``, the left one not."""

    operator: str
    left: "Tree"
    right: "Tree | None"


Tree = Word | Node


def read(text: str) -> Tree | None:
    """The tree of a tsquery's text; None where it holds no word. Raises `NotPlain`."""
    tokens = tokens_of(text)
    if not tokens:
        return None
    tree, end = either(tokens, 0, 0)
    if end != len(tokens):
        raise NotPlain(text)
    return tree


def tokens_of(text: str) -> list[Word | str]:
    """Words and operators, in order."""
    found: list[Word | str] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None or match[3]:
            raise NotPlain(text)
        at = match.end()
        if match[1]:
            word = ESCAPED.sub(lambda one: one[1] or "'", match[1][1:-1])
            found.append(Word(word, match[2] == ":*"))
        else:
            found.append(match[4])
    return found


def either(tokens: list[Word | str], at: int, depth: int) -> tuple[Tree, int]:
    """A | B | ... from a place on; the tree and the place behind it."""
    tree, at = both(tokens, at, depth)
    while at < len(tokens) and tokens[at] == "|":
        other, at = both(tokens, at + 1, depth)
        tree = Node("|", tree, other)
    return tree, at


def both(tokens: list[Word | str], at: int, depth: int) -> tuple[Tree, int]:
    """A & B & ... from a place on."""
    tree, at = single(tokens, at, depth)
    while at < len(tokens) and tokens[at] == "&":
        other, at = single(tokens, at + 1, depth)
        tree = Node("&", tree, other)
    return tree, at


def single(tokens: list[Word | str], at: int, depth: int) -> tuple[Tree, int]:
    """A word, a negation, or what stands in parentheses."""
    if at >= len(tokens) or depth > DEPTH_MAX:
        raise NotPlain("unfinished, or too deep")
    token = tokens[at]
    if isinstance(token, Word):
        return token, at + 1
    if token == "!":
        tree, at = single(tokens, at + 1, depth + 1)
        return Node("!", tree, None), at
    if token != "(":
        raise NotPlain(token)
    tree, at = either(tokens, at + 1, depth + 1)
    if at >= len(tokens) or tokens[at] != ")":
        raise NotPlain("a parenthesis is open")
    return tree, at + 1
