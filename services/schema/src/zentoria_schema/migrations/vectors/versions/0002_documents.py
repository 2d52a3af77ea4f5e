"""Documents and their passages stand by themselves, and vectors, by model, hang on passages; which model answers."""

from alembic import op
from zentoria_schema.migrations.running import run_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From 0001. Nothing wrote embeddings before: no service did."""
    for name in ("tables", "rights"):
        run_sql(op.get_bind(), "vectors", f"0002_{name}.sql")


def downgrade() -> None:
    """Back to 0001; documents have to be read again."""
    run_sql(op.get_bind(), "vectors", "0002_back.sql")
