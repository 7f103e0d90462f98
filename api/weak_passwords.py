"""Passwords that are tried first: a list of common ones, what people make of them, and what a stranger can know of a person.

The list (`common_passwords.csv`) has the most used ones of published breaches; words of the place and the trade stand here. What is on it is
refused also with other capitals, with digits or signs around it, and with the usual signs in place of letters. Nothing is asked about kinds of characters:
that makes `Aa123456@`, which everybody knows.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

COMMON_FILE: Final = Path(__file__).with_name("common_passwords.csv")

# {rule: what to do}, in the order in which they are looked at
RULES_ZH: Final = {
    "only_digits": "密码不能只有数字，请换一个",
    "few_characters": "密码中重复的字符过多，请换一个",
    "keyboard": "密码是键盘或字母表上的连续字符，请换一个",
    "personal": "密码过于简单或包含手机号、姓名，请换一个",
    "same": "新密码与原密码相同或相近，请换一个",
    "common": "这是常用密码，容易被猜到，请换一个",
    "pinyin": "密码只是拼音加数字，容易被猜到，请换一个",
}

# Counties and cities of the shipped places, the trade, the product, and what opens most consoles.
WORDS: Final = frozenset(
    """
    admin administrator root guest user test manager system login pass passwd password welcome changeme default secret master letmein iloveyou qwer asdf zxcv
    xunling xunlin huanbao huanjing huanjingju shengtai shengtaiju qinling ankang hanbin hanyin shiquan ningshan ziyang langao pingli zhenping xunyang baihe
    guangyuan lizhou sichuan shaanxi shanxi gaoxin hengkou yinghu zhongguo china beijing xian xianshi wangge wanggeyuan xiangzhen zhengfu cunzhang
    woaini woaiwojia wodemima mima woshishui aini nihao xiaoxin meimei baobao laopo laogong zhangwei wangwei lijie
    """.split()
)
_ROWS: Final = (
    "`1234567890-=", "qwertyuiop[]\\", "asdfghjkl;'", "zxcvbnm,./", "abcdefghijklmnopqrstuvwxyz",
    "1qaz", "2wsx", "3edc", "4rfv", "5tgb", "6yhn", "7ujm", "8ik,", "9ol.", "0p;/", "!@#$%^&*()_+", "!qaz", "@wsx", "#edc", "$rfv", "147", "258", "369", "789", "456", "159", "753",
)  # fmt: skip
_LEET: Final = str.maketrans("013457@$!|", "oieastasil")
_RUN_MIN: Final = 3
_FREE_MIN: Final = 4  # so many characters have to be beside what runs along a keyboard
_AROUND: Final = 6  # so many digits and signs around a common word make it no other word
_PHONE_PART: Final = 6  # so many digits of the number are the number
_SYLLABLE: Final = (
    "(?:zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])?"
    "(?:iang|iong|uang|ang|eng|ing|ong|ian|iao|uai|uan|ai|ei|ao|ou|an|en|er|in|un|ia|ie|iu|ua|uo|ui|ue|ve|a|o|e|i|u|v)"
)
_PINYIN: Final = re.compile(rf"(?:[\d\W_]{{0,12}})(?:{_SYLLABLE}){{1,4}}(?:[\d\W_]{{1,12}})|(?:[\d\W_]{{1,12}})(?:{_SYLLABLE}){{1,4}}")
_EDGES: Final = re.compile(rf"^[\d\W_]{{0,{_AROUND}}}(.*?)[\d\W_]{{0,{_AROUND}}}$(?!\n)", re.DOTALL)


def weakness(password: str, personal: Iterable[str] = (), old: str = "") -> str | None:
    """The rule that a new password breaks; None: it is good. `personal`: phone number, name. `old`: the one it replaces."""
    lowered = unicodedata.normalize("NFKC", password).lower()
    broken = {
        "only_digits": lowered.isdigit(),
        "few_characters": len(set(lowered)) < _FREE_MIN or _is_repeated(lowered),
        "keyboard": _free_characters(lowered) < _FREE_MIN,
        "personal": any(_contains(lowered, word.lower()) for word in personal if word),
        "same": bool(old) and (old.lower() in lowered or lowered in old.lower()),
        "common": _is_common(lowered),
        "pinyin": _PINYIN.fullmatch(lowered) is not None,
    }
    return next((rule for rule in RULES_ZH if broken[rule]), None)


@cache
def common_passwords() -> frozenset[str]:
    """The list, in small letters."""
    lines = COMMON_FILE.read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _is_common(lowered: str) -> bool:
    """On the list, as it is, without its signs for letters, or without what stands around it."""
    known = common_passwords() | WORDS
    for text in (lowered, lowered.translate(_LEET)):
        edges = _EDGES.match(text)
        if text in known or (edges is not None and (edges[1] in known or _is_of_words(edges[1]))):
            return True
    core = _EDGES.match(lowered)
    return core is not None and core[1].translate(_LEET) in known


def _is_of_words(text: str) -> bool:
    """Two words of the place or the trade, one after the other (`ankanghuanbao`)."""
    return any(text[:cut] in WORDS and text[cut:] in WORDS for cut in range(3, len(text) - 2))


def _is_repeated(text: str) -> bool:
    """One piece again and again (`abc1abc1`)."""
    return any(len(text) % size == 0 and text == text[:size] * (len(text) // size) for size in range(1, len(text) // 2 + 1))


def _contains(text: str, word: str) -> bool:
    """The word is in it or it is in the word; of a number a long part is enough."""
    if word.isdigit() and len(word) > _PHONE_PART:
        return any(word[start : start + _PHONE_PART] in text for start in range(len(word) - _PHONE_PART + 1))
    return word in text or text in word


def _free_characters(text: str) -> int:
    """How many characters do not belong to a run along a keyboard or the alphabet, or to one repeated."""
    free, at = 0, 0
    while at < len(text):
        length = _run_length(text[at:])
        free += 1 if length < _RUN_MIN else 0
        at += 1 if length < _RUN_MIN else length
    return free


def _run_length(text: str) -> int:
    """Of the run that a text begins with: the same character, or neighbours, forwards or backwards."""
    same = len(text) - len(text.lstrip(text[0]))
    return max(same, *(_common_prefix(text, row) for row in (*_ROWS, *(row[::-1] for row in _ROWS))))


def _common_prefix(text: str, row: str) -> int:
    """How far the text goes along the row, from where its first character stands."""
    rest = row[row.find(text[0]) :] if text[0] in row else ""
    return next((at for at, (one, other) in enumerate(zip(text, rest, strict=False)) if one != other), min(len(text), len(rest)))
