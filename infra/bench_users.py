"""`lab bench users`: 200 people at once over a catalogue of 15,000 resources, with pauses to think.

Each of them is signed in as one of the sample users and does what these do on the pages: search,
open a resource, look at budget, questions, inbox and board, now and then demand something or ask
for access. A gateway reserves meanwhile. One marketplace process over SQLite, asked over HTTP from
the same machine, so what the people's own side costs is included.
"""

import http.client
import json
import random
import statistics
import tempfile
import threading
import time
import urllib.parse
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from infra import staging
from infra.bench import Row
from infra.bench_access import POLICY, body
from infra.bench_catalogue import QUESTIONS, RESOURCES, marketplace
from infra.home import Home

PEOPLE = 200
THINKING_SECONDS = 2.0
"""Mean of a pause, which lies between half of it and one and a half times as much."""
SECONDS = 60.0
WARM_UP_SECONDS = 10.0
"""Everybody has begun by then; what was asked before is not counted."""
TARGET_SECONDS = 0.5
BROKEN = 500
"""HTTP codes from here on are the service's own failures."""
USERS = ("analyst", "bank-risk", "tax-provider", "bureau-reviewer", "regulator", "operator")
READS = (
    *(("search", 30), ("resource", 20), ("budget?domain=enterprise", 8), ("queries", 8)),
    *(("access/requests", 8), ("access/inbox", 5), ("access/grants", 5), ("demands", 6)),
    *(("contracts", 3), ("demands/satisfaction", 2), ("negative-list", 2)),
)
"""Out of a hundred acts; the rest are the writes below."""
WRITES = (("demand", 1), ("request", 1), ("reserve", 1))
ASKED_BEFORE = 0.3
"""Share of the texts that somebody asked lately, so that the search still knows their scores."""
REQUEST = {"table": "tax_summary", "purposes": ["bench"], "reason": "made by the bench"}


@dataclass(slots=True)
class Seen:
    """What happened, by act."""

    times: dict[str, list[float]] = field(default_factory=dict)
    codes: Counter[int] = field(default_factory=Counter)

    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, act: str, seconds: float, code: int) -> None:
        """Add one answer."""
        with self.lock:
            self.times.setdefault(act, []).append(seconds)
            self.codes[code] += 1


def run(*, as_json: bool) -> int:
    """Measure, print, and return 1 if anything was answered with 5xx."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        home.create()
        staging.seed_users(home)
        (home.root / "budgets.yaml").write_text(POLICY, encoding="utf-8")
        where = ("--home", str(home.root))
        staging.run_module("marketplace", "catalogue", *where, "--count", str(RESOURCES))
        with marketplace(home) as port:
            seen = _everybody(home, port)
    broken = sum(n for code, n in seen.codes.items() if code >= BROKEN)
    times = sorted(t for each in seen.times.values() for t in each)
    p95 = times[int(len(times) * 0.95)]
    detail: dict[str, object] = {
        "people": PEOPLE,
        "thinking_seconds": THINKING_SECONDS,
        "answers": len(times),
        "median": statistics.median(times),
        "slowest": times[-1],
        "answers_5xx": broken,
        "codes": {str(code): n for code, n in sorted(seen.codes.items())},
        "p95_of": {act: sorted(t)[int(len(t) * 0.95)] for act, t in sorted(seen.times.items())},
        "database": "sqlite",
    }
    name = f"{PEOPLE} users p95"
    row = Row(name, p95, TARGET_SECONDS, p95 / TARGET_SECONDS, "s", detail)
    print(json.dumps([asdict(row)], indent=1) if as_json else f"{name} {p95:.3f} s  {detail}")
    return 1 if broken else 0


def _everybody(home: Home, port: int) -> Seen:
    seen, tokens = Seen(), {user: home.token(user) for user in USERS}
    tokens["gateway"] = (home.root / "gateway.token").read_text(encoding="utf-8").strip()
    with closing(_connection(port)) as connection:
        path = "/api/v1/catalogue/resources?size=50"
        _, answer = _ask(connection, "GET", path, tokens["analyst"], None)
        hits = json.loads(answer)["hits"]
    known = Known(tuple(h["resource"] for h in hits), tuple(h["title_zh"] for h in hits), tokens)
    began = time.monotonic()
    people = [Person(known, random.Random(n)) for n in range(PEOPLE)]  # noqa: S311  # no secret
    with ThreadPoolExecutor(PEOPLE) as threads:
        list(threads.map(lambda person: _live(person, port, seen, began), people))
    return seen


@dataclass(frozen=True, slots=True)
class Known:
    """What all of them know."""

    resources: tuple[str, ...]
    titles: tuple[str, ...]
    tokens: dict[str, str]


@dataclass(frozen=True, slots=True)
class Person:
    """One of them."""

    known: Known
    rng: random.Random

    def act(self) -> tuple[str, str, str, str, object]:
        """Return what to do next: its name, method, path, whose account, and a body if any."""
        acts = (*READS, *WRITES)
        (name,) = self.rng.choices([a for a, _ in acts], [n for _, n in acts])
        match name:
            case "search":
                query = urllib.parse.urlencode({"q": self._text()})
                return name, "GET", f"catalogue/resources?{query}", self._user(), None
            case "resource":
                path = f"catalogue/resources/{self.rng.choice(self.known.resources)}"
                return name, "GET", path, self._user(), None
            case "demand":
                return name, "POST", "demands", "analyst", self._demand()
            case "request":
                return name, "POST", "access/requests", "bank-risk", REQUEST
            case "reserve":
                return name, "POST", "reservations", "gateway", body("bench")
            case _:
                return name, "GET", name, self._user(), None

    def _user(self) -> str:
        return self.rng.choice(USERS)

    def _text(self) -> str:
        """Return some characters of a title, or one of the questions of `lab bench catalogue`."""
        if self.rng.random() < ASKED_BEFORE:
            return self.rng.choice(QUESTIONS)
        title = self.rng.choice(self.known.titles)
        start = self.rng.randrange(len(title))
        return title[start : start + self.rng.randint(1, 6)]

    def _demand(self) -> dict[str, object]:
        title = f"压力测试需求 {self.rng.randrange(10**9)}"
        return {"title": title, "need": "made by the bench", "purpose": "bench", "lane": "dp"}


def _live(person: Person, port: int, seen: Seen, began: float) -> None:
    time.sleep(person.rng.uniform(0, THINKING_SECONDS))
    with closing(_connection(port)) as connection:
        while time.monotonic() - began < WARM_UP_SECONDS + SECONDS:
            name, method, path, user, asked = person.act()
            token, start = person.known.tokens[user], time.perf_counter()
            code, _ = _ask(connection, method, f"/api/v1/{path}", token, asked)
            if time.monotonic() - began > WARM_UP_SECONDS:
                seen.note(name, time.perf_counter() - start, code)
            time.sleep(THINKING_SECONDS * person.rng.uniform(0.5, 1.5))


def _connection(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=60)


def _ask(
    connection: http.client.HTTPConnection, method: str, path: str, token: str, asked: object
) -> tuple[int, bytes]:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
    sent = None if asked is None else json.dumps(asked).encode()
    connection.request(method, path, sent, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()
