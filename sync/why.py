"""Why is this red? The grounds of a supervision letter in words that people read. Pure.

Everything it says was recorded when the letter was issued, or is in its story: rule version, facts, moments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from contracts.ids import UnitCode
from contracts.kind import Step
from contracts.kinds.supervision import Supervision
from contracts.rules import Colour, Duration, RuleVersion
from sync.colours import Grounds, grounds_of
from sync.corrections import TERM
from sync.facts import done_at
from sync.rules import CHINA

COLOURS: Final = {Colour.WHITE: "白色", Colour.YELLOW: "黄色", Colour.RED: "红色"}
CLOCKS: Final = {"sign": "签收", "report_in": "报到", "result": "反馈结果"}
FACTS: Final = {
    "overdue": "问题逾期未整改",
    "returned": "整改不到位被退回",
    "rebounded": "销号后反弹",
    "summons_overdue": "吹哨后逾期未办理",
    "unanswered": "前一督办单逾期未答复",
}
STEPS: Final = {
    "supervision.acknowledge": "签收",
    "supervision.answer": "答复",
    "supervision.reject_answer": "答复被退回",
    "supervision.lift": "解除",
}
LIFTED: Final = {
    "answered": "答复已认可",
    "overturned": "证据晚到，到期时并无依据",
    "closed": "督办事项已终结",
    "mistaken": "发出有误",
}


def reasons(letter: Supervision, rule: RuleVersion | None, names: Mapping[UnitCode, str]) -> list[str]:
    """Sentences in the order of what happened."""
    grounds = grounds_of(letter)
    said = _by_rule(grounds, rule) if grounds else _by_hand(letter)
    return [_issued(letter, names), *said, *_term(letter), *(line for step in letter.steps for line in _step(step, letter))]


def _issued(letter: Supervision, names: Mapping[UnitCode, str]) -> str:
    issuer, unit = (names.get(code, code) for code in (letter.issued_by_unit, letter.unit))
    return f"{_when(letter.issued_at)}，{issuer}向{unit}发出{COLOURS[letter.colour]}督办单：{letter.title or '（无事由）'}。"


def _by_hand(letter: Supervision) -> Iterator[str]:
    reason = letter.grounds.get("reason")
    yield f"由人工发出，理由：{reason}。" if reason else "由人工发出，未填写理由。"


def _by_rule(grounds: Grounds, rule: RuleVersion | None) -> Iterator[str]:
    since = f"自{_when(rule.starts)}起施行" if rule else "规则内容已无从查考"
    yield f"依据三色督办规则第{grounds.version}版（{since}），触发条件“{grounds.trigger}”：{FACTS.get(grounds.fact, grounds.fact)}。"
    yield f"事实：{_fact(grounds)}。"
    waited = _lasting(grounds, rule)
    yield f"自{_when(grounds.since)}起算{waited}，{_when(grounds.due_moment)}达到发出条件。"


def _lasting(grounds: Grounds, rule: RuleVersion | None) -> str:
    triggers: list[dict[str, Any]] = rule.body.get("triggers", []) if rule else []
    after = next((t.get("after") for t in triggers if t.get("key") == grounds.trigger), None)
    if not after:
        return ""
    return f"，持续满{_duration(Duration(working_days=after.get('working_days'), hours=after.get('hours')))}"


def _duration(duration: Duration) -> str:
    return f"{duration.working_days}个工作日" if duration.working_days is not None else f"{duration.hours:g}小时"


def _fact(grounds: Grounds) -> str:
    facts = grounds.facts
    match grounds.fact:
        case "overdue":
            return f"整改期限{facts.get('due_on')}已过，当时没有整改提交，也未中止或延期"
        case "returned":
            return f"整改累计被退回{facts.get('returns')}次"
        case "rebounded":
            return f"销号后累计反弹{facts.get('rebounds')}次"
        case "summons_overdue":
            return f"{CLOCKS.get(str(facts.get('clock')), '办理')}时限{_text_when(facts.get('due_at'))}已过，当时仍未办理"
        case _:
            colour = next((COLOURS[c] for c in Colour if c.value == facts.get("colour")), "前一")
            return f"{colour}督办单答复时限{_text_when(facts.get('due_at'))}已过，当时没有答复，督办事项也未办结"


def _term(letter: Supervision) -> Iterator[str]:
    if letter.due_at is not None:
        yield f"须于{_when(letter.due_at)}前答复。"
    if letter.term_note:
        yield f"{letter.term_note}。"


def _step(step: Step, letter: Supervision) -> Iterator[str]:
    if step.command == TERM:
        was, now = _text_when(step.args.get("was")), _text_when(step.args.get("due_at"))
        yield f"{_when(step.at)}，节假日安排已公布，答复期限由{was}更正为{now}。"
    what = STEPS.get(step.command)
    if what is None:
        return
    why = f"：{step.args['reason']}" if step.args.get("reason") else ""
    if step.to == "lifted":
        why = f"：{LIFTED.get(letter.lifted_because or '', letter.lifted_because)}" + _then(step)
    late = "" if done_at(step) == step.at else f"（{_when(step.at)}收到）"
    yield f"{_when(done_at(step))}{late}{what}{why}。"


def _then(step: Step) -> str:
    """What turned out to have been the case at the due moment; how what it was about ended."""
    if step.args.get("is_done") is False:
        return "（已撤回、取消、查不属实，或不再属于本县）"
    facts = step.args.get("at_due_moment")
    if not isinstance(facts, dict):
        return ""
    relieved = f"，{_text_when(facts['relieved_since'])}起已整改或中止" if facts.get("relieved_since") else ""
    return f"（复核：到期时整改期限为{facts.get('due_on') or '未定'}{relieved}）"


def _when(moment: datetime | None) -> str:
    return moment.astimezone(CHINA).strftime("%Y年%-m月%-d日%H:%M") if moment else "（时间不详）"


def _text_when(text: Any) -> str:
    try:
        return _when(datetime.fromisoformat(str(text)))
    except ValueError:
        return "（时间不详）"
