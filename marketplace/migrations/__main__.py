"""`python -m marketplace.migrations "add a table"`: draft the revision that today's tables lack."""

import argparse
import importlib
import sys
from pathlib import Path

from alembic import command
from sqlalchemy import create_engine

from marketplace import db
from marketplace.migrations.upgrade import HERE, configuration, head, upgrade

VERSIONS = HERE / "versions"


def main(folder: Path = VERSIONS) -> int:
    """Write a file into `folder`, from what the code's tables have and the revisions lack."""
    parser = argparse.ArgumentParser(prog="python -m marketplace.migrations")
    parser.add_argument("message", help="what the revision does, as a sentence without its stop")
    given = parser.parse_args()
    importlib.import_module("marketplace.app")  # knows everything that has tables
    config, engine = configuration(), create_engine("sqlite://")
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", "\n".join({str(VERSIONS): 1, str(folder): 2}))
    number = f"{int(head()) + 1:04}"
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        upgrade(connection)
        config.attributes.update(connection=connection, metadata=db.metadata)
        command.revision(
            config, given.message, autogenerate=True, rev_id=number, version_path=str(folder)
        )
    engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
