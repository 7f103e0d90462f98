"""What a scene may use. Scenes are small functions over a `Stage`; a new one needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from contracts.ids import MutationId, RecordId
from contracts.kind import Position
from contracts.people import Unit
from demo.hands import Hand
from demo.hours import DAY, clock_text
from demo.installation import Installation
from demo.notebook import Notebook
from demo.office import Office
from demo.people import IN_THE_FIELD
from demo.radio import LostAnswer, Signal
from demo.telling import Teller

OFFICE = "办公室"
SERVER = "服务器"


@dataclass
class Observed:
    """What happened on the way and cannot be read off the stores at the end."""

    server_pids: list[int] = field(default_factory=list)  # killed
    postgres_pids: list[int] = field(default_factory=list)
    seconds_away: float = 0.0
    at_kill: dict[str, int] = field(default_factory=dict)
    lost_answer: LostAnswer | None = None
    answered_again: list[tuple[int, str]] = field(default_factory=list)  # (n, outcome) as the phone got them the second time
    killed_upload: dict[str, int] = field(default_factory=dict)
    reassigned: dict[str, int] = field(default_factory=dict)
    conflicts_settled: int = 0
    week: dict[str, Any] = field(default_factory=dict)  # what the week's scenes saw; empty: only the day was played


@dataclass
class Stage:
    """`sites`, `records`: what scenes made and later scenes need, by a short name."""

    installation: Installation
    teller: Teller
    office: Office
    hands: dict[str, Hand]
    units: dict[str, Unit]
    notebook: Notebook
    persons: dict[str, dict[str, Any]] = field(default_factory=dict)  # key -> the person as the office made them
    sites: dict[str, RecordId] = field(default_factory=dict)
    records: dict[str, RecordId] = field(default_factory=dict)
    mutations: dict[str, MutationId] = field(default_factory=dict)
    observed: Observed = field(default_factory=Observed)
    desks: dict[str, Office] = field(default_factory=dict)  # key of a person -> their console
    today: date = DAY

    def at(self, clock: str) -> None:
        """The hands of the clock move on; never back."""
        self.installation.time.set(clock, self.today)

    def tell(self, hand: Hand, zh: str, en: str, signal: Signal = Signal.NONE, *, mark: str = "") -> None:
        """Something that a person with a phone does, where they are."""
        self.teller.event(self._clock(), hand.name, self.place(hand.member.unit), zh, en, signal, mark=mark)

    def tell_office(self, zh: str, en: str, *, who: str = OFFICE, where: str = "", mark: str = "") -> None:
        self.teller.event(self._clock(), who, where, zh, en, mark=mark)

    def tell_server(self, zh: str, en: str, *, mark: str = "") -> None:
        self.teller.event(self._clock(), SERVER, "server", zh, en, mark=mark)

    def _clock(self) -> str:
        return clock_text(self.installation.time.ms)

    def place(self, unit: str) -> str:
        """ "柴河村", from the statistical table's 柴河村委会."""
        return short_name(self.units[unit].name)

    def in_the_field(self) -> list[Hand]:
        return [self.hands[key] for key in IN_THE_FIELD]

    def all_hands(self) -> list[Hand]:
        return list(self.hands.values())


def short_name(name: str) -> str:
    return name.replace("村委会", "村").replace("社区居委会", "社区").removeprefix("汉滨区") or name


def near(index: int, accuracy_m: float = 6.0) -> Position:
    """An invented spot in the township, told by its number; about 300 m from the next."""
    return Position(lat=round(32.931 + 0.0031 * index, 6), lng=round(109.137 + 0.0027 * ((index * 7) % 11), 6), accuracy_m=accuracy_m)
