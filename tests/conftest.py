"""What every test may rely on: few threads, no network, and the folder of the checkout."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Set before torch or albumentations is imported, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two busy cores: more threads only spin
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # albumentations asks the network for its version at import
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test may download
os.environ.setdefault("COLUMNS", "120")  # help texts and messages wrap alike on every terminal

settings.register_profile("any_machine", deadline=None)  # no property depends on how busy a machine is
settings.load_profile("any_machine")


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The folder that holds pyproject.toml."""
    return Path(__file__).resolve().parent.parent
