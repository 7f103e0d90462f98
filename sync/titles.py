"""What an official record is called: something to read (domain.md 4.6: an entry has a subject that others find it by).

While it is typed it may be empty; what makes it official does not pass without. A phone's site, activity or campaign is taken as it is,
because other work hangs on it; whoever sits at a console mends it at once. There a name is also of one line: it stands in lists, files
and messages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from contracts.outcomes import Reason
from sync.decision import Refuse, Sender
from sync.words import is_blank

NAMES: Final[Mapping[str, str]] = {"site": "name"}  # kind -> the field it is called by, where that is not its title
TITLED: Final = frozenset({"problem", "whistle", "plan", "response", "task", "supervision", "transfer", "notice"})
AT_CONSOLE: Final = TITLED | {"site", "activity", "campaign"}
WRITING: Final[Mapping[str, str]] = {
    "problem": "draft",
    "whistle": "proposed",
    "plan": "drafted",
    "response": "drafted",
}  # the state until then
CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def untitled(kind: str, name: object, sender: Sender, *, is_writing: bool) -> Refuse | None:
    """What keeps a record from being called so: nothing to read, or at a console more than one line. `is_writing`: it is not official yet."""
    if sender.is_system or kind not in (AT_CONSOLE if sender.waits else TITLED):
        return None
    text, detail = str(name or ""), {"field": name_field(kind)}
    if sender.waits and CONTROL.search(text):
        return Refuse(reason=Reason.UNPRINTABLE, detail=detail)
    return Refuse(reason=Reason.UNTITLED, detail=detail) if is_blank(text) and (sender.waits or not is_writing) else None


def name_field(kind: str) -> str:
    return NAMES.get(kind, "title")
