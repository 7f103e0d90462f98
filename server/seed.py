"""What a new installation starts with."""

from server.settings import Settings


def seed(settings: Settings) -> None:
    """Load what is missing: divisions and published checklists; with `demo`, staff whose passwords are printed."""
