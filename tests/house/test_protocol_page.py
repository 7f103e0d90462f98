"""docs/sync-protocol.md says what the code does, where a machine can compare the two."""

from typing import Any

import msgspec
import pytest

from contracts.ids import MutationId
from contracts.meta import Policy
from contracts.outcomes import TEXT_ZH, MutationOutcome, Outcome, Reason
from contracts.receipt import outcomes_digest
from phone.overlay import laid_over
from sync.merge import _merge_value
from tests.house.tree import ROOT

PAGE = (ROOT / "docs" / "sync-protocol.md").read_text(encoding="utf-8")


def table_after(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its own head."""
    lines = PAGE.partition(heading)[2].splitlines()
    rows = [line for line in lines if line.startswith("|")]
    begun = lines.index(rows[0])
    end = next(k for k in range(begun, len(lines)) if not lines[k].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[begun + 2 : end]]


def test_every_reason_is_in_the_table_with_its_sentence() -> None:
    rows = {row[0].strip("`"): row for row in table_after("### 5.2 What a client shows for each reason")}
    assert rows.keys() == {reason.value for reason in Reason}, "a reason and its row in docs/sync-protocol.md 5.2 come together"
    for reason in Reason:
        _, outcomes, _, sentence, beside = rows[reason.value]
        assert sentence == TEXT_ZH[reason], reason
        assert {word.strip() for word in outcomes.split(",")} <= {outcome.value for outcome in Outcome}, reason
        assert beside, reason


def test_every_policy_is_explained() -> None:
    assert {row[0].strip("`") for row in table_after("### 4.1 What merges and what conflicts")} == {policy.value for policy in Policy}


def test_the_example_of_a_receipt_digest_is_right_and_leaves_out_defaults() -> None:
    """An outcome without `reason` and one without `id`, as they travel; the digest is over what they mean."""
    part = PAGE.partition("One applied mutation `")[2]
    first, second = (part.split("`")[k] for k in (0, 2))
    outcomes = msgspec.json.decode(f"[{first},{second}]", type=list[MutationOutcome])
    assert msgspec.json.encode(outcomes) == f"[{first},{second}]".encode()
    assert outcomes[0].reason is Reason.OK
    assert outcomes[0].id == MutationId("00000000-0000-7000-8000-000000000001")
    assert outcomes[1].id is None
    assert f"give `{outcomes_digest(outcomes)}`" in PAGE


@pytest.mark.parametrize(
    ("policy", "seen", "old", "new", "shown"),
    [
        (Policy.UNION, ["a", "c"], ["a", "b"], ["b", "d"], ["c", "d"]),
        (Policy.APPEND, [{"id": "1"}, {"id": "2"}], [{"id": "1"}], [{"id": "1"}, {"id": "3"}], [{"id": "1"}, {"id": "2"}, {"id": "3"}]),
        (Policy.LATEST, "others", "before", "mine", "mine"),
    ],
)
def test_a_phone_lays_over_what_the_server_will_make(policy: Policy, seen: Any, old: Any, new: Any, shown: Any) -> None:
    assert laid_over(policy, seen, old, new) == shown
    assert _merge_value(policy, seen, old, new) == shown
