"""Operators that choose, compute, name and drop columns: `select`, `withColumns`, `drop`, `toDF`.

Spark's rules: a bare column keeps its identity and an alias makes a new one; `withColumns` replaces
in place; `drop` and `withColumnsRenamed` ignore names that do not exist.
"""

from dataclasses import replace

from privacy.dp import query as q
from privacy.dp.expr import Alias, Name, Star
from privacy.dp.naming import output_name
from privacy.dp.projection import Fresh, Output, passed, project
from privacy.dp.resolve_expr import ExpressionResolver
from privacy.dp.scope import Relation, as_ref, expand, find
from privacy.errors import Refusal


def select(query: q.Select, child: Relation, fresh: Fresh) -> Relation:
    """Return the listed expressions; aggregate calls are for `resolve_aggregate`."""
    resolver = ExpressionResolver(child)
    outputs: list[Output] = []
    for item in query.items:
        if isinstance(item, Star):
            outputs += map(passed, expand(child, item))
        elif isinstance(item, Name):
            found = passed(find(child, item, below=False))
            outputs.append(replace(found, name=item.parts[-1]))
        elif isinstance(item, Alias):
            outputs.append(Output(item.name, resolver.resolve(item), is_new=True))
        else:
            outputs.append(Output(output_name(item), resolver.resolve(item), is_new=True))
    return project(child, outputs, fresh)


def with_columns(query: q.WithColumns, child: Relation, fresh: Fresh) -> Relation:
    """Return all columns, with the given ones replaced or added at the end."""
    resolver = ExpressionResolver(child)
    computed: dict[str, Output] = {}
    for name, expression in query.items:
        if name.lower() in computed:
            raise Refusal(
                "AMBIGUOUS_COLUMN",
                f"`{name}` is given twice in withColumns. Give each column once.",
                f"withColumns 中重复给出了 `{name}`，每列只能给出一次。",
            )
        computed[name.lower()] = Output(name, resolver.resolve(expression), is_new=True)
    outputs = [computed.get(f.column.name.lower(), passed(f)) for f in child.fields]
    present = {f.column.name.lower() for f in child.fields}
    outputs += [output for lowered, output in computed.items() if lowered not in present]
    return project(child, outputs, fresh, keeps_hidden=True)


def drop(query: q.Drop, child: Relation, fresh: Fresh) -> Relation:
    """Return all columns but the named ones."""
    dropped: set[int] = set()
    for expression in query.columns:
        if not isinstance(expression, Name):
            raise Refusal(
                "UNSUPPORTED",
                "drop takes column names or columns, not expressions.",
                "drop 只接受列名或列，不接受表达式。",
            )
        if expression.plan_id is not None:
            dropped.add(find(child, expression, below=False).same)
        else:
            dropped |= {f.same for f in child.fields if f.answers(expression.parts)}
    kept = [passed(f) for f in child.fields if f.same not in dropped]
    return project(child, kept, fresh, keeps_hidden=True)


def rename(query: q.Rename, child: Relation, fresh: Fresh) -> Relation:
    """Return all columns, some under new names, renamed one after the other as in Spark."""
    names = [f.column.name for f in child.fields]
    renamed: set[int] = set()
    for old, new in query.names:
        for position, name in enumerate(names):
            if name.lower() == old.lower():
                names[position] = new
                renamed.add(position)
    outputs = [
        Output(name, as_ref(f.column), is_new=True) if position in renamed else passed(f)
        for position, (name, f) in enumerate(zip(names, child.fields, strict=True))
    ]
    return project(child, outputs, fresh, keeps_hidden=True)


def to_names(query: q.ToNames, child: Relation, fresh: Fresh) -> Relation:
    """Return all columns under new names."""
    if len(query.names) != len(child.fields):
        raise Refusal(
            "UNSUPPORTED",
            f"toDF got {len(query.names)} names for {len(child.fields)} columns.",
            f"toDF 给出了 {len(query.names)} 个名称，但共有 {len(child.fields)} 列。",
        )
    pairs = zip(query.names, child.fields, strict=True)
    outputs = [Output(name, as_ref(f.column), is_new=True) for name, f in pairs]
    return project(child, outputs, fresh)
