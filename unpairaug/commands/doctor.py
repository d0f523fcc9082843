"""`unpairaug doctor`: whether this installation works, and how to mend it."""

from __future__ import annotations

from dataclasses import asdict

import typer

from unpairaug.commands.output import Json, print_result, write_result


def doctor(json: Json = None) -> None:
    """Check versions, devices and known-bad combinations of packages, and say how to mend each.

    Exit code 1 if something does not work. Example: unpairaug doctor --json doctor.json
    """
    from unpairaug.bench.installation import check_installation

    found = check_installation()
    marks = {"ok": "ok     ", "warning": "WARNING", "error": "ERROR  "}
    width = max(len(check.name) for check in found)
    for check in found:
        print_result(f"{marks[check.state]}  {check.name:<{width}}  {check.found}", json)
        if check.mend:
            print_result(f"{'':<{9 + width}}  to do: {check.mend}", json)
    write_result({"checks": [asdict(check) for check in found]}, json)
    if any(check.state == "error" for check in found):
        raise typer.Exit(1)
