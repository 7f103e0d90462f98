"""Promise 15, a hostile phone gets nothing: whatever it sends has an answer with a code, and changes nothing that is not its own."""

from collections.abc import Iterator

from tests.simulator.testimony import ACCEPTED, Circumstances, ServerView, Violation

PROMISE = 15
STRANGERS_VILLAGE = "610902003001"


def judge_strangers(server: ServerView, circumstances: Circumstances) -> Iterator[Violation]:
    """Every stream but those of its own village is others'. What the server does of itself because of a mutation is not judged here."""
    for failure in circumstances.failed_answers:
        yield Violation(PROMISE, f"the server failed: {failure}")
    for row in server.journal:
        if row.device not in circumstances.strangers or row.what == "consequence" or row.outcome not in ACCEPTED:
            continue
        if row.stream is not None and row.stream.partition(".")[0] != STRANGERS_VILLAGE:
            yield Violation(PROMISE, f"{row.op} of a stranger was {row.outcome} in {row.stream}", str(row.record))
