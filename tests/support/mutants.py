"""Deliberate mistakes in the analysis: the sensitivity law must notice each of them.

`python -m tests.support.mutants [seeds]` applies one substitution at a time to the source of one
module, runs the law on random plans until it breaks, and prints the survivors; exit status 0 when
there are none.
"""

import importlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Mutant:
    """One wrong version of one module."""

    module: str
    right: str
    wrong: str


RELATION, CLASSIFY, JOINED, PER_UNIT, PREDICATE, BOUNDING, MEASURE, ANALYSIS = (
    "privacy.dp.relation",
    "privacy.dp.classify",
    "privacy.dp.joined",
    "privacy.dp.per_unit",
    "privacy.dp.predicate",
    "privacy.dp.bounding",
    "privacy.dp.measure",
    "privacy.dp.analysis",
)
MUTANTS = (
    Mutant(RELATION, "result *= self.sizes[column]", "result = max(result, self.sizes[column])"),
    Mutant(CLASSIFY, "if f.domain is not None and not f.nullable\n", "if f.domain is not None\n"),
    Mutant(JOINED, "else private.rows * fan_out", "else private.rows"),
    Mutant(JOINED, "keys=private.keys if fan_out == 1 else frozenset()", "keys=private.keys"),
    Mutant(
        JOINED,
        "else left.rows * (max(1, right.rows) if outer else right.rows)",
        "else max(left.rows, right.rows)",
    ),
    Mutant(JOINED, "if not outer and told_apart(", "if told_apart("),
    Mutant(PREDICATE, "any(key <= given for key", "any(key & given or not key for key"),
    Mutant(PREDICATE, "and not references(other) & columns\n", "\n"),
    Mutant(JOINED, "frozenset(a | b for a in left.keys", "frozenset(a for a in left.keys"),
    Mutant(JOINED, "(right.constant if follows_unit else frozenset())", "right.constant"),
    Mutant(
        CLASSIFY, "else sum(r for r in rows if r is not None)", "else max(r or 0 for r in rows)"
    ),
    Mutant(CLASSIFY, "new_key = on - kind.units", "new_key = frozenset[int]()"),
    Mutant(
        PER_UNIT,
        "        rows=kind.rows,\n        keys=frozenset((others,)),",
        "        rows=1,\n        keys=frozenset((others,)),",
    ),
    Mutant(PER_UNIT, "keys=frozenset((others,)),", "keys=frozenset((frozenset[int](),)),"),
    Mutant(
        PER_UNIT,
        "constant_keys = all(references(e) <= kind.constant for e in refs)",
        "constant_keys = True",
    ),
    Mutant(RELATION, "open_part = kind.product(key - grouped)", "open_part = 1"),
    Mutant(
        RELATION,
        "grouped = {e.id for _, e in node.keys if isinstance(e, Ref)}",
        "grouped = {i for _, e in node.keys for i in references(e)}",
    ),
    Mutant(
        RELATION,
        "        if references(expr) <= kind.constant:\n            continue",
        "        if expr:\n            continue",
    ),
    Mutant(RELATION, "else product * size", "else max(product, size)"),
    Mutant(
        CLASSIFY,
        "sizes[column] = min(len(literals), sizes.get(column, len(literals)))",
        "sizes[column] = 1",
    ),
    Mutant(
        PREDICATE,
        'if isinstance(part, Apply) and part.function == "and":',
        'if isinstance(part, Apply) and part.function in ("and", "or"):',
    ),
    Mutant(
        PREDICATE,
        'if conjunct.function not in ("==", "<=>", "in") or',
        'if conjunct.function not in ("==", "<=>", "in", ">", ">=") or',
    ),
    Mutant(RELATION, "proven = kind.product(key)", "proven = kind.product(sorted(key)[:1])"),
    Mutant(
        CLASSIFY,
        "            if references(expr) <= kind.constant:\n                constant.add",
        "            if expr:\n                constant.add",
    ),
    Mutant(
        CLASSIFY,
        "frozenset(kept.get(i, i) for i in key) for key in kind.keys",
        "frozenset(kept[i] for i in key if i in kept) for key in kind.keys",
    ),
    Mutant(
        JOINED,
        "fan_out == 1 and (condition_ids - public_ids) <= private.constant",
        "fan_out >= 1",
    ),
    Mutant(
        JOINED,
        "matched = tuple(sorted(equated(node.condition, public_ids)))",
        "matched = tuple(sorted(public_ids))",
    ),
    Mutant(
        CLASSIFY,
        "i for s, i in by_source.items() if frozenset() in keys or",
        "i for s, i in by_source.items() if keys or",
    ),
    Mutant(BOUNDING, "full * self.rows_in_group**2 + rest**2", "full * self.rows_in_group + rest"),
    Mutant(BOUNDING, "full * self.rows_in_group**2 + rest**2", "full * self.rows_in_group**2"),
    Mutant(
        BOUNDING, "return min(self.rows, self.groups * self.rows_in_group)", "return self.groups"
    ),
    Mutant(BOUNDING, "return min(self.groups, self.rows)", "return 1"),
    Mutant(BOUNDING, "return magnitude * magnitude * (", "return magnitude * ("),
    Mutant(MEASURE, "max(abs(low - middle), abs(high - middle), 1)", "max(abs(high - middle), 1)"),
    Mutant(MEASURE, "magnitude = magnitude**2 if square else magnitude", "magnitude = magnitude"),
    Mutant(
        MEASURE, "max(thousandths, 1000 - thousandths) *", "min(thousandths, 1000 - thousandths) *"
    ),
    Mutant(MEASURE, "1000 - thousandths) * self.contribution.rows_in_group", "1000 - thousandths)"),
    Mutant(
        MEASURE,
        'Draw(name, "noisy_max", weight**2, self.contribution.groups,',
        'Draw(name, "noisy_max", weight**2, 1,',
    ),
    Mutant(ANALYSIS, "limits.append((scan.columns[0].id, kind.rows))", "limits = limits"),
    Mutant(
        ANALYSIS,
        "limits.append((scan.columns[0].id, kind.rows))",
        "limits.append((scan.columns[0].id, kind.rows + 1))",
    ),
    Mutant(
        MEASURE,
        "                high=high,\n                offset=middle,",
        "                high=2 * high + 1,\n                offset=middle,",
    ),
    Mutant(
        MEASURE,
        "                low=low,\n                high=high,\n                offset=middle,",
        "                low=2 * low - 1,\n                high=high,\n"
        "                offset=middle,",
    ),
    Mutant(
        MEASURE,
        'return self._draw(Draw(name, "gaussian", self.contribution.units_squared_l2))',
        'return self._draw(Draw(name, "gaussian", 1))',
    ),
)


class _Loader(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from changed source."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant
        self.path = ROOT / (mutant.module.replace(".", "/") + ".py")

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname != self.mutant.module:
            return None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self)

    def create_module(self, spec: ModuleSpec) -> None:
        del spec

    def exec_module(self, module: ModuleType) -> None:
        source = self.path.read_text()
        if source.count(self.mutant.right) < 1:
            raise LookupError(f"{self.mutant.module} no longer holds {self.mutant.right!r}")
        exec(  # noqa: S102  # changed source of our own module is the point
            compile(source.replace(self.mutant.right, self.mutant.wrong), str(self.path), "exec"),
            module.__dict__,
        )


def killed_after(mutant: Mutant, seeds: int) -> int | None:
    """Return the seed at which the law noticed the mistake, or None if it never did."""
    ours = (
        "privacy.dp.",
        "tests.support.sensitivity",
        "tests.support.plans",
        "tests.support.reference",
    )
    for name in [n for n in sys.modules if n.startswith(ours)]:
        del sys.modules[name]
    loader = _Loader(mutant)
    sys.meta_path.insert(0, loader)
    try:
        law = importlib.import_module("tests.support.sensitivity")
        for seed in range(seeds):
            try:
                if law.check(seed).violations:
                    return seed
            except Exception:  # noqa: BLE001 - a mutant that crashes is noticed too
                return seed
        return None
    finally:
        sys.meta_path.remove(loader)


def main() -> int:
    """Run all mutants and print one line each."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 40_000
    law = importlib.import_module("tests.support.sensitivity")
    if any(law.check(seed).violations for seed in range(500)):
        print("0 killed: the law is already broken without a mistake")
        return 1
    survivors = 0
    for mutant in MUTANTS:
        seed = killed_after(mutant, seeds)
        survivors += seed is None
        verdict = f"killed at {seed}" if seed is not None else "SURVIVED"
        print(f"{verdict:16} {mutant.module}: {mutant.wrong.strip()[:80]}")
    print(f"{len(MUTANTS) - survivors} killed, {survivors} survived")
    return 1 if survivors else 0


if __name__ == "__main__":
    raise SystemExit(main())
