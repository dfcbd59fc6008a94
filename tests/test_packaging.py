"""What the wheel carries: every config that an export starts from, and nothing that was exported."""

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_every_committed_config_and_no_model(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("visrec-*.whl")
    held = {name for name in zipfile.ZipFile(wheel).namelist() if "/model_repository/" in name}
    committed = {path.relative_to(ROOT).as_posix() for path in (ROOT / "model_repository").rglob("*.pbtxt")}
    assert held == {f"visrec_export/{name}" for name in committed}
