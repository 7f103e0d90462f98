"""What anyone would try first is refused, by its rule and with a reason in Chinese; what people make up themselves is not."""

import re
import time

import pytest

from api.passwords import generate_password
from api.weak_passwords import RULES_ZH, WORDS, common_passwords, weakness
from contracts.access import PASSWORD_CHARACTERS_MIN

PHONE, NAME = "13912345678", "王小河"


@pytest.mark.parametrize(("password", "rule"), [
    ("12345678", "only_digits"), ("19900101", "only_digits"), ("13812345678", "only_digits"), ("１２３４５６７８", "only_digits"),
    ("11111111a", "few_characters"), ("aaaabbbb", "few_characters"), ("abc1abc1", "few_characters"), ("密码密码密码密码", "few_characters"),
    ("qwer1234", "keyboard"), ("1qaz2wsx", "keyboard"), ("abcdefgh", "keyboard"), ("zxcvbnm123", "keyboard"), ("qwertyuiop", "keyboard"), ("87654321qwe", "keyboard"),
    ("x13912345678", "personal"), ("12345678ab!王小河", "personal"), ("zq912345zq", "personal"),
    ("password", "common"), ("Password1", "common"), ("P@ssw0rd", "common"), ("p@ssw0rd2026!", "common"), ("admin123", "common"), ("Admin@2026", "common"),
    ("a1234567", "keyboard"), ("Aa123456", "keyboard"), ("woaini1314", "common"), ("iloveyou!!", "common"), ("hanbin2026", "common"), ("Ankang@123", "common"), ("ankanghuanbao1", "common"),
    ("5201314a", "common"), ("xunling2027!", "common"),
    ("zhangwei88", "common"), ("liuguihua1985", "pinyin"), ("1985wuyongqiang", "pinyin"), ("Chen.1990.", "pinyin"),
])  # fmt: skip
def test_what_is_tried_first_is_refused(password: str, rule: str) -> None:
    assert weakness(password, (PHONE, NAME)) == rule


@pytest.mark.parametrize(
    "password",
    [
        "correct horse",
        "battery staple",
        "only I know it",
        "河边第三棵大柳树",
        "另有一个别的词",
        "q8#Lm2v!Tz",
        "只有丁桂芳自己知道",
        "my own password",
    ],
)
def test_what_people_make_up_is_taken(password: str) -> None:
    assert weakness(password, (PHONE, NAME)) is None


def test_what_the_server_makes_up_is_taken() -> None:
    assert [made for made in (generate_password() for _ in range(500)) if weakness(made, (PHONE, NAME))] == []


def test_a_new_password_is_not_nearly_the_old_one() -> None:
    assert weakness("correct horse 2", (), "correct horse") == "same"
    assert weakness("another word", (), "correct horse") is None


def test_every_password_of_the_list_is_refused_that_is_long_enough() -> None:
    listed = common_passwords()
    assert len(listed) > 4000
    assert [one for one in listed if len(one) >= PASSWORD_CHARACTERS_MIN and weakness(one) is None] == []
    assert all(one == one.lower().strip() for one in listed | WORDS)


def test_every_rule_has_a_word_of_its_own() -> None:
    assert len(set(RULES_ZH.values())) == len(RULES_ZH)
    assert all(re.search("[\u4e00-\u9fff]", text) for text in RULES_ZH.values())


@pytest.mark.parametrize("password", ["a" * 128, "zhang" * 25, "1" * 64 + "a" * 64, "ang" * 42 + "!", "an1" * 42, "\n" * 128])
def test_the_longest_password_is_judged_at_once(password: str) -> None:
    started = time.monotonic()
    weakness(password, (PHONE, NAME))
    assert time.monotonic() - started < 0.5
