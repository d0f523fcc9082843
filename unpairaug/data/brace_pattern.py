"""Expand brace patterns such as `shards-{000..012}.tar`, of bounded size."""

from __future__ import annotations

import math
import re

from unpairaug.errors import UserError, escape

MAX_SHARDS = 10**6
"""Files that a brace pattern may stand for."""
MAX_PATTERN = 4096
"""Characters of a brace pattern, as in a path."""


def expand_braces(source: str, pattern: str) -> list[str]:
    """The strings that a brace pattern stands for.

    Args:
        source: the source as the user wrote it, for messages.
        pattern: the pattern.

    Raises:
        UserError: braces do not match, or the pattern stands for more than `MAX_SHARDS` strings.
    """
    import braceexpand

    try:
        count = _bound_expansion(pattern) if len(pattern) <= MAX_PATTERN else math.inf
        if count > MAX_SHARDS:
            raise UserError(
                f"{escape(source[:200])}: this pattern stands for more than {MAX_SHARDS} files, or is longer than "
                f"{MAX_PATTERN} characters; give the folder of the shards"
            )
        return list(braceexpand.braceexpand(pattern))
    except (ValueError, RecursionError) as error:
        reason = "braces are nested too deeply" if isinstance(error, RecursionError) else escape(error)
        raise UserError(f"{escape(source)}: {reason}; a pattern looks like shards-{{000..012}}.tar") from error


def _bound_expansion(pattern: str) -> float:
    """An upper bound of the number of strings in a brace pattern: the product of its ranges and lists."""
    count = 26.0 ** len(re.findall(r"\{[A-Za-z]\.\.[A-Za-z]", pattern))
    for start, end in re.findall(r"\{(-?\d{1,18})\.\.(-?\d{1,18})(?:\.\.-?\d+)?\}", pattern):
        count *= abs(int(end) - int(start)) + 1
    if re.search(r"\d{19}", pattern):
        return math.inf
    for opening in re.finditer(r"\{", pattern):
        depth, commas = 0, 0
        for letter in pattern[opening.end() :]:
            depth += (letter == "{") - (letter == "}")
            commas += letter == "," and depth == 0
            if depth < 0:
                break
        count *= commas + 1
    return count
