"""The zero-install parts: a real PostgreSQL and a real S3 server (SeaweedFS), started by us, on loopback.

Both run in sessions of their own, so that Ctrl-C in a terminal reaches only us and we choose the order: the app first, then S3,
then PostgreSQL. When we are killed, the kernel tells them to shut down (Linux; `process.start_child`); what is left all the same, the
next start finds by pid file, makes sure it is really ours, and stops it. As root they run as an unprivileged user (`account`).
"""

from server.embedded.postgres import EmbeddedPostgres, postmaster_pid
from server.embedded.seaweed import EmbeddedS3

__all__ = ["EmbeddedPostgres", "EmbeddedS3", "postmaster_pid"]
