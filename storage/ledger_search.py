"""Which records of a ledger hold a text, or are under a colour: found first, so that the page is read by the right index.

A rare text is found by its words and the page is cut from what was found. A frequent one (more than `HITS_MAX`) would be a long
list of which the page needs fifty: then the page walks its own order and looks at each row, which soon has enough.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, LiteralString

import msgspec

from contracts.ids import County, RecordId, StreamName
from contracts.rules import Colour
from storage.ledger_words import folded, patterns_of, words_wanted
from storage.pool import Connection

HITS_MAX: Final = 5000


class TextWanted(msgspec.Struct, frozen=True, kw_only=True):
    """A query as it is asked for: hashes for the rows themselves and for the sites they are at, and what settles it."""

    words: list[int]
    site_words: list[int]
    patterns: list[str]


def text_wanted(kind: str, text: str) -> TextWanted | None:
    """None for a text that says nothing."""
    plain = folded(text)
    if not plain:
        return None
    return TextWanted(words=words_wanted(kind, plain), site_words=words_wanted("site", plain), patterns=patterns_of(plain))


# The order keeps a frequent text from being answered by reading the table as it lies.
SQL_FIND_TEXT: Final[LiteralString] = """
    (SELECT e.record FROM ledger_entry e
     WHERE e.county = $1 AND e.kind = $2 AND e.stream = ANY ($3::text[]) AND e.words @> $4::integer[] AND e.text LIKE ALL ($6::text[])
     ORDER BY e.changed_at DESC LIMIT $7)
    UNION ALL
    (SELECT e.record
     FROM (SELECT s.record FROM ledger_entry s
           WHERE s.county = $1 AND s.kind = 'site' AND s.stream = ANY ($3::text[]) AND s.words @> $5::integer[]
             AND s.text LIKE ALL ($6::text[])
           ORDER BY s.changed_at DESC LIMIT $7) s
     CROSS JOIN LATERAL (SELECT e.record FROM ledger_entry e
                         WHERE e.county = $1 AND e.site = s.record AND e.kind = $2 AND e.stream = ANY ($3::text[]) LIMIT $7) e
     LIMIT $7)
"""


async def find_text(conn: Connection, county: County, kind: str, streams: Sequence[StreamName], text: TextWanted) -> set[RecordId] | None:
    """Records with the text in their own words or in the name or address of their site; None: too many to be listed."""
    rows = await conn.fetch(SQL_FIND_TEXT, county, kind, streams, text.words, text.site_words, text.patterns, HITS_MAX + 1)
    return {row["record"] for row in rows} if len(rows) <= HITS_MAX else None


# Open supervisions are few beside the records they may be about. An assignment is under the colour of its problem.
SQL_FIND_COLOUR: Final[LiteralString] = """
    WITH letter AS MATERIALIZED (
        SELECT DISTINCT s.about FROM ledger_entry s
        WHERE s.county = $1 AND s.kind = 'supervision' AND s.is_open AND s.colour = ANY ($4::text[]) AND s.stream = ANY ($3::text[])
          AND s.about IS NOT NULL)
    SELECT e.record FROM letter l JOIN ledger_entry e ON e.county = $1 AND e.record = l.about AND e.kind = $2
    UNION
    SELECT e.record FROM letter l JOIN ledger_entry e ON e.county = $1 AND e.about = l.about AND e.kind = $2
    WHERE $2 = 'assignment'
"""


async def find_colour(
    conn: Connection, county: County, kind: str, streams: Sequence[StreamName], colours: Collection[Colour]
) -> set[RecordId]:
    """Records with an open supervision of one of these colours, among those the caller may see."""
    rows = await conn.fetch(SQL_FIND_COLOUR, county, kind, streams, [colour.value for colour in colours])
    return {row["record"] for row in rows}
