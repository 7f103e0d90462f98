"""The secrets of an installation, each made once (docs/how-to/deploy.md).

What exists stays as it is: a changed password would lock the database. To rotate one, move its file away and follow the page.
"""

import os
import secrets
from pathlib import Path
from typing import Final

from server.trouble import StartError

# What compose.yaml and deploy/install.sh read; each is a file of this name
SECRETS: Final = ("pg_owner_password", "pg_password", "s3_secret_key", "metrics_token")
SECRET_BYTES: Final = 24


def make_secrets(folder: Path) -> list[Path]:
    """Make the secrets that are missing; returns their files. The folder is closed to others, the files are not: containers read
    them as users of their own. StartError when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        return [folder / name for name in SECRETS if _make(folder / name)]
    except OSError as error:
        raise StartError(f"无法写入密钥目录：{folder}", f"The folder of secrets cannot be written: {error}") from None


def _make(path: Path) -> bool:
    """Whether it was missing. It appears whole, or not at all."""
    if path.exists():
        return False
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(secrets.token_urlsafe(SECRET_BYTES))
    draft.chmod(0o444)
    draft.rename(path)
    return True
