"""What visrec's client costs: a JPEG made small, and a request beside the server's own time for it.

    python -m benchmarks.serving.client --data build/demo/data --repository build/lite0-fp32

The figures become the part `client` of benchmarks/results/serving.json, and a table in docs/performance.md.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from benchmarks.quality_figures import commit, machine
from benchmarks.serving import results
from PIL import Image
from skimage import data as photos

from visrec_bench.limit import Pipeline
from visrec_bench.requests import draw_moments
from visrec_client import Recommender
from visrec_client.errors import VisrecError
from visrec_client.picture import load_picture
from visrec_serving import Server, ServerConfig
from visrec_training.data import Dataset, read_dataset

SIZES = {"12 MP": (4000, 3000), "1 MP": (1155, 866), "224 px": (224, 224)}
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
NOISE = 3.0
"""Of a camera, in steps of 255, so that an enlarged photo has as many bytes as one taken so large."""
JPEG_QUALITY = 90
SIDE = 224
IN_FLIGHT = 16
Pixels = npt.NDArray[np.uint8]


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.client", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="data folder for requests")
    parser.add_argument("--repository", type=Path, required=True, metavar="FOLDER", help="an exported one")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--seconds", type=float, default=6.0, metavar="S", help="how long a load is measured")
    args = parser.parse_args()
    try:
        found = {
            "about": {"machine": machine(), "commit": commit()},
            "jpeg": measure_jpegs(args.repository, args.repeats),
            "request": measure_requests(args.repository, read_dataset(args.data), args.seconds),
        }
        results.publish({"client": found}, "client", block(found))
        print(block(found))
    except VisrecError as error:
        print(f"benchmarks.serving.client: error: {error}", file=sys.stderr)
        return 1
    return 0


def measure_jpegs(repository: Path, repeats: int) -> dict[str, dict[str, float]]:
    """Compare `load_picture` with Pillow's plain decode and resize, medians over photos and repeats.

    Raises:
        BenchError: the repository holds no release.
    """
    embedder = Pipeline(repository, "embedder")

    def embed(pixels: Pixels) -> npt.NDArray[np.float32]:
        aspects = embedder({"IMAGE": pixels[None]})["ASPECTS"].ravel()
        return aspects / np.linalg.norm(aspects)

    found = {}
    for name, size in SIZES.items():
        jpegs = [_photo(getattr(photos, photo)(), size) for photo in PHOTOS]
        plain = [_milliseconds(plain_picture, jpeg, repeats) for jpeg in jpegs]
        ours = [_milliseconds(load_picture, jpeg, repeats) for jpeg in jpegs]
        cosines = [float(embed(plain_picture(jpeg)) @ embed(load_picture(jpeg))) for jpeg in jpegs]
        found[name] = {
            "bytes": statistics.median(map(len, jpegs)),
            "plain_ms": statistics.median(plain),
            "ours_ms": statistics.median(ours),
            "of_plain": statistics.median(a / b for a, b in zip(ours, plain, strict=True)),
            "least_cosine": min(cosines),
        }
    return found


def plain_picture(jpeg: bytes) -> Pixels:
    """What most people write."""
    whole = Image.open(io.BytesIO(jpeg)).convert("RGB")
    return np.array(whole.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _photo(pixels: Pixels, size: tuple[int, int]) -> bytes:
    large = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS), np.float32)
    noisy = large + np.random.default_rng(0).normal(0, NOISE, large.shape)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def _milliseconds(decode: Callable[[bytes], Pixels], jpeg: bytes, repeats: int) -> float:
    decode(jpeg)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        decode(jpeg)
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def measure_requests(repository: Path, dataset: Dataset, seconds: float) -> dict[str, float]:
    """Ask a server from this one process, as many at once as saturate it, and count this process's own work.

    Raises:
        VisrecError: the server fails.
    """
    requests = _requests(dataset)
    answered = [0] * IN_FLIGHT
    config = ServerConfig(repository=repository, grpc_port=0, http_port=0, metrics_port=0)
    with Server(config) as server, Recommender(server.grpc_url, timeout=60) as recommender:
        for request in requests:  # warm up
            recommender.recommend(**request)
        stop = time.perf_counter() + seconds

        def ask(place: int) -> None:
            while time.perf_counter() < stop:
                recommender.recommend(**requests[(place + IN_FLIGHT * answered[place]) % len(requests)])
                answered[place] += 1

        threads = [threading.Thread(target=ask, args=(place,)) for place in range(IN_FLIGHT)]
        wall, own = time.perf_counter(), time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wall, own = time.perf_counter() - wall, time.process_time() - own
    return {
        "throughput": sum(answered) / wall,
        "client_cpu_ms": 1000 * own / sum(answered),
        # of one core: while it is far below 1, it is the server that limits
        "client_busy": own / wall,
    }


def _requests(dataset: Dataset) -> list[dict[str, Any]]:
    """Requests with decoded pictures: what is left is the client's work on a request."""
    catalogue = dataset.catalogue
    return [
        {
            "image": load_picture(catalogue.images[before[-1]]),
            "history": [catalogue.item_ids[row] for row in before[:-1]],
            "text": catalogue.titles[target],
        }
        for before, target in draw_moments(dataset, 2 * IN_FLIGHT, seed=0)
    ]


def block(found: Mapping[str, Any]) -> str:
    """The generated part of docs/performance.md."""
    lines = [
        "| JPEG | plain, ms | visrec's client, ms | of plain | least cosine |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, jpeg in found["jpeg"].items():
        times = f"{jpeg['plain_ms']:.1f} | {jpeg['ours_ms']:.1f} | {jpeg['of_plain']:.2f}"
        lines.append(f"| {name} | {times} | {jpeg['least_cosine']:.4f} |")
    request = found["request"]
    return "\n".join(lines) + (
        f"\n\nOne client process with {IN_FLIGHT} threads got {request['throughput']:.0f} answers/s,"
        f" and spent {request['client_cpu_ms']:.2f} ms of processor time on each:"
        f" {request['client_busy']:.0%} of one core.\n"
    )


if __name__ == "__main__":
    sys.exit(main())
