"""The vocabulary: every message, kind and code that phones, the console and the server share.

Only the standard library and msgspec may be imported here; nothing of ours. Values are frozen; unknown fields of
newer apps are ignored by the Structs but kept in the stored JSON (decision 0001).
"""
