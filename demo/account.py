"""The account at the end of the day, computed from the phones' stores and the server's tables."""

from __future__ import annotations

from collections import Counter

from rich.panel import Panel
from rich.text import Text

from demo import findings, ledger_of_phones, proof_told, week_told
from demo.proof import hash_originals, prove
from demo.stage import Stage
from demo.tables import Tables, read_tables, tamper
from storage.audit import CountyAudit, audit
from storage.pool import open_pool

TAMPERED_WORDS = "水色发黑，有泡沫"


async def give_account(stage: Stage, *, tamper_first: bool = False) -> bool:
    """Print it all; True when nothing is missing and everybody agrees."""
    installation, teller = stage.installation, stage.teller
    tables = await read_tables(installation.dsn)
    ledger_of_phones.show(stage, tables)
    findings.show(stage, tables)
    if stage.observed.week:
        week_told.show(stage, tables)
    if tamper_first:
        await tamper(installation.dsn, TAMPERED_WORDS, "inspection")
        teller.show(
            Text("\n ! 有人绕过系统，从数据库里删掉了一句话 · somebody deletes words in the database, behind everybody's back", "bold red")
        )
        tables = await read_tables(installation.dsn)
    proof = prove(stage.notebook, tables, stage.hands, stage.desks, await hash_originals(installation.settings.s3))
    audits = await _audits(installation.dsn)
    proof_told.show(stage, tables, proof, audits)
    failings = week_told.failings(stage) if stage.observed.week else []
    for failing in failings:
        teller.wrong(failing)
    sound = proof.holds and not failings and not any(one.differences for one in audits)
    _verdict(stage, tables, sound, len(proof.missing))
    return sound


async def _audits(dsn: str) -> list[CountyAudit]:
    async with await open_pool(dsn, size_min=0, size_max=1) as pool:
        return [report async for report in audit(pool)]


def _verdict(stage: Stage, tables: Tables, sound: bool, missing: int) -> None:
    phones, values, photos = len(stage.hands), len(stage.notebook.typed), len(stage.notebook.taken)
    records = Counter(record.kind for record in tables.records.values())
    folder = stage.installation.folder
    if sound:
        zh = f"一个字也没有丢：{phones} 部手机、{values} 个填写值、{photos} 张照片，全部有着落。"
        en = f"Nothing was lost: {phones} phones, {values} values typed, {photos} photos, all accounted for."
    else:
        zh, en = f"有东西不对：{missing} 个值失踪，详见上文。", f"Something is wrong; values missing: {missing}. See above."
    more = f"\n\n{sum(records.values())} 条记录。手机的库可以打开看 · look into the phones: {folder}/phones/*.sqlite"
    text = Text.assemble((zh, "bold"), "\n", en, (more, "dim"))
    stage.teller.show(Panel(text, border_style="green" if sound else "red", padding=(1, 2)))
