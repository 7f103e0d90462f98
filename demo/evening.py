"""17:10 to 18:50: everybody comes home at once, the server and PostgreSQL are killed meanwhile, and the desk decides."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from rich.progress import Progress, TaskID

from contracts.ids import problem_id
from demo.hands import Hand
from demo.people import ENVIRONMENT, TOWNSHIP_NAME
from demo.radio import Signal
from demo.stage import Stage
from phone.exchange import Ended

ATTEMPTS_MAX: Final = 300
PAUSE_S: Final = 0.4
KILL_AT_SHARE: Final = 0.3  # of the photos' bytes
QUIET_ROUNDS_MAX: Final = 6
WORKER_ROUNDS_MAX: Final = 60


class Journey:
    """One phone on its way home."""

    def __init__(self, hand: Hand, stage: Stage, progress: Progress) -> None:
        self.hand = hand
        self.progress = progress
        self.total = sum(photo.bytes for photo in stage.notebook.photos_of(hand.member.key))
        self.name = f"{hand.name}  {stage.place(hand.member.unit)}"
        self.task = self._added()
        self.cuts = 0
        hand.radio.sent = self._on_sent

    def _added(self) -> TaskID:
        sent = self.hand.radio.traffic.photo_bytes
        return self.progress.add_task(self.name, total=max(self.total, 1), completed=sent, state="山里", kib=self._kib(sent))

    def _kib(self, sent: int) -> str:
        return f"{sent // 1024}/{self.total // 1024} K"

    def _on_sent(self, _bytes: int) -> None:
        sent = self.hand.radio.traffic.photo_bytes
        self.progress.update(self.task, completed=sent, kib=self._kib(sent), state="传照片")

    async def come_home(self) -> None:
        """Press the button until the phone says that nothing is left."""
        for _ in range(ATTEMPTS_MAX):
            self.progress.update(self.task, state="交表单")
            if await self._attempt():
                self.progress.update(self.task, completed=max(self.total, 1), state=f"[green]到家[/] [dim]断线 {self.cuts} 次[/]")
                return
            self.cuts += 1
            self.progress.update(self.task, state=f"[yellow]断线 {self.cuts} 次，重试")
            await asyncio.sleep(PAUSE_S)
        raise RuntimeError(f"{self.hand.name} did not come home")

    async def _attempt(self) -> bool:
        synced = await self.hand.sync(Signal.ONE_BAR)
        if synced.ended is not Ended.COMPLETE:
            return False
        return (await self.hand.upload(Signal.ONE_BAR)).ended is Ended.COMPLETE


async def homecoming(stage: Stage) -> None:
    stage.at("17:10")
    hands = stage.in_the_field()
    unsent = sum(hand.phone.unsent() for hand in hands)
    stage.tell_office(
        f"{len(hands)} 部手机陆续下山，只有一格信号，带回 {unsent} 条未交的工作",
        f"{len(hands)} phones come down the valley with one bar and {unsent} unsent mutations",
        where=TOWNSHIP_NAME,
    )
    with stage.teller.journeys() as progress:
        journeys = [Journey(hand, stage, progress) for hand in hands]
        await asyncio.gather(_disaster(stage, journeys, progress), *(_set_out(i, journey) for i, journey in enumerate(journeys)))
    stage.at("17:45")
    cuts = sum(journey.cuts for journey in journeys)
    stage.tell_server(
        f"全部到家。途中断线 {cuts} 次，手机自己重试，没有人需要做什么",
        f"all home; {cuts} broken attempts, all repeated by the phones themselves",
        mark="green",
    )


async def _set_out(order: int, journey: Journey) -> None:
    await asyncio.sleep(order * 0.15)
    await journey.come_home()


def sent_by(journeys: list[Journey]) -> int:
    """Bytes of photos that have arrived, over all phones."""
    return sum(journey.hand.radio.traffic.photo_bytes for journey in journeys)


async def _disaster(stage: Stage, journeys: list[Journey], progress: Progress) -> None:
    """kill -9 of the server in the thick of it, and of PostgreSQL below it."""
    before, total = sent_by(journeys), sum(journey.total for journey in journeys)
    while sent_by(journeys) - before < (total - before) * KILL_AT_SHARE:  # noqa: ASYNC110 - bytes raise no event
        await asyncio.sleep(0.02)
    installation, seen = stage.installation, stage.observed
    unsent = sum(journey.hand.phone.unsent() for journey in journeys)
    seen.at_kill = {"unsent": unsent, "photo_bytes_left": total - sent_by(journeys)}
    pid = installation.kill_server()
    began = time.monotonic()
    seen.server_pids.append(pid)
    progress.console.print(f" [bold red]✕ kill -9 {pid}[/]  服务器进程被杀，还有 {unsent} 条没交 · the server is killed, {unsent} unsent")
    seen.postgres_pids.append(await asyncio.to_thread(installation.kill_postgres))
    progress.console.print(f" [bold red]✕ kill -9 {seen.postgres_pids[-1]}[/]  PostgreSQL 也被杀 · and so is PostgreSQL")
    await asyncio.sleep(0.5)
    await asyncio.to_thread(installation.postgres.start)
    await asyncio.to_thread(installation.start_server)
    seen.seconds_away = time.monotonic() - began
    progress.console.print(f" [green]✓[/] {seen.seconds_away:.1f} 秒后两者重新启动 · both are up again")


async def at_the_desk(stage: Stage) -> None:
    """The lead sees what the day brought: a problem to assign, conflicts to settle."""
    stage.at("18:20")
    gao, qin = stage.hands["gao"], stage.hands["qin"]
    await gao.sync_fully(Signal.GOOD)
    problems, conflicts = len(gao.phone.records("problem")), gao.phone.conflicts()
    stage.tell(
        gao, f"收到 {problems} 个问题、{len(conflicts)} 个冲突", f"sees {problems} problems and {len(conflicts)} conflicts", Signal.GOOD
    )
    problem = problem_id(stage.records["outfall"], "no_abnormality")
    gao.command(problem, "问题·3 号排口异常", "problem.verify", shows={"state": "verified"})
    assign = {"due_on": "2026-11-05", "leads": [ENVIRONMENT]}
    gao.command(problem, "问题·3 号排口异常", "problem.assign", assign, shows={"state": "assigned"})
    (sprinkling,) = (view for view in conflicts if view.body["field"] == "answers.sprinkling")
    gao.command(sprinkling.id, "冲突·洒水", "conflict.settle", args={"choice": _choice_for_no(sprinkling.body)}, shows={"state": "settled"})
    stage.observed.conflicts_settled += 1
    await gao.sync_fully(Signal.GOOD)
    stage.tell(
        gao,
        "一点即定：洒水采信「否」；3 号排口黑水交办区生态环境局，限 11 月 5 日",
        "one tap: sprinkling is NO; the black outfall goes to the environment bureau, due 5 Nov",
        Signal.GOOD,
    )
    await qin.sync_fully(Signal.GOOD)
    given = qin.phone.records("assignment")
    qin.command(given[0].id, "交办件·3 号排口异常", "problem.start", shows={"state": "rectifying"})
    await qin.sync_fully(Signal.GOOD)
    stage.tell(
        qin, "手机上出现交办件（3 号排口），点「开始整改」", "the assignment appears on the bureau's phone; she starts on it", Signal.GOOD
    )


def _choice_for_no(conflict: dict[str, object]) -> str:
    kept = conflict["kept"]
    return "kept" if isinstance(kept, dict) and kept.get("value") == "no" else "lost"


async def the_worker_finishes(stage: Stage) -> None:
    """It composes large photos, makes thumbnails and stamps, reads EXIF; it survived PostgreSQL's death, too."""
    stage.at("18:40")
    gao = stage.hands["gao"]  # sees every village
    for _ in range(WORKER_ROUNDS_MAX):
        stage.installation.time.pass_seconds(20)
        await gao.sync_fully(Signal.GOOD)
        if all(view.body.get("rendered") for view in gao.phone.records("photo")):
            break
        await asyncio.sleep(0.5)
    shown = [view for view in gao.phone.records("photo") if not view.body.get("mirror_of")]
    done = sum(bool(view.body.get("rendered")) for view in shown)
    stage.tell_server(
        f"后台核验了 {done}/{len(shown)} 张照片：缩略图、水印、EXIF",
        f"the worker has looked at {done} of {len(shown)} photos: thumbnails, stamps, EXIF",
    )
    await asyncio.to_thread(stage.installation.stop_worker)


async def until_quiet(stage: Stage) -> None:
    """Everybody once more, until a round in which nothing moves."""
    stage.at("18:50")
    before = None
    for _ in range(QUIET_ROUNDS_MAX):
        stage.installation.time.pass_seconds(30)
        await asyncio.gather(*(hand.sync_fully(Signal.GOOD) for hand in stage.all_hands()))
        now = {(s.name, hand.name): s.seq for hand in stage.all_hands() for s in hand.phone.streams()}
        if now == before:
            break
        before = now
    stage.tell_office("最后一轮同步，没有任何变化：一天结束", "a last round in which nothing moves: the day is over", where=TOWNSHIP_NAME)


EVENING: Final = (homecoming, at_the_desk, the_worker_finishes, until_quiet)
