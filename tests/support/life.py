"""A life of a pool and a tenant through which operators die, one after the other, each at one of its writes."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tests.support.operator_process import NOBODY, Death, OperatorProcess
from tests.support.waiting import eventually

StartProcess = Callable[[Sequence[Death]], OperatorProcess]
When = Literal["before", "after"]
WHENS: tuple[When, ...] = ("before", "after")
Writes = Mapping[str, Sequence[str]]
"""What is written outside, by act; each once, in its order."""
Place = tuple[str, Death]
"""An act, and where in it a process dies."""

PATIENCE = 300.0
"""Seconds for one act, whoever dies in it."""


@dataclass(frozen=True)
class Act:
    """Something that a user does, and what has to be true when the operator is done with it."""

    name: str
    do: Callable[[], object]
    over: Callable[[], bool]
    check: Callable[[], object] = lambda: None


@dataclass
class Life:
    """Acts in their order, whatever happens to the operators that serve them."""

    acts: Sequence[Act]
    start: StartProcess
    said: Callable[[], object]
    """What there is instead, where an act is never over."""
    deaths: Mapping[str, Sequence[Death]] = field(default_factory=dict)
    """By act: where the processes die. Each is ready for all of them that have not come yet."""
    reached: list[Place] = field(default_factory=list)
    """Which deaths came: some writes that one process makes, another finds made."""
    writes: dict[str, list[str]] = field(default_factory=dict)
    _process: OperatorProcess | None = None
    _noted: int = 0

    def live(self) -> None:
        """From the first act to the last."""
        for act in self.acts:
            self._live(act)
        assert self._process is not None
        self._process.close()

    def _live(self, act: Act) -> None:
        deaths = list(self.deaths.get(act.name, ()))
        if deaths or self._process is None:
            self._begin(deaths)
        act.do()

        def over() -> bool:
            assert self._process is not None
            if not self._process.running:
                self._note_death(act, deaths)
                self._begin(deaths)
            return act.over()

        eventually(over, lambda: f"{act.name} is over; {self.said()}; {self._last_looks()}", PATIENCE)
        assert self._process is not None
        self.writes[act.name] = self._process.writes()[self._noted :]
        self._noted += len(self.writes[act.name])
        if deaths:  # they are this act's
            self._process.close()
            if self._process.exit_status():  # at its very last write
                self._note_death(act, deaths)
            self._begin(())
        act.check()

    def _note_death(self, act: Act, deaths: list[Death]) -> None:
        assert self._process is not None
        died = self._process.died_at()
        deaths.remove(died)
        self.reached.append((act.name, died))

    def _begin(self, deaths: Sequence[Death]) -> None:
        if self._process is not None:
            self._process.close()
        self._process, self._noted = self.start(deaths), 0

    def _last_looks(self) -> object:
        return self._process.said("reconciled")[-3:] if self._process else None


@contextmanager
def successors(
    kubeconfig: Path,
    pool: str,
    directory: Callable[[], Path],
    hosts: Mapping[str, str] = NOBODY,
    **settings: str,
) -> Iterator[StartProcess]:
    """Starts operators for one pool, each in an empty directory of its own; none runs on after the block."""
    processes: list[OperatorProcess] = []

    def start(deaths: Sequence[Death]) -> OperatorProcess:
        processes.append(OperatorProcess(kubeconfig, directory(), (pool,), deaths, hosts, **settings))
        return processes[-1]

    yield start
    for process in processes:
        process.close()


def distinct(writes: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """What an undisturbed life wrote, to die at. Events apart, which come and go with the weather; and TenantBackups, which
    lives that are not about them don't make: they are of what another test stored, made again by whoever finds it."""
    others = ("Event", "TenantBackup")
    return {
        act: list(dict.fromkeys(w for w in found if not any(other in w for other in others)))
        for act, found in writes.items()
    }


def is_anothers(write: str, namespace: str) -> bool:
    """A TenantBackup of what another test stored, which is made again by whoever finds it."""
    return "TenantBackup" in write and namespace not in write


def is_anytime(write: str) -> bool:
    """What a pool or a policy does at times of its own, whatever is done with a tenant: an act earlier or later."""
    own = write.startswith(("patch HostingPool", "patch BackupPolicy")) and write.endswith("(status)")
    return own or "tpl_" in write


def drawn(writes: Writes, whens: Sequence[When], each: int, chance: random.Random) -> dict[str, list[Death]]:
    """So many writes of all acts, to die at in one life, in their order; ``whens`` in turn. Of what is done at any time,
    only what the first act saw, which has all of it before it."""
    first = next(iter(writes))
    every = [
        (act, write)
        for act, found in writes.items()
        for write in found
        if act == first or not is_anytime(write)
    ]
    chosen = sorted(chance.sample(every, each), key=every.index)
    deaths: dict[str, list[Death]] = {act: [] for act in writes}
    for turn, (act, write) in enumerate(chosen):
        deaths[act].append(Death(whens[turn % len(whens)], write))
    return deaths


def everywhere(writes: Writes, whens: Sequence[When] = WHENS) -> list[Place]:
    """All there is to die at."""
    return [(act, Death(when, write)) for act, found in writes.items() for write in found for when in whens]


def each_comes(
    live: Callable[[Mapping[str, Sequence[Death]]], Life], places: Sequence[Place], in_one_life: int
) -> None:
    """Lives until every one of these deaths came. One that did not gets a life of its own: what is written side by side, a
    death nearby can hide.

    Raises:
        AssertionError: one did not come in that either, and is not of what is done at any time.
    """
    lives = [places[n : n + in_one_life] for n in range(0, len(places), in_one_life)]
    missed = [place for some in lives for place in _missed(live, some)]
    never = [place for alone in missed for place in _missed(live, [alone])]
    print(f"deaths that never came: {never}", flush=True)
    assert all(is_anytime(death.description) for _, death in never), f"deaths that never came: {never}"


def _missed(live: Callable[[Mapping[str, Sequence[Death]]], Life], places: Sequence[Place]) -> list[Place]:
    print(f"{len(places)} deaths: {places[0][1]} … {places[-1][1]}", flush=True)
    deaths: dict[str, list[Death]] = {}
    for act, death in places:
        deaths.setdefault(act, []).append(death)
    reached = live(deaths).reached
    return [place for place in places if place not in reached]
