"""Columns that were written and never read: how far a file on its way is, its partial file tells."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.drop_column("downloads", "received")
    op.drop_column("downloads", "error")


def downgrade() -> None:
    op.add_column("downloads", sa.Column("error", sa.Text))
    op.add_column("downloads", sa.Column("received", sa.BigInteger, nullable=False, server_default="0"))
