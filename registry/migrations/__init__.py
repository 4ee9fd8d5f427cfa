"""Brings a database to the shape of `tables.py`. Python only, so that it works from a wheel and from a checkout."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

HEAD = "0003"


def migrate(connection: Connection) -> None:
    """Run the missing steps within the connection's transaction.

    Raises `LookupError` when the database has a revision that this version does not know.
    """
    if _revision(connection) == HEAD:
        return
    from alembic import command  # 0.2 s to import: only when there is something to do
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise LookupError(str(error)) from error


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision
