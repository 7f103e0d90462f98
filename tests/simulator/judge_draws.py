"""Promise 13, a draw is nobody's choice: one commitment, one nonce, one list, sealed until departure, and a file from which it follows.

The file is recomputed by the program that is given to strangers (docs/verify_draw.py), which knows no code of the product either.
"""

import hashlib
import importlib.util
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from tests.simulator.testimony import Answer, DrawTold, Json, PhoneView, ServerRecord, ServerView, Violation, canonical

PROMISE = 13
STRANGERS_PROGRAM = Path(__file__).resolve().parents[2] / "docs" / "verify_draw.py"
STEPS = {"commit": "draw.commit", "nonce": "draw.seed", "depart": "draw.depart", "disclose": "draw.disclose", "cancel": "draw.cancel"}
ONE_ONLY = frozenset({"prepare", "commit", "nonce", "depart"})  # of two different ones only one may be taken


def judge_draws(draws: Iterable[DrawTold], server: ServerView, phones: Iterable[PhoneView]) -> Iterator[Violation]:
    """After the workers have completed what was cut short, at a quiet point."""
    draws, phones = list(draws), list(phones)
    shown = {phone.store: {record: canonical(held.body) for record, held in phone.records.items()} for phone in phones}
    written = {record.id: canonical(record.body) for record in server.records.values()}
    journaled = b"\n".join(row.raw for row in server.journal if row.raw is not None).decode(errors="replace")
    published = {one["statement"]["commitment"]: one for one in server.published}
    for told in draws:
        record = next((r for r in server.records.values() if r.id == told.id), None)
        yield from _answered(told, record)
        yield from _sealed(told, record, {"the server": written, **shown}, journaled)
        if record is not None:
            yield from _published(told, record, published)
            yield from _disclosed(told, record, server)
            yield from _sent(told, record, server)
    yield from _chained(server)


def _taken(answers: Iterable[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.status == 200]


def _steps(record: ServerRecord, command: str) -> list[dict[str, Json]]:
    return [step for step in record.body.get("steps") or [] if step["command"] == command]


# ------------------------------------------------------------------------------------------ what was answered


def _answered(told: DrawTold, record: ServerRecord | None) -> Iterator[Violation]:
    wishes: dict[tuple[str, str, str], list[Answer]] = defaultdict(list)
    for answer in told.answers:
        sent = answer.sent if answer.act in ("prepare", "nonce", "depart") else {}
        wishes[answer.act, answer.by, canonical(sent)].append(answer)
    for (act, _, _), answers in wishes.items():
        since = min((answer.turn for answer in _taken(answers)), default=None)
        refused = [answer for answer in answers if since is not None and answer.turn >= since and answer.status != 200]
        if refused:
            yield Violation(PROMISE, f"{act} was taken, and the same, sent again, refused: {refused[0].status} {refused[0].said}", told.id)
    for act, count in Counter(act for (act, _, _), answers in wishes.items() if _taken(answers)).items():
        if act in ONE_ONLY and count > 1:
            yield Violation(PROMISE, f"{count} different ones were taken: {act}", told.id)
    if record is None:
        if _taken(told.answers):
            yield Violation(PROMISE, f"it was taken ({told.answers[0].act}), and there is no draw", told.id)
        return
    for act, command in STEPS.items():
        count, taken = len(_steps(record, command)), any(answer.act == act for answer in _taken(told.answers))
        if count > 1 or (taken and not count):
            yield Violation(PROMISE, f"{act} was taken: {taken}, and stands {count} times in the story", told.id)
    for answer in _taken(told.answers):
        if answer.act == "commit" and answer.said["commitment"] != record.body.get("commitment"):
            yield Violation(PROMISE, f"{answer.said['commitment']} was told, {record.body.get('commitment')} it is", told.id)
        if answer.act == "nonce" and answer.sent["nonce"] != record.body.get("nonce"):
            yield Violation(PROMISE, f"the nonce {answer.sent['nonce']} was taken, {record.body.get('nonce')} it is", told.id)


# ------------------------------------------------------------------------------------------ sealed


def _sealed(told: DrawTold, record: ServerRecord | None, places: dict[str, dict[str, str]], journaled: str) -> Iterator[Violation]:
    """Pool, weights and reasons are in no record at any time; whom it sends where, in none before the departure."""
    has_departed = record is not None and bool(_steps(record, "draw.depart"))
    for place, records in places.items():
        for about, text in records.items():
            if about != told.id and told.title in text and not has_departed:
                yield Violation(PROMISE, f"{place} shows what a draw sends before it has departed", about)
            if words := [word for word in told.words if word in text]:
                yield Violation(PROMISE, f"{place} shows {words} of a sealed pool", about)
    if words := [word for word in told.words if word in journaled]:
        yield Violation(PROMISE, f"the journal tells {words} of a sealed pool", told.id)
    if told.peeped:
        yield Violation(PROMISE, f"{told.peeped[0]} could open the sealed list", told.id)


# ------------------------------------------------------------------------------------------ public


def _published(told: DrawTold, record: ServerRecord, published: dict[str, Json]) -> Iterator[Violation]:
    """Everybody sees how far it is: the commitment, the hash of its nonce, the end."""
    commitment, nonce = record.body.get("commitment"), record.body.get("nonce")
    if commitment is None:
        return
    one = published.get(commitment)
    if one is None:
        yield Violation(PROMISE, f"the commitment {commitment[:12]} is not published", told.id)
        return
    if nonce and one["nonce_sha256"] != hashlib.sha256(nonce.encode()).hexdigest():
        yield Violation(PROMISE, "the published hash is not that of the nonce", told.id)
    for end, command in (("cancelled_at", "draw.cancel"), ("seeded_at", "draw.seed")):
        if bool(one[end]) != bool(_steps(record, command)):
            yield Violation(PROMISE, f"published: {end} {one[end]}; its story has {command}: {len(_steps(record, command))}", told.id)
    if one["disclosed_at"] and not _steps(record, "draw.disclose"):
        yield Violation(PROMISE, "it is published as disclosed, and nobody has disclosed it", told.id)


def _disclosed(told: DrawTold, record: ServerRecord, server: ServerView) -> Iterator[Violation]:
    """The file is what was asked for, follows from its seed, and is the same whenever somebody reads it."""
    answers = [canonical(answer.said) for answer in _taken(told.answers) if answer.act == "disclose"]
    text = server.draw_files.get(str(record.body.get("commitment")))
    if text is None:
        if answers:
            yield Violation(PROMISE, "it was disclosed, and there is no file", told.id)
        return
    file = json.loads(text)
    if {canonical(file)} | set(answers) != {canonical(file)}:
        yield Violation(PROMISE, "the file that was answered is not the one that everybody reads", told.id)
    for found in _program().differences(file, record.body["commitment"], []):
        yield Violation(PROMISE, f"the file does not verify: {found}", told.id)
    if file["nonce"] != record.body["nonce"]:
        yield Violation(PROMISE, "the file has another nonce", told.id)
    yield from _as_asked(told, file["plan"])
    if others := [one for one in told.lists if one != canonical(file["result"])]:
        yield Violation(PROMISE, f"the list was {others[0]}, and is {canonical(file['result'])} in the file", told.id)


def _as_asked(told: DrawTold, plan: Json) -> Iterator[Violation]:
    prepared = [answer.sent for answer in _taken(told.answers) if answer.act == "prepare"]
    wanted = prepared[0] if prepared else None
    for name, keys in (("sites", ("id", "weight", "why")), ("inspectors", ("id", "unit")), ("exclusions", ("reason", "site", "inspector"))):
        if wanted is not None and _picked(plan[name], keys) != _picked(wanted[name], keys):
            yield Violation(PROMISE, f"{name} were {wanted[name]} when it was prepared, and are {plan[name]} in the file", told.id)
    if wanted is not None and canonical(plan["rules"]) != canonical(wanted["rules"]):
        yield Violation(PROMISE, f"the rules were {wanted['rules']}, and are {plan['rules']} in the file", told.id)


def _picked(rows: Json, keys: tuple[str, ...]) -> list[str]:
    return sorted(canonical([row[key] for key in keys]) for row in rows)


def _program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_draw", STRANGERS_PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ------------------------------------------------------------------------------------------ who is sent


def _sent(told: DrawTold, record: ServerRecord, server: ServerView) -> Iterator[Violation]:
    """After the departure everybody who was drawn has one task with their own sites, and nobody else has one."""
    file = server.draw_files.get(str(record.body.get("commitment")))
    results = [*told.lists, *([canonical(json.loads(file)["result"])] if file else [])]
    departed = _steps(record, "draw.depart")
    if not departed or not results:
        return
    wanted: dict[str, set[str]] = defaultdict(set)
    for visit in json.loads(results[0])["visits"]:
        for inspector in visit["inspectors"]:
            wanted[inspector].add(visit["site"])
    tasks = [r for r in server.records.values() if r.kind == "task" and told.title in str(r.body.get("title")) and r.moved_to is None]
    given = [(str(task.body.get("assignee")), sorted(task.body.get("sites") or []), task.body.get("due_on")) for task in tasks]
    due_on = departed[0].get("args", {}).get("due_on")
    if sorted(given, key=canonical) != sorted(((who, sorted(sites), due_on) for who, sites in wanted.items()), key=canonical):
        yield Violation(PROMISE, f"drawn were {dict(wanted)} until {due_on}, and sent are {given}", told.id)


def _chained(server: ServerView) -> Iterator[Violation]:
    """Each file names the commitment that its unit made before: no two name the same one, and what is named is published."""
    plans = [json.loads(text)["plan"] for text in server.draw_files.values()]
    published = {one["statement"]["commitment"] for one in server.published}
    for (unit, previous), count in Counter((plan["unit"], plan["previous"]) for plan in plans).items():
        if count > 1:
            yield Violation(PROMISE, f"{count} files of {unit} follow {previous}", unit)
        if previous is not None and previous not in published:
            yield Violation(PROMISE, f"a file follows {previous}, which nobody has published", unit)
