"""Watching over parts: brought back, a bounded number of times, at the same address."""

import pytest

from server import supervision
from server.signals import Interrupted
from server.supervision import DEATHS_MAX, watch
from server.trouble import StartError


class Fragile:
    """A part that ends `deaths` times; afterwards a signal comes."""

    name = "S3"

    def __init__(self, deaths: int, *, moves: bool = False) -> None:
        self.deaths = deaths
        self.starts = 0
        self.moves = moves

    @property
    def address(self) -> str:
        return f"port {self.starts if self.moves else 0}"

    @property
    def runs(self) -> bool:
        if self.starts == self.deaths:
            raise Interrupted
        return False

    def start(self) -> None:
        self.starts += 1


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "LOOK_SECONDS", 0)


def test_each_end_is_one_plain_line(capsys: pytest.CaptureFixture[str]) -> None:
    part = Fragile(DEATHS_MAX - 1)
    with pytest.raises(Interrupted):
        watch([part])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["S3 意外退出，正在重新启动。 S3 ended unexpectedly: starting it again."] * (DEATHS_MAX - 1)


def test_what_ends_again_and_again_ends_everything() -> None:
    part = Fragile(100)
    with pytest.raises(StartError, match=f"S3 ended {DEATHS_MAX} times within 60 seconds: everything is stopped"):
        watch([part])
    assert part.starts == DEATHS_MAX - 1


def test_ends_that_lie_far_apart_are_not_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "DEATHS_WITHIN_SECONDS", 0)
    part = Fragile(20)
    with pytest.raises(Interrupted):
        watch([part])
    assert part.starts == 20


def test_a_part_at_another_address_ends_everything() -> None:
    with pytest.raises(StartError, match="Another program took the port of S3"):
        watch([Fragile(100, moves=True)])
