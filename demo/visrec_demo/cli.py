"""`visrec demo`: the sticker shop from drawing its catalogue to a page of served answers."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from visrec_cli.main import main as visrec
from visrec_client import Recommender
from visrec_client.errors import VisrecError
from visrec_demo.catalogue import SIZE, read_items, write_catalogue
from visrec_demo.page import write_page
from visrec_demo.requests import REQUESTS, ask, describe, note, table
from visrec_demo.shoppers import NOTICE, ShopperConfig, write_shoppers
from visrec_demo.stages import Stage, Stages, sources_digest
from visrec_serving import Server, ServerConfig

STAGES = 8
STOPPED_BY_CTRL_C = 130


class DemoStopped(VisrecError):
    """A subcommand that the demo calls failed; it has told why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the options of `visrec demo`."""
    parser.description = (
        "Draws a catalogue of stickers, simulates shoppers, trains, evaluates and exports a model, starts "
        "Triton, asks it for recommendations and writes a page that shows them. What is up to date is not "
        "made again."
    )
    parser.add_argument("--folder", type=Path, default=Path("build/demo"), help="everything is made here")
    parser.add_argument(
        "--repository",
        type=Path,
        default=Path("model_repository"),
        help="Triton models are exported to this folder",
    )
    parser.add_argument(
        "--seed", type=_seed, default=0, help="decides the simulated shoppers and the training"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo.

    Returns:
        0; a failure raises.

    Raises:
        VisrecError: a stage failed.
    """
    start = time.monotonic()
    folder: Path = args.folder
    stages = Stages(folder / "stamps", STAGES)
    for stage in _made_stages(folder, args.repository, args.seed):
        stages.run(stage)
    items = read_items(folder / "data")
    stages.heading("Serve")
    # free ports: the demo gets along with a server that is running already
    config = ServerConfig(repository=args.repository, grpc_port=0, http_port=0, metrics_port=0)
    began = time.monotonic()
    with Server(config) as server, Recommender(server.grpc_url) as recommender:
        print(f"      Triton is ready at {server.grpc_url} after {time.monotonic() - began:.1f} s")
        # an export beside an older release does not switch to what it made
        call("release", "--repository", str(args.repository), "--url", server.grpc_url)
        stages.heading("Ask")
        began, examples = time.monotonic(), []
        for request in REQUESTS:
            examples.append(ask(recommender, request, items))
            print(f"\n{request.title}\n({describe(request)})\n{table(examples[-1], items)}")
            if told := note(examples[-1]):
                print(f"({told})")
        print(f"\n      {len(examples)} requests in {time.monotonic() - began:.1f} s")
    stages.heading("Write the page")
    page = folder / "page.html"
    began = time.monotonic()
    write_page(page, examples, items)
    print(f"      done in {time.monotonic() - began:.1f} s: {page.resolve()}")
    print(f"\nAll done in {time.monotonic() - start:.0f} s.")
    print(f"To ask more: visrec serve --repository {args.repository}")
    return 0


def _made_stages(folder: Path, repository: Path, seed: int) -> Iterator[Stage]:
    """The stages whose results stay."""
    data, cache, checkpoint = folder / "data", folder / "cache", folder / "run" / "best.pt"
    known = ["--data", str(data), "--cache", str(cache)]
    yield Stage(
        title="Draw the catalogue",
        inputs=(SIZE, sources_digest("visrec_demo.catalogue")),
        outputs=lambda: [data / "items.parquet", *(data / "pictures").glob("*.png")],
        make=lambda: _tell(f"{write_catalogue(data):,} stickers in {data}"),
    )
    shoppers = ShopperConfig(seed=seed)
    yield Stage(
        title="Simulate shoppers",
        inputs=(shoppers, sources_digest("visrec_demo.shoppers", "visrec_demo.looks")),
        outputs=lambda: [data / "interactions.parquet"],
        make=lambda: _tell(f"{write_shoppers(data, shoppers):,} interactions in {data}. {NOTICE}"),
    )
    yield Stage(
        title="Train",
        inputs=(seed, sources_digest("visrec_training", "visrec_client.picture")),
        outputs=lambda: [checkpoint],
        make=lambda: call("train", *known, "--out", str(checkpoint.parent), "--seed", str(seed)),
    )
    evaluation = folder / "evaluation.json"
    yield Stage(
        title="Evaluate",
        inputs=(),
        outputs=lambda: [evaluation],
        make=lambda: call("evaluate", "--checkpoint", str(checkpoint), *known, "--out", str(evaluation)),
    )
    yield Stage(
        title="Export",
        inputs=(str(repository), sources_digest("visrec_export")),
        outputs=lambda: repository.glob("*/[0-9]*/*"),
        make=lambda: call("export", "--checkpoint", str(checkpoint), *known, "--repository", str(repository)),
    )


def _tell(line: str) -> None:
    print(f"      {line}")


def call(subcommand: str, *words: str) -> None:
    """Run another subcommand of `visrec`, as a person would, in this process.

    Raises:
        DemoStopped: it failed; it has said why.
        KeyboardInterrupt: Ctrl-C stopped it.
    """
    code = visrec([subcommand, *words])
    if code == STOPPED_BY_CTRL_C:
        raise KeyboardInterrupt
    if code:
        raise DemoStopped(f"the demo stopped at 'visrec {subcommand}': run it again to go on from there")


def _seed(word: str) -> int:
    if not word.isdecimal():
        raise argparse.ArgumentTypeError(f"'{word}' is not a whole number from 0")
    return int(word)
