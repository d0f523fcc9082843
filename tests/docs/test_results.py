"""The pages of docs/results have the figures of their runs; toy runs are trained, recorded and rendered."""

from __future__ import annotations

import json
import re
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
import yaml

import make
from figures import Figures
from unpairaug.data.images import write_image
from unpairaug.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
SIDES = {"clean": 32, "degraded": 16, "ceiling_clean": 32, "val_clean": 48, "val_degraded": 24}
"""Pixels of the images in each folder."""
PLAIN = ["translator={type: bicubic}", "bridge={}", "real_path={}"]
TOY = {
    "common": [
        "task.head={type: vdsr, depth: 3, width: 4}",
        "data.batch_size=2",
        "data.crop=16",
        "schedule={}",
        "train.steps=2",
        "train.validate_every=1",
    ],
    "sets": {"toy": [f"data.{side}=toy/{side}" for side in SIDES]},
    "systems": {
        "floor": {"label": "floor", "recipe": "smoke", "overrides": PLAIN},
        "smoke": {"label": "**smoke**"},
        "program": {"label": "a program"},
        "ceiling": {"label": "ceiling", "recipe": "smoke", "overrides": [*PLAIN, "bridge.feed=real"]},
    },
    "runs": [{"sets": ["toy"], "systems": ["ceiling", "floor", "smoke"], "seeds": [0]}],
}
PROGRAM_METRICS = {"psnr_rgb": 30.0, "ssim_rgb": 0.5, "psnr_rgb_shift10": 30.0}
MEASURED = {"measurer": {"program": "print(PROGRAM_METRICS)", "figures": {"toy/program_0": PROGRAM_METRICS}}}
TEMPLATE = """{{ system_table("toy") }}

smoke: {{ psnr("toy/smoke_0") }}, {{ psnr("toy/smoke") }}
"""


def write_toy(folder: Path, plan: dict) -> Path:
    """Write a folder like docs/results."""
    folder.mkdir(parents=True)
    (folder / "runs.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    (folder / "measured.yaml").write_text(yaml.safe_dump(MEASURED))
    (folder / "page.md.jinja").write_text(TEMPLATE)
    return folder


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `docs/toy`, its trained runs of two steps in `runs`, and images in `images`."""
    root, rng = tmp_path_factory.mktemp("results"), np.random.default_rng(0)
    for side, pixels in SIDES.items():
        for name in ("one.png", "two.png"):
            write_image(root / "images" / "toy" / side / name, rng.integers(60, 200, (pixels, pixels, 3), np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)  # training goes where the images are
        make.make(write_toy(root / "docs" / "toy", TOY), root / "runs", None, "*", root / "images")
    return root


@pytest.fixture
def copy(toy: Path, tmp_path: Path) -> Path:
    """A copy of it, for tests that change it."""
    return copytree(toy, tmp_path / "copy")


def read_last(run: Path, split: str = "val") -> dict[str, float]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["split"] == split][-1]


def read_committed() -> dict[str, dict]:
    return make.read_records(make.read_plan(RESULTS), RESULTS)


def test_the_pages_are_what_the_records_give():
    for page, text in make.render(RESULTS).items():
        assert page.read_text(encoding="utf-8") == text, (
            f"{page} is not what its records give: run docs/results/make.py"
        )


def test_every_record_is_of_a_listed_run_with_its_seed_and_all_its_steps():
    records, runs = read_committed(), make.list_runs(make.read_plan(RESULTS))
    assert records.keys() == runs.keys()
    for name, one in records.items():
        seed, steps = (one["resolved"]["train"][key] for key in ("seed", "steps"))
        assert (seed, steps) == (one["seed"], one["steps"]) == (runs[name].seed, max(map(int, one["psnr_rgb"]))), name
        assert one["overrides"][-1] == f"train.seed={seed}", name


def test_no_file_of_the_page_names_a_place_of_the_machine_it_was_made_on():
    for file in RESULTS.iterdir():
        if file.is_file():
            assert not re.search(r"[\s\"'=(`](/|[A-Z]:\\)\w+[/\\]", file.read_text(encoding="utf-8")), file


def test_a_trained_run_is_recorded_with_what_its_folder_holds_and_without_its_place(toy: Path):
    run, text = toy / "runs" / "toy" / "smoke_0", (toy / "docs" / "toy" / "toy.json").read_text()
    (one,) = [values for name, values in json.loads(text).items() if name == "smoke_0"]
    wanted = {key: value for key, value in read_last(run).items() if key not in ("step", "split")}
    assert one["metrics"] == pytest.approx(wanted, abs=1e-6) and one["bicubic"]["psnr_rgb"] == pytest.approx(
        read_last(run, "val_bicubic")["psnr_rgb"], abs=1e-6
    )
    assert (one["seed"], one["steps"], one["recipe"]) == (0, 2, "smoke") and list(one["psnr_rgb"]) == ["0", "1", "2"]
    assert one["resolved"]["data"]["ceiling_clean"] == "toy/ceiling_clean" and "output_dir" not in one["resolved"]
    assert str(toy) not in text


def test_the_rows_of_a_table_are_in_the_order_of_the_plan_and_their_figures_those_of_the_runs(toy: Path):
    rows = [
        line.split(" | ") for line in (toy / "docs" / "toy" / "page.md").read_text().splitlines() if line[:1] == "|"
    ][2:]
    assert [row[0] for row in rows] == ["| bicubic interpolation", "| floor", "| **smoke**", "| a program", "| ceiling"]
    for row, system in ((rows[1], "floor"), (rows[2], "smoke"), (rows[4], "ceiling")):
        assert row[1] == f"{read_last(toy / 'runs' / 'toy' / f'{system}_0')['psnr_rgb']:.2f}"
    expected = f"{read_last(toy / 'runs' / 'toy' / 'smoke_0')['psnr_rgb']:.2f}"
    assert (toy / "docs" / "toy" / "page.md").read_text().endswith(f"smoke: {expected}, {expected}\n")


def test_recording_the_same_runs_again_changes_nothing_and_a_record_outlives_its_run(copy: Path):
    docs, before = copy / "docs" / "toy", (copy / "docs" / "toy" / "toy.json").read_bytes()
    make.make(docs, None, copy / "runs", "*", copy / "images")
    assert (docs / "toy.json").read_bytes() == before
    make.make(docs, None, copy / "nowhere", "*", copy / "images")
    assert (docs / "toy.json").read_bytes() == before


def test_runs_without_a_record_are_all_named_in_one_message_and_unfinished_ones_have_none(copy: Path):
    docs = copy / "docs" / "toy"
    (docs / "toy.json").unlink()
    log = copy / "runs" / "toy" / "floor_0" / "log.txt"
    log.write_text("\n".join(line for line in log.read_text().splitlines() if "completed" not in line))
    with pytest.raises(UserError, match=r"^no record of toy/floor_0, toy/smoke_0, which runs.yaml lists: give --train"):
        make.make(docs, None, copy / "runs", "*/ceiling_0", copy / "images")
    with pytest.raises(UserError, match=r"^no record of toy/floor_0, which"):
        make.make(docs, None, copy / "runs", "*", copy / "images")


def test_a_folder_with_another_run_than_the_plan_lists_is_refused_key_by_key(copy: Path):
    plan = {**TOY, "common": [*TOY["common"], "data.flip=false"]}
    docs = write_toy(copy / "other" / "toy", plan)
    with pytest.raises(UserError, match=r"ceiling_0 is not what runs.yaml lists as .*: data.flip: True → False; give"):
        make.make(docs, None, copy / "runs", "*/ceiling_0", copy / "images")
    assert not (docs / "toy.json").exists()


def test_a_changed_plan_asks_for_new_records(copy: Path):
    docs = copy / "docs" / "toy"
    plan = yaml.safe_load((docs / "runs.yaml").read_text())
    plan["systems"]["smoke"]["overrides"] = ["data.flip=false"]
    (docs / "runs.yaml").write_text(yaml.safe_dump(plan, sort_keys=False))
    with pytest.raises(UserError, match=r"^no record of toy/smoke_0, which"):
        make.render(docs)


def test_a_recipe_that_has_changed_since_a_run_is_reported_key_by_key(copy: Path):
    records = make.read_records(TOY, copy / "docs" / "toy")
    assert make.find_changed_recipes(records) == {}
    records["toy/smoke_0"]["resolved"]["data"]["crop"] = 32
    changed = make.find_changed_recipes(records)
    assert changed == {"toy/smoke_0": ["data.crop: 32 → 16"]}
    records["toy/smoke_0"]["resolved"]["data"]["cropped"] = records["toy/smoke_0"]["resolved"]["data"].pop("crop")
    assert make.find_changed_recipes(records)["toy/smoke_0"] == ["data.cropped: 32 → None", "data.crop: None → 16"]
    assert "- toy/smoke_0: data.crop: 32 → 16" in Figures({}, records, {}, changed).recipe_changes()


def test_names_that_are_not_there_are_answered_with_the_nearest(copy: Path):
    docs = copy / "docs" / "toy"
    (docs / "page.md.jinja").write_text('{{ psnr("toy/smok_0") }}')
    with pytest.raises(UserError, match=r"names 'toy/smok_0', of which there is no record; did you mean 'toy/smoke_0'"):
        make.render(docs)
    with pytest.raises(UserError, match=r"'smok' is none of its systems; did you mean 'smoke'"):
        make.list_runs({**TOY, "runs": [{"sets": ["toy"], "systems": ["smok"], "seeds": [0]}]})
    with pytest.raises(UserError, match=r"--only \*/none: no run"):
        make.make(docs, None, None, "*/none", copy)


def test_an_override_of_a_system_takes_the_place_of_the_common_one_of_its_key():
    systems = {"other": {"label": "", "recipe": "smoke", "overrides": ["task.head=fsrcnn"]}}
    plan = {**TOY, "systems": systems, "runs": [{"sets": ["toy"], "systems": ["other"], "seeds": [3]}]}
    (run,) = make.list_runs(plan).values()
    assert [one for one in run.overrides if one.startswith(("task.head", "train.seed"))] == [
        "task.head=fsrcnn",
        "train.seed=3",
    ]


def test_a_set_may_have_a_recipe_of_its_own():
    plan = {**TOY, "recipes": {"toy": "denoise"}, "runs": [{"sets": ["toy"], "systems": ["floor"], "seeds": [0]}]}
    (run,) = make.list_runs(plan).values()
    assert run.recipe == "denoise" and run.overrides[0] == TOY["common"][0]


def one_run(psnr: float, head: str = "vdsr", selection: dict | None = None) -> dict:
    metrics = {"psnr_rgb": psnr, "ssim_rgb": 0.5, "psnr_rgb_shift10": psnr}
    by_step = {"1": psnr - 1, "2": psnr + 1, "3": psnr}
    return {"metrics": metrics, "bicubic": metrics, "psnr_rgb": by_step, "selection": selection or {}} | {
        "resolved": {"task": {"head": {"type": head}}}
    }


@pytest.fixture
def figures() -> Figures:
    """Two sets with a gap of 2 dB, of which a system closes half or more, and one set without a gap."""
    records = {
        "one/floor_0": one_run(20),
        "one/floor_1": one_run(20),
        "one/new_0": one_run(21, selection={"1": 9.0, "2": 8.0, "3": 7.0}),
        "one/new_1": one_run(19, selection={"1": 5.0, "2": 8.0, "3": 7.0}),
        "one/other_0": one_run(23, head="edsr"),
        "one/late_2": one_run(21),
        "one/ceiling_0": one_run(22),
        "one/ceiling_1": one_run(22),
        "two/floor_0": one_run(30),
        "two/new_0": one_run(33),
        "two/ceiling_0": one_run(32),
        "flat/floor_0": one_run(30),
        "flat/new_0": one_run(30),
        "flat/ceiling_0": one_run(30),
    }
    labels = {name: {"label": name} for name in ("floor", "new", "other", "late", "ceiling")}
    return Figures(labels, records, {}, {})


def test_shares_are_those_of_the_gap_on_the_same_seed_and_of_the_same_head(figures: Figures):
    assert [figures.share_range(name) for name in ("one/new_0", "one/new", "two/new")] == [
        "50 %",
        "−50 to 50 %",
        "150 %",
    ]
    assert figures.median_share("new", "one", "two") == "75 % (from 0 % to 150 %)"
    rows = {line.split(" | ")[0]: line.split(" | ")[4] for line in figures.system_table("one").splitlines()[2:]}
    assert (rows["| new"], rows["| other"], rows["| floor"]) == ("50 %, −50 %", "", "")
    assert figures.gap_table("new", "t*").splitlines()[2:] == ["| `two` | 30.00 | 30.00 | 33.00 | 32.00 | 150 % |"]


def test_a_floor_may_be_measured_by_a_program_alone():
    records = {"drawn-1/new_0": one_run(21), "drawn-1/ceiling_0": one_run(22)}
    floor = {"elsewhere": {"program": "", "figures": {"drawn-1/floor_0": one_run(20)["metrics"]}}}
    labels = {name: {"label": name} for name in ("floor", "new", "ceiling")}
    label, _, *cells = Figures(labels, records, floor, {}).gap_table("new", "*").splitlines()[2].split(" | ")
    assert label == "| `drawn-1`: blur 0.8 × 0.4 px at 130°; noise 1 to 2 steps, with grain; JPEG 74"
    assert cells == ["20.00", "21.00", "22.00", "50 % |"]


@pytest.mark.parametrize(("task", "called"), [({}, "input, not processed"), ({"scale": 2}, "bicubic interpolation")])
def test_the_row_without_a_network_is_bicubic_interpolation_or_the_input(task: dict, called: str):
    record = one_run(20)
    record["resolved"]["task"] |= task
    rows = Figures({"floor": {"label": "floor"}}, {"one/floor_0": record}, {}, {}).system_table("one").splitlines()
    assert rows[2].startswith(f"| {called} |")


def test_a_set_without_a_gap_says_so_in_a_table_and_is_refused_in_words(figures: Figures):
    assert figures.gap_table("new", "flat").endswith("| no gap |")
    with pytest.raises(UserError, match="there is no gap to close"):
        figures.median_share("new", "*")
    with pytest.raises(UserError, match="no set has floor, ceiling and 'missing'"):
        figures.gap_table("missing", "*")


def test_the_selection_table_compares_the_selected_and_the_last_step_with_the_best(figures: Figures):
    # Seed 0 selects step 3, 1 dB below the best; seed 1 selects step 1, 2 dB below it.
    assert figures.selection_table().splitlines()[-1] == "| all | 2 | 1, 3 | 1.50 | 2.00 | 1.00 | 1.00 |"


def test_a_change_is_measured_against_the_first_on_the_seeds_of_both(figures: Figures):
    first, second = figures.change_table("one", "new", "other").splitlines()[2:]
    assert first == "| new | 2 | 20.00 | 0.5000 |  | 50 %, −50 % |"
    assert second == "| other | 1 | 23.00 | 0.5000 | +2.00 | 150 % |"
    with pytest.raises(UserError, match="compares late with new on one, but they share no seed"):
        figures.change_table("one", "new", "late")
