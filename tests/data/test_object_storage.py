"""Commands and training on an S3 server: the same bytes as on a disk, also while the server fails."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import fsspec
import pytest
import torch
from degrade_model import files_of, save_photographs, save_run
from s3_server import FAULTS, SECRET, S3Server, download, serve_bucket, upload
from sample_digests import digest_samples, join_processes, write_shards

from unpairaug.batch.executor import Executor
from unpairaug.commands.degrade import degrade
from unpairaug.commands.prepare import prepare
from unpairaug.commands.restore import restore
from unpairaug.data import StepBatches, UnpairedBatch, UnpairedCrops, create_loader, open_images, order, retry
from unpairaug.data.remote_files import is_inside
from unpairaug.data.remote_output import RemoteOutput
from unpairaug.data.sequential import SequentialBatches
from unpairaug.data.shard_cache import ShardCache
from unpairaug.recipe import load_recipe
from unpairaug.training.run_recipe import run_recipe

pytest.importorskip("moto")
SHARDED = {"size": 32, "stride": 32, "shards": True, "shard_size": 1, "workers": 1}


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with serve_bucket("bucket", slow=0.3, away=0.3) as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, server: S3Server) -> Path:
    """Photographs in `photos`, their shards in `shards`, a run in `run`; the first two are on the server, too."""
    home = tmp_path_factory.mktemp("storage")
    save_photographs(home / "photos", 6, 70, 64)
    prepare(str(home / "photos"), str(home / "shards"), **SHARDED)
    save_run(home / "run")
    for name in ("photos", "shards"):
        upload(home / name, f"s3://bucket/{name}")
    return home


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(retry, "FIRST_PAUSE", 0.05)
    retry.share_warnings(type("Said", (), {"value": 0.0})())


def visible(folder: Path) -> dict[str, bytes]:
    return {name: data for name, data in files_of(folder).items() if not name.startswith(".")}


@pytest.mark.parametrize("permuted", [True, False], ids=["permuted", "lanes"])
def test_the_exact_order_from_a_bucket_is_that_of_a_disk_for_any_workers_and_processes(
    tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch, permuted: bool
):
    monkeypatch.setattr(order, "MAX_PERMUTED", order.MAX_PERMUTED if permuted else 0)
    write_shards(tmp_path / "set", shards=5, each=9)
    upload(tmp_path / "set", f"s3://bucket/{permuted}")
    expected = join_processes([digest_samples(str(tmp_path / "set"), steps=3, workers=0)])
    for workers, processes, copies in [(0, 2, False)] if permuted else [(2, 1, False), (2, 1, True)]:
        server.reads.clear()
        read = partial(digest_samples, f"s3://bucket/{permuted}", 3, workers, processes=processes, copies=copies)
        assert join_processes([read(rank=rank) for rank in range(processes)]) == expected
        requests = [server.reads[f"/bucket/{permuted}/images-{n:06}.tar"] for n in range(5)]
        assert requests == [1] * 5 if copies else sum(requests) > 45, "both workers want each shard"


def test_a_stream_from_a_bucket_gives_the_samples_of_a_disk(home: Path, server: S3Server):
    def batches(source: str) -> list[UnpairedBatch]:
        images = open_images(source, "clean", 1)
        crops = UnpairedCrops(images, images, crop=16, scale=1, seed=3, lanes=4)
        steps = StepBatches(0, 4, 4)
        return list(create_loader(SequentialBatches(crops, steps, ShardCache(2**30)), steps))

    expected, before = batches(str(home / "shards")), server.requests.total()
    found = batches("s3://bucket/shards")
    assert all(torch.equal(x, y) for a, b in zip(expected, found, strict=True) for x, y in zip(a, b, strict=True))
    assert server.requests.total() > before


def test_a_shard_without_an_index_is_scanned_while_the_server_fails(home: Path, server: S3Server):
    fsspec.filesystem("s3").pipe_file("bucket/bare/a.tar", (home / "shards" / "images-000000.tar").read_bytes())
    server.failed.clear()
    with server.failing(("500", "503", "reset", "500"), every=1):
        assert len(open_images("s3://bucket/bare/a.tar", "clean", 1)) == len(
            open_images(str(home / "shards"), "clean", 1)
        )
    assert server.failed.total() == 4


def test_prepare_reads_and_writes_a_bucket_while_the_server_fails(home: Path, server: S3Server, caplog):
    server.failed.clear()
    with server.failing(FAULTS * 2, every=2), caplog.at_level(logging.DEBUG):
        prepare("s3://bucket/photos", "s3://bucket/prepared", **SHARDED)
    assert server.failed.total() == 10
    found, expected = download("s3://bucket/prepared"), visible(home / "shards")
    assert found.keys() == expected.keys()
    assert all(found[name] == expected[name] for name in expected)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and "s3://bucket fails" in warnings[0].message, "said once"
    assert SECRET not in caplog.text and "Signature=" not in "\n".join(r.message for r in warnings)


def test_an_interrupted_prepare_goes_on_on_another_machine(home: Path, tmp_path: Path, monkeypatch):
    from unpairaug.commands import prepare as command

    def stop_after_three(preparation, executor, remote, on_bad):
        for number, _ in enumerate(preparation.cut_photographs(Executor())):
            if number == 2:
                break
        remote.push_new(preparation.journal.path)
        remote.push_journals(now=True)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(command, "_cut_photographs", stop_after_three)
        with pytest.raises(BaseException):  # noqa: B017  # typer's exit
            prepare("s3://bucket/photos", "s3://bucket/resumed", size=32, stride=16, workers=1)
    assert any(name.endswith(".png") for name in download("s3://bucket/resumed"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    prepare("s3://bucket/photos", "s3://bucket/resumed", size=32, stride=16, workers=1)
    prepare(str(home / "photos"), str(tmp_path / "whole"), size=32, stride=16, workers=1)
    assert download("s3://bucket/resumed") == visible(tmp_path / "whole")


def test_degrade_and_restore_work_from_bucket_to_bucket(home: Path, server: S3Server, tmp_path: Path):
    model = str(home / "run")
    degrade(model, str(home / "shards"), str(tmp_path / "pairs"), pairs=True)
    restore(model, str(home / "photos"), str(tmp_path / "restored"))
    server.failed.clear()
    with server.failing(FAULTS, every=3):
        degrade(model, "s3://bucket/shards", "s3://bucket/pairs", pairs=True)
    assert server.failed.total() == 5
    found, expected = download("s3://bucket/pairs"), visible(tmp_path / "pairs")
    assert {n: d for n, d in found.items() if n.endswith(".tar")} == {
        n: d for n, d in expected.items() if n.endswith(".tar")
    }
    assert found.keys() == expected.keys()
    with server.failing(("503", "reset"), every=4):
        restore(model, "s3://bucket/photos", "s3://bucket/restored")
    assert download("s3://bucket/restored") == visible(tmp_path / "restored")


def test_training_reads_and_writes_a_bucket_and_resumes_on_another_machine(home, server, tmp_path, monkeypatch):
    options = ["data.crop=16", "task.type=denoise", "data.val_clean=null", "data.val_degraded=null"]
    options += [
        "data.batch_size=2",
        "train.steps=4",
        "train.checkpoint_every=2",
        "train.keep_checkpoints=2",
        "train.sample_every=100",
        "train.log_every=2",
        "train.trackers=[]",
        "train.select_checkpoint=false",
    ]
    options += [
        "task.head={type: dncnn, depth: 3, width: 4}",
        "translator.discriminator={type: patch, ndf: 4, n_layers: 1}",
    ]
    data = [f"data.{side}=s3://bucket/shards" for side in ("clean", "degraded")]
    local = [f"data.{side}={home}/shards" for side in ("clean", "degraded")]
    run_recipe(load_recipe("smoke", [*options, *local, f"output_dir={tmp_path}/whole"]), "smoke")
    run_recipe(load_recipe("smoke", [*options, *data, "output_dir=s3://bucket/train"]), "smoke")
    fsspec.filesystem("s3").rm("bucket/train/checkpoints/step_4", recursive=True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    with server.failing(FAULTS, every=5):
        run_recipe(load_recipe("smoke", [*options, *data, "output_dir=s3://bucket/train"]), "smoke")
    there = download("s3://bucket/train")
    for part in ("head", "translator"):
        assert there[f"{part}/model.safetensors"] == (tmp_path / "whole" / part / "model.safetensors").read_bytes()
    assert b"output_dir: s3://bucket/train" in there["recipe.yaml"]
    assert not any(SECRET.encode() in data for data in there.values())
    assert fsspec.filesystem("s3").exists("bucket/train/checkpoints/step_4/manifest.json")


def test_names_that_lead_out_of_a_folder_are_left_out_of_listings_and_records(server: S3Server, tmp_path: Path):
    files = fsspec.filesystem("s3")
    rows = [{"file": "../../../escaped.png"}, {"shard": "/etc/x.tar"}, {"file": 3}, ["no row"], {"file": "good.png"}]
    files.pipe_file("bucket/hostile/prepare.json", b"{}")
    files.pipe_file("bucket/hostile/manifest.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    files.pipe_file("bucket/hostile/good.png", b"12345")
    output = RemoteOutput("s3://bucket/hostile")
    output.pull()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "good.png",
        "manifest.jsonl",
        "prepare.json",
    ]
    assert not any(map(is_inside, ("../x", "a/../x", "/x", "..", "c:\\x"))) and is_inside("a/..b/x.png")
