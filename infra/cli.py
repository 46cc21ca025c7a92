"""The command `lab`: one function for each subcommand, standard library only."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from infra import backup, control, doctor
from infra.errors import LabError
from infra.home import Home, home_from, ports_from

BENCHES = ("queries", "latency")
BENCHES_OF_LATER_VERSIONS = ("ingest", "score", "match", "join")
LOG_BENCH = "log"
CATALOGUE_BENCH = "catalogue"
USERS_BENCH = "users"
BENCH_PORT = 8400
"""Beside a lab on the usual ports."""

LATER = 2
"""Exit code of a command whose work comes with a later version; also argparse's own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    given = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = given.run
    try:
        return command(given)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _up(given: argparse.Namespace) -> int:
    home, port, gateway_port = _place(given)
    control.up(home, port, gateway_port, foreground=given.foreground)
    if not given.foreground:
        print(f"The lab is up. Marketplace: http://localhost:{port}")
        print(f'Gateway: SPARK_REMOTE="sc://localhost:{gateway_port}"   Home: {home.root}')
    return 0


def _down(given: argparse.Namespace) -> int:
    home = home_from(given.home)
    print("The lab is down." if control.down(home) else f"No lab was running in {home.root}.")
    return 0


def _status(given: argparse.Namespace) -> int:
    standings = control.status(*_place(given))
    if given.json:
        rows = [{"name": s.name, "port": s.port, "pid": s.pid, "ready": s.ready} for s in standings]
        print(json.dumps(rows))
    else:
        for s in standings:
            word = "ready" if s.ready else "not answering" if s.pid else "not running"
            print(f"{s.name:<12} {word:<14} port {s.port}" + (f"  pid {s.pid}" if s.pid else ""))
    return 0 if all(s.ready for s in standings) else 1


def _doctor(given: argparse.Namespace) -> int:
    findings = doctor.examine(*_place(given))
    for f in findings:
        mark = "ok" if f.ok else "missing" if f.optional else "MISSING"
        print(f"{mark:<8} {f.name:<22} {f.detail}")
        if not f.ok and f.mend:
            print(f"{'':<31} -> {f.mend}")
    return 0 if all(f.ok or f.optional for f in findings) else 1


def _data_generate(given: argparse.Namespace) -> int:
    if given.what == "catalogue":
        return _python("marketplace", "catalogue", *given.rest)
    return _python("sandbox.lake.generate", *given.rest)


def _ingest(given: argparse.Namespace) -> int:
    home = home_from(given.home)
    return _python("sandbox.lake", "ingest", "--home", str(home.root), *given.rest)


def _token(given: argparse.Namespace) -> int:
    print(home_from(given.home).token(given.user))
    return 0


def _demo(given: argparse.Namespace) -> int:
    from infra import demo  # noqa: PLC0415  # brings DuckDB, which no other command needs

    home, port, gateway_port = _place(given)
    enterprises, seed = given.enterprises or demo.ENTERPRISES, given.seed or demo.SEED
    return demo.run(demo.Plan(home, port, gateway_port, enterprises, seed))


def _audit(given: argparse.Namespace) -> int:
    if given.what == "verify":
        return _python("marketplace.audit.verifier", *given.rest)
    parser = argparse.ArgumentParser(prog="lab audit reconcile")
    parser.add_argument("--home", metavar="DIR", help="default: LAB_HOME, else .lab")
    parser.add_argument("--json", action="store_true")
    wanted = parser.parse_args(given.rest)
    home = ("--home", str(home_from(wanted.home).root))
    more = (*home, "--json") if wanted.json else home
    showing = (sys.executable, "-P", "-m", "sandbox.lake", "tables", "--json", *home)
    lake = subprocess.run(showing, check=False, stdout=subprocess.PIPE)
    if lake.returncode:
        return _python("marketplace.audit.reconcile", *more)
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        file.write(lake.stdout)
        file.flush()
        return _python("marketplace.audit.reconcile", *more, "--lake", file.name)


def _bench(given: argparse.Namespace) -> int:
    if given.part == LOG_BENCH:
        from infra import bench_log  # noqa: PLC0415  # brings YAML, as below

        return bench_log.run(as_json=given.json)
    if given.part in BENCHES_OF_LATER_VERSIONS:
        print(f"lab bench {given.part} comes with a later version.", file=sys.stderr)
        return LATER
    if given.part == "access":
        from infra import bench_access  # noqa: PLC0415  # as below

        return bench_access.run(given.port or BENCH_PORT, as_json=given.json)
    if given.part == CATALOGUE_BENCH:
        from infra import bench_catalogue  # noqa: PLC0415  # as below

        return bench_catalogue.run(as_json=given.json)
    if given.part == USERS_BENCH:
        from infra import bench_users  # noqa: PLC0415  # as below

        return bench_users.run(as_json=given.json)
    from infra import bench  # noqa: PLC0415  # brings YAML, which no other command needs

    home = home_from(given.home or ".lab-bench")
    ports = ports_from(given.port or BENCH_PORT, given.gateway_port)
    plan = bench.Bench(home, *ports, given.enterprises or bench.ENTERPRISES)
    return bench.run(plan, (given.part,) if given.part else BENCHES, as_json=given.json)


def _backup(given: argparse.Namespace) -> int:
    files = backup.backup(home_from(given.home), given.directory)
    print(
        f"Copied {files} files to {given.directory}. They hold keys: keep them as safe as the home."
    )
    return 0


def _restore(given: argparse.Namespace) -> int:
    home = home_from(given.home)
    backup.restore(home, given.directory, given.newer_than)
    print(
        f"Restored to {home.root}. Its ledger knows nothing of what was spent after the copy was "
        "made: never open it to users beside, or instead of, a home that went on answering."
    )
    return 0


def _policy(given: argparse.Namespace) -> int:
    more = ["--draft", given.draft] if given.draft else []
    if given.what == "replay":
        more += ["--since", given.since, "--home", str(home_from(given.home).root)]
    return _python("marketplace.policy", given.what, *more)


def _python(module: str, *arguments: str) -> int:
    """Run a module of one of the sides as a process of its own."""
    return subprocess.run([sys.executable, "-P", "-m", module, *arguments], check=False).returncode


def _place(given: argparse.Namespace) -> tuple[Home, int, int]:
    return (home_from(given.home), *ports_from(given.port, given.gateway_port))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab", description="Run a digital lab on this machine.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    at_home = argparse.ArgumentParser(add_help=False)
    at_home.add_argument("--home", metavar="DIR", help="default: LAB_HOME, else .lab")
    at_ports = argparse.ArgumentParser(add_help=False, parents=[at_home])
    at_ports.add_argument("--port", type=int, metavar="N", help="default: LAB_PORT, else 8000")
    at_ports.add_argument(
        "--gateway-port", type=int, metavar="N", help="default: LAB_GATEWAY_PORT, else port + 7002"
    )

    def add(
        name: str,
        run: Callable[[argparse.Namespace], int],
        text: str,
        *shared: argparse.ArgumentParser,
    ) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, parents=list(shared))
        command.set_defaults(run=run)
        return command

    up = add("up", _up, "start the services, return when they answer", at_ports)
    up.add_argument("--foreground", action="store_true", help="stay, and stop all on Ctrl-C")
    add("down", _down, "stop the services", at_home)
    status = add("status", _status, "say how the services stand; 0 when all answer", at_ports)
    status.add_argument("--json", action="store_true")
    add("doctor", _doctor, "say what this machine lacks and what mends it", at_ports)
    data = add("data", _data_generate, "make synthetic data: lab data generate --help")
    data.add_argument("what", choices=["generate", "catalogue"])
    data.add_argument("rest", nargs=argparse.REMAINDER, help="passed on to the generator")
    ingest = add("ingest", _ingest, "store files under a contract: CONTRACT FILE...", at_home)
    ingest.add_argument("rest", nargs=argparse.REMAINDER, metavar="CONTRACT FILE...")
    token = add("token", _token, "print the bearer token of a user of the demo", at_home)
    token.add_argument("user")
    run = add("demo", _demo, "the whole story: data, services, answers, refusals", at_ports)
    run.add_argument("--enterprises", type=int, metavar="N")
    run.add_argument("--seed", type=int, metavar="N")
    for name, act in (("backup", _backup), ("restore", _restore)):
        copy = add(name, act, f"{name} the home of a stopped lab", at_home)
        copy.add_argument("directory", type=Path)
    copy.add_argument(
        "--newer-than",
        type=Path,
        metavar="CHECKPOINT",
        help="refuse a copy whose log does not contain this checkpoint, which somebody kept",
    )
    measure = add("bench", _bench, "time and error beside plain Spark", at_ports)
    parts = (
        *BENCHES,
        LOG_BENCH,
        CATALOGUE_BENCH,
        USERS_BENCH,
        "access",
        *BENCHES_OF_LATER_VERSIONS,
    )
    measure.add_argument("part", nargs="?", choices=parts, metavar="|".join(parts))
    measure.add_argument("--json", action="store_true")
    measure.add_argument("--enterprises", type=int, metavar="N")
    audit = add("audit", _audit, "verify a log or a receipt: lab audit verify --help")
    audit.add_argument("what", choices=["verify", "reconcile"])
    audit.add_argument("rest", nargs=argparse.REMAINDER, help="passed on")
    policy = add("policy", _policy, "check policies, or list what a draft would flip", at_home)
    policy.add_argument("what", choices=["check", "replay"])
    policy.add_argument("--draft", metavar="DIR", help="default: the policies of this checkout")
    policy.add_argument("--since", metavar="TIME", default="1970-01-01", help="ISO 8601, UTC")
    return parser


def run_and_exit() -> NoReturn:
    """Run as a program."""
    sys.exit(main())


if __name__ == "__main__":
    run_and_exit()
