"""A clock that stands still until a test turns it."""

from __future__ import annotations

import asyncio


class FakeClock:
    """Also counts who waits, so that a test can tell that all is quiet."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._timers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> float:
        return self.time

    async def wait(self, event: asyncio.Event, seconds: float | None) -> bool:
        expired = asyncio.Event()
        timer = (self.time + seconds, expired) if seconds is not None else None
        if timer:
            if timer[0] <= self.time:
                await asyncio.sleep(0)
                return event.is_set()
            self._timers.append(timer)
        waits = [asyncio.ensure_future(e.wait()) for e in (event, expired)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            if timer in self._timers:
                self._timers.remove(timer)
        return event.is_set()

    async def advance(self, seconds: float) -> None:
        """Let time pass, stopping at every moment at which somebody wanted to be woken."""
        end = self.time + seconds
        await settle()
        while self._timers and min(self._timers, key=lambda t: t[0])[0] <= end:
            timer = min(self._timers, key=lambda t: t[0])
            self._timers.remove(timer)
            self.time = max(self.time, timer[0])
            timer[1].set()
            await settle()
        self.time = end
        await settle()


async def settle() -> None:
    """Let every task run until it waits for something that isn't there yet (no I/O is involved)."""
    for _ in range(30):
        await asyncio.sleep(0)
