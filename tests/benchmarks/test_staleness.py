"""The judge of answers' ages: it must find the one that is too old, and no other."""

import json
from array import array

import pytest

from benchmarks.reading import Record
from benchmarks.staleness import Acknowledged, Ages, ages

CHANGES = [Acknowledged("a", 2, 10.0), Acknowledged("b", 2, 10.5), Acknowledged("a", 3, 12.0)]


def record(*answers: tuple[float, int, int], bodies: tuple[bytes, ...] = ()) -> Record:
    """Answers as (sent at, target, what was shown)."""
    return Record(
        sent_at=array("d", [sent_at for sent_at, _, _ in answers]),
        took_s=array("d", [0.001] * len(answers)),
        targets=array("I", [target for _, target, _ in answers]),
        states=array("I", [state for _, _, state in answers]),
        bodies=list(bodies),
    )


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ((9.9, 0, 1), Ages(1, 0.0, 0)),  # asked before the change was acknowledged
        ((9.9, 0, 2), Ages(1, 0.0, 0)),  # newer than anybody was told
        ((10.5, 0, 1), Ages(1, 0.5, 0)),  # half a second old
        ((11.5, 0, 1), Ages(1, 1.5, 1)),
        ((11.5, 0, 2), Ages(1, 0.0, 0)),
        ((12.25, 0, 1), Ages(1, 2.25, 1)),  # counted from the first change it does not show
        ((12.25, 0, 2), Ages(1, 0.25, 0)),
        ((50.0, 0, 3), Ages(1, 0.0, 0)),
        ((50.0, 2, 1), Ages(0, 0.0, 0)),  # a product that never changed
    ],
)
def test_an_answer_is_as_old_as_what_it_does_not_show(
    answer: tuple[float, int, int], found: Ages
) -> None:
    assert ages(record(answer), [["a"], ["b"], ["c"]], CHANGES) == found


def test_a_list_is_as_old_as_its_oldest_product() -> None:
    bodies = [
        json.dumps({"items": [{"id": "a", "version": a}, {"id": "b", "version": b}]}).encode()
        for a, b in ((1, 1), (2, 1), (3, 2))
    ]
    answers = (10.25, 0, 0), (10.75, 0, 1), (13.0, 0, 2), (11.75, 0, 1)
    found = ages(record(*answers, bodies=tuple(bodies)), (), CHANGES)
    assert found == Ages(4, 1.25, 1)
