"""Which package brings the import name `albumentations`: three do, and one of them is under the AGPL."""

from __future__ import annotations

from importlib.metadata import packages_distributions

from unpairaug.errors import UserError

AGPL = "albumentationsx"
"""The successor of albumentations, which is imported by the same name."""


def check_licence(packages: list[str] | None = None) -> None:
    """Refuse the successor under the AGPL, whose terms reach every program that imports it.

    `albumentations` 2.0.8 and its maintained fork `nrtk-albumentations` are under the MIT licence.

    Args:
        packages: names of the installed packages with that import name; by default they are looked up.

    Raises:
        UserError: it is installed.
    """
    found = packages_distributions().get("albumentations", []) if packages is None else packages
    if any(name.lower() == AGPL for name in found):
        raise UserError(
            f"the installed albumentations is {AGPL}, whose licence is the AGPL: it would reach your program, too. "
            f"Install the MIT one: pip uninstall {AGPL} && pip install albumentations==2.0.8, or its maintained fork "
            "nrtk-albumentations"
        )
