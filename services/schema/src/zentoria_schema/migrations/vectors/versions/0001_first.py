"""Embeddings of documents and of what was said, by model, and who may do what."""

from alembic import op
from zentoria_schema.migrations.running import run_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From nothing."""
    for name in ("tables", "rights"):
        run_sql(op.get_bind(), "vectors", f"0001_{name}.sql")


def downgrade() -> None:
    """Back to nothing."""
    run_sql(op.get_bind(), "vectors", "0001_back.sql")
