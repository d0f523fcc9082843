"""A translator as an offline augmenter: tiles equal the whole, a name decides the noise, nothing is half done."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from degrade_model import files_of, photograph, save_photographs, save_run, save_translator
from PIL import Image, ImageCms

from unpairaug.data.images import list_images, read_image
from unpairaug.data.sources import open_images
from unpairaug.degrading.degrade import Degradation, Degrader
from unpairaug.degrading.job import Job
from unpairaug.degrading.work import degrade
from unpairaug.errors import UserError
from unpairaug.prepare.work import encode_png
from unpairaug.task import Task


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("model") / "run")


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    return save_photographs(tmp_path / "photographs", 4)


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize(
    "spec",
    [
        {"type": "stochastic_cyclegan", "width": 4, "depth": 3, "grain": 5},
        {"type": "cyclegan", "ngf": 4, "n_blocks": 1, "norm": "none"},
        {"type": "bicubic"},
    ],
    ids=lambda spec: spec["type"],
)
def test_tiles_equal_the_whole_image(tmp_path, spec, scale):
    folder = str(save_translator(tmp_path / "translator", **spec))
    clean = photograph(131 * scale, 170 * scale)
    whole, tiled = (Degrader(Degradation(folder, scale=scale, tile=tile))(clean, "a") for tile in (None, 48))
    difference = np.abs(whole.astype(int) - tiled)
    assert difference.max() <= 1  # where rounding hangs on the last bit
    assert (difference > 0).mean() < 1e-3
    if spec["type"] == "bicubic" and scale == 1:
        assert np.array_equal(whole, clean)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("jpeg", [None, [60, 90]])
def test_tiles_of_a_translator_that_shrinks_by_itself_equal_the_whole_image(tmp_path, scale, jpeg):
    folder = str(save_translator(tmp_path / "translator", type="kernel_noise", scale=scale, kernel=9, jpeg=jpeg))
    clean = photograph(131 * scale, 170 * scale)
    whole, tiled = (Degrader(Degradation(folder, tile=tile))(clean, "a") for tile in (None, 48))
    assert whole.shape == (131, 170, 3)
    difference = np.abs(whole.astype(int) - tiled)
    assert (difference > 0).mean() < 1e-3  # where rounding hangs on the last bit, and a JPEG's block with it
    with pytest.raises(UserError, match=f"downsamples images by {scale} itself, but --scale is 4"):
        Degrader(Degradation(folder, scale=4))


def test_a_translator_with_instance_norm_is_never_cut_into_tiles(tmp_path, caplog):
    folder = str(save_translator(tmp_path / "translator", type="cyclegan", ngf=4, n_blocks=1))
    large = np.zeros((1100, 1000, 3), np.uint8)
    large[:] = photograph(1, 1000)
    assert Degrader(Degradation(folder))(large, "a").shape == large.shape
    assert "global context" in caplog.text
    with pytest.raises(UserError, match="omit --tile"):
        Degrader(Degradation(folder, tile=64))(photograph(70, 70), "a")


def test_a_run_degrades_what_its_task_calls_the_source(tmp_path, model):
    save_translator(tmp_path / "run" / "translator", type="bicubic")
    task = Task.from_pretrained(model)
    task.save_pretrained(tmp_path / "run" / "head")
    clean = photograph(40, 30)
    source = task.source(torch.tensor(clean).permute(2, 0, 1)[None] / 255)
    degraded = Degrader(Degradation(str(tmp_path / "run")))(clean, "a")
    assert np.array_equal(degraded, source[0].mul(255).round().byte().permute(1, 2, 0).numpy())
    alone = Degrader(Degradation(str(tmp_path / "run" / "translator"), scale=2))
    assert np.array_equal(alone(clean, "a"), degraded)
    with pytest.raises(UserError, match="is a run at scale 2, but --scale is 3"):
        Degrader(Degradation(str(model), scale=3))


def test_seed_name_and_draw_decide_the_noise_and_strength_its_share(model):
    clean = photograph(40, 30)
    made = [Degrader(Degradation(str(model), seed))(clean, name) for seed in (0, 1) for name in ("a", "b")]
    again = Degrader(Degradation(str(model), 0))
    assert np.array_equal(made[0], again(clean, "a"))
    made.append(again(clean, "a", 1))
    assert all(not np.array_equal(made[i], made[j]) for i in range(len(made)) for j in range(i))
    none = Degrader(Degradation(str(model), strength=(0, 0)))
    assert np.array_equal(none(clean, "a"), none(clean, "b"))
    drawn = Degrader(Degradation(str(model), strength=(0, 1)))
    away = [np.abs(drawn(clean, name).astype(int) - none(clean, name)).mean() for name in "abcd"]
    assert max(away) > 1.2 * min(away)


def test_pairs_are_two_flat_folders_of_the_same_names_and_of_sizes_that_fit(tmp_path, model, photographs):
    degrade(Job(str(photographs), tmp_path / "out", Degradation(str(model)), pairs=True, draws=2))
    names = {side: sorted(path.name for path in (tmp_path / "out" / side).iterdir()) for side in ("gt", "lq")}
    assert names["gt"] == names["lq"]
    stems = ["below_photo_2", "photo_0", "photo_1", "photo_3"]
    assert names["lq"] == [f"{stem}_d{draw}.png" for stem in stems for draw in (0, 1)]
    for name in names["lq"]:
        assert read_image(tmp_path / "out" / "lq" / name).shape == (20, 26, 3)
        clean = read_image(photographs / "photo 0.png")[:40]
        assert np.array_equal(read_image(tmp_path / "out" / "gt" / "photo_0_d1.png"), clean)


def test_a_pair_is_made_again_from_its_line_of_the_manifest(tmp_path, model, photographs):
    how = Degradation(str(model), seed=5, strength=(0.3, 1.0), tile=16)
    degrade(Job(str(photographs), tmp_path / "out", how, pairs=True, draws=2))
    row = rows(tmp_path / "out")[5]
    source = photographs / row["source"]
    assert sha256(source.read_bytes()).hexdigest() == row["source_sha256"]
    weights = (Path(row["model"]) / "translator" / "model.safetensors").read_bytes()
    assert sha256(weights).hexdigest() == row["model_sha256"]
    degrader = Degrader(Degradation.from_row(row))
    clean = degrader.crop(read_image(source))
    assert np.array_equal(read_image(tmp_path / "out" / row["clean"]), clean)
    assert np.array_equal(read_image(tmp_path / "out" / row["file"]), degrader(clean, row["source"], row["draw"]))
    assert sha256((tmp_path / "out" / row["file"]).read_bytes()).hexdigest() == row["sha256"]


def test_what_becomes_of_an_image_does_not_depend_on_the_others(tmp_path, model, photographs):
    how = Degradation(str(model))
    degrade(Job(str(photographs), tmp_path / "all", how))
    (photographs / "photo 0.png").unlink()
    degrade(Job(str(photographs), tmp_path / "some", how))
    for path in list_images(tmp_path / "some"):
        assert path.read_bytes() == (tmp_path / "all" / path.relative_to(tmp_path / "some")).read_bytes()
    assert rows(tmp_path / "some") == [row for row in rows(tmp_path / "all") if row["source"] != "photo 0.png"]


def test_what_cannot_be_read_is_named_and_added_once_it_is_mended(tmp_path, model, photographs):
    job = Job(str(photographs), tmp_path / "out", Degradation(str(model)), pairs=True)
    whole = (photographs / "photo 1.png").read_bytes()
    (photographs / "photo 1.png").write_bytes(whole[:100])
    (photographs / "photo 3.png").unlink()
    Image.fromarray(photograph(1, 50)).save(photographs / "photo 3.png")
    with pytest.raises(UserError, match=r"2 images not read; 2 pairs of 2 images in [\s\S]*too small for scale 2"):
        degrade(job)
    assert [row["source"] for row in rows(tmp_path / "out")] == ["below/photo 2.png", "photo 0.png"]
    (photographs / "photo 1.png").write_bytes(whole)
    Image.fromarray(photograph(41, 52, 3)).save(photographs / "photo 3.png")
    degrade(job)
    fresh = save_photographs(tmp_path / "fresh", 4)
    degrade(Job(str(fresh), tmp_path / "other", Degradation(str(model)), pairs=True))
    assert files_of(tmp_path / "out") == files_of(tmp_path / "other")


def test_what_was_lost_is_made_again_and_nothing_else(tmp_path, model, photographs, capsys):
    job = Job(str(photographs), tmp_path / "out", Degradation(str(model)), draws=2)
    degrade(job)
    before = files_of(tmp_path / "out")
    (tmp_path / "out" / "photo_0_d1.png").unlink()
    kept = (tmp_path / "out" / "photo_1_d0.png").stat()
    capsys.readouterr()
    degrade(job)
    assert "1 of 4 images to process" in capsys.readouterr().out
    assert files_of(tmp_path / "out") == before
    assert (tmp_path / "out" / "photo_1_d0.png").stat() == kept


def test_other_settings_and_other_folders_are_refused(tmp_path, model, photographs):
    how, out = Degradation(str(model)), tmp_path / "out"
    degrade(Job(str(photographs), out, how))
    with pytest.raises(UserError, match=r"other settings \(draws: 1 → 2\)"):
        degrade(Job(str(photographs), out, how, draws=2))
    with pytest.raises(UserError, match="seed: 0 → 1"):
        degrade(Job(str(photographs), out, Degradation(str(model), 1)))
    save_photographs(photographs, 5)
    with pytest.raises(UserError, match="images: 4 → 5"):
        degrade(Job(str(photographs), out, how))
    with pytest.raises(UserError, match=r"has other files \(below\)"):
        degrade(Job(str(out), photographs, how))
    with pytest.raises(UserError, match=r"lies in .*give a folder outside"):
        degrade(Job(str(photographs), photographs / "out", how))


def test_shards_become_shards_and_the_same_images_as_files_do(tmp_path, model, photographs):
    how = Degradation(str(model))
    degrade(Job(str(photographs), tmp_path / "packed", how, into_shards=True))
    packed, files = open_images(str(tmp_path / "packed"), "clean", 1), rows(tmp_path / "packed")
    assert [packed.stem(i) for i in range(4)] == ["below/photo_2", "photo_0", "photo_1", "photo_3"]
    degrade(Job(str(photographs), tmp_path / "files", how))
    for i, row in enumerate(files):
        assert packed.read_bytes(i) == (tmp_path / "files" / row["file"]).read_bytes()
    degrade(Job(str(tmp_path / "packed"), tmp_path / "again", how))
    assert [row["source"] for row in rows(tmp_path / "again")] == list(packed.names)
    assert len(open_images(str(tmp_path / "again"), "clean", 1)) == 4


def test_webdataset_reads_shards_of_pairs_and_nothing_here_takes_them_for_images(tmp_path, model, photographs):
    import webdataset

    degrade(Job(str(photographs), tmp_path / "out", Degradation(str(model)), pairs=True, draws=2, into_shards=True))
    shard = str(tmp_path / "out" / "images-000000.tar")
    pairs = list(webdataset.WebDataset(shard, shardshuffle=False).decode("rgb8").to_tuple("lq.png", "gt.png"))
    assert [(lq.shape, gt.shape) for lq, gt in pairs] == [((20, 26, 3), (40, 52, 3))] * 8
    with pytest.raises(UserError, match="two images of one sample"):
        open_images(str(tmp_path / "out"), "clean", 1)


def test_the_programs_of_the_guide_run_as_they_stand(tmp_path, model, monkeypatch, capsys):
    guide = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "degrade.md").read_text(encoding="utf-8")
    programs = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```", guide, re.DOTALL | re.MULTILINE))
    monkeypatch.chdir(tmp_path)
    save_photographs(tmp_path / "photographs" / "clean", 2)
    Path("runs").mkdir()
    Path("runs/cyclesr_sr").symlink_to(model)
    degrade(Job("photographs/clean", Path("pairs"), Degradation("runs/cyclesr_sr"), pairs=True, into_shards=True))
    exec(programs["read_pairs"], {})
    assert capsys.readouterr().out.endswith("(3, 20, 26) (3, 40, 52)\n" * 2)
    scope: dict = {}
    exec(programs["again"], scope)
    assert sha256(encode_png(scope["degraded"])).hexdigest() == scope["row"]["sha256"]


def test_the_colour_profile_of_the_clean_image_is_kept(tmp_path, model):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (tmp_path / "in").mkdir()
    Image.fromarray(photograph(40, 52)).save(tmp_path / "in" / "a.png", icc_profile=profile)
    degrade(Job(str(tmp_path / "in"), tmp_path / "out", Degradation(str(model)), pairs=True))
    for side in ("lq", "gt"):
        assert Image.open(tmp_path / "out" / side / "a.png").info["icc_profile"] == profile


def test_a_third_draw_is_added_to_two(model: Path, photographs: Path, tmp_path: Path):
    out = tmp_path / "out"
    degrade(Job(str(photographs), out, Degradation(str(model)), pairs=True, draws=2))
    assert len([*(out / "lq").iterdir()]) == 8
    degrade(Job(str(photographs), out, Degradation(str(model)), pairs=True, draws=3))
    whole = tmp_path / "whole"
    degrade(Job(str(photographs), whole, Degradation(str(model)), pairs=True, draws=3))
    assert files_of(out) == files_of(whole)
    assert len(rows(out)) == 12 and {row["draw"] for row in rows(out)} == {0, 1, 2}
    with pytest.raises(UserError, match="was started with other settings"):
        degrade(Job(str(photographs), out, Degradation(str(model)), pairs=True, draws=2))
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "12 pairs, made by unpairaug" in card and "Draws for each clean image: 3, seed 0" in card
    assert str(tmp_path) not in card and "licence" in card
