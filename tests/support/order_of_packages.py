"""The order in which packages may import each other."""

ORDER = [
    *("__main__", "commands", "comparison", "run", "demo", "report", "bench", "training", "scoring", "measuring"),
    *("degrading", "evaluation", "restoring", "albumentations", "augment", "export", "testing", "tasks", "translators"),
    *("task", "translator", "bridge", "heads", "discriminators", "losses", "networks", "camera"),
    *("recipe", "sharing", "prepare", "batch", "benchmarks", "data", "registry", "files"),
    *("terminal", "rng", "process", "errors"),
]
"""Packages and modules at the root of `unpairaug`, from the program down to what everything stands on."""
