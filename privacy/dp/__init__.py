"""Differential privacy: queries as data, their sensitivity, mechanisms, and budgets.

Reading order: `query` and `expr` (what a client asked, by name), `resolve` (names become columns),
`plan` (the typed plan), `relation` (what is private and how much one unit can weigh), `bounding`
(sensitivity), `analysis` (releases, mechanisms, price), `release` (exact integers in, noise out).
"""
