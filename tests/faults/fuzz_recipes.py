"""Load mutated recipes with mutated overrides.

python tests/faults/fuzz_recipes.py --count 100000 --seed 0
"""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from hostile import change_alike, draw_value, limited, mutate_values
from mutate import Case, Fault, main, mutate, run_cases

os.environ["HF_HUB_OFFLINE"] = "1"

from unpairaug.recipe import Recipe, bundled_recipes, load_recipe, to_yaml
from unpairaug.recipe.recipe import differences

SMALL = """\
task: {type: sr, scale: 2, loss: {l1: 1, gan: {weight: 0.1, game: hinge}}, head: {type: vdsr, depth: 4, width: 8}}
translator: {type: cyclegan, ngf: 4, n_blocks: 1, discriminator: {type: patch, ndf: 8, n_layers: 1}, lambda_cycle: 10.0}
bridge: {strength: [0.5, 1.0], round: true, perturbation: [0.0, 8.0]}
real_path: {loss: {tv: 0.1}, lambda_cycle: 0.0}
schedule: {translator_warmup: 20%, head_warmup: 2, feedback_ramp: 1 epoch}
optimizer: {head: {type: adam, lr: 1e-4, lr_schedule: {type: cosine, warmup: 10%}}, generator: {betas: [0.5, 0.99]}}
data: {clean: {photos/a: 1, photos/b: 2}, degraded: sample, batch_size: 4, crop: 32, num_workers: 0}
train: {steps: 10, seed: 0, ema: 0.999, clip: 1.0, resume: auto}
"""
"""A recipe with every section; it is read in a tenth of the time of a bundled one."""
KINDS = ("bytes", "values", "values", "overrides", "overrides", "both", "options")
"""What is mutated, as often as it is named here."""


def find_keys() -> list[str]:
    """The dotted keys of the sections, and some of components."""
    keys = [
        f"{name}.{key}"
        for name, field in Recipe.model_fields.items()
        for key in getattr(field.annotation, "model_fields", {})
    ]
    keys += ["task.type", "task.scale", "task.head", "task.head.type", "task.head.depth", "task.loss", "task.loss.l1"]
    keys += ["translator", "translator.type", "translator.from", "translator.train", "translator.measure", "output_dir"]
    keys += ["translator.discriminator", "translator.discriminator.type", "optimizer.head.type", "optimizer.head.lr"]
    keys += ["optimizer.generator.lr_schedule", "optimizer.head.lr_schedule.type", "translator.lens", "train.choose"]
    return [*keys, *Recipe.model_fields]


def make_cases(count: int, seed: int) -> Iterator[Case]:
    """Recipes, each with its overrides, as JSON."""
    rng = random.Random(seed)
    texts = [SMALL] * 40 + [path.read_text(encoding="utf-8") for path in bundled_recipes().values()]
    documents = [yaml.safe_load(text) for text in texts]
    keys, encoded = find_keys(), [text.encode() for text in texts]
    for _ in range(count):
        at = rng.randrange(len(texts))
        text, overrides = texts[at], []
        kind = rng.choice(KINDS)
        if kind == "bytes":
            text = mutate(encoded[at], encoded, rng).decode("utf-8", "surrogateescape")
        if kind in ("values", "both"):
            names = [key.rpartition(".")[2] for key in keys]
            text = _dump(mutate_values(documents[at], names, rng))
        if kind == "options":
            sections = [key for key, value in documents[at].items() if isinstance(value, dict)]
            text = _dump(change_alike(documents[at], rng.choice(sections), rng))
        if kind in ("overrides", "both"):
            overrides = [_draw_override(keys, rng) for _ in range(rng.choice([1, 1, 2, 5]))]
        yield Case(kind, json.dumps([text, overrides]).encode())


def _dump(values: dict[str, Any]) -> str:
    """The values as YAML, by libyaml where it can write them; it refuses half characters."""
    try:
        return yaml.dump(values, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), sort_keys=False)
    except UnicodeEncodeError:
        return yaml.dump(values, sort_keys=False)


def _draw_override(keys: list[str], rng: random.Random) -> str:
    key: Any = rng.choice(keys)
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        key = f"{key}.{draw_value(rng)}" if rng.random() < 0.5 else str(draw_value(rng))
    value = draw_value(rng)
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}".replace("\0", "")


def run(count: int, seed: int) -> tuple[list[Fault], str]:
    """Load each case; what loads is written, resolved and loaded again to an equal recipe."""
    load_recipe("smoke", ["optimizer.head.type=lion"])  # imports torch and timm before memory is limited
    with tempfile.TemporaryDirectory() as folder:
        file, again = Path(folder) / "r.yaml", Path(folder) / "again.yaml"

        def read(case: Case) -> None:
            text, overrides = json.loads(case.data)
            file.write_bytes(text.encode("utf-8", "surrogateescape" if case.kind == "bytes" else "surrogatepass"))
            recipe = load_recipe(str(file), overrides)
            recipe.resolve(steps_per_epoch=7)
            again.write_text(to_yaml(recipe), encoding="utf-8")
            changed = differences(recipe, load_recipe(str(again)))
            assert not changed, f"written and read again: {changed}"

        return run_cases(make_cases(count, seed), limited(read))


if __name__ == "__main__":
    main(__doc__ or "", 100_000, run)
