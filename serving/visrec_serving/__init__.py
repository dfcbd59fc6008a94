"""Serving: NVIDIA Triton from the `nvidia-pytriton` wheel, with a model repository, on this machine.

Usage:
    with Server(ServerConfig(repository=Path("model_repository"))) as server:
        print(server.grpc_url)
"""

from visrec_serving.config import ServerConfig
from visrec_serving.errors import ServerFailed
from visrec_serving.server import Server
from visrec_serving.tls import Tls

__all__ = ["Server", "ServerConfig", "ServerFailed", "Tls"]
