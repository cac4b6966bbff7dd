"""Runs migrations in the transaction that `keeper.execution.journal.database` has begun."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
