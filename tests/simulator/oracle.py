"""The oracle: it writes down what people typed, and judges what phones and server show. It knows no code of the product.

tests/simulation/test_oracle.py holds it to that: nothing in the judging modules imports anything of ours but each other.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.simulator.judge_campaigns import judge_campaigns
from tests.simulator.judge_casework import judge_casework
from tests.simulator.judge_copies import judge_heads, judge_phone, judge_photos
from tests.simulator.judge_draws import judge_draws
from tests.simulator.judge_evidence import judge_evidence
from tests.simulator.judge_fields import APPENDED, REPEATED, SETS, judge_fields, value_in
from tests.simulator.judge_keeping import Fates, judge_keeping, judge_order, judge_words
from tests.simulator.judge_responses import judge_responses
from tests.simulator.judge_strangers import judge_strangers
from tests.simulator.judge_timers import judge_timers
from tests.simulator.testimony import Circumstances, DrawTold, Entry, Json, PhoneView, ServerView, Violation, canonical


@dataclass
class Oracle:
    """Append-only, but for what is heard of an entry later."""

    entries: list[Entry] = field(default_factory=list)
    draws: list[DrawTold] = field(default_factory=list)
    repairs: list[Violation] = field(default_factory=list)
    circumstances: Circumstances = field(default_factory=Circumstances)
    judged: int = 0

    def typed(self, entry: Entry) -> None:
        self.entries.append(entry)

    def of_store(self, store: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.store == store]

    def spoilt_of(self, store: str) -> set[int]:
        """Numbers of the mutations of a store that the simulation spoilt."""
        return {entry.n for entry in self.of_store(store) if entry.spoilt}

    def repaired(self, store: str, streams: Iterable[str]) -> None:
        """A phone found that its copies differ from the server's. It mends that; that it had to is the fault.

        But for one time: after a restore, until somebody has shown the server a receipt it does not know, phones that lost
        nothing go on with cursors of a history that is no more.
        """
        if self.circumstances.rewinding:
            return
        self.repairs += [Violation(5, f"{store} had to repair {stream}: pages had left it with other records", store) for stream in streams]

    def judge(self, server: ServerView, phones: list[PhoneView], received: set[str]) -> list[Violation]:
        """All promises at a quiet point; the violations, worst first: what is lost before what differs."""
        fates, by_store = Fates(server), {phone.store: phone for phone in phones}
        found = [
            *judge_keeping(self.entries, fates, server, by_store, self.circumstances),
            *judge_order(self.entries, fates, self.circumstances),
            *judge_words(self.entries, server),
            *judge_fields(self.entries, fates, server, self.circumstances),
            *judge_casework(self.entries, fates, server, by_store, self.circumstances.scope),
            *judge_evidence(server),
            *judge_timers(server),
            *judge_responses(server),
            *judge_campaigns(server),
            *judge_draws(self.draws, server, phones),
            *judge_strangers(server, self.circumstances),
            *judge_heads(server),
        ]
        for phone in phones:
            hidden = {entry.record for entry in self.entries if entry.mutation in phone.waiting}
            found += judge_phone(phone, server, self.circumstances, hidden)
            found += judge_photos(phone, received)
        self.judged += 1
        return sorted({*found, *self.repairs}, key=lambda v: (v.promise, v.text))

    def judge_screen(self, store: str, shown: dict[str, dict[str, Json] | None], refused: set[str]) -> list[Violation]:
        """Promise 3 on the screen, at any moment: nobody is shown what they have replaced.

        `shown`: records (body; None: not on the phone) as they are shown; `refused`: the phone's mutations that ended so.
        """
        if self.circumstances.restored:
            return []
        found = []
        own = {(e.record, name): e for e in self.of_store(store) if e.mutation not in refused and e.said != "rejected" for name in e.writes}
        for (record, name), entry in own.items():
            body = shown.get(record)
            if body is None or name in APPENDED | SETS | REPEATED or self._was_settled(record):
                continue
            now, write = canonical(value_in(body, name)), entry.writes[name]
            if now == canonical(write.over) and now != canonical(write.value):
                found.append(Violation(3, f"{store} shows {name} as {now}, which #{entry.number} on that phone replaced", record))
        return found

    def fates(self, server: ServerView) -> Counter[str]:
        """How often what became of an entry, for the report."""
        fates = Fates(server)
        rows = [fates.of(entry) for entry in self.entries]
        return Counter(
            "lost with a phone" if row is None else row.outcome if row.reason == "ok" else f"{row.outcome}: {row.reason}" for row in rows
        )

    def story(self, subject: str, server: ServerView) -> list[str]:
        """All that was typed on one record or phone, beside what the server's journal says of it."""
        fates = Fates(server)
        lines = []
        for entry in self.entries:
            if subject not in (entry.record, entry.store, str(entry.screen.get("record"))):
                continue
            row = fates.of(entry)
            values = ", ".join(f"{name}: {write.over!r} -> {write.value!r}" for name, write in entry.writes.items())
            fate = "never arrived" if row is None else f"{row.outcome} ({row.reason}) v{row.version} seq {row.seq} of {row.stream}"
            lines.append(
                f"#{entry.number} {entry.store} n={entry.n} {entry.kind} {entry.op} {entry.args or ''} {values} | said {entry.said} | {fate}"
            )
        for told in self.draws:
            if told.id == subject:
                lines += [f"{a.turn} {a.act} by {a.by} {canonical(a.sent)}: {a.status} {canonical(a.said)}" for a in told.answers]
        lines += [str(record) for (_, record_id), record in server.records.items() if record_id == subject]
        lines += [str(r) for r in server.records.values() if r.kind == "conflict" and str(r.body.get("record")) == subject]
        return lines

    def _was_settled(self, record: str) -> bool:
        return any(e.op == "conflict.settle" and str(e.screen.get("record")) == record for e in self.entries)
