"""Read 200 000 small JPEGs in 200 shards from an S3 server in both orders, and compare the CPU time of the readers.

    python tests/scale/measure_object_storage.py --exact 20000

The server is moto's, in a process of its own, and counts requests. Each reader runs in a process of its own without
loader workers. Printed are images per second of CPU time of this process, without the server's, the ratio to the bare
decoder, requests, memory, and how many of the images of each side came, and how often at most. `exact from copies`
fetches whole shards to the disk, as training does where they fit `data.cache_gib`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import psutil

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(CHECKOUT), str(CHECKOUT / "tests" / "support")]
SIDES, EACH, SIDE, CROP, BATCH = ("clean", "degraded"), 1000, 64, 32, 16
READERS = ("bare decoder", "WebDataset", "stream", "exact from copies", "exact")
came: list[np.ndarray] = []
"""Of each side, how often each image came."""


def make_shards(url: str, shards: int) -> None:
    """Fill the bucket: so many shards of each side, of JPEGs that share 64 contents."""
    import cv2
    import fsspec
    import simplejpeg
    from webdataset import TarWriter

    from unpairaug.data.shard_index import format_folder_index, format_index, index_name
    from unpairaug.data.tar_scan import scan_shard

    draw, files, pictures = np.random.default_rng(0), fsspec.filesystem("s3"), []
    for _ in range(64):
        coarse = draw.integers(0, 256, (8, 8, 3), np.uint8)
        picture = np.ascontiguousarray(cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC))
        pictures.append(simplejpeg.encode_jpeg(picture, quality=90))
    with tempfile.TemporaryDirectory() as folder:
        for side in SIDES:
            sizes = {}
            for shard in range(shards):
                path = Path(folder) / f"images-{shard:06}.tar"
                with TarWriter(str(path), user="", group="", mtime=0, encoder=False) as tar:
                    for n in range(EACH):
                        tar.write({"__key__": f"{side}{shard:04}_{n:04}", "jpg": pictures[draw.integers(64)]})
                size = path.stat().st_size
                files.pipe_file(f"{url}/{side}/{path.name}", path.read_bytes())
                index = format_index(path.name, size, scan_shard(str(path), size))
                files.pipe_file(f"{url}/{side}/{index_name(path.name)}", index.encode())
                sizes[path.name] = EACH, size
                path.unlink()
            files.pipe_file(f"{url}/{side}/index.json", format_folder_index(sizes).encode())


def read_with_unpairaug(url: str, images: int, order: str) -> Any:
    """Batches of our reader."""
    from unpairaug.data import StepBatches, UnpairedCrops, create_loader, open_images
    from unpairaug.data.image_cache import IMAGE_CACHE
    from unpairaug.data.sequential import SequentialBatches
    from unpairaug.data.shard_cache import ShardCache
    from unpairaug.data.shard_copies import read_from_copies

    IMAGE_CACHE.limit = 0
    clean, degraded = (open_images(f"{url}/{side}", "clean", 1) for side in SIDES)
    crops = UnpairedCrops(clean, degraded, crop=CROP, scale=1, seed=0, lanes=BATCH)
    came[:] = [np.zeros(len(side), np.int64) for side in (clean, degraded)]
    read_batch = crops.read_batch

    def read_and_count(wanted: list[int], pairs: Any) -> Any:
        for clean_image, degraded_image in pairs:
            came[0][clean_image] += 1
            came[1][degraded_image] += 1
        return read_batch(wanted, pairs)

    crops.read_batch = read_and_count
    batches = StepBatches(0, images // (2 * BATCH), BATCH)
    if order == "exact from copies":
        read_from_copies(crops, ShardCache(2**30))
    return create_loader(SequentialBatches(crops, batches, ShardCache(2**28)) if order == "stream" else crops, batches)


def read_with_webdataset(url: str, images: int) -> Any:
    """Batches of WebDataset as its tutorials write it: shuffle buffer, decoder, crop, flip, batch."""
    import fsspec
    import simplejpeg
    import webdataset
    from webdataset.tariterators import group_by_keys, tar_file_expander

    files, draw = fsspec.filesystem("s3"), random.Random(0)

    def open_shards(shards: Any) -> Any:
        for shard in shards:
            yield {"url": shard["url"], "stream": BytesIO(files.cat_file(shard["url"]))}

    def crop(sample: dict[str, Any]) -> np.ndarray:
        picture = simplejpeg.decode_jpeg(sample["jpg"])
        top, left = draw.randrange(SIDE - CROP + 1), draw.randrange(SIDE - CROP + 1)
        picture = picture[top : top + CROP, left : left + CROP]
        picture = picture[:, ::-1] if draw.random() < 0.5 else picture
        return np.rot90(picture, draw.randrange(4))

    shards = [path for side in SIDES for path in sorted(files.glob(f"{url}/{side}/*.tar"))]
    pipeline = webdataset.DataPipeline(
        webdataset.SimpleShardList(shards, seed=0),
        open_shards,
        tar_file_expander,
        group_by_keys,
        webdataset.shuffle(1000, rng=draw),
        webdataset.map(crop),
        webdataset.batched(2 * BATCH, collation_fn=np.stack),
    )
    for number, batch in enumerate(pipeline):
        if number >= images // (2 * BATCH):
            return
        yield batch


def decode_only(url: str, images: int) -> Any:
    """The files of one shard after the other, decoded and nothing else; reading them is not counted."""
    import fsspec
    import simplejpeg
    from webdataset.tariterators import group_by_keys, tar_file_expander

    data = fsspec.filesystem("s3").cat_file(f"{url}/clean/images-000000.tar")
    jpegs = [sample["jpg"] for sample in group_by_keys(tar_file_expander([{"url": "", "stream": BytesIO(data)}]))]
    yield
    for start in range(0, images, 2 * BATCH):
        for n in range(start, start + 2 * BATCH):
            simplejpeg.decode_jpeg(jpegs[n % len(jpegs)])
        yield


def measure(reader: str, url: str, images: int) -> None:
    """Run one reader in this process, and print one line of JSON."""
    import torch

    torch.set_num_threads(1)
    batches = iter(
        {"bare decoder": decode_only, "WebDataset": read_with_webdataset}[reader](url, images)
        if reader in ("bare decoder", "WebDataset")
        else read_with_unpairaug(url, images, reader)
    )
    next(batches)  # the start is not counted
    memory, total = [], max(1, images // (2 * BATCH) - 1)
    began, wall, done = time.process_time(), time.monotonic(), 0
    for done, _ in enumerate(batches, 1):
        if done % max(1, total // 8) == 0:
            memory.append(psutil.Process().memory_info().rss // 2**20)
            speed = 2 * BATCH * done / (time.process_time() - began)
            print(f"{2 * BATCH * done} images, {speed:.0f} per CPU second", file=sys.stderr, flush=True)
    seconds = time.process_time() - began
    found = {"images": 2 * BATCH * (done + 1), "speed": 2 * BATCH * done / seconds, "wall": time.monotonic() - wall}
    coverage = [f"{np.count_nonzero(side)} of {len(side)}, each at most {side.max()} times" for side in came]
    print(json.dumps({**found, "memory": memory, "coverage": coverage}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--exact", type=int, default=200_000, help="images that the exact order reads")
    parser.add_argument("--readers", nargs="+", choices=READERS, default=READERS, help="only these")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        measure(options.run[0], options.run[1], int(options.run[2]))
        return
    from s3_server import ENVIRONMENT, S3Server

    if options.serve:
        print(S3Server().port, flush=True)
        sys.stdin.read()
        return
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    address = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    os.environ.update(ENVIRONMENT, AWS_ENDPOINT_URL=address, OMP_NUM_THREADS="1")
    try:
        import fsspec

        fsspec.filesystem("s3").mkdir("bucket")
        make_shards("s3://bucket", options.images // (2 * EACH))
        bare = 0.0
        for reader in options.readers:
            before = json.loads(urlopen(f"{address}/__requests__").read())
            images = options.exact if reader == "exact" else options.images
            words = [sys.executable, __file__, "--run", reader, "s3://bucket", str(images)]
            with tempfile.TemporaryDirectory() as cache:
                environment = {**os.environ, "XDG_CACHE_HOME": cache}
                done = subprocess.run(words, check=True, stdout=subprocess.PIPE, env=environment)
            found = json.loads(done.stdout.splitlines()[-1])
            after = json.loads(urlopen(f"{address}/__requests__").read())
            bare = bare or found["speed"]
            requests = {name: after[name] - before.get(name, 0) for name in after if after[name] > before.get(name, 0)}
            print(
                f"{reader:<13} {found['images']} images, {found['speed']:.0f} per CPU second, "
                f"{found['speed'] / bare:.0%} of the bare decoder, {found['wall']:.0f} s, requests {requests}, "
                f"memory in MiB {found['memory']}, coverage {found['coverage']}",
                flush=True,
            )
    finally:
        server.kill()


if __name__ == "__main__":
    main()
