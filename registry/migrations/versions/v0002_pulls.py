"""Pulls that go on after a restart, checksums by which damage is located, example messages of models."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "pulls",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.Text, nullable=False, unique=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("request", sa.JSON, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
    )
    op.add_column("downloads", sa.Column("checksums", sa.LargeBinary))
    op.create_index("ix_downloads_digest", "downloads", ["digest"])
    op.add_column("models", sa.Column("messages", sa.JSON, nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("models", "messages")
    op.drop_index("ix_downloads_digest", "downloads")
    op.drop_column("downloads", "checksums")
    op.drop_table("pulls")
