"""One page per workflow, with its state picture, made from the tables that the server runs by (sync/machines.py)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from contracts.kinds import KINDS
from contracts.meta import field_rules
from contracts.mutation import CREATE, DELETE, EDIT
from sync.carrying_out import GUARDS
from sync.machines import ANY, BACK, DELETED_FROM, MACHINES, MOVED, PROJECTED, Transition
from sync.permission import LEAVE, who_may

FOLDER: Final = Path("docs/workflows")
HEADING: Final = "<!-- Made from sync/machines.py by `make openapi`. Do not edit. -->"


def states_of(kind: str) -> list[str]:
    """Every state of a machine, in the order of its table."""
    named = [state for t in MACHINES[kind].values() for state in (*sorted(t.sources), t.to or "") if state not in ("", ANY, BACK)]
    named += [state for moved in MOVED.get(kind, ()) for state in (moved.source, moved.to)]
    return list(dict.fromkeys(named))


def targets(kind: str, t: Transition, source: str) -> list[str]:
    """Where it leads from `source`: back to wherever the record came into that state from, or to the one state that it names."""
    if t.to != BACK:
        return [t.to] if t.to is not None else []
    return sorted({state for before in MACHINES[kind].values() if before.to == source for state in before.sources})


def edges(kind: str) -> Iterator[tuple[str, str, str]]:
    """(from, to, what leads there): commands that change the state, and what other records' commands do to it."""
    for t in MACHINES[kind].values():
        name = t.command.partition(".")[2]
        for source in sorted(t.sources - {ANY}):
            yield from ((source, target, name) for target in targets(kind, t, source))
        if t.to is not None and not t.late_stays:
            yield from ((late, t.to, f"{name} (late)") for late in sorted(t.late_from))
    yield from ((moved.source, moved.to, moved.by) for moved in MOVED.get(kind, ()))


def picture(kind: str) -> Iterator[str]:
    """A Mermaid state diagram: one arrow from state to state, whatever leads along it."""
    along: dict[tuple[str, str], list[str]] = {}
    for source, target, name in edges(kind):
        along.setdefault((source, target), []).append(name)
    yield "```mermaid"
    yield "stateDiagram-v2"
    for (source, target), names in along.items():
        yield f"    {source} --> {target}: {', '.join(names)}"
    yield "```"


def row(kind: str, t: Transition) -> str:
    sources = "any" if ANY in t.sources else ", ".join(sorted(t.sources))
    target = "as before" if t.to is None else "where it was suspended" if t.to == BACK else t.to
    late = ", ".join(sorted(t.late_from)) or ""
    words = [f"{name}: {' / '.join(sorted(choice))}" for name, choice in sorted(t.choices.items())]
    needs = "; ".join([*sorted(t.needs), *words, *t.guards])
    roles = ", ".join(who_may(kind, t.command)) or "the server"
    return f"| `{t.command}` | {sources} | {target} | {late} | {needs} | {', '.join(t.effects)} | {roles} |"


# What no field of a kind says: `args` that commands take, and which of them a guard looks at.
ARGUMENTS: Final = {
    "site_checked": "`args.position` {lat, lng, accuracy_m} where it was checked, or `args.inspection`, the id of a submitted inspection there",
    "new_after_photo": "`args.photos`, a list of ids of photo records of the problem with `purpose` after",
    "evidence_here": "where none of these has arrived: `args.photos`, newer ones of the fixed state that have",
    "every_part": "Each unit of `leads` is in `handed_in`, or in `args.without`, a list of units whose part is not needed, with `args.reason`. "
    "Returned, every lead hands in again (a part that was right then is named in `without`). On an assignment a submission is the part of its "
    "unit; on the problem itself that of the leads whom its author serves; one of anybody else is nobody's part, one on the spot everybody's",
    "other": "`args.other`, the id of the other problem",
    "note": "`args.note`, what is said, in the words of whoever says it",
    "to": "`args.to`, who is told (of `reroute`: the unit that is called instead)",
    "unit": "`args.unit`, the unit whose summons it is (of `disclose`: the unit that is told)",
    "reason": "`args.reason`, why; one of the words where there are words",
    "position": "`args.position` {lat, lng, accuracy_m}",
    "rating": "`args.rating`, 1 to 5",
}


def meanings(kind: str) -> Iterator[str]:
    """What the words of the table mean: guards by what they say of themselves, arguments by their table."""
    machine = MACHINES[kind].values()
    guards = {name: (GUARDS[name].__doc__ or "").strip().split("\n")[0] for t in machine for name in t.guards}
    arguments = {name for t in machine for name in (*t.needs, *t.guards, *t.effects) if name in ARGUMENTS and name not in t.sets}
    words = sorted(arguments | {name for name, said in guards.items() if said})
    if words:
        yield "| word | means |"
        yield "|---|---|"
        yield from (f"| `{name}` | {' '.join(part for part in (guards.get(name), ARGUMENTS.get(name)) if part)} |" for name in words)
        yield ""


def page(kind: str) -> str:
    """The page of one kind's workflow."""
    spec = KINDS[kind]
    label = field_rules(spec.body)["state"].label if "state" in field_rules(spec.body) else ""
    also = [shown for shown, source in PROJECTED.items() if source == kind]
    lines = [
        HEADING,
        f"# {spec.title} `{kind}`",
        "",
        (spec.body.__doc__ or "").strip(),
        "",
        f"Field `state` ({label}). States: {', '.join(f'`{s}`' for s in states_of(kind)) or 'none'}.",
        "",
        *picture(kind),
        "",
        "| command | from | to | also late from | needs | does to others | who may |",
        "|---|---|---|---|---|---|---|",
        *(row(kind, t) for t in MACHINES[kind].values()),
        "",
        *(
            f"Commands may also be given on `{shown}`, which shows it to the units that work on it: there, too, `op` is `{kind}.*`.\n"
            for shown in also
        ),
        *meanings(kind),
        "*Late*: accepted in these states, too, when the phone could not have seen them. Whatever is refused says what would be",
        "allowed and who may do it, and stays in the record's history.",
    ]
    return "\n".join(lines).rstrip() + "\n"


WRITES: Final = (CREATE, EDIT, DELETE, LEAVE)


def permissions() -> str:
    """The page that says who may make, edit, delete and give away a record of each kind."""
    lines = [
        "<!-- Made from sync/permission.py by `make openapi`. Do not edit. -->",
        "# Who may make, edit, delete and give away what",
        "",
        "By the roles of the duties that cover the record's unit at the time of capture (`docs/access.md`). Empty: nobody but the server. *Give away*: an edit of `unit`",
        "by which the record would leave its county. What a command needs stands on the page of its kind.",
        "",
        "| kind | make | edit | delete | delete only in | give away |",
        "|---|---|---|---|---|---|",
    ]
    for name, kind in sorted(KINDS.items()):
        may = {op: ", ".join(who_may(name, op)) for op in WRITES}
        if any(may.values()):
            states = ", ".join(sorted(DELETED_FROM.get(name, ())))
            lines.append(f"| {kind.title} `{name}` | {may[CREATE]} | {may[EDIT]} | {may[DELETE]} | {states} | {may[LEAVE]} |")
    return "\n".join(lines) + "\n"


def pages() -> dict[str, str]:
    """File name -> content, with an index."""
    made = {f"{kind}.md": page(kind) for kind in MACHINES}
    index = [HEADING, "# Workflows", "", "One page each, made from the tables the server runs by.", ""]
    index += [f"- [{KINDS[kind].title} `{kind}`]({kind}.md)" for kind in MACHINES]
    index += ["- [Who may make, edit, delete and give away what](permissions.md)"]
    return {"README.md": "\n".join(index) + "\n", **made, "permissions.md": permissions()}


def write_pages(root: Path) -> list[Path]:
    """Write all pages below `root`; returns them."""
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in pages().items():
        (folder / name).write_text(content, encoding="utf-8")
    return [folder / name for name in pages()]
