"""Bring a lab up in the background, look at it, take it down."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

from infra.errors import LabError
from infra.home import Home
from infra.process import POLL_SECONDS, Process
from infra.service import Service, services_of
from infra.supervisor import READY_SECONDS, STOP_SECONDS, SUPERVISOR, Supervisor, stop_leftovers


@dataclass(frozen=True, slots=True)
class Standing:
    """How one service stands."""

    name: str
    port: int
    pid: int | None
    ready: bool


def up(home: Home, port: int, gateway_port: int, *, foreground: bool) -> None:
    """Start the lab; return when it answers, or in the foreground when it has been stopped."""
    services = services_of(home, port, gateway_port)
    if foreground:
        Supervisor(home, services, say=_say).run()
        return
    home.create()
    running = Process.read(home.run / f"{SUPERVISOR}.pid")
    if running is not None:
        raise LabError(
            f"A lab already runs in {home.root} (pid {running.pid}). See it with `lab status`, "
            "stop it with `lab down`, or start a second one: lab up --home DIR --port N."
        )
    _start_in_background(home, port, gateway_port)


def _start_in_background(home: Home, port: int, gateway_port: int) -> None:
    """Start a supervisor of its own session and wait for its word."""
    command = (
        *(sys.executable, "-P", "-m", "infra.cli", "up", "--foreground"),
        *("--home", str(home.root), "--port", str(port), "--gateway-port", str(gateway_port)),
    )
    log = home.log(SUPERVISOR)
    log.write_text("")
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_word(home, child)
    except BaseException:
        # Ctrl-C or a time limit: what was begun is taken back before the caller hears of it.
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            child.wait()
        raise


def _await_word(home: Home, supervisor: "subprocess.Popen[bytes]") -> None:
    log = home.log(SUPERVISOR)
    deadline = time.monotonic() + 2 * READY_SECONDS + STOP_SECONDS
    while state(home).get("phase") != "ready":
        if supervisor.poll() is not None:
            raise LabError(f"The lab did not start.\n{log.read_text(errors='replace').strip()}")
        if time.monotonic() > deadline:
            raise LabError(f"The lab did not start in time; see {log}.")
        time.sleep(POLL_SECONDS)


def down(home: Home) -> bool:
    """Stop the lab, and services that a killed supervisor left; return whether there was any."""
    supervisor = Process.read(home.run / f"{SUPERVISOR}.pid")
    if supervisor is not None:
        supervisor.send(signal.SIGTERM)
        if not supervisor.wait(3 * STOP_SECONDS):
            supervisor.send(signal.SIGKILL)
    left = stop_leftovers(home)
    for name in ("state.json", f"{SUPERVISOR}.pid"):
        (home.run / name).unlink(missing_ok=True)
    return supervisor is not None or bool(left)


def status(home: Home, port: int, gateway_port: int) -> tuple[Standing, ...]:
    """Return how each service stands; ports come from the running lab, else as given."""
    ports = state(home).get("ports")
    services = services_of(home, port, gateway_port)
    return tuple(_standing(home, s, _port_of(ports, s)) for s in services)


def is_up(home: Home) -> bool:
    """Whether a supervisor or one of its services is alive."""
    return any(Process.read(path) is not None for path in home.run.glob("*.pid"))


def state(home: Home) -> dict[str, object]:
    """Return what a live supervisor last wrote, or nothing."""
    if Process.read(home.run / f"{SUPERVISOR}.pid") is None:
        return {}
    try:
        read = json.loads((home.run / "state.json").read_text())
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _port_of(ports: object, service: Service) -> int:
    known = ports.get(service.name) if isinstance(ports, dict) else None
    return known if isinstance(known, int) else service.port


def _standing(home: Home, service: Service, port: int) -> Standing:
    process = Process.read(home.run / f"{service.name}.pid")
    # Only our own process counts: another lab may answer on the same port.
    ready = process is not None and service.is_ready(port)
    return Standing(service.name, port, process.pid if process else None, ready)


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} [{os.getpid()}] {text}", flush=True)
