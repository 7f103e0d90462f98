"""The reference phone: a local store that works without signal, and the one exchange that brings it home.

It is written to be read and ported: SQLite, HTTP and nothing clever. It shares the vocabulary of `contracts` and knows
nothing of the server's floors. `phone/README.md` says how it is built, docs/sync-protocol.md what it speaks.
"""
