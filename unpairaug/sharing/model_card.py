"""The model card of a trained part: text, and metadata for the hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from unpairaug import __version__

if TYPE_CHECKING:
    from huggingface_hub import ModelCardData

Facts = dict[str, Any]

UNKNOWN_LICENCE = "unknown"
"""The hub's word for a licence that is not stated."""
PURPOSES = {
    "task": "A restoration head: it restores degraded images.",
    "translator": "A degradation translator: it degrades clean images as the camera of its training images does.",
}
USES = {
    "task": """from unpairaug import Task

restore = Task.from_pretrained("{model}")  # (B, 3, h, w) in [0, 1] -> (B, 3, scale * h, scale * w)
restored = restore(degraded)""",
    "translator": """from unpairaug import Translator

translator = Translator.from_pretrained("{model}")
fake = translator.degrade(source)  # (B, 3, h, w) in [0, 1] -> the same shape""",
}

ROWS = {
    "steps": "steps",
    "seed": "seed",
    "batch_size": "images of a step",
    "crop": "side of a clean crop, in pixels",
    "task": "task",
    "scale": "scale",
    "head": "head",
    "translator": "translator",
    "unpairaug": "unpairaug",
}
"""Facts that a run records, and their labels on the card."""


def card_data(part: str, config: Facts, trained: Facts, license: str | None) -> ModelCardData:
    """The card's front matter."""
    from huggingface_hub import ModelCardData

    tags = {"unpairaug", part, config["type"], trained.get("task"), "image-restoration"} - {None}
    return ModelCardData(
        library_name="unpairaug",
        license=license or UNKNOWN_LICENCE,
        pipeline_tag="image-to-image",
        tags=sorted(tags),
    )


def card_text(part: str, config: Facts, trained: Facts, license: str | None, repo_id: str | None) -> str:
    """The card below its front matter."""
    name = repo_id.rpartition("/")[2] if repo_id else f"{config['type']}, a {part} trained by unpairaug"
    use = USES[part].format(model=repo_id or "path/of/this/folder")
    return (
        "\n\n".join(
            [
                f"# {name}",
                PURPOSES[part],
                f"{part.capitalize()} `{config['type']}`; `config.json` has all its options.",
                f"## Use\n\n```python\n{use}\n```",
                f"## Training\n\n{_format_training(trained)}",
                f"## Validation\n\n{_format_validation(part, trained.get('metrics'))}",
                f"## Licence\n\n{_format_licence(license)}",
            ]
        )
        + "\n"
    )


def _format_training(trained: Facts) -> str:
    if not trained:
        return f"Not known: no run of unpairaug recorded it. Saved by unpairaug {__version__}."
    known = {**dict.fromkeys(ROWS), **trained}  # another version may have noted less
    rows = [(meaning, known[key]) for key, meaning in ROWS.items() if known[key] is not None]
    sources = [(side.replace("_", " "), _format_sources(names)) for side, names in trained.get("data", {}).items()]
    return _format_table(("", ""), [*rows, *sources])


def _format_validation(part: str, metrics: Facts | None) -> str:
    if not metrics:
        return "Not measured."
    whose = "" if part == "task" else " They are of the head that was trained with it."
    rows = [(f"`{name}`", f"{value:.4f}") for name, value in metrics.items() if name != "step"]
    table = _format_table(("metric", "value"), rows)
    return f"Means over the validation pairs at step {metrics['step']}.{whose}\n\n{table}"


def _format_licence(license: str | None) -> str:
    if license:
        return f"`{license}`"
    return "Not stated. unpairaug's own licence, Apache-2.0, does not apply to these weights."


def _format_sources(weights: dict[str, float]) -> str:
    shares = len(weights) > 1
    return ", ".join(f"`{name}`" + (f" (weight {weight:g})" if shares else "") for name, weight in weights.items())


def _format_table(head: tuple[str, str], rows: list[tuple[str, Any]]) -> str:
    return "\n".join(f"| {left} | {right} |" for left, right in [head, ("---", "---"), *rows])
