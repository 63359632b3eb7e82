"""What a checker raises."""


class Violation(AssertionError):
    """The protocol's promise `rule` was broken. The message tells by whom and how."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(f"{rule}: {detail}")
        self.rule = rule
