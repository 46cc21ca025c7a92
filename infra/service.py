"""The services of a lab: how each is started, and how one sees that it answers."""

import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from infra.errors import LabError
from infra.home import Home

PROBE_SECONDS = 2.0

_HTTP2_OPENING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""Client preface and an empty SETTINGS frame. Source: RFC 9113, sections 3.4 and 6.5."""

_FRAME_HEADER_BYTES, _FRAME_TYPE, _SETTINGS = 9, 3, 4


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the lab."""

    name: str
    command: tuple[str, ...]
    port: int
    is_ready: Callable[[int], bool]
    """Given the port, whether the service answers there in its own protocol."""


def services_of(home: Home, port: int, gateway_port: int) -> tuple[Service, ...]:
    """Return the services in the order in which they must start."""
    # -P: a user's `privacy.py` in the current directory must not stand before the package.
    python = (sys.executable, "-P", "-m")
    at_home = ("--home", str(home.root))
    marketplace = (*python, "marketplace", *at_home, "--port", str(port))
    gateway = (
        *(*python, "sandbox.gateway", *at_home, "--port", str(gateway_port)),
        *("--marketplace", f"http://127.0.0.1:{port}"),
    )
    return (
        Service("marketplace", marketplace, port, answers_http),
        Service("gateway", gateway, gateway_port, answers_http2),
    )


def answers_http(port: int) -> bool:
    """Whether `GET /healthz` says 200."""
    try:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{port}/healthz", timeout=PROBE_SECONDS
        ) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004  # HTTP's own word for yes
    except (OSError, urllib.error.URLError, ValueError):
        return False


def answers_http2(port: int) -> bool:
    """Whether a gRPC server greets us: it opens with a SETTINGS frame, without any credential."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=PROBE_SECONDS) as connection:
            connection.sendall(_HTTP2_OPENING)
            header = connection.recv(_FRAME_HEADER_BYTES)
    except OSError:
        return False
    return len(header) == _FRAME_HEADER_BYTES and header[_FRAME_TYPE] == _SETTINGS


def check_free(service: Service) -> None:
    """Raise unless the service's port can be had: a stranger's answer must not pass for ours."""
    if not is_free(service.port):
        raise LabError(
            f"Port {service.port} on 127.0.0.1 is taken, so the {service.name} cannot have it. "
            "Stop what holds it (`lab down` if it is another lab), or choose others: "
            "lab up --port N (the gateway's port moves along)."
        )


def is_free(port: int) -> bool:
    """Whether nobody listens on this loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do it: a port whose last owner has just closed is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
