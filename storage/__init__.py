"""The memory: PostgreSQL and S3. Loads states, applies decisions; holds no rule.

Every database function takes a connection (or pool) first; SQL stands directly above the one function that runs it.
"""
