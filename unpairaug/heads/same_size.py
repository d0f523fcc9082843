"""The scale of heads that restore at the size they are given."""

from __future__ import annotations

from pydantic import AfterValidator


def keeps_the_size(head: str) -> AfterValidator:
    """For the option `scale` of a head that cannot enlarge: any scale but 1 is refused."""

    def check(scale: int) -> int:
        if scale != 1:
            raise ValueError(
                f"{head} restores at the size it is given (scale 1), and the task has scale {scale}; "
                "take a task of scale 1, or a head that enlarges, such as vdsr"
            )
        return scale

    return AfterValidator(check)
