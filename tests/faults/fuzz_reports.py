"""Render the page of mutated run folders, as `unpairaug report` does.

python tests/faults/fuzz_reports.py --count 5000 --seed 0
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import yaml
from hostile import change_alike, find_places, limited, mutate_values
from mutate import Case, Fault, main, mutate, run_cases

from unpairaug.report.page import render_page
from unpairaug.report.record import read_record

RECIPE = """\
task: {type: sr, scale: 2, loss: {l1: 1.0}, head: {type: vdsr, depth: 4}}
translator: {type: cyclegan, lambda_cycle: 10.0}
schedule: {translator_warmup: 20, head_warmup: 2}
data: {clean: {photos/a: 1, photos/b: 2}, degraded: sample, val_clean: no, val_degraded: no, crop: 32, batch_size: 4}
train: {steps: 10, seed: 0}
output_dir: run
"""
METRICS = [
    {"step": 0, "split": "camera", "gain_0.031": 0.99, "noise": 0.7},
    {"step": 0, "split": "val_bicubic", "psnr_rgb": 22.5, "ssim_rgb": 0.7},
    {"step": 5, "split": "train", "task_l1": 0.1, "d_clean": 0.25, "steps_per_second": 2.0},
    {"step": 5, "split": "guards", "colour_drift": 0.5, "discriminator_auc": 0.9},
    {"step": 5, "split": "unpaired", "head_score": 0.5},
    {"step": 10, "split": "val", "psnr_rgb": 23.5, "ssim_rgb": 0.72},
]
LOG = """\
2026-11-28 07:36:10 smoke → run, 1 × cpu
2026-11-28 07:36:51 warning: no gradient: 4 of 4 weights of head; see: unpairaug docs no-gradient
2026-11-28 07:37:12 completed 10 of 10 steps
"""
SUMMARY = {"message": "the result is 1.00 dB above", "status": "above", "reasons": ["few steps"], "weights": "last"}
SUMMARY |= {"weights_step": 10, "value": 23.5, "baseline": 22.5, "difference": 1.0, "standard_error": 0.1}
ENVIRONMENT = {"command": "train smoke", "device": "cpu", "processes": 1, "packages": {"torch": "2.7"}}
KINDS = ("bytes", "recipe", "metrics", "summary", "environment")


def make_files() -> dict[str, bytes]:
    """A small run folder without images."""
    texts = {"recipe.yaml": RECIPE, "metrics.jsonl": "\n".join(map(json.dumps, METRICS)), "log.txt": LOG}
    texts |= {"summary.json": json.dumps(SUMMARY), "environment.json": json.dumps(ENVIRONMENT)}
    return {name: text.encode() for name, text in texts.items()}


def make_cases(count: int, seed: int) -> Iterator[Case]:
    """One mutated file of the folder each."""
    rng, whole = random.Random(seed), make_files()
    sections = {"recipe": yaml.safe_load(RECIPE), "summary": SUMMARY, "environment": ENVIRONMENT}
    keys = [str(key) for held in (*sections.values(), *METRICS) for _, key in find_places(held)]
    for _ in range(count):
        kind, files = rng.choice(KINDS), dict(whole)
        if kind == "bytes":
            name = rng.choice([*files])
            files[name] = mutate(files[name], [*whole.values()], rng)
        elif kind == "metrics":
            lines = [json.dumps(mutate_values(line, keys, rng)) for line in rng.choices(METRICS, k=4)]
            files["metrics.jsonl"] = "\n".join(lines).encode()
        else:
            name, values = {"recipe": "recipe.yaml"}.get(kind, f"{kind}.json"), {kind: sections[kind]}
            changed = change_alike(values, kind, rng) if rng.random() < 0.3 else mutate_values(values, keys, rng)
            files[name] = json.dumps(changed.get(kind, changed)).encode()
        yield Case(kind, json.dumps({name: data.hex() for name, data in files.items()}).encode())


def run(count: int, seed: int) -> tuple[list[Fault], str]:
    """Render each case; the page holds no script of the folder."""
    with tempfile.TemporaryDirectory() as folder:

        def read(case: Case) -> None:
            for name, data in json.loads(case.data).items():
                Path(folder, name).write_bytes(bytes.fromhex(data))
            assert render_page(read_record(Path(folder))).startswith("<!doctype html>")

        read(Case("whole", json.dumps({name: data.hex() for name, data in make_files().items()}).encode()))
        return run_cases(make_cases(count, seed), limited(read))


if __name__ == "__main__":
    main(__doc__ or "", 5000, run)
