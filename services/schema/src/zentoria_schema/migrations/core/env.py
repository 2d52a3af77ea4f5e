"""How Alembic reaches zentoria_core: with the connection that it is handed."""

from alembic import context
from zentoria_schema.core import Base
from zentoria_schema.migrations.running import run

run(context, Base.metadata)
