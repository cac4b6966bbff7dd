"""The plans, circuit breakers and heartbeats of vaults."""

import sqlalchemy as sa
from alembic import op

from keeper.execution.journal.tables import Uint256

revision = "0002"
down_revision = "0001"

_ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "plans",
        sa.Column("plan_hash", sa.LargeBinary, primary_key=True),
        sa.Column("chain_id", Uint256, nullable=False),
        sa.Column("vault", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("ended", sa.String),
        sa.Column("block", Uint256),
    )
    op.create_table(
        "breakers",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("chain_id", Uint256, nullable=False),
        sa.Column("vault", sa.String, nullable=False),
        sa.Column("breaker", sa.String),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("moment", sa.BigInteger, nullable=False),
        sa.Column("price", Uint256),
        sa.Column("epoch", Uint256),
    )
    op.create_table(
        "heartbeats",
        sa.Column("chain_id", Uint256, primary_key=True),
        sa.Column("vault", sa.String, primary_key=True),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("moment", sa.BigInteger, nullable=False),
        sa.Column("did", sa.String, nullable=False),
        sa.Column("trouble", sa.String, nullable=False),
    )
