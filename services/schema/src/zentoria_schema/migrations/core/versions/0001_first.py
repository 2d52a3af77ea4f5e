"""Accounts, keys, OAuth, files, work, talk, settings, the audit trail, and who may do what."""

from alembic import op
from zentoria_schema import queue
from zentoria_schema.migrations.running import run_sql, to_driver

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From nothing."""
    for name in ("tables", "functions", "audit", "rights"):
        run_sql(op.get_bind(), "core", f"0001_{name}.sql")
    queue.upgrade(to_driver(op.get_bind()))


def downgrade() -> None:
    """Back to nothing."""
    queue.remove(to_driver(op.get_bind()))
    run_sql(op.get_bind(), "core", "0001_back.sql")
