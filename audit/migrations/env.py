"""Alembic's entry: runs on the connection that `audit.migrate` hands over."""

from alembic import context

from audit.tables import AuditTable

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=AuditTable.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
