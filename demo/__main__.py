"""`python -m demo [--week]`: one patrol day, told while it happens, and the week after it. Status 0: phones and server agree and nothing typed was lost."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import rich_click as click

from demo.installation import Installation, forget_environment, open_installation
from demo.telling import Teller
from server.signals import STOPPING_SIGNALS, Interrupted, interruptible
from server.trouble import StartError


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".data/demo"),
    show_default=True,
    help="The demo's own; emptied first.",
)
@click.option("--plain", is_flag=True, help="No colours, no moving bars, no pauses.")
@click.option("--week", is_flag=True, help="The week after the day, too: whistle, deadlines, colours, a draw, a rebound.")
@click.option("--tamper", is_flag=True, help="Delete one value behind everybody's back before the proof: it must be missed.")
def main(folder: Path, plain: bool, week: bool, tamper: bool) -> None:
    """A patrol day in 茨沟镇, Hanbin: sixteen phones, no signal, a killed server; then the proof that nothing was lost."""
    forget_environment()
    teller = Teller(plain=plain)
    try:
        with interruptible(), open_installation(folder) as installation:
            sound = run(installation, teller, week=week, tamper=tamper)
    except StartError as trouble:
        click.echo(f"\n{trouble}", err=True)
        sys.exit(1)
    except Interrupted:
        click.echo("\n已停止，没有留下任何进程。 Stopped; nothing is left running.")
        sys.exit(130)
    sys.exit(0 if sound else 1)


def run(installation: Installation, teller: Teller, *, week: bool = False, tamper: bool = False) -> bool:
    from demo.account import give_account
    from demo.day import build, close, play
    from demo.week import play_week

    opening(teller)
    prepare(installation, teller)

    async def whole_day() -> bool:
        stop_on_signals()
        stage = await build(installation, teller)
        try:
            await play(stage)
            if week:
                await play_week(stage)
            return await give_account(stage, tamper_first=tamper)
        finally:
            await close(stage)

    try:
        return asyncio.run(whole_day())
    except asyncio.CancelledError:
        raise Interrupted from None
    finally:
        for sign in STOPPING_SIGNALS:
            signal.signal(sign, signal.SIG_IGN)  # what follows is bounded in time; a second Ctrl-C must not cut it short


def stop_on_signals() -> None:
    """An exception raised into a running event loop may be swallowed by it; a cancelled task is not."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    for sign in STOPPING_SIGNALS:
        loop.add_signal_handler(sign, task.cancel)


def opening(teller: Teller) -> None:
    teller.title(
        "巡岭 · 茨沟镇的一天",
        "Xunling: one patrol day in Cigou township, Hanbin, Ankang",
        "十六部手机，全天没有信号；两人同查一处、中午调岗、回执丢失、手机没电、时钟错两天，"
        "服务器和数据库中途被 kill -9。最后逐条核对：没有一个字丢失。\n"
        "Sixteen phones without signal, and everything that goes wrong. At the end: was anything lost?",
    )


def prepare(installation: Installation, teller: Teller) -> None:
    with teller.waiting("PostgreSQL"):
        installation.start_database()
    with teller.waiting("S3（SeaweedFS）"):
        installation.start_objects()
    with teller.waiting("安康、利州区划与检查清单 · real divisions and checklists"):
        installation.seed()
    with teller.waiting("服务器与后台作业 · server and worker"):
        installation.start_worker()
        installation.start_server()
    teller.legend()


if __name__ == "__main__":
    main()
