"""Lease, intents, transactions, and their transitions, which can only be added to."""

import sqlalchemy as sa
from alembic import op

from keeper.execution.journal.tables import Uint256

revision = "0001"
down_revision = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    lease = op.create_table(
        "lease",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("holder", sa.String, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.bulk_insert(lease, [{"id": 1, "holder": "", "token": 0, "until": 0}])
    op.create_table(
        "intents",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("chain_id", Uint256, nullable=False),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("purpose", sa.String, nullable=False),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("gas", Uint256, nullable=False),
        sa.Column("valid_until", Uint256),
    )
    op.create_table(
        "transactions",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column("intent", sa.String, sa.ForeignKey("intents.key"), nullable=False, index=True),
        sa.Column("chain_id", Uint256, nullable=False),
        sa.Column("account", sa.String, nullable=False),
        sa.Column("nonce", Uint256, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("cancels", sa.Boolean, nullable=False),
        sa.Column("max_fee", Uint256, nullable=False),
        sa.Column("tip", Uint256, nullable=False),
        sa.Column("since", Uint256, nullable=False),
        sa.Column("state", sa.String, nullable=False, index=True),
        sa.Column("hash", sa.LargeBinary, unique=True),
        sa.Column("raw", sa.LargeBinary),
        sa.Column("block_hash", sa.LargeBinary),
        sa.Column("succeeded", sa.Boolean),
        sa.UniqueConstraint("chain_id", "account", "nonce", "attempt"),
    )
    op.create_table(
        "transitions",
        sa.Column("id", _ROW_ID, primary_key=True),
        sa.Column(
            "transaction_id", sa.BigInteger, sa.ForeignKey("transactions.id"), nullable=False, index=True
        ),
        sa.Column("before", sa.String),
        sa.Column("after", sa.String, nullable=False),
        sa.Column("moment", sa.BigInteger, nullable=False),
        sa.Column("token", sa.BigInteger, nullable=False),
        sa.Column("block_hash", sa.LargeBinary),
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION transitions_are_kept() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'transitions are only added to'; END $$"
        )
        op.execute(
            "CREATE TRIGGER transitions_are_kept BEFORE UPDATE OR DELETE ON transitions"
            " FOR EACH ROW EXECUTE FUNCTION transitions_are_kept()"
        )
    else:
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER transitions_keep_{act.lower()} BEFORE {act} ON transitions"
                " BEGIN SELECT RAISE(ABORT, 'transitions are only added to'); END"
            )
