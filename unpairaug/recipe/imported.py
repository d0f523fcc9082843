"""Turn the configuration of another training program into a recipe, key by key, and say what is lost."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from unpairaug.errors import UserError, escape
from unpairaug.recipe import basicsr_keys, vega_keys
from unpairaug.recipe.foreign import BASICSR, VEGA, recognise
from unpairaug.recipe.recipe_file import BASE, read_text
from unpairaug.recipe.yaml_file import dump, parse

Keys = Mapping[str, Any]
Found = dict[str, Any]
"""Recipe values by dotted key."""


@dataclass
class Imported:
    """A recipe made from another program's configuration, and what became of each key of that."""

    program: str
    base: str
    """The bundled recipe below it."""
    values: dict[str, Any] = field(default_factory=dict)
    """Recipe values by dotted key."""
    used: list[str] = field(default_factory=list)
    """One line for each key that was used: what it became."""
    dead: list[str] = field(default_factory=list)
    """One line for each key that does nothing in that program, with the reason."""
    lost: list[str] = field(default_factory=list)
    """One line for each key without counterpart, with what to do."""

    def to_yaml(self) -> str:
        """The recipe as the text of a file."""
        sections: dict[str, Any] = {BASE: self.base}
        for key, value in self.values.items():
            section = sections
            *outer, last = key.split(".")
            for step in outer:
                section = section.setdefault(step, {})
            section[last] = value
        return f"# Made from a configuration of {self.program} by unpairaug import.\n{dump(sections)}"

    def report(self) -> str:
        """What became of each key, as lines for a person."""
        parts = ("became", self.used), ("did nothing there", self.dead), ("no counterpart here", self.lost)
        return "\n".join(f"{name}:\n" + "\n".join(f"  {line}" for line in lines) for name, lines in parts if lines)


def import_file(file: str) -> Imported:
    """Read a configuration of Vega's CycleSR, or an option file of BasicSR.

    Raises:
        UserError: the file cannot be read, or is neither.
    """
    if not os.path.isfile(file):
        raise UserError(f"{escape(file)}: there is no such file; give a configuration of Vega's CycleSR or of BasicSR")
    name, text = read_text(file)
    values = parse(text, name).values
    program = recognise(values)
    if program == VEGA:
        return _convert(Imported(VEGA, "cyclesr_sr_paper"), values, vega_keys.convert, vega_keys.DEAD, vega_keys.LOST)
    if program == BASICSR:
        tables = basicsr_keys.convert, basicsr_keys.DEAD, basicsr_keys.LOST
        return _convert(Imported(BASICSR, "cyclesr_sr", {**basicsr_keys.START}), values, *tables)
    raise UserError(
        f"{escape(name)} is no configuration that is known here: CycleSR's of Vega has a section fully_train, "
        f"an option file of BasicSR has network_g and datasets"
    )


def _convert(
    result: Imported,
    values: Keys,
    convert: Callable[[str, Any, Keys], Found | None],
    dead: Mapping[str, str],
    lost: Mapping[str, str],
) -> Imported:
    """Give every key of the configuration its line in the result."""
    for key, value in _leaves(values):
        if (found := convert(key, value, values)) is not None:
            result.values |= found
            result.used.append(f"{key}: {value} → {', '.join(f'{name}={to}' for name, to in found.items())}")
        elif (reason := _look_up(dead, key)) is not None:
            result.dead.append(f"{key}: {value} ({reason})")
        else:
            reason = _look_up(lost, key)
            result.lost.append(f"{key}: {value}" + (f" ({reason})" if reason else ""))
    return result


def _leaves(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything that is no section; an empty section counts as a value."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _look_up(reasons: Mapping[str, str], key: str) -> str | None:
    """The reason for a key, for the section around it, or for its last word after a `*.`."""
    steps = key.split(".")
    sections = [".".join(steps[:n]) for n in range(len(steps), 0, -1)]
    return next((reasons[name] for name in (*sections, f"*.{steps[-1]}") if name in reasons), None)
