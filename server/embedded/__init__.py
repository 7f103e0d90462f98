"""The zero-install parts: a real PostgreSQL and a real S3 server (SeaweedFS), started by us, on loopback.

Both run in sessions of their own, so that Ctrl-C in a terminal reaches only us and we choose the order: the app first, then S3,
then PostgreSQL. Both survive us when we are killed; the next start finds them by their pid files, makes sure they are
really ours, and stops them before it starts anew. As root they run as an unprivileged user (`account`).
"""

from server.embedded.postgres import EmbeddedPostgres, postmaster_pid
from server.embedded.seaweed import EmbeddedS3

__all__ = ["EmbeddedPostgres", "EmbeddedS3", "postmaster_pid"]
