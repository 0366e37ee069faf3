"""Who used the processors, and how much memory they hold: read from /proc, tier by tier.

Processor time of children that have ended is in their parent's account once the parent has waited
for them, so a tier's sum is over its living processes and what its roots have inherited.
"""

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct

PROC = Path("/proc")
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Process(Struct, frozen=True):
    """A line of /proc/PID/stat, as far as it matters here."""

    pid: int
    parent: int
    own_s: float
    inherited_s: float  # of children that have ended


class Memory(Struct, frozen=True):
    """Proportional set size: what is shared counts once over all who share it."""

    private_mb: float
    shared_mb: float  # PostgreSQL's shared buffers, mostly


class Sample(Struct, frozen=True):
    """Processor seconds used so far by each tier and by the whole machine."""

    at: float
    tiers: Mapping[str, float]
    machine_s: float


class Used(Struct, frozen=True):
    """Processor seconds between two samples. `others`: whoever else ran on this machine."""

    tiers: Mapping[str, float]
    others_s: float
    elapsed_s: float

    @property
    def others_share(self) -> float:
        """What the others took of all processors."""
        return self.others_s / self.elapsed_s / (os.cpu_count() or 1)


def read_all() -> dict[int, Process]:
    """Every process of the machine."""
    found = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            process = read(int(entry.name))
            if process is not None:
                found[process.pid] = process
    return found


def read(pid: int) -> Process | None:
    """One process; None when it is gone."""
    try:
        fields = PROC.joinpath(str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    user, system, user_inherited, system_inherited = map(int, fields[11:15])
    return Process(
        pid=pid,
        parent=int(fields[1]),
        own_s=(user + system) / TICKS_PER_S,
        inherited_s=(user_inherited + system_inherited) / TICKS_PER_S,
    )


def tree(root: int, processes: Mapping[int, Process]) -> list[int]:
    """A process and all below it."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found, open_pids = [], [root]
    while open_pids:
        pid = open_pids.pop()
        if pid in processes:
            found.append(pid)
            open_pids += children.get(pid, ())
    return found


def tier_of(pid: int) -> str:
    """What a process below the supervisor is, by its command line."""
    try:
        command = PROC.joinpath(str(pid), "cmdline").read_bytes()
    except OSError:
        return "web"
    return "simulator" if b"tradewind.simulator" in command else "web"


class Tiers:
    """The processes of one running platform, sorted by what they do."""

    def __init__(self, supervisor: int, postmaster: int) -> None:
        self.supervisor = supervisor
        self.postmaster = postmaster
        self._known: dict[int, str] = {}

    def members(self, processes: Mapping[int, Process]) -> dict[str, list[int]]:
        """Process ids by tier."""
        postgres = tree(self.postmaster, processes)
        others = set(tree(self.supervisor, processes)) - set(postgres) - {self.supervisor}
        members: dict[str, list[int]] = {
            "postgres": postgres,
            "supervisor": [self.supervisor],
            "web": [],
            "simulator": [],
        }
        for pid in others:
            members[self._known.setdefault(pid, tier_of(pid))].append(pid)
        return members

    def sample(self) -> Sample:
        """Processor time so far."""
        processes = read_all()
        tiers = {}
        for name, pids in self.members(processes).items():
            living = [processes[pid] for pid in pids if pid in processes]
            tiers[name] = sum(process.own_s for process in living)
        # Backends come and go; the postmaster waits for each.
        postmaster = processes.get(self.postmaster)
        tiers["postgres"] += postmaster.inherited_s if postmaster else 0.0
        return Sample(at=time.monotonic(), tiers=tiers, machine_s=machine_busy_s())

    def memory(self) -> Memory:
        """What the whole tree holds: supervisor, web, simulator, PostgreSQL."""
        pids = [pid for group in self.members(read_all()).values() for pid in group]
        return memory_of(pids)


def between(before: Sample, after: Sample, **also: float) -> Used:
    """What was used between two samples; `also` are tiers that were measured elsewhere."""
    tiers = {name: after.tiers[name] - before.tiers[name] for name in after.tiers}
    tiers.update(also)
    machine_s = after.machine_s - before.machine_s
    return Used(
        tiers=tiers,
        others_s=max(0.0, machine_s - sum(tiers.values())),
        elapsed_s=after.at - before.at,
    )


def machine_busy_s() -> float:
    """Processor time of everybody since the machine started, idling and waiting left out."""
    fields = PROC.joinpath("stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _idle, _waiting, irq, soft_irq, steal = map(int, fields)
    return (user + nice + system + irq + soft_irq + steal) / TICKS_PER_S


def memory_of(pids: Iterable[int]) -> Memory:
    """Memory of processes, what only lies in shared memory apart."""
    private_kb = shared_kb = 0
    for pid in pids:
        try:
            lines = PROC.joinpath(str(pid), "smaps_rollup").read_text().splitlines()[1:]
        except OSError:
            continue  # it ended meanwhile, or is a zombie
        sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        shared_kb += sizes.get("Pss_Shmem", 0)
        private_kb += sizes["Pss"] - sizes.get("Pss_Shmem", 0)
    return Memory(private_mb=private_kb / 1024, shared_mb=shared_kb / 1024)
