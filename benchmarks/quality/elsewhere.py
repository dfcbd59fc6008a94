"""Libraries whose needs are at odds with visrec's: each trains in a process and an environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from visrec_client.errors import VisrecError

Arrays = dict[str, npt.NDArray[Any]]


class LibraryMissing(VisrecError):
    """There is no environment with a library in it, or it doesn't work."""


@dataclass(frozen=True, slots=True)
class Library:
    """A library, and the script beside this file that trains with it."""

    name: str
    packages: str
    """What pip installs."""
    option: str
    """Gives the python of its environment."""
    child: str
    """Called with the model's name, the file of what is given, that of what is made, and options in JSON."""

    @property
    def default_python(self) -> Path:
        """Where its environment is, unless said otherwise."""
        return Path("build") / self.name.lower() / "bin" / "python"

    def check(self, python: Path) -> None:
        """See that there is a python.

        Raises:
            LibraryMissing: there is none; says how to make one.
        """
        if not python.is_file():
            raise LibraryMissing(f"no python at {python}: {self._remedy(python)}")

    def train(self, model: str, given: Arrays, options: dict[str, Any], python: Path) -> Arrays:
        """Train a model; gives what the script makes.

        Raises:
            LibraryMissing: there is no such python, or training failed; says how to make an environment.
        """
        self.check(python)
        with tempfile.TemporaryDirectory() as folder:
            source, out = Path(folder) / "given.npz", Path(folder) / "made.npz"
            np.savez(source, **given)
            child = Path(__file__).with_name(self.child)
            # without the caller's paths: they lead to other versions of packages
            environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
            done = subprocess.run(  # noqa: S603
                [python, child, model, source, out, json.dumps(options)],
                env=environment,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
                raise LibraryMissing(f"{self.name}'s {model} failed: {last}; {self._remedy(python)}")
            with np.load(out) as made:
                return dict(made)

    def _remedy(self, python: Path) -> str:
        home = python.parent.parent
        return (
            f"make it with `python3.11 -m venv {home} && {home}/bin/pip install {self.packages}`,"
            f" or give {self.option}"
        )
