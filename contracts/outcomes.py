"""How a mutation ended, and why: the codes phones and people read (design.md section 2)."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from contracts.ids import MutationId, Version


class Outcome(str, Enum):
    APPLIED = "applied"  # every value is in the record
    MERGED = "merged"  # beside other people's edits, nothing lost
    CONFLICT = "conflict"  # merged, and at least one losing value waits in the conflict inbox
    REJECTED = "rejected"  # the state machine or a rule says no; kept in the record's history
    QUARANTINED = "quarantined"  # kept for a human: not decodable, no duty, unknown kind, too old or new an app
    DEFERRED = "deferred"  # kept and tried again: the server failed, or it waits for one that is held

    @property
    def is_held(self) -> bool:
        """Not final: it waits on a desk, and the phone learns later how it ended."""
        return self in (Outcome.QUARANTINED, Outcome.DEFERRED)


class Reason(str, Enum):
    """Stable codes; the value is the wire word. `TEXT_ZH` has what people read."""

    OK = "ok"
    OVERLAP = "overlap"  # two people changed the same field, neither had seen the other
    EDIT_AGAINST_DELETE = "edit_against_delete"
    ALREADY_SO = "already_so"
    LATE = "late"  # accepted although the state had moved on unseen (late_from)
    NOT_ALLOWED_NOW = "not_allowed_now"  # the state machine; detail: allowed, by
    NOT_YOUR_ROLE = "not_your_role"
    NOT_YOURS = "not_yours"  # evidence is changed by its author's side or the office; detail: by, and fields or op
    READ_ONLY_FIELD = "read_only_field"
    INCOMPLETE = "incomplete"  # something the command needs is missing; detail: needs
    UNTITLED = "untitled"  # what is official is called something; detail: field
    UNPRINTABLE = "unprintable"  # a name or title is one line of printable text; detail: field
    UNIT_CLOSED = "unit_closed"  # the unit has no new work from a day on; detail: units
    PARTS_MISSING = "parts_missing"  # accepted before every lead has handed in its part; detail: units
    RECORD_MISSING = "record_missing"
    RECORD_DELETED = "record_deleted"
    KIND_DIFFERS = "kind_differs"
    MALFORMED = "malformed"
    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_COMMAND = "unknown_command"
    UNKNOWN_UNIT = "unknown_unit"
    UNKNOWN_CHECKLIST = "unknown_checklist"
    WRONG_COUNTY = "wrong_county"
    NOT_A_DEPARTMENT = "not_a_department"  # whistled for, and no department of this county; detail: units
    UNIT_ELSEWHERE = "unit_elsewhere"  # a unit of another county or of the city cannot be given this record's work; detail: units
    PARENT_MISSING = "parent_missing"
    NO_DUTY = "no_duty"  # no duty of the person covers the moment of capture
    DUTY_UNCERTAIN = "duty_uncertain"  # a duty that has ended may cover it or not, and it changes the work of others; detail: unit
    NOT_DISCLOSED = "not_disclosed"  # it names an unannounced visit where others would read it; once disclosed, try again
    CONTRACT_TOO_OLD = "contract_too_old"
    CONTRACT_TOO_NEW = "contract_too_new"
    DEVICE_CLONED = "device_cloned"  # the same n with another mutation id
    DEVICE_WIPED = "device_wiped"  # a lost phone: push-only, into quarantine
    TOO_LARGE = "too_large"
    SERVER_FAILED = "server_failed"
    WAITS_FOR = "waits_for"  # detail: mutation
    RELEASED = "released"  # a person took it out of quarantine and it was applied
    DISCARDED = "discarded"  # a person decided against it; the journal keeps it
    FORWARDED = "forwarded"  # the record lives in another county now; applied there under a derived id


TEXT_ZH: dict[Reason, str] = {
    Reason.OK: "已入库",
    Reason.OVERLAP: "与他人同时修改同一项，已提交上级核定",
    Reason.EDIT_AGAINST_DELETE: "他人已删除，您的修改保留，已提交上级核定",
    Reason.ALREADY_SO: "与现有内容一致",
    Reason.LATE: "状态已变化，因您当时不知情，仍予接收",
    Reason.NOT_ALLOWED_NOW: "当前状态不能这样办理",
    Reason.NOT_YOUR_ROLE: "您的职责不能办理此项",
    Reason.NOT_YOURS: "该内容只能由作者一方、同级以上人员或办公室更正；您填写的内容已保留在历史记录中，可另附留言或照片",
    Reason.READ_ONLY_FIELD: "该项不能直接修改",
    Reason.INCOMPLETE: "缺少办理所需内容",
    Reason.UNTITLED: "标题（名称）不能为空，请填写后再提交",
    Reason.UNPRINTABLE: "标题（名称）须为一行文字，不能含换行或控制字符",
    Reason.UNIT_CLOSED: "该单位已撤并，请改选承接其工作的单位",
    Reason.RECORD_MISSING: "记录不存在，或不在您的职责范围内",
    Reason.PARTS_MISSING: "尚有牵头单位未提交整改，待其提交后验收；确无需其提交的，验收时写明该单位和理由",
    Reason.RECORD_DELETED: "记录已删除",
    Reason.KIND_DIFFERS: "记录类型不符",
    Reason.MALFORMED: "内容无法识别，已原样保存",
    Reason.UNKNOWN_KIND: "未知的记录类型，已原样保存",
    Reason.UNKNOWN_COMMAND: "未知的操作，已原样保存",
    Reason.UNKNOWN_UNIT: "未知的单位编码，已原样保存",
    Reason.UNKNOWN_CHECKLIST: "未知的检查清单版本，已原样保存",
    Reason.WRONG_COUNTY: "记录不属于该县区，已原样保存",
    Reason.NOT_A_DEPARTMENT: "只能吹哨给本县区的部门",
    Reason.UNIT_ELSEWHERE: "该单位不属于本县区：请交本县区对应单位办理，或将问题划转",
    Reason.PARENT_MISSING: "所属记录不存在，已原样保存",
    Reason.NO_DUTY: "采集时不在职责范围内，待上级核定",
    Reason.DUTY_UNCERTAIN: "无法确定采集时职责是否已结束，涉及他人的记录，待上级核定",
    Reason.NOT_DISCLOSED: "涉及尚未告知的暗访，已原样保存，告知后可再办理",
    Reason.CONTRACT_TOO_OLD: "应用版本过旧，数据已保存，请升级",
    Reason.CONTRACT_TOO_NEW: "应用版本新于服务器，数据已保存",
    Reason.DEVICE_CLONED: "设备数据被复制，请重新登记设备",
    Reason.DEVICE_WIPED: "设备已挂失，数据已隔离保存",
    Reason.TOO_LARGE: "内容过大",
    Reason.SERVER_FAILED: "服务器处理失败，已原样保存，将自动重试",
    Reason.WAITS_FOR: "等待前一项处理完成",
    Reason.RELEASED: "经核定放行入库",
    Reason.DISCARDED: "经核定不予采纳，原始记录保留",
    Reason.FORWARDED: "记录已划转其他县区，已转送",
}


class MutationOutcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of the answer. `version` is what the record became; `detail` depends on the reason.

    message   what people read, by the reason (`TEXT_ZH`) where nothing else is given; None: it went as asked. Stored nowhere, and in no digest

    The record is not named: the phone knows which mutation it numbered `n`, and 25 random ids are 500 bytes on a mountain road.
    """

    n: int
    id: MutationId | None = None
    outcome: Outcome
    reason: Reason = Reason.OK
    version: Version | None = None
    detail: dict[str, Any] | None = None
    message: str | None = None

    def __post_init__(self) -> None:
        if self.message is None and self.reason is not Reason.OK:
            msgspec.structs.force_setattr(self, "message", TEXT_ZH[self.reason])
