"""The memory: PostgreSQL and S3. Loads states, applies decisions; holds no rule and knows no HTTP."""
