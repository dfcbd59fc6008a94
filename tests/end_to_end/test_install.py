"""`pip install visrec` alone: a client, and nothing heavy."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ASK = """
import sys
from visrec_client import Recommender
with Recommender(sys.argv[1], timeout=30) as recommender:
    print(len(recommender.recommend(image=sys.argv[2]).items))
"""


def test_the_client_alone_talks_to_a_server(server, items, tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", ROOT], check=True)
    listed = subprocess.run([python, "-m", "pip", "list"], check=True, capture_output=True, text=True).stdout
    assert "visrec" in listed
    assert not {"torch", "onnxruntime", "onnxruntime-gpu", "timm"} & set(listed.split())
    picture = next(iter(items.values())).picture
    asked = subprocess.run(
        [python, "-c", ASK, server.grpc_url, picture], check=True, capture_output=True, text=True
    )
    assert asked.stdout.strip() == "10"
    missing = subprocess.run(
        [python.with_name("visrec"), "train", "--data", "."], capture_output=True, text=True
    )
    assert missing.returncode == 1
    assert "pip install 'visrec[train]'" in missing.stderr
