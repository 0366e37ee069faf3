"""The load generator of reads: a closed loop over plain sockets, in a process of its own.

It shares the machine's cores with what it measures, so it does next to nothing: requests are
prepared bytes, of an answer only the length is read, and a word that says which state it shows. It
prints one JSON line, and leaves a record of every answer within the window in a file.
"""

import argparse
import gc
import json
import select
import socket
import sys
import time
from array import array
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct

from benchmarks.load import content_length, own_cpu_s

HEAD_END = b"\r\n\r\n"
ETAG = b'etag: "'
RECEIVED_BYTES_MAX = 262_144
LAST_ANSWERS_TIMEOUT_S = 5.0


class Read(Struct, frozen=True):
    """What one process saw in the window. `odd`: answers other than 200, of the whole time."""

    answered: int
    odd: int
    lost: int
    cpu_s: float


class Record(Struct, frozen=True):
    """Every answer of the window, by columns. `states` is what the answer showed: see `State`."""

    sent_at: "array[float]"
    took_s: "array[float]"
    targets: "array[int]"
    states: "array[int]"
    bodies: list[bytes]  # where states number bodies


def read_record(file: Path) -> Record:
    """A record as `Reader.write` left it."""
    with file.open("rb") as stream:
        return Record(
            sent_at=read_column(stream, "d"),
            took_s=read_column(stream, "d"),
            targets=read_column(stream, "I"),
            states=read_column(stream, "I"),
            bodies=msgspec.msgpack.decode(stream.read(), type=list[bytes]),
        )


def read_column(stream: BinaryIO, kind: str) -> "array[Any]":
    """A column behind its length."""
    (length,) = array("Q", stream.read(8))
    column: array[Any] = array(kind)
    column.frombytes(stream.read(length * column.itemsize))
    return column


class Reader:
    """All connections of this process. `state` says what to keep of an answer: `version` (the
    first part of its ETag), `body` (a number for each body that differs), or nothing.
    """

    def __init__(self, address: tuple[str, int], targets: list[bytes], state: str) -> None:
        host = f"{address[0]}:{address[1]}".encode()
        self.requests = []
        for target in targets:
            path, _, header = target.partition(b"\t")
            lines = [b"GET %b HTTP/1.1" % path, b"Host: %b" % host, *filter(None, [header])]
            self.requests.append(b"\r\n".join(lines) + b"\r\n\r\n")
        self.address = address
        self.state = state
        self.odd = self.lost = 0
        self.bodies: dict[bytes, int] = {}
        self.sent_at = array("d")
        self.took_s = array("d")
        self.targets = array("I")
        self.states = array("I")

    def run(self, order: "array[int]", connections: int, window: tuple[float, float]) -> Read:
        """Ask for targets in this order until the window has ended; the order begins anew."""
        epoll, sockets = select.epoll(), {}
        for _ in range(connections):
            one = socket.create_connection(self.address)
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            one.setblocking(False)
            sockets[one.fileno()] = one
            epoll.register(one.fileno(), select.EPOLLIN)
        gc.freeze()
        gc.disable()
        cpu_s = self._loop(epoll, sockets, order, window)
        for one in sockets.values():
            one.close()
        return Read(len(self.took_s), self.odd, self.lost, cpu_s)

    def _loop(
        self,
        epoll: select.epoll,
        sockets: dict[int, socket.socket],
        order: "array[int]",
        window: tuple[float, float],
    ) -> float:
        """The processor time used in the window."""
        begin, end = window
        requests, clock, size, place = self.requests, time.monotonic, len(order), 0
        asked: dict[int, tuple[int, float]] = {}
        rest: dict[int, bytes] = {}
        for number, one in sockets.items():
            target, place = order[place], (place + 1) % size
            asked[number] = target, clock()
            one.send(requests[target])
        used_before = -1.0
        while asked:
            for number, _ in epoll.poll(LAST_ANSWERS_TIMEOUT_S) or ((-1, 0),):
                if number < 0:
                    self.lost += len(asked)
                    return own_cpu_s() - used_before
                data = sockets[number].recv(RECEIVED_BYTES_MAX)
                now = clock()
                if not data:
                    self.lost += 1
                    asked.pop(number)
                    epoll.unregister(number)
                    continue
                if number in rest:
                    data = rest.pop(number) + data
                head = data.find(HEAD_END)
                if head < 0 or len(data) < head + 4 + content_length(data[:head]):
                    rest[number] = data
                    continue
                target, sent_at = asked[number]
                if now >= begin:
                    if used_before < 0:
                        used_before = own_cpu_s()
                    if now >= end:
                        asked.pop(number)
                        continue
                    self._note(data, head, target, (sent_at, now))
                elif data[9:12] != b"200":
                    self.odd += 1
                target, place = order[place], (place + 1) % size
                asked[number] = target, clock()
                sockets[number].send(requests[target])
        return own_cpu_s() - used_before

    def _note(self, data: bytes, head: int, target: int, times: tuple[float, float]) -> None:
        """Write an answer down."""
        state = 0
        if data[9:12] != b"200":
            self.odd += 1
        elif self.state == "version":
            at = data.find(ETAG) + len(ETAG)
            state = int(data[at : data.find(b"-", at)])
        elif self.state == "body":
            state = self.bodies.setdefault(data[head + 4 :], len(self.bodies))
        self.sent_at.append(times[0])
        self.took_s.append(times[1] - times[0])
        self.targets.append(target)
        self.states.append(state)

    def write(self, file: Path) -> None:
        """Leave the record; see `read_record`."""
        with file.open("wb") as stream:
            columns: tuple[array[Any], ...] = (
                self.sent_at,
                self.took_s,
                self.targets,
                self.states,
            )
            for column in columns:
                array("Q", [len(column)]).tofile(stream)
                column.tofile(stream)
            stream.write(msgspec.msgpack.encode(list(self.bodies)))


def main() -> None:
    """Read the arguments, run, print the count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--begin", type=float, required=True, help="monotonic seconds")
    parser.add_argument("--end", type=float, required=True)
    parser.add_argument("--state", choices=("version", "body", "none"), default="none")
    parser.add_argument(
        "--targets", type=Path, required=True, help="paths, a line each, and a header behind a tab"
    )
    parser.add_argument(
        "--order", type=Path, required=True, help="numbers of targets, 4 bytes each"
    )
    parser.add_argument("--record", type=Path, required=True, help="where the record goes")
    given = parser.parse_args()
    order = array("I", given.order.read_bytes())
    reader = Reader(("127.0.0.1", given.port), given.targets.read_bytes().splitlines(), given.state)
    sys.setswitchinterval(1.0)
    read = reader.run(order, given.connections, (given.begin, given.end))
    reader.write(given.record)
    print(json.dumps(msgspec.to_builtins(read)))


if __name__ == "__main__":
    main()
