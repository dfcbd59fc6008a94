"""Breaks things on purpose, and writes what was seen to benchmarks/results/faults.json.

    python -m benchmarks.faults --repository model_repository --checkpoint runs/latest/best.pt --data FOLDER

The repository is an exported one with a fused graph (`visrec export --fused`). All rows take about an hour,
half of which is the steady load; `--scale 0.1` is a quick look, whose figures are printed and not kept.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.faults import kills, overload, releases, steady, strangers, suites
from benchmarks.faults.rows import Settings, publish

from visrec_client.errors import VisrecError
from visrec_training.files import make_folder

FAULTS = {
    "stub killed": kills.stub_killed,
    "server killed": kills.server_killed,
    "overload": overload.overload,
    "releases": releases.releases,
    "broken release": suites.broken,
    "strangers": strangers.strangers,
    "steady load": steady.steady,
    "access": suites.access,
    "client": suites.client,
}


def main() -> int:
    """Run the command line; the exit code is 1 if something does not hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--repository", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FILE")
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="FAULT")
    parser.add_argument("--scale", type=float, default=1.0, help="of repetitions and durations")
    parser.add_argument("--work", type=Path, default=Path("build/faults"), metavar="FOLDER", help="gets logs")
    args = parser.parse_args()
    settings = Settings(
        repository=args.repository,
        checkpoint=args.checkpoint,
        data=args.data,
        work=args.work,
        scale=args.scale,
    )
    held = True
    try:
        make_folder(args.work)
        for name in args.only:
            row = FAULTS[name](settings)
            print(json.dumps({name: asdict(row)}, indent=2), flush=True)
            if args.scale == 1:
                publish(name, row)
            held = held and all(row.holds.values())
    except VisrecError as error:
        print(f"benchmarks.faults: error: {error}", file=sys.stderr)
        return 1
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
