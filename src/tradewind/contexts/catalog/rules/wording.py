"""A search as the database understood it: words, joined by and, or and not.

PostgreSQL reads what people type and stems it, and writes down what it made of that:
``'lamp' & 'shad':*``. Here this text becomes a tree that an index in memory can follow.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

TOKEN = re.compile(r"\s*(?:('(?:[^'\\]|''|\\.)*')((?::[*A-D]+)?)|(<(?:-|\d+)>)|([&|!()]))")
ESCAPED = re.compile(r"''|\\(.)")
# A text of such words alone means each of them; anything else is read by the database as a whole.
PLAIN = re.compile(r"\s*[A-Za-z]+(?:\s+[A-Za-z]+)*\s*")
OR = "or"
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


def plain_words(text: str) -> list[str] | None:
    """The words of a text in which all must occur; None where it may mean something else."""
    if PLAIN.fullmatch(text) is None:
        return None
    words = text.lower().split()
    return None if OR in words else words


def unfinished(trees: Sequence[Tree | None], prefix: str) -> Tree | None:
    """All of the words, or all but the last one and what begins so. Words that are everywhere (the,
    of) have no tree and do not count.
    """
    whole = all_of(trees)
    if not prefix:
        return whole
    begun = all_of([*trees[:-1], Word(prefix, True)])
    return begun if whole is None or begun is None else Node("|", whole, begun)


def all_of(trees: Sequence[Tree | None]) -> Tree | None:
    """Joined by and."""
    joined: Tree | None = None
    for tree in trees:
        if tree is not None:
            joined = tree if joined is None else Node("&", joined, tree)
    return joined


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
