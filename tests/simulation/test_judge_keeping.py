"""The judge of what was refused: the office's word stands over a problem it has taken over, also where it gave the problem back later."""

from sync.machines import MACHINES
from tests.simulator.judge_keeping import Fates, judge_keeping
from tests.simulator.testimony import Circumstances, Entry, JournalRow, ServerRecord, ServerView, Write

COUNTY, UNIT, PERSON, DEVICE = 610902, "610902001001", "who reported it", "a device"


def found(*commands: str, state: str = "reported") -> list[str]:
    """What is seen in a refused edit of one's own problem that has these steps."""
    steps = [{"command": command, "to": MACHINES["problem"][command].to} for command in commands]
    body = {"state": state, "reported_by": PERSON, "steps": steps}
    record = ServerRecord(COUNTY, "p", "problem", f"{UNIT}.field", 1, (1, 5), 0, None, False, None, body)
    row = JournalRow(COUNTY, DEVICE, 1, 0, "mutation", "m", "p", "edit", "rejected", "not_yours", None, None, None, b"w-1")
    writes = {"description": Write(over="w-0", value="w-1")}
    entry = Entry(1, 0, "m", 1, "a store", DEVICE, PERSON, COUNTY, "p", "problem", "edit", writes, {}, {}, UNIT, entitled=True)
    server = ServerView({COUNTY: 1}, {(COUNTY, "p"): record}, [row], {}, {}, {}, {})
    return [v.text for v in judge_keeping([entry], Fates(server), server, {}, Circumstances())]


def test_an_edit_of_what_the_office_had_verified_in_between_may_be_refused() -> None:
    assert found("problem.report", "problem.verify", "problem.not_true", "problem.reopen") == []
    assert found("problem.report", "problem.verify", state="verified") == []
    assert found("problem.report", "problem.not_true", "problem.reopen") == []


def noticed(incarnation: int, *gone: str) -> list[str]:
    """After a restore at incarnation 1 that lost work which "a store" held."""
    circumstances = Circumstances()
    circumstances.restored.append((2, 1))
    circumstances.forgotten[COUNTY] = (1, {"a store"})
    circumstances.gone |= set(gone)
    server = ServerView({COUNTY: incarnation}, {}, [], {}, {}, {}, {})
    return [v.text for v in judge_keeping([], Fates(server), server, {}, circumstances)]


def test_a_restore_is_noticed_unless_the_phones_that_could_show_it_are_lost() -> None:
    assert noticed(2) == noticed(1, "a store") == []
    assert any("did not notice" in text for text in noticed(1))


def test_an_edit_of_what_the_office_never_took_over_may_not() -> None:
    assert found("problem.report", "problem.report") == found("problem.report") == ["#1 problem edit n=1 of a store was refused: not_yours"]


def lacking(op: str, *, restored: bool) -> list[str]:
    """What is seen in a command that was refused because something is missing."""
    circumstances = Circumstances()
    if restored:
        circumstances.restored.append((2, 1))
    row = JournalRow(COUNTY, DEVICE, 1, 0, "mutation", "m", "s", op, "rejected", "incomplete", None, None, None, b"w-1")
    entry = Entry(1, 0, "m", 1, "a store", DEVICE, PERSON, COUNTY, "s", op.partition(".")[0], op, {}, {}, {}, UNIT, entitled=True)
    server = ServerView({COUNTY: 1}, {}, [row], {}, {}, {}, {})
    return [v.text for v in judge_keeping([entry], Fates(server), server, {}, circumstances)]


def test_only_a_restore_lets_a_result_come_before_the_reporting_in_that_its_author_had_seen() -> None:
    assert lacking("summons.result", restored=True) == []
    assert lacking("summons.result", restored=False) == ["#1 summons summons.result n=1 of a store was refused: incomplete"]
    assert lacking("summons.sign", restored=True) == ["#1 summons summons.sign n=1 of a store was refused: incomplete"]
