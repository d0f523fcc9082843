from .metrics import measure as measure
