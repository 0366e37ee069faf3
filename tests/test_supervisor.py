"""`tradewind up`, for real: real processes, real PostgreSQL, real kills. Only the shop is small."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tradewind.platform.database import server_processes
from tradewind.platform.database.server_processes import PidFile
from tradewind.platform.settings import Settings
from tradewind.supervisor import processes
from tradewind.supervisor.children import StartError
from tradewind.supervisor.keeper import PAUSE_S_MAX, pause_after
from tradewind.supervisor.listening import address_of, bind
from tradewind.supervisor.narrator import curl_order

# Starts whole platforms and stops their clocks: not beside other tests.
pytestmark = pytest.mark.alone


# A web process with three answers. It goes through the same `serve` as the real one.
WEB = textwrap.dedent(
    """
    import argparse, asyncio, os, sys
    from tradewind.platform.gateway.admission import Admission
    from tradewind.platform.settings import read_settings
    from tradewind.supervisor import web

    class Shop:
        draining = False
        running = 0  # requests at this moment

        def __init__(self, settings):
            self.admission = Admission(settings, None)

        def begin_drain(self):
            self.draining = True

        def at_once(self, target, heads, client, defaults):
            return None

        def turns_away(self, method, target):
            return False

        async def __call__(self, scope, receive, send):
            if scope["type"] == "lifespan":
                await receive()
                await send({"type": "lifespan.startup.complete"})
                await receive()
                await send({"type": "lifespan.shutdown.complete"})
                return
            if scope["path"] == "/slow":
                await asyncio.sleep(1)
            body = f'{{"pid": {os.getpid()}, "draining": {str(self.draining).lower()}}}'.encode()
            headers = [(b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    parser = argparse.ArgumentParser()
    for name in ("fd", "number", "parent", "gate"):
        parser.add_argument("--" + name, type=int)
    parser.add_argument("--others")
    arguments = parser.parse_args()
    settings = web.wait_at_gate(arguments.gate)
    assert settings.database_url and settings.simulator_url
    others = [web.inherited(int(other)) for other in arguments.others.split(",") if other]
    own = web.inherited(arguments.fd)
    web.serve(Shop(settings), settings, own, parent=arguments.parent, others=others)
    """
)

UP = textwrap.dedent(
    """
    import asyncio, os, sys
    from types import SimpleNamespace
    import asyncpg
    from tradewind.platform.settings import read_settings
    from tradewind.platform.telemetry import logs
    from tradewind.supervisor.children import StartError
    from tradewind.supervisor.house import House, Programs
    from tradewind.supervisor.narrator import Narrator

    async def prepare(settings, dsn):
        connection = await asyncpg.connect(dsn)
        await connection.execute("CREATE TABLE IF NOT EXISTS visits (n int)")
        await connection.execute("INSERT INTO visits VALUES (1)")
        visits = await connection.fetchval("SELECT count(*) FROM visits")
        await connection.close()
        return SimpleNamespace(lines=[f"visit {visits}"])

    settings = read_settings(os.environ)
    logs.configure(settings, process="supervisor")
    house = House(settings, lambda: prepare, Narrator(), Programs(web=sys.argv[1:]))
    try:
        asyncio.run(house.run())
    except StartError as error:
        sys.exit(str(error))
    """
)


class Up:
    """A supervisor started in a process of its own."""

    def __init__(self, folder: Path, *, web: str = WEB, **settings: str) -> None:
        self.home = folder / "home"
        self.port = free_port()
        (folder / "web.py").write_text(web)
        (folder / "up.py").write_text(UP)
        self.output = folder / f"output-{time.monotonic_ns()}.txt"
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TRADEWIND_")}
        environment |= {
            "TRADEWIND_HOME": str(self.home),
            "TRADEWIND_PORT": str(self.port),
            "TRADEWIND_LOG_FORMAT": "json",
            **{f"TRADEWIND_{name.upper()}": value for name, value in settings.items()},
        }
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, folder / "up.py", sys.executable, folder / "web.py"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        """What it printed until now."""
        return self.output.read_text()

    def until_ready(self) -> "Up":
        """Wait for the summary."""
        until(lambda: "Tradewind is ready" in self.text or self.process.poll() is not None)
        assert "Tradewind is ready" in self.text, self.text
        return self

    def get(self, path: str = "/") -> Any:
        """A request of a client that waits."""
        url = f"http://127.0.0.1:{self.port}{path}"
        with urllib.request.urlopen(url, timeout=15) as reply:
            return json.loads(reply.read())

    @property
    def web(self) -> list[int]:
        """The web processes."""
        return [identity.pid for identity in processes.recall(self.home / "web.json")]

    @property
    def postgres(self) -> int:
        """The PostgreSQL server; 0 while none is there."""
        found = PidFile.read(self.home / "postgres")
        return found.pid if found is not None else 0

    @property
    def simulator(self) -> int:
        """The payment simulator."""
        place = json.loads((self.home / "simulator" / "place.json").read_bytes())
        return int(place["process"]["pid"])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send a signal and wait; how long it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(20)
        return time.monotonic() - began


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Whether a process is alive."""
    return processes.identify(pid) is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place whose home is used again and again, as a real one is."""
    return tmp_path_factory.mktemp("house with spaces é")


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Up]]:
    """Starts supervisors, and sees that nothing of them is left."""
    started: list[Up] = []

    def start_up(**settings: str) -> Up:
        started.append(Up(folder, **settings))
        return started[-1]

    yield start_up
    for up in started:
        if up.process.poll() is None:
            up.stop()
    home = folder / "home"
    left = server_processes.of_folder(home / "postgres")
    with contextlib.suppress(OSError, ValueError, KeyError):
        place = json.loads((home / "simulator" / "place.json").read_bytes())
        left += [place["process"]["pid"]] * runs(place["process"]["pid"])
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert left == [], "everything that was started is stopped"


def test_everything_starts_is_told_and_stops(start: Callable[..., Up]) -> None:
    """The summary has the address and the key; SIGTERM lets a request finish; nothing is left."""
    up = start().until_ready()
    assert f"http://127.0.0.1:{up.port}/docs" in up.text
    assert "admin.key" in up.text
    assert "PostgreSQL created" in up.text
    assert "visit 1" in up.text
    everything = [*up.web, up.postgres, up.simulator]
    assert all(runs(pid) for pid in everything)
    assert up.get()["pid"] in up.web
    url = f"http://127.0.0.1:{up.port}/slow"
    slow = subprocess.Popen(
        [sys.executable, "-c", f"import urllib.request as u; print(u.urlopen({url!r}).read())"],
        stdout=subprocess.PIPE,
    )
    time.sleep(0.6)
    assert up.stop() < 10
    answer, _ = slow.communicate(timeout=5)
    assert b'"draining": true' in answer, "what was begun was finished"
    assert up.process.returncode == 0
    assert not any(runs(pid) for pid in everything)
    assert up.text.rstrip().endswith("Stopped.")
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", up.port), timeout=1).close()


def test_whatever_dies_is_started_again(start: Callable[..., Up]) -> None:
    """`kill -9`, one after the other. Callers of a dead web process wait in the queue."""
    up = start(workers="1").until_ready()
    assert "Tradewind is ready after" in up.text
    web = up.web[0]
    os.kill(web, signal.SIGKILL)
    began = time.monotonic()
    assert up.get()["pid"] != web
    assert time.monotonic() - began < 10
    for name in ("postgres", "simulator"):
        before = getattr(up, name)
        os.kill(before, signal.SIGKILL)
        until(lambda n=name, b=before: getattr(up, n) != b and runs(getattr(up, n)), 10)  # type: ignore[misc]
    until(lambda: up.text.count("runs again") == 3, 10)
    assert "was killed by SIGKILL" in up.text
    assert up.stop(signal.SIGINT) < 10


def test_two_web_processes_share_the_callers(start: Callable[..., Up]) -> None:
    """Of connections that come all at once too; a dead one's callers are served by the other."""
    up = start(workers="2").until_ready()
    together = [socket.create_connection(("127.0.0.1", up.port), timeout=15) for _ in range(64)]
    served = [answered(connection) for connection in together]
    # With a fair coin for each, fewer than 8 of 64 come once in 10**9 runs.
    assert all(served.count(pid) >= 8 for pid in up.web), served
    dead, alive = up.web
    os.kill(dead, signal.SIGSTOP)  # as dead to its callers as a killed one, and never replaced
    try:
        later = [socket.create_connection(("127.0.0.1", up.port), timeout=15) for _ in range(20)]
        assert {answered(connection) for connection in later} == {alive}
    finally:
        os.kill(dead, signal.SIGCONT)
    for connection in (*together, *later):
        connection.close()


def answered(connection: socket.socket) -> int:
    """Which web process answers on a connection."""
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    answer = b""
    while b"}" not in answer:
        answer += connection.recv(4096)
    return int(json.loads(answer.partition(b"\r\n\r\n")[2])["pid"])


def test_a_killed_supervisor_leaves_no_trap(start: Callable[..., Up]) -> None:
    """Its web processes end; database and bank go on; the next `up` adopts both, same port."""
    first = start(workers="2").until_ready()
    web, postgres, simulator = first.web, first.postgres, first.simulator
    assert len(web) == 2
    first.stop(signal.SIGKILL)
    assert runs(postgres)
    assert runs(simulator)
    second = start(port=str(first.port))
    second.port = first.port
    second.until_ready()
    assert "PostgreSQL adopted" in second.text
    assert (second.postgres, second.simulator) == (postgres, simulator)
    assert not any(runs(pid) for pid in web)
    assert second.get()["pid"] in second.web
    assert second.stop() < 10
    assert not runs(postgres)
    assert not runs(simulator)


def test_web_processes_end_when_their_supervisor_is_gone(start: Callable[..., Up]) -> None:
    """Without anybody looking after them."""
    up = start(workers="2").until_ready()
    web = up.web
    up.stop(signal.SIGKILL)
    until(lambda: not any(runs(pid) for pid in web), 5)
    start().until_ready().stop()


def test_one_home_has_one_supervisor(start: Callable[..., Up]) -> None:
    """The second one says so and touches nothing."""
    first = start().until_ready()
    second = start()
    assert second.process.wait(20) == 1
    assert f"Tradewind already runs on {first.home} (process {first.process.pid})" in second.text
    assert "Traceback" not in second.text
    assert first.get()["pid"] in first.web


def test_a_port_in_use_is_a_sentence(start: Callable[..., Up]) -> None:
    """And nothing was started for it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = start(port=str(port))
        assert up.process.wait(20) == 1
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in up.text
    assert "TRADEWIND_PORT" in up.text
    assert "Traceback" not in up.text
    assert server_processes.of_folder(up.home / "postgres") == []


def test_a_web_process_that_cannot_start_ends_it_all(start: Callable[..., Up]) -> None:
    """Three deaths before the first readiness: a person has to look, and is told."""
    up = start(web="import sys; sys.exit('the shop is broken')")
    assert up.process.wait(30) == 1
    assert "the shop is broken" in up.text
    assert "a process dies again and again" in up.text


def test_stopping_while_starting_leaves_nothing(start: Callable[..., Up]) -> None:
    """Ctrl-C at any moment; the fixture looks for what is left."""
    for pause_s in (0.3, 0.8, 1.2):
        up = start()
        time.sleep(pause_s)
        assert up.stop(signal.SIGINT) < 10
    start().until_ready().stop()


async def test_the_pause_grows_and_ends() -> None:
    """The first death costs nothing; one that dies for ever is tried every few seconds."""
    pauses = [pause_after(deaths) for deaths in range(1, 20)]
    assert pauses[0] == 0
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_S_MAX


async def test_a_process_number_used_again_is_another_process() -> None:
    own = processes.identify(os.getpid())
    assert own is not None
    assert processes.lives(own)
    assert not processes.lives(processes.Identity(own.pid, own.born + "1"))
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    until(lambda: processes.identify(child.pid) is None)  # a zombie is not alive
    child.wait()
    assert await asyncio.wait_for(processes.gone([own], 0.05), 1) is False


def test_a_host_that_is_none_is_a_sentence() -> None:
    with pytest.raises(StartError, match=r"TRADEWIND_HOST is .no\.such\.host\.invalid."):
        bind("no.such.host.invalid", 0)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8080"),
        ("0.0.0.0", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:8080"),
        ("shop.example", "http://shop.example:8080"),
    ],
)
def test_the_address_shown_can_be_opened(host: str, address: str) -> None:
    assert address_of(Settings(host=host)) == address


def test_the_order_shown_can_be_pasted() -> None:
    """The shell gives curl a body that is JSON, whatever the sku is."""
    command = curl_order("http://127.0.0.1:1", sku="it's", currency="GBP")
    shell = f"curl() {{ printf '%s\\n' \"$@\"; }}; {command}"
    told = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True)
    body = json.loads(told.stdout.splitlines()[-1])
    assert body["lines"] == [{"sku": "it's", "quantity": 1}]
