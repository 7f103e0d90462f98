"""The proof, told: values, photos, streams, audit."""

from __future__ import annotations

from typing import Final

from rich.text import Text

from contracts.people import Audience
from demo.proof import Place, Proof
from demo.stage import Stage, short_name
from demo.tables import Tables
from demo.wording import plain_table
from storage.audit import CountyAudit

PLACE_NAMES: Final = {
    Place.IN_RECORD: ("在记录里", "in its record"),
    Place.IN_CONFLICT: ("在冲突收件箱", "in the conflict inbox"),
    Place.ON_DESK: ("在核定台（原样保存）", "on the desk, as it came"),
    Place.REFUSED: ("被拒绝，理由可见", "refused, with the reason"),
    Place.REPLACED: ("被后来者改过，日志可查", "replaced by somebody who had seen it"),
    Place.IN_DELETED: ("在已删除的记录里，日志可查", "in a record that somebody deleted"),
    Place.IN_HISTORY: ("是一次操作，日志可查", "a command, in the journal"),
}
SHOWN_MAX: Final = 20
AUDIENCES: Final = {
    Audience.FIELD: "外业",
    Audience.OFFICE: "办公",
    Audience.COUNTY: "全区",
    Audience.TEAM: "专班",
    Audience.CASE: "办案",
    Audience.SECRET: "保密",
    Audience.VISIT: "暗访",
}


def show(stage: Stage, tables: Tables, proof: Proof, audits: list[CountyAudit]) -> None:
    stage.teller.chapter("证明 · 有没有丢东西", "The proof: was anything lost?")
    stage.teller.note(
        "每个值在进手机之前，先抄在旁边的本子上；现在拿本子到数据库、S3 和手机里逐个找",
        "each value was written into a notebook before a phone saw it; now each is looked for",
    )
    _values(stage, proof)
    _streams(stage, tables, proof)
    for holds, zh, en in _checks(stage, proof, audits):
        stage.teller.check(holds, zh, en)
    for wrong in [*proof.missing, *proof.photos_missing, *proof.disagreements][:SHOWN_MAX]:
        stage.teller.wrong(wrong)
    for report in audits:
        for difference in report.differences[:SHOWN_MAX]:
            stage.teller.wrong(f"audit {difference.what} {difference.where}: {difference.says}")


def _values(stage: Stage, proof: Proof) -> None:
    table = plain_table((f"{len(stage.notebook.typed)} 个填写值现在何处", "where the typed values are now"), ("个", "n"), numbers=1)
    for place, (zh, en) in PLACE_NAMES.items():
        if proof.places[place]:
            table.add_row(Text.assemble(zh, "  ", (en, "dim")), str(proof.places[place]))
    table.add_row(
        Text.assemble("不知去向", "  ", ("nowhere", "dim")), str(len(proof.missing)), style="green" if not proof.missing else "bold red"
    )
    stage.teller.show(table)


def _streams(stage: Stage, tables: Tables, proof: Proof) -> None:
    """One line a stream that anybody holds and that is not empty."""
    table = plain_table(("记录流", "stream"), ("记录", "records"), ("摘要", "digest"), ("手机", "phones that agree"))
    own = 0
    for stream, names in sorted(proof.streams.items()):
        unit, _, audience = stream.rpartition(".")
        if unit not in stage.units:
            own += 1
            continue
        count, digest = tables.heads[stream]
        title = Text.assemble(short_name(stage.units[unit].name), (f" {AUDIENCES[Audience(audience)]}", "dim"))
        table.add_row(title, str(count), f"{digest:08x}", Text(f"✓ {len(names)}  {_some(names)}", "green"))
    stage.teller.show(table)
    if own:
        stage.teller.note(f"另有 {own} 条手机自己的流（待定结果）", f"and {own} of single phones: how their held work ended")


def _some(names: list[str]) -> str:
    return "、".join(names[:3]) + ("…" if len(names) > 3 else "")


def _checks(stage: Stage, proof: Proof, audits: list[CountyAudit]) -> list[tuple[bool, str, str]]:
    photos = stage.notebook.taken
    entries, records = sum(one.entries for one in audits), sum(one.records for one in audits)
    differences = sum(len(one.differences) for one in audits)
    wrong = len(proof.disagreements)
    return [
        (
            not proof.missing,
            f"填写值 {len(stage.notebook.typed)} 个：{_all(len(proof.missing), '逐个找到', '失踪')}",
            "every value that was typed, looked for one by one",
        ),
        (
            not proof.photos_missing,
            f"照片 {len(photos)} 张（含待核定的）：{_all(len(proof.photos_missing), 'S3 里的原始字节与拍摄时 SHA-256 一致', '不见了')}",
            "original bytes in S3, hashed again",
        ),
        (
            not wrong,
            f"手机 {len(stage.hands)} 部，{proof.compared} 条流的条数与摘要、{proof.copies} 份副本：{_all(wrong, '与服务器逐字相同', '不同')}",
            "streams by digest, copies word for word",
        ),
        (not proof.twice, f"操作：{_all(proof.twice, '没有一条入库两次', '入库两次')}", "nothing journaled twice"),
        (
            differences == 0,
            f"审计：重放 {entries} 条变更，对照 {records} 条记录：{_all(differences, '相符', '不符')}",
            "audit: the journal, replayed, gives the records",
        ),
    ]


def _all(wrong: int, well: str, ill: str) -> str:
    return well if wrong == 0 else f"{wrong} 个{ill}"
