"""A gate at which parties take turns: a crowd from one address waits for itself, not others for it."""

import asyncio

import pytest

from api import fair_queue
from api.fair_queue import FairQueue
from contracts.problems import Problem, ProblemCode

pytestmark = pytest.mark.anyio


class Work:
    """Tasks at a gate, in the order in which they were let in; each goes on when it is told."""

    def __init__(self, gate: FairQueue) -> None:
        self.gate = gate
        self.entered: list[str] = []
        self.left = asyncio.Semaphore(0)

    async def one(self, party: str) -> None:
        async with self.gate.slot(party):
            self.entered.append(party)
            await self.left.acquire()

    async def start(self, party: str, count: int) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self.one(party)) for _ in range(count)]
        await self.settle()
        return tasks

    async def let_go(self, count: int = 1) -> None:
        for _ in range(count):
            self.left.release()
            await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_who_asks_once_waits_for_one_of_the_crowd(world_of_one: Work) -> None:
    crowd = await world_of_one.start("crowd", 20)
    single = await world_of_one.start("single", 1)
    await world_of_one.let_go(2)
    assert world_of_one.entered == ["crowd", "crowd", "single"]
    await world_of_one.let_go(30)
    await asyncio.gather(*crowd, *single)
    assert (world_of_one.gate.running, world_of_one.gate.waiting) == (0, 0)


async def test_one_party_takes_half_the_places_and_a_full_house_makes_the_longest_queue_give_up_one() -> None:
    work = Work(FairQueue(running_max=1, waiting_max=8))
    crowd = await work.start("crowd", 6)
    refused = [task for task in crowd if task.done()]
    assert len(refused) == 1, "one at work, four wait"
    others = [task for k in range(4) for task in await work.start(f"other {k}", 1)]
    assert work.gate.waiting == 8
    late = await work.start("late", 1)
    assert not late[0].done()
    given_up = [task for task in crowd if task.done() and task not in refused]
    assert len(given_up) == 1
    for task in (*refused, *given_up):
        problem = task.exception()
        assert isinstance(problem, Problem)
        assert (problem.code, problem.retry_after_s is not None) == (ProblemCode.BUSY, True)
    await work.let_go(30)
    await asyncio.gather(*others, *late, *(task for task in crowd if task not in (*refused, *given_up)))
    assert (work.gate.running, work.gate.waiting) == (0, 0)


async def test_who_goes_away_while_waiting_leaves_no_place_taken() -> None:
    work = Work(FairQueue(running_max=1, waiting_max=8))
    first, second, third = [task for name in ("a", "b", "c") for task in await work.start(name, 1)]
    second.cancel()
    await work.settle()
    assert work.gate.waiting == 1
    await work.let_go()
    assert work.entered == ["a", "c"]
    await work.let_go()
    await asyncio.gather(first, third)
    assert (work.gate.running, work.gate.waiting) == (0, 0)


async def test_who_goes_away_in_the_moment_of_the_turn_passes_it_on() -> None:
    work = Work(FairQueue(running_max=1, waiting_max=8))
    first, second, third = [task for name in ("a", "b", "c") for task in await work.start(name, 1)]
    work.left.release()
    while not first.done():  # noqa: ASYNC110 - the next step of the loop is the point
        await asyncio.sleep(0)
    second.cancel()  # its turn is given, and it has not run yet
    await work.settle()
    assert work.entered[-1] == "c"
    await work.let_go()
    await third
    assert (work.gate.running, work.gate.waiting) == (0, 0)


async def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fair_queue, "WAIT_SECONDS_MAX", 0.01)
    work = Work(FairQueue(running_max=1, waiting_max=8))
    first = await work.start("a", 1)
    (late,) = await work.start("b", 1)
    with pytest.raises(Problem):
        await late
    assert work.gate.waiting == 0
    await work.let_go()
    await asyncio.gather(*first)
    assert work.gate.running == 0


@pytest.fixture
def world_of_one() -> Work:
    return Work(FairQueue(running_max=1, waiting_max=64))
