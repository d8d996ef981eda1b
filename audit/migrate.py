"""Migrations: bring an older store up to date, or make the packaged schema anew. The only module that needs alembic.

`python -m audit.migrate` prints the schema that the migrations make; `schema.sql` holds it, and a test compares.
"""

import sqlite3
from importlib import resources
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, create_engine, event

from audit.errors import StoreFailed


def engine_for(path: Path) -> Engine:
    """An engine on a store, with our pragmas, and with parameters hidden from its errors. Dispose of it."""
    engine = create_engine(f"sqlite:///{path}", hide_parameters=True)

    @event.listens_for(engine, "connect")
    def pragmas(connection: sqlite3.Connection, _: object) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


def upgrade(path: Path, revision: str = "head") -> None:
    """Migrate a store in one transaction.

    Raises:
        StoreFailed: the store is newer than this program, or a migration failed; it then stands as it was.
    """
    from alembic.util.exc import CommandError
    from sqlalchemy.exc import SQLAlchemyError

    engine = engine_for(path)
    try:
        with engine.begin() as connection, resources.as_file(resources.files("audit") / "migrations") as scripts:
            config = Config()
            config.set_main_option("script_location", str(scripts).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except CommandError:
        raise StoreFailed(f"the audit store {path} is of a newer release: install that release to open it") from None
    except SQLAlchemyError as error:
        raise StoreFailed(
            f"the audit store {path} cannot be migrated ({type(error).__name__}): restore a copy"
        ) from None
    finally:
        engine.dispose()


def schema_of(path: Path) -> str:
    """The statements that would make a store like this one, with its revision."""
    connection = sqlite3.connect(path)
    try:
        rows = connection.execute(
            "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY type DESC, name"
        ).fetchall()
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    finally:
        connection.close()
    statements = [" ".join(sql.split()) for (sql,) in rows]
    statements.append(f"INSERT INTO alembic_version (version_num) VALUES ('{revision}')")
    return "".join(f"{statement};\n" for statement in statements)


def main() -> None:
    """Print the schema that the migrations make."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "fresh.db"
        upgrade(path)
        print(schema_of(path), end="")


if __name__ == "__main__":
    main()
