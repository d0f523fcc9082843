"""Checks of the installation: versions, devices, and combinations of packages that are known not to work."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from packaging.version import Version

from unpairaug.registry.albumentations_package import AGPL
from unpairaug.training.environment import find_version

OF_DEVELOPERS = ("dev", "docs")
"""Extras that the program does not use."""


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    state: Literal["ok", "warning", "error"]
    found: str
    mend: str = ""
    """What to do; empty where nothing is wrong."""


def check_installation() -> list[Check]:
    """Run every check; it changes nothing and needs no network."""
    parts: list[Callable[[], Iterator[Check]]] = [_check_system, _check_requirements, _check_albumentations]
    return [found for part in (*parts, _check_torch, _check_devices, _check_extras) for found in part()]


def _check_system() -> Iterator[Check]:
    free = shutil.disk_usage(".").free / 2**30
    system = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    yield Check("system", "ok", f"{system}, {free:.0f} GiB free in this folder")
    yield Check("python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield Check("unpairaug", "ok", find_version("unpairaug") or "a checkout that is not installed")
    flags = Path("/proc/cpuinfo").read_text(errors="replace") if Path("/proc/cpuinfo").exists() else ""
    if platform.machine() in ("x86_64", "AMD64") and "flags" in flags and not re.search(r"\bavx2\b", flags):
        lacks = "AVX" if not re.search(r"\bavx\b", flags) else "AVX2"
        mend = "use another machine; in a virtual machine, let it pass the host's CPU through"
        yield Check("cpu", "warning", f"no {lacks}: torch is several times slower, and some wheels do not start", mend)


def _check_requirements() -> Iterator[Check]:
    try:
        lines = requires("unpairaug") or []
    except PackageNotFoundError:
        mend = "pip install -e . in the checkout"
        yield Check("requirements", "warning", "not known, as unpairaug is not installed", mend)
        return
    wrong = []
    for requirement in map(Requirement, lines):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = find_version(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            wrong.append((requirement, found))
    for requirement, found in wrong:
        said = "missing" if found is None else f"{found}, but {requirement.specifier} is needed"
        yield Check(requirement.name, "error", said, f"pip install '{requirement.name}{requirement.specifier}'")
    if not wrong:
        yield Check("requirements", "ok", "all installed, in versions that are supported")


def _check_albumentations() -> Iterator[Check]:
    if find_version(AGPL) is None:
        return
    mend = f"pip uninstall {AGPL} albumentations, then pip install albumentations==2.0.8"
    said = "installed; it replaces albumentations under the same import name, and its licence is AGPL"
    yield Check(AGPL, "error", said, mend)


def _check_torch() -> Iterator[Check]:
    found = find_version("torch")
    if found is None:
        return  # `_check_requirements` names it, and one that is too old
    other = find_version("torchvision")
    if other is None:
        return
    builds = [Version(one).local for one in (found, other)]
    mend = "install torch and torchvision again in one command, from one index: both for the CPU, or both for one CUDA"
    fault = find_import_fault("torchvision")
    if fault:
        yield Check("torchvision", "error", f"{other} cannot be imported with torch {found}: {fault}", mend)
    elif None not in builds and builds[0] != builds[1]:
        said = f"{other} is built for {builds[1]}, torch for {builds[0]}"
        yield Check("torchvision", "error", said, mend)
    else:
        yield Check("torchvision", "ok", other)


def find_import_fault(package: str) -> str:
    """The first line of the error that importing a package raises; empty if it raises none."""
    from importlib import import_module

    try:
        import_module(package)
    except Exception as error:  # mismatched binaries raise many kinds, and the report names what came
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return ""


def _check_devices() -> Iterator[Check]:
    if fault := find_import_fault("torch"):
        yield Check("devices", "error", f"torch cannot be imported: {fault}", "install torch again")
        return
    import torch

    if torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator()
        count = torch.accelerator.device_count()
        name = torch.cuda.get_device_name() if torch.cuda.is_available() else str(device)
        yield Check("devices", "ok", f"{count} × {name}")
    elif shutil.which("nvidia-smi"):
        said = f"the CPU alone, although there is an NVIDIA driver: torch {torch.__version__} cannot use the GPU"
        mend = "install a build of torch for the driver's CUDA version; nvidia-smi shows that version"
        yield Check("devices", "warning", said, mend)
    else:
        yield Check("devices", "ok", "the CPU alone; the sample recipes are made for that")
    build = f"{torch.__version__}, {torch.get_num_threads()} threads (OMP_NUM_THREADS sets them)"
    if torch.version.cuda and not torch.accelerator.is_available():
        build += "; a build for CUDA, which a machine without a GPU does not need: unpairaug docs without-cuda"
    yield Check("torch build", "ok", build)


def _check_extras() -> Iterator[Check]:
    packages = _list_extras()
    have = [extra for extra, names in packages.items() if all(find_version(name) for name in names)]
    lack = [extra for extra in packages if extra not in have]
    said = f"installed: {', '.join(have) or 'none'}; not installed: {', '.join(lack) or 'none'}"
    yield Check("extras", "ok", said)


def _list_extras() -> dict[str, list[str]]:
    """The packages of each extra, as unpairaug was installed."""
    try:
        facts = metadata("unpairaug")
    except PackageNotFoundError:
        return {}
    extras = [extra for extra in facts.get_all("Provides-Extra") or [] if extra not in OF_DEVELOPERS]
    conditional = [one for one in map(Requirement, requires("unpairaug") or []) if one.marker is not None]
    return {
        extra: [one.name for one in conditional if one.marker is not None and one.marker.evaluate({"extra": extra})]
        for extra in extras
    }
