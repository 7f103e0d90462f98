"""The burden guard (docs/burden-guard.md): nothing here measures presence, punches in, or counts photos per person."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args, get_origin, get_type_hints

import msgspec
import pytest

from api.metrics import Metrics
from contracts.kind import Position
from contracts.kinds import KINDS
from server.contract import OPENAPI, PROTOCOL
from tests.house.tree import ROOT, python_files

# Words for being watched rather than for work done, as parts of names ("_" and "-" and capitals separate) and in Chinese.
ENGLISH = (
    r"online_?(time|hours|minutes|seconds|duration|days|rate)|hours_online|active_(time|hours|minutes|seconds|days|rate)"
    r"|punch(_?in|_?out|es|card)?|clock_?(in|out)|check_?(in|out)_?(count|time|rate|days)|attendance|presence|idle_(time|minutes|seconds)"
    r"|dwell|screen_time|usage_(time|minutes|seconds)|log_?in_(count|days|streak)|streak|heartbeat_rate"
    r"|photos?_(count|quota|total|per|min|required_per)|(count|number|quota)_of_photos|(min|minimum)_photos|steps_walked|mileage"
    r"|track(s|ing|_points?|_log)?|trajector(y|ies)|trail|breadcrumbs?|route_history|location_history|positions"
)
CHINESE = "在线时长|在线时间|在线率|活跃度|打卡|考勤|签到率|出勤|轨迹|足迹|步数|里程|照片数|照片张数|人均照片|登录次数|停留时长"
WATCHING = re.compile(rf"(?<![a-z])({ENGLISH})(?![a-z])|{CHINESE}")
# Where a word means something else. Each with its reason; a line that is not needed any more fails.
MEANT_OTHERWISE = {
    str(OPENAPI): {"/components/schemas/Response/description=": "as in the protocol's schema"},
    str(PROTOCOL): {"/$defs/Response/description=": "事中跟踪: the weather is tracked, a state of Lizhou's response (domain.md 4.15)"},
}


def split(name: str) -> str:
    """`onlineTime` and `online-time` as `online_time`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").lower()


def faults(names: dict[str, str]) -> dict[str, str]:
    """place -> the word, of what must not be there."""
    found = {place: WATCHING.search(split(name)) for place, name in names.items()}
    return {place: match.group() for place, match in found.items() if match}


def keys_of(document: Any, at: str) -> Iterator[tuple[str, str]]:
    """Every key, and every title, summary and description, of a JSON document."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield f"{at}/{key}", str(key)
            if key in ("title", "summary", "description") and isinstance(value, str):
                yield f"{at}/{key}=", value
            yield from keys_of(value, f"{at}/{key}")
    elif isinstance(document, list):
        for k, value in enumerate(document):
            yield from keys_of(value, f"{at}/{k}")


@pytest.mark.parametrize("path", [OPENAPI, PROTOCOL], ids=str)
def test_no_endpoint_and_no_field_watches_people(path: Any) -> None:
    document = json.loads((ROOT / path).read_text(encoding="utf-8"))
    names = dict(keys_of(document, ""))
    assert len(names) > 100
    assert faults(names).keys() == MEANT_OTHERWISE[str(path)].keys()


def columns() -> dict[str, str]:
    """Names of tables, columns, indexes and functions: the schema without its comments, and fields of bodies that it indexes."""
    schema = (ROOT / "storage" / "schema.sql").read_text(encoding="utf-8")
    bare = re.sub(r"--[^\n]*", "", schema)
    return {word: word for word in re.findall(r"[A-Za-z_]\w*", bare)}


def test_no_table_column_watches_people() -> None:
    assert "submitted_at" in columns()
    assert faults(columns()) == {}


def test_no_word_of_the_contracts_watches_people() -> None:
    """Field names of every message, and names defined anywhere in the contracts."""
    names: dict[str, str] = {}
    for path in python_files("contracts"):
        for word in re.findall(r"^\s*(?:class |def )?([A-Za-z_]\w*)\s*[:=(]", path.read_text(encoding="utf-8"), flags=re.MULTILINE):
            names[f"{path.relative_to(ROOT)}:{word}"] = word
    assert len(names) > 300
    assert faults(names) == {}


def test_no_metric_watches_people() -> None:
    metrics = list(Metrics().registry.collect())
    assert len(metrics) > 5
    assert faults({m.name: m.name for m in metrics}) == {}
    labels = {label for m in metrics for sample in m.samples for label in sample.labels}
    assert labels.isdisjoint({"person", "name", "device", "phone", "user"})


@pytest.mark.parametrize(
    "word", ["online_seconds", "onlineTime", "punch_in", "photo_count", "photos-per-day", "track_points", "gps_trail", "打卡次数"]
)
def test_such_a_word_would_be_noticed(word: str) -> None:
    assert faults({"x": word}) != {}


@pytest.mark.parametrize("word", ["backtrack_s", "onlineShop", "attend", "photos", "tracked_changes_x", "stracks"])
def test_other_words_are_not_mistaken_for_it(word: str) -> None:
    assert faults({"x": word}) == {}


# ------------------------------------------------------------------------------------------------ positions

# Where a position is evidence of a thing or an act. A kind that is not named has none; no field holds more than one.
WITH_POSITION = {"assignment", "site", "inspection", "problem", "photo", "whistle", "summons", "campaign", "activity", "task"}


def holds_position(hint: Any) -> bool:
    if hint is Position:
        return True
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return any(holds_position(h) for h in get_type_hints(hint).values())
    return any(holds_position(arg) for arg in get_args(hint))


def is_list_of_positions(hint: Any) -> bool:
    listed = get_origin(hint) in (list, tuple, set, frozenset, dict) and any(arg is Position for arg in get_args(hint))
    return listed or any(is_list_of_positions(arg) for arg in get_args(hint))


def test_positions_exist_only_with_evidence_and_never_as_a_track() -> None:
    hints = {name: get_type_hints(kind.body) for name, kind in KINDS.items()}
    assert {name for name, fields in hints.items() if any(holds_position(h) for h in fields.values())} == WITH_POSITION
    assert [f"{name}.{field}" for name, fields in hints.items() for field, h in fields.items() if is_list_of_positions(h)] == []


def test_a_list_of_positions_would_be_noticed() -> None:
    assert is_list_of_positions(list[Position] | None)
    assert not is_list_of_positions(Position | None)
