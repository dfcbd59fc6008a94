"""The Triton that is installed here: where its parts lie and what it needs around it."""

from __future__ import annotations

import ctypes.util
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from visrec_serving.errors import ServerFailed
from visrec_serving.keys import ENVIRONMENT

STAND_IN = Path(__file__).with_name("backend") / "onnxruntime" / "model.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class Installation:
    """The parts of Triton that a server is put together from."""

    binary: Path
    """The `tritonserver` program."""
    libraries: Path
    """The shared libraries it was built with."""
    python_backend: Path
    """Folder of the Python backend, without a stub."""
    stub: Path
    """The Python backend's process for this version of Python."""
    libpython: Path | None
    """Folder of the shared library of Python; None where the system's loader finds it by itself."""

    @classmethod
    def find(cls) -> Installation:
        """Find the installed Triton.

        Raises:
            ServerFailed: if this machine or environment can't run it.
        """
        if sys.platform != "linux" or platform.machine() != "x86_64":
            raise ServerFailed(
                f"the embedded Triton runs on Linux x86-64, not {platform.system()} {platform.machine()}: "
                "serve the model repository with NVIDIA's Triton container instead"
            )
        numpy_version = importlib.metadata.version("numpy")
        if int(numpy_version.split(".")[0]) >= 2:
            # the Python backend would start, and hand on empty tensors
            raise ServerFailed(
                f"numpy {numpy_version} is installed but the embedded Triton needs numpy<2: "
                "pip install 'numpy<2'"
            )
        spec = importlib.util.find_spec("pytriton")
        if spec is None or not spec.submodule_search_locations:
            raise ServerFailed(
                "nvidia-pytriton, which carries Triton, is missing: pip install 'visrec[serve]'"
            )
        package = Path(spec.submodule_search_locations[0])
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        stubs = package / "tritonserver" / "python_backend_stubs"
        stub = stubs / python / "triton_python_backend_stub"
        if not stub.is_file():
            known = ", ".join(sorted((p.name for p in stubs.glob("3.*")), key=lambda v: int(v[2:])))
            raise ServerFailed(f"the embedded Triton has no stub for Python {python}: use one of {known}")
        return cls(
            binary=package / "tritonserver" / "bin" / "tritonserver",
            libraries=package.parent / "nvidia_pytriton.libs",
            python_backend=package / "tritonserver" / "backends" / "python",
            stub=stub,
            libpython=_libpython_folder(python),
        )

    @property
    def python(self) -> Path:
        """The folder of the Python that stubs run in."""
        return Path(sys.executable).parent

    def lay_out_backends(self, folder: Path) -> None:
        """Copy the Python backend and the onnxruntime stand-in into a backend directory.

        Triton refuses links that lead out of the directory.

        Args:
            folder: an empty folder, later `--backend-directory`.
        """
        for backend, files in self._copied().items():
            (folder / backend).mkdir()
            for file in files:
                shutil.copy(file, folder / backend)

    def copied_bytes(self) -> int:
        """How much `lay_out_backends` writes."""
        return sum(file.stat().st_size for files in self._copied().values() for file in files)

    def _copied(self) -> dict[str, list[Path]]:
        """Files by backend."""
        python = [file for file in self.python_backend.iterdir() if file.is_file()]
        return {"python": [*python, self.stub], "onnxruntime": [STAND_IN]}

    def environment(self) -> dict[str, str]:
        """Build the environment variables for the server and its stubs."""
        environment = os.environ.copy()
        folders = [self.libraries, self.libpython, environment.get("LD_LIBRARY_PATH")]
        environment["LD_LIBRARY_PATH"] = ":".join(str(folder) for folder in folders if folder)
        # The stub finds site-packages by the first `python3` on PATH.
        environment["PATH"] = f"{self.python}:{environment.get('PATH', os.defpath)}"
        environment.pop("PYTHONHOME", None)
        environment.pop(ENVIRONMENT, None)  # a key that neither the server nor its stubs need
        # onnxruntime has its own threads; numpy's would only take memory.
        environment.setdefault("OMP_NUM_THREADS", "1")
        environment.setdefault("OPENBLAS_NUM_THREADS", "1")
        environment.setdefault("ORT_DISABLE_TELEMETRY", "1")
        return environment


def _libpython_folder(python: str) -> Path | None:
    """Find the folder that holds libpython, which a stub is linked to."""
    library = f"libpython{python}.so.1.0"
    candidates = [Path(sys.base_prefix) / "lib"]
    if libdir := sysconfig.get_config_var("LIBDIR"):
        candidates = [Path(libdir), Path(libdir) / (sysconfig.get_config_var("MULTIARCH") or ""), *candidates]
    for folder in candidates:
        if (folder / library).is_file():
            return folder
    if ctypes.util.find_library(f"python{python}"):
        return None
    raise ServerFailed(
        f"{library} is missing, which Triton's Python backend needs: "
        f"install it (Debian: libpython{python}) or use a Python built with --enable-shared"
    )
