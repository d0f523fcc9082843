"""The versions and the machine of a run, as `environment.json` records them."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from unpairaug.data.retry import hide_secrets

PACKAGES = ["torch", "accelerate", "albumentations", "numpy", "pillow", "scikit-image", "safetensors", "spandrel"]


def describe_environment(device: str, processes: int) -> dict[str, Any]:
    """Command, versions, device and number of processes; the command without passwords and signatures in URLs."""
    return {
        "command": hide_secrets(" ".join(sys.argv)),
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu_cores": os.cpu_count(),
        "device": device,
        "processes": processes,
        "packages": {name: find_version(name) or "not installed" for name in ["unpairaug", *PACKAGES]},
    }


def find_version(package: str) -> str | None:
    """The version of an installed package; None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
