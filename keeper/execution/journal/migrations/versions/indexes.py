"""What every pass asks for, without a look at all that ever was."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index("ix_transactions_live", "transactions", ["chain_id", "account", "state"])
    op.create_index("ix_plans_open", "plans", ["chain_id", "ended"])
    op.create_index("ix_plans_done", "plans", ["chain_id", "vault", "block"])
