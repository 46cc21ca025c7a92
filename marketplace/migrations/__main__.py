"""`python -m marketplace.migrations "add a table"`: draft the revision that today's tables lack."""

import argparse
import importlib
import sys

from alembic import command
from sqlalchemy import create_engine

from marketplace import db
from marketplace.migrations.upgrade import configuration, head, upgrade


def main() -> int:
    """Write a file into `versions`, from what the code's tables have and the revisions lack."""
    parser = argparse.ArgumentParser(prog="python -m marketplace.migrations")
    parser.add_argument("message", help="what the revision does, as a sentence without its stop")
    given = parser.parse_args()
    importlib.import_module("marketplace.app")  # knows everything that has tables
    config, engine = configuration(), create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        upgrade(connection)
        config.attributes.update(connection=connection, metadata=db.metadata)
        number = f"{int(head()) + 1:04}"
        command.revision(config, given.message, autogenerate=True, rev_id=number)
    engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
