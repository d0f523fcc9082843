"""Built-in tasks: `task: {type: sr}` in a recipe is the class registered as "sr" in `tasks/sr.py`."""

if __name__ != "unpairaug.tasks":
    raise ImportError(f"import unpairaug.tasks, not {__name__}: one module must not be loaded under two names")
