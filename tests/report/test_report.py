"""The page of a run, as a browser shows it: true to the log, whole without a network, inert whatever it holds."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import PROGRAM, Page, browser
from PIL import Image
from program import run_program

from unpairaug.errors import RunStopped, UserError
from unpairaug.report import write_report
from unpairaug.report.charts import GUARD_VIEWS, MAX_POINTS, extract_curves, summarize_guards
from unpairaug.report.pictures import MAX_SHEETS, evenly_spaced
from unpairaug.report.record import LogLine, Record, read_record

SPLITS = ("train", "val", "selection", "unpaired", "guards")
HOSTILE = "</script><script>window.harmed = 1</script>\"'><img src=x onerror=window.harmed=1>{{ 7 * 7 }}&amp;"
in_a_browser = pytest.mark.skipif(PROGRAM is None, reason="no chromium or chrome is installed")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a few steps."""
    folder = tmp_path_factory.mktemp("runs") / "toy"
    done = run_program("train", "smoke", f"output_dir={folder}", "train.sample_every=4", "train.log_every=2")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoiled."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(scope="module")
def page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(finished, tmp_path_factory.mktemp("pages") / "page.html")


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser() as opened:
        yield opened


@pytest.fixture
def see(tab: Page) -> Callable[..., Page]:
    """Opens a page of its own and fails if it asks for anything but itself, or complains."""

    def open_page(path: Path, width: int = 1200, scheme: str = "light") -> Page:
        tab.requests.clear()
        tab.complaints.clear()
        tab.screen(width, scheme=scheme)
        tab.open(path)
        assert set(tab.requests) == {path.resolve().as_uri()}
        assert not tab.complaints
        return tab

    return open_page


def text_of(path: Path) -> str:
    """What a reader of the page reads, without charts."""

    class Reader(HTMLParser):
        read = ""

        def handle_data(self, data: str) -> None:
            self.read += f" {data}" if self.cdata_elem is None else ""

    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    return re.sub(r"\s+", " ", reader.read)


def charts_of(path: Path) -> list[dict[str, Any]]:
    block = re.search(r'<script type="application/json" id="charts">(.*?)</script>', path.read_text(encoding="utf-8"))
    assert block
    return json.loads(block[1])


def logged(run: Path, split: str) -> dict[str, tuple[int, float]]:
    """Step and value of the last line that has each number."""
    last = {}
    for text in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        if line["split"] == split:
            last |= {name: (line["step"], value) for name, value in line.items() if name not in ("step", "split")}
    return last


def test_every_number_of_the_log_is_a_curve_that_ends_as_the_log_does(page: Path, finished: Path):
    curves = {curve["name"]: curve for chart in charts_of(page) for curve in chart["curves"]}
    ends = {k: v for split in SPLITS for k, v in logged(finished, split).items()}
    ends["gain"] = logged(finished, "gain")["psnr_rgb"]
    assert {name: (curve["steps"][-1], curve["values"][-1]) for name, curve in curves.items()} == ends
    levels = {chart["title"]: chart["limits"]["bicubic"] for chart in charts_of(page) if chart["limits"].get("bicubic")}
    assert levels == {name: value for name, (_, value) in logged(finished, "val_bicubic").items()}


@in_a_browser
def test_each_drawn_curve_ends_where_the_log_does(page: Path, finished: Path, see: Callable[..., Page]):
    drawn = see(page).run(
        "Object.fromEntries([...document.querySelectorAll('.chart')].flatMap(f => f.uplot.series.slice(1).map("
        "(s, i) => [s.label, f.uplot.data[i + 1].findLast(v => v != null)])))"
    )
    ends = {k: v for split in SPLITS for k, v in logged(finished, split).items()}
    assert {name: drawn[name] for name in ends} == {name: value for name, (_, value) in ends.items()}


def test_the_figures_are_those_of_the_log(page: Path, finished: Path):
    last, bicubic = logged(finished, "val")["psnr_rgb"][1], logged(finished, "val_bicubic")["psnr_rgb"][1]
    read = text_of(page).replace("−", "-")
    assert f"psnr_rgb {last:.2f}" in read and f"{bicubic:.2f}" in read
    assert "Completed 10 of 10 steps." in read
    warned = re.findall("warning: (.*)", (finished / "log.txt").read_text().replace("−", "-"))
    assert all(warning in read for warning in warned) and (warned or "No warnings were logged." in read)


def test_the_page_is_small_and_names_no_address_to_fetch_from(page: Path):
    source = page.read_text(encoding="utf-8")
    assert len(source) < 5e6
    assert all(address.startswith("data:image/webp;base64,") for address in re.findall(r'\ssrc="([^"]*)"', source))
    assert not re.search(r"<link|@import|url\(", source)
    assert "default-src 'none'" in unescape(source)


@in_a_browser
def test_what_is_hostile_in_a_run_is_shown_and_does_nothing(run: Path, see: Callable[..., Page]):
    recipe = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(f"# {HOSTILE}\n" + recipe.replace("type: sr", f"type: {json.dumps(HOSTILE)}"))
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 10, "split": "train", HOSTILE: 1.0}) + "\n")
    with (run / "log.txt").open("a") as file:
        file.write(f"2026-01-01 00:00:00 warning: {HOSTILE}\n")
    (run / "environment.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    hostile = run.rename(run.with_name("<img src=x onerror=window.harmed=1>"))
    opened = see(write_report(hostile))
    assert opened.run("window.harmed === undefined")
    assert opened.run("document.scripts.length") == 4
    shown = opened.run("document.body.textContent")
    assert shown.count(HOSTILE) >= 5
    assert opened.run("document.querySelector('h1').textContent") == hostile.name
    titles = opened.run("[...document.querySelectorAll('.chart h4')].map(title => title.textContent)")
    assert HOSTILE in titles


@in_a_browser
@pytest.mark.parametrize("width", [360, 768, 1400])
def test_no_screen_scrolls_sideways(page: Path, see: Callable[..., Page], width: int):
    opened = see(page, width)
    assert opened.run("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert opened.run(
        "[...document.querySelectorAll('.plot canvas')].every(c => c.getBoundingClientRect().width > 200)"
    )


@in_a_browser
def test_dark_mode_is_dark_and_charts_follow(page: Path, see: Callable[..., Page]):
    def brightness() -> tuple[float, float]:
        # The page scrolls smoothly: without this, the picture shows any place on the way.
        opened.run("document.querySelector('.chart').scrollIntoView({behavior: 'instant'})")
        opened.settle()
        pixels = np.asarray(Image.open(io.BytesIO(opened.picture())).convert("L"), np.float32)
        return float(np.median(pixels)), float(np.quantile(pixels, 0.999))

    opened = see(page)
    light = brightness()
    opened.screen(1200, scheme="dark")  # while it is open
    opened.settle()
    dark = brightness()
    assert light[0] > 240 and dark[0] < 40 and dark[1] > 150


@in_a_browser
def test_text_has_enough_contrast_in_both_schemes(page: Path, see: Callable[..., Page]):
    script = """(() => {
      const look = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
      const light = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
      const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
      const text = ["--ink", "--faint", "--link", "--warn"].flatMap((ink) =>
        ["--paper", "--raised", "--warn-paper"].map((paper) => [ink, paper, ratio(look(ink), look(paper)), 4.5]));
      const lines = ["--curve-0", "--curve-1", "--curve-2", "--curve-3", "--red", "--green", "--blue"].map((ink) =>
        [ink, "--paper", ratio(look(ink), look("--paper")), 3]);
      return [...text, ...lines].filter(([, , found, least]) => found < least);
    })()"""
    for scheme in ("light", "dark"):
        assert see(page, scheme=scheme).run(script) == [], scheme


@in_a_browser
def test_keys_move_the_divider_and_the_sheets(page: Path, see: Callable[..., Page]):
    opened = see(page)
    opened.run("document.querySelector('img-comparison-slider').focus()")
    opened.press("ArrowRight", seconds=0.2)
    assert int(opened.run("document.querySelector('img-comparison-slider').ariaValueNow")) > 50
    shown = "[...document.querySelectorAll('.sheet')].filter(sheet => !sheet.hidden).map(sheet => sheet.dataset.step)"
    assert opened.run(shown) == ["10"]
    opened.run("document.getElementById('step').focus()")
    opened.press("Home")
    assert opened.run(shown) == ["4"]
    assert opened.run("document.getElementById('step').getAttribute('aria-valuetext')") == "after 4 steps"


@in_a_browser
def test_everything_one_can_use_or_see_has_a_name(page: Path, see: Callable[..., Page]):
    opened = see(page)
    opened.call("Accessibility.enable")
    nodes = opened.call("Accessibility.getFullAXTree")["nodes"]
    wanted = {"slider", "checkbox", "img", "image", "link", "region", "table"}
    roles = [(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node["ignored"]]
    assert {"slider", "checkbox", "link", "region"} <= {role for role, _ in roles}
    assert not [role for role, name in roles if role in wanted and not name]


@in_a_browser
def test_what_is_folded_is_printed_too_and_folds_again(page: Path, see: Callable[..., Page]):
    opened = see(page, scheme="dark")
    opened.run("window.at_print = []; matchMedia('print').addEventListener('change', event => event.matches && "
               "at_print.push(document.querySelector('details').open, "
               "getComputedStyle(document.documentElement).getPropertyValue('--paper').trim()))")  # fmt: skip
    assert opened.printed().startswith(b"%PDF")
    opened.settle()
    assert opened.run("at_print") == [True, "#ffffff"]
    assert not opened.run("document.querySelector('details').open")


def test_a_run_killed_halfway_is_told_with_what_it_has(run: Path):
    lines = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    halfway = [line for line in lines if json.loads(line)["step"] <= 6]
    (run / "metrics.jsonl").write_text("".join(halfway) + '{"step": 8, "split": "tra')
    kept = [line for line in (run / "log.txt").read_text().splitlines(keepends=True) if "completed " not in line]
    (run / "log.txt").write_text("".join(kept))
    shutil.rmtree(run / "head")
    shutil.rmtree(run / "checkpoints")
    read = text_of(write_report(run))
    assert "Incomplete: the log ends at step 6 of 10. No checkpoint." in read
    assert f"line {len(halfway) + 1} (invalid JSON)" in read
    assert "No image could be restored" in read and "head" in read


def test_a_run_without_validation_pairs_says_so(run: Path):
    (run / "recipe.yaml").write_text(
        re.sub("val_(clean|degraded): sample", r"val_\1: null", (run / "recipe.yaml").read_text())
    )
    (run / "metrics.jsonl").write_text('{"step": 1, "split": "train", "task_l1": 0.5}\n')
    read = text_of(write_report(run))
    assert "No validation metrics" in read
    assert "training images, from data.degraded" in read


@in_a_browser
@pytest.mark.parametrize("kept", ["recipe.yaml", "metrics.jsonl", "log.txt", "environment.json"])
def test_any_one_file_of_a_run_makes_a_page_that_names_the_others(run: Path, kept: str, see: Callable[..., Page]):
    lone = run.with_name("lone")
    lone.mkdir()
    shutil.copy(run / kept, lone)
    page = write_report(lone)
    see(page, 360)
    read = text_of(page)
    for name in {"recipe.yaml", "metrics.jsonl", "log.txt", "environment.json"} - {kept}:
        assert f"There is no {name}" in read


@pytest.mark.parametrize("name", ["recipe.yaml", "metrics.jsonl", "log.txt", "environment.json"])
@pytest.mark.parametrize("contents", [b"", b"\x00\xff\xfe{", b"[1, 2", b"[[1], {}]\n7\n", b"{" * 9999])
def test_no_file_of_a_run_can_break_the_page(run: Path, name: str, contents: bytes):
    shutil.rmtree(run / "head")  # the pictures have their own test
    (run / name).write_bytes(contents)
    assert write_report(run).stat().st_size > 0


def test_numbers_that_are_none_leave_gaps_and_are_told(run: Path):
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 11, "split": "val", "psnr_rgb": Infinity, "ssim_rgb": NaN}\n')
    page = write_report(run)
    read = text_of(page)
    assert "psnr_rgb ∞" in read and "ssim_rgb not a number" in read
    curve = next(c for chart in charts_of(page) for c in chart["curves"] if c["name"] == "psnr_rgb")
    assert curve["values"][-1] is None


def test_a_broken_sheet_is_named(run: Path):
    sheet = run / "samples" / "step_000004.png"
    sheet.write_bytes(sheet.read_bytes()[:200])
    assert "samples/step_000004.png cannot be read" in text_of(write_report(run))


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes")
def test_files_of_a_strangers_run_that_never_end_or_hold_absurd_values_are_faults(tmp_path: Path):
    (tmp_path / "samples").mkdir()
    for name in ("recipe.yaml", "environment.json", "samples/step_4.png"):
        os.mkfifo(tmp_path / name)
    absurd = f'"step": {"9" * 400}', '"step": 1e999', f'"step": 1, "psnr_rgb": {"9" * 400}'
    lines = [f'{{"split": "val", {values}}}\n' for values in absurd]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    (tmp_path / "log.txt").write_text("2026-99-99 07:36:10 warning: on no day\n")
    shown = text_of(write_report(tmp_path))
    assert "recipe.yaml is not read" in shown and "samples/step_4.png cannot be read" in shown
    assert "line 1 (without step and split), line 2 (without step and split)" in shown


def test_pictures_that_cannot_be_found_any_more_are_told(run: Path):
    recipe = (run / "recipe.yaml").read_text().replace("val_degraded: sample", "val_degraded: gone/away")
    (run / "recipe.yaml").write_text(recipe)
    assert "No image could be restored: gone/away: there is no such folder" in text_of(write_report(run))


def test_warnings_of_guards_are_told_in_words(run: Path):
    with (run / "log.txt").open("a") as file:
        file.write("2026-01-01 00:00:00 warning: collapse: its noise has died; see: unpairaug docs collapse\n")
    verdicts = {verdict.name: verdict for verdict in summarize_guards(read_record(run))}
    assert verdicts["collapse"].state == "warned"
    assert "its noise has died" in verdicts["collapse"].message
    assert verdicts["leak"].state == "OK"
    assert "collapse: warned" in text_of(write_report(run))


def test_a_fault_that_no_warning_names_is_doubtful_and_not_ok(run: Path):
    line = {"realness_real": 0.9, "realness_fake": 0.1, "realness_spread": 0.4, "discriminator_auc": 0.99997}
    with (run / "metrics.jsonl").open("a") as file:
        for step in (250, 500):
            file.write(json.dumps({"step": step, "split": "guards", **line}) + "\n")
    verdict = next(one for one in summarize_guards(read_record(run)) if one.name == "discriminator saturation")
    assert verdict.state == "doubtful" and "a warning needs 3 in a row" in verdict.message
    assert "discriminator_auc 0.99997" in verdict.message


def test_each_guards_warning_begins_with_the_name_that_the_page_gives_it():
    high, low = 1e9, -1e9
    for watch in GUARD_VIEWS:
        guard = watch.guard()
        if hasattr(guard, "largest"):
            guard.largest = high  # type: ignore[attr-defined]
        names = [name for shown, _ in watch.charts.values() for name in shown]
        faults = [guard.find_fault(dict.fromkeys(names, value)) for value in (high, low)]
        assert any(fault and fault.startswith(f"{watch.name}:") for fault in faults)


def test_pauses_before_a_run_goes_on_are_no_time_of_it(run: Path):
    (run / "log.txt").write_text(
        "2026-01-01 10:00:00 smoke → runs/smoke, 1 × cpu\n"
        "2026-01-01 10:05:00 step 5/10\n"
        "2026-01-02 09:00:00 smoke → runs/smoke, 1 × cpu\n"
        "2026-01-02 09:01:00 done: restores\n"
    )
    assert read_record(run).seconds == 360


def test_a_long_runs_curve_keeps_its_first_stretch_and_its_last_value():
    lines = [LogLine(step, "train", {"task": step / 7}) for step in range(10 * MAX_POINTS + 3)]
    (curve,) = extract_curves(lines)
    assert len(curve.steps) <= MAX_POINTS
    assert curve.steps[-1] == lines[-1].step and curve.steps[0] < 10
    assert curve.last == lines[-1].values["task"]
    assert evenly_spaced(100, MAX_SHEETS)[0] == 0 and evenly_spaced(100, MAX_SHEETS)[-1] == 99
    assert len(set(evenly_spaced(100, MAX_SHEETS))) == MAX_SHEETS


def test_what_is_no_run_is_refused_in_words(tmp_path: Path):
    (tmp_path / "photo.png").touch()
    with pytest.raises(UserError, match="is not a run folder: it has none of recipe"):
        write_report(tmp_path)
    with pytest.raises(UserError, match="there is no such folder"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(UserError, match="this is a file"):
        write_report(tmp_path / "photo.png")
    (tmp_path / "recipe.yaml").write_text("train: {steps: 1}\n")
    with pytest.raises(UserError, match="is a folder; give a file name"):
        write_report(tmp_path, tmp_path)


def test_the_command_writes_the_page_and_says_where(run: Path):
    page = run.parent / "new" / "page.html"
    done = run_program("report", run, "--out", page, cwd=run.parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{page}: {page.stat().st_size / 1e6:.1f} MB\n"
    assert not (run / "report.html").exists()


def test_an_empty_record_has_neither_step_nor_time(tmp_path: Path):
    record = Record(tmp_path)
    assert record.last_step is None and record.seconds is None


def test_a_page_that_cannot_be_written_is_one_message_and_leaves_no_part(run: Path, tmp_path: Path):
    (tmp_path / "file").write_text("a file")
    for out, reason in ((tmp_path / "file" / "page.html", "in the way"), (tmp_path / ("n" * 300), "shorter name")):
        with pytest.raises(RunStopped, match=reason):
            write_report(run, out)
    done = run_program("report", run, "--out", tmp_path / "page.html", max_kib=8)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "File too large" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "run"]
