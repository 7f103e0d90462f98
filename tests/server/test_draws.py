"""`xunling draw verify`: whatever was changed in a file, left out of it or added to it is found."""

import contextlib
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from api.signing import Signer
from contracts.draw import DrawFile, DrawPlan, DrawRules, Exclusion, Statement, canonical, digests_of, ordered
from server.draws import report, verify_file
from sync.draw import draw
from tests.house.tree import ROOT
from tests.sync.test_draw import SECRET, a_file, a_plan, changed, leaves, plans, seeds

AT_COMMITMENT = Signer(Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32))
AT_DISCLOSURE = Signer(Ed25519PrivateKey.from_private_bytes(bytes([2]) * 32))


def signed(part: Statement | DrawFile, signer: Signer) -> Any:
    part = replace(part, public=signer.public_keys[0].public, key=signer.key)
    return replace(part, sig=signer.sign(part.signed_bytes()))


def a_signed_file(signer: Signer = AT_DISCLOSURE) -> DrawFile:
    """Of a server whose signing key was changed between commitment and disclosure."""
    unsigned = a_file(a_plan(exclusions=[Exclusion(reason="on_leave", inspector="p000"), Exclusion(reason="x", site="s001")], inspectors=8))
    file: DrawFile = signed(replace(unsigned, statement=signed(unsigned.statement, AT_COMMITMENT)), signer)
    return file


PLAIN = msgspec.to_builtins(a_signed_file())
LEAVES = leaves(PLAIN)


def second_program() -> Any:
    spec = importlib.util.spec_from_file_location("verify_draw", SECOND)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SECOND = ROOT / "docs" / "verify_draw.py"
second = second_program()


def found(folder: Path, content: Any, **published: Any) -> list[str]:
    """What differs; the second program must come to the same verdict."""
    path = folder / "draw.json"
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content, ensure_ascii=False).encode())
    parts = [difference.part for difference in verify_file(path, **published)[1]]
    options = [option for key in published.get("keys", ()) for option in ("--key", key)]
    options += ["--commitment", published["commitment"]] if "commitment" in published else []
    with contextlib.redirect_stdout(io.StringIO()):
        assert second.main([str(path), *options]) == (1 if parts else 0)
    return parts


def copy_and(path: tuple[Any, ...]) -> tuple[Any, Any]:
    """(a copy of the file, the object or list in it that has the leaf)."""
    plain = json.loads(json.dumps(PLAIN))
    at = plain
    for step in path[:-1]:
        at = at[step]
    return plain, at


def test_an_honest_file_verifies_also_after_the_signing_key_was_changed(tmp_path: Path) -> None:
    assert found(tmp_path, PLAIN) == []
    keys = [signer.public_keys[0].public for signer in (AT_COMMITMENT, AT_DISCLOSURE)]
    assert found(tmp_path, PLAIN, keys=keys, commitment=PLAIN["statement"]["commitment"]) == []
    assert found(tmp_path, PLAIN, keys=keys[1:]) == ["key"], "the other key was not among the published ones"


@pytest.mark.parametrize("path", LEAVES, ids=str)
def test_every_leaf_that_is_changed_or_left_out_is_found(tmp_path: Path, path: tuple[Any, ...]) -> None:
    plain, at = copy_and(path)
    at[path[-1]] = changed(at[path[-1]]) if at[path[-1]] is not None else "s001"
    assert found(tmp_path, plain) != []
    plain, at = copy_and(path)
    del at[path[-1]]
    assert found(tmp_path, plain) != []


@given(st.sampled_from([path[:k] for path in LEAVES for k in range(len(path))]), st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_is_added_doubled_or_reordered_is_found(tmp_path_factory: Any, path: tuple[Any, ...], data: st.DataObject) -> None:
    plain, at = copy_and((*path, None))
    if isinstance(at, dict):
        at["more"] = 1
    elif data.draw(st.booleans()) or at[1:] == at[:-1]:
        at.append(at[0])
    else:
        at.reverse()
    assert found(tmp_path_factory.mktemp("draw"), plain) != []


def test_a_member_that_stands_twice_is_no_draw_file(tmp_path: Path) -> None:
    """Programs differ in which of the two they believe."""
    assert found(tmp_path, canonical(PLAIN).replace(b'"secret":', b'"secret":"0","secret":', 1)) == ["file"]
    assert found(tmp_path, canonical(PLAIN).replace(b'"weight":1,', b'"weight":1.0,', 1)) == ["file"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000, b'{"format":"\\ud800"}'])
def test_what_is_no_draw_file_is_said_so(tmp_path: Path, content: bytes) -> None:
    assert found(tmp_path, content) == ["file"]


def test_a_forger_with_a_key_of_his_own_is_found_by_the_published_one(tmp_path: Path) -> None:
    forger = Signer(Ed25519PrivateKey.from_private_bytes(bytes([3]) * 32))
    forged = msgspec.to_builtins(a_signed_file(forger))
    assert found(tmp_path, forged) == [], "alone, a file says only what it says"
    assert found(tmp_path, forged, keys=[s.public_keys[0].public for s in (AT_COMMITMENT, AT_DISCLOSURE)]) == ["key"]


@given(plans(), seeds)
@settings(max_examples=400, deadline=None)
def test_the_second_program_draws_the_same_from_any_pool(plan: DrawPlan, seed: bytes) -> None:
    """It was written from docs/draws.md and shares no line with the first; failures are the same, too."""
    plan = ordered(plan)
    assert second.draw(msgspec.to_builtins(plan), seed) == msgspec.to_builtins(draw(plan, seed))
    assert second.digests_of(msgspec.to_builtins(plan), SECRET.hex()) == digests_of(plan, SECRET)


def test_the_second_program_draws_the_same_from_a_large_and_tight_pool() -> None:
    """Every inspector is needed at every visit they may make, so that nearly each choice moves others."""
    plan = ordered(
        a_plan(sites=60, inspectors=24, exclusions=[Exclusion(reason="x", site=f"s{k:03}", inspector=f"p{k % 24:03}") for k in range(60)])
    )
    plan = replace(plan, rules=DrawRules(sites=36, team_size=4, visits_max=6, departments=["env", "water"]))
    result = draw(plan, SECRET)
    assert result.failure is None
    assert second.draw(msgspec.to_builtins(plan), SECRET) == msgspec.to_builtins(result)


def test_the_second_program_needs_nothing_but_python(tmp_path: Path) -> None:
    (tmp_path / "draw.json").write_bytes(canonical(PLAIN))
    command = [sys.executable, "-I", "-S", SECOND, "draw.json", "--commitment", PLAIN["statement"]["commitment"]]
    told = subprocess.run(command, cwd=tmp_path, env={"PYTHONUTF8": "1"}, capture_output=True, encoding="utf-8", check=False)
    assert (told.returncode, told.stdout.strip()) == (0, "一致 · VERIFIED"), told.stderr


def test_the_verdict_says_what_is_left_to_compare() -> None:
    file = a_signed_file()
    said = "\n".join(report(file, [], keys=(), commitment=None))
    assert said.startswith("一致 · VERIFIED")
    assert all(word in said for word in (file.statement.commitment, file.statement.public, file.public))
    assert len(report(file, [], keys=("x",), commitment="x")) == 2
