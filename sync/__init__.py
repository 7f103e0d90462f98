"""The judgement: what should happen, as pure functions over values.

Nothing here awaits, reads a clock, makes an id or knows SQL or HTTP; everything comes in as an argument and every
situation has an answer. The promises these functions keep are numbered in sync/README.md.
"""
