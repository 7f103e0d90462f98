"""What is wrong with the body of a rule before it is published: a code for machines, a path, and Chinese for people. Pure.

Only publishing asks. A version that was published once is never refused later, whatever is checked here by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from contracts.rules import RULE_BODIES, CalendarRule, ColoursRule, ColourTrigger, Duration, RemindersRule, RuleName

# The beginning of what msgspec says -> code.
_SAID: Final = (
    ("exactly one of working_days and hours", "exactly_one"),
    ("a season ends before it begins", "ends_before_it_begins"),
    ("Object missing required field", "missing"),
    ("Invalid enum value", "unknown_word"),
    ("Invalid RFC3339", "no_date"),
    ("Invalid ISO8601", "no_date"),
)
TEXT_ZH: Final = {
    "exactly_one": "工作日数与小时数须填写一项，且只能填写一项",
    "ends_before_it_begins": "结束日期早于开始日期",
    "missing": "缺少必填项",
    "unknown_word": "不是可选的值",
    "no_date": "不是有效的日期",
    "wrong_type_or_range": "类型不对或超出允许范围",
    "unknown_field": "没有这一项，填写后不会起作用",
    "same_key": "两个触发条件的代码相同",
    "white_follows_nothing": "白色是最轻一级，不会由未答复的督办升级而来",
    "same_colour_twice": "同一颜色有两个升级条件，会重复发出督办",
    "no_filter_here": "按类别、来源限定只适用于问题的触发条件",
    "no_count_here": "次数只适用于退回和反弹",
    "own_county": "对本县区的督办须由市级规则发出",
    "off_and_worked": "同一天既是休息日又是工作日",
    "day_twice": "同一天填写了两次",
    "never_due": "提前量为零，不会发出提醒",
}


class RuleFault(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    path: str

    @property
    def text(self) -> str:
        return TEXT_ZH[self.code]


def first_fault(name: RuleName, body: dict[str, Any], *, by_city: bool) -> RuleFault | None:
    """The first of what is wrong. `by_city`: the rule is published for a city, which may write to its counties."""
    try:
        known = msgspec.convert(body, RULE_BODIES[name])
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `")
        code = next((code for start, code in _SAID if message.startswith(start)), "wrong_type_or_range")
        return RuleFault(code=code, path=f"$.body{path.rstrip('`').removeprefix('$')}")
    unknown = next(_unknown_words(body, msgspec.to_builtins(known), "$.body"), None)
    if unknown is not None:
        return RuleFault(code="unknown_field", path=unknown)
    return next(_meaning(known, by_city=by_city), None)


def _meaning(rule: msgspec.Struct, *, by_city: bool) -> Iterator[RuleFault]:
    """What can be read and would do nothing, or too much."""
    match rule:
        case ColoursRule():
            yield from _triggers(rule.triggers)
            for k, trigger in enumerate(rule.triggers):
                yield from _trigger(trigger, f"$.body.triggers[{k}]", by_city=by_city)
        case CalendarRule():
            for k in _repeated([*rule.days_off, *rule.days_worked]):
                listed = f"days_off[{k}]" if k < len(rule.days_off) else f"days_worked[{k - len(rule.days_off)}]"
                both = k >= len(rule.days_off) and rule.days_worked[k - len(rule.days_off)] in rule.days_off
                yield RuleFault(code="off_and_worked" if both else "day_twice", path=f"$.body.{listed}")
        case RemindersRule():
            for k, before in enumerate(rule.before):
                if before == Duration(working_days=0):
                    yield RuleFault(code="never_due", path=f"$.body.before[{k}]")
        case _:
            return


def _triggers(triggers: list[ColourTrigger]) -> Iterator[RuleFault]:
    for _ in _repeated([trigger.key for trigger in triggers]):  # a letter's id derives from its trigger's key
        yield RuleFault(code="same_key", path="$.body.triggers")
    rising = [trigger.colour if trigger.fact == "unanswered" else k for k, trigger in enumerate(triggers)]
    for k in _repeated(rising):
        yield RuleFault(code="same_colour_twice", path=f"$.body.triggers[{k}].colour")


def _trigger(trigger: ColourTrigger, path: str, *, by_city: bool) -> Iterator[RuleFault]:
    if trigger.fact == "unanswered" and trigger.colour.value == "white":
        yield RuleFault(code="white_follows_nothing", path=f"{path}.colour")
    if trigger.fact in ("unanswered", "summons_overdue"):
        for name in ("subjects", "sources"):
            if getattr(trigger, name):
                yield RuleFault(code="no_filter_here", path=f"{path}.{name}")
    if trigger.fact not in ("returned", "rebounded") and trigger.count != 1:
        yield RuleFault(code="no_count_here", path=f"{path}.count")
    if trigger.addressee == "county" and not by_city:
        yield RuleFault(code="own_county", path=f"{path}.addressee")


def _repeated(values: Iterable[Any]) -> Iterator[int]:
    """Places of values that stand before already."""
    seen: set[Any] = set()
    for k, value in enumerate(values):
        if value in seen:
            yield k
        seen.add(value)


def _unknown_words(given: Any, known: Any, path: str) -> Iterator[str]:
    """Paths of members that decoding dropped: they would do nothing."""
    if isinstance(given, dict) and isinstance(known, dict):
        for name, value in given.items():
            if name not in known:
                yield f"{path}.{name}"
            else:
                yield from _unknown_words(value, known[name], f"{path}.{name}")
    elif isinstance(given, list) and isinstance(known, list):
        for k, (one, other) in enumerate(zip(given, known, strict=False)):
            yield from _unknown_words(one, other, f"{path}[{k}]")
