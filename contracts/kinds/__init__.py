"""Every synced kind. A new one: its file here, one line below, its rules in sync/machines.py (docs/how-to/add-a-kind.md)."""

from __future__ import annotations

from contracts.kind import Kind
from contracts.kinds import (
    activity,
    assignment,
    campaign,
    checklist,
    conflict,
    draw,
    handover,
    inspection,
    notice,
    outcome,
    photo,
    plan,
    problem,
    response,
    site,
    summons,
    supervision,
    task,
    transfer,
    whistle,
)

KINDS: dict[str, Kind] = {
    module.KIND.name: module.KIND
    for module in (
        site,
        task,
        inspection,
        problem,
        assignment,
        whistle,
        summons,
        supervision,
        transfer,
        handover,
        draw,
        plan,
        response,
        campaign,
        activity,
        photo,
        notice,
        checklist,
        conflict,
        outcome,
    )
}
