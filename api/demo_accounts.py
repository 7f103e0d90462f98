"""Who may log in where an installation is for trying out."""

from __future__ import annotations

import msgspec


class DemoAccount(msgspec.Struct, frozen=True, kw_only=True):
    """An invented person of a demo installation; `password` is of that installation alone."""

    phone: str
    password: str
    name: str
    title: str
