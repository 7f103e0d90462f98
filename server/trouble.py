"""What keeps the product from starting, said so that an operator can act on it."""


class StartError(Exception):
    """Starting is impossible for a reason outside our code. The message is for people, in Chinese and English.

    The command line prints it without a traceback and ends with status 1.
    """

    def __init__(self, chinese: str, english: str) -> None:
        super().__init__(f"{chinese}\n{english}")
