"""What a job, an upload or a message points to is its owner's."""

from alembic import op
from zentoria_schema.migrations.running import run_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From 0001."""
    run_sql(op.get_bind(), "core", "0002_forward.sql")


def downgrade() -> None:
    """Back to 0001."""
    run_sql(op.get_bind(), "core", "0002_back.sql")
