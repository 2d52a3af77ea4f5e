"""Documents that are read page by page, answers in branches, approvals that the gateway carries out, memories."""

from alembic import op
from zentoria_schema.migrations.running import run_sql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """From 0002."""
    run_sql(op.get_bind(), "core", "0003_forward.sql")


def downgrade() -> None:
    """Back to 0002."""
    run_sql(op.get_bind(), "core", "0003_back.sql")
