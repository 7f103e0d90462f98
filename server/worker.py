"""The worker: jobs and timers."""

import asyncio
import signal

from server.settings import Settings


def work(settings: Settings) -> None:
    """Work until SIGINT or SIGTERM."""
    asyncio.run(until_stopped())


async def until_stopped() -> None:
    stopped = asyncio.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(sign, stopped.set)
    await stopped.wait()
