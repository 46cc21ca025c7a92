"""One checked question, two engines: DuckDB (embedded) and Spark (distributed), with equal answers.

Reading order: `physical` (the small relational plan), `compile` (a checked question becomes that
plan), `certificate` (an independent proof that the plan is as bounded as claimed), `functions` and
`render` (the plan as SQL text of each engine), `duckdb` and `spark` (running it), `public` (exact
answers about public tables and released answers). Only this package and the lake read rows.
"""
