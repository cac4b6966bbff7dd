"""What gas cost, for which vault, and what was said about accounts that run dry."""

import sqlalchemy as sa
from alembic import op

from keeper.execution.journal.tables import Uint256

revision = "0003"
down_revision = "0002"

_PLAN = "plan/"
_CLOSE = "close/"


def upgrade() -> None:
    op.add_column("intents", sa.Column("vault", sa.String))
    for name in ("gas_used", "gas_price", "data_fee", "mined_at"):
        op.add_column("transactions", sa.Column(name, Uint256))
    op.create_index("ix_transactions_mined_at", "transactions", ["mined_at"])
    op.create_table(
        "floats",
        sa.Column("chain_id", Uint256, primary_key=True),
        sa.Column("account", sa.String, primary_key=True),
        sa.Column("low", sa.Boolean, nullable=False),
        sa.Column("capped_on", Uint256),
    )
    _name_vaults()


def _name_vaults() -> None:
    """Of what was sent before: plans are in the journal, and the key of an epoch's end names its vault."""
    intents = sa.table("intents", sa.column("key", sa.String), sa.column("vault", sa.String))
    plans = sa.table("plans", sa.column("plan_hash", sa.LargeBinary), sa.column("vault", sa.String))
    connection = op.get_bind()
    vaults = {f"{_PLAN}{bytes(name).hex()}": vault for name, vault in connection.execute(sa.select(plans))}
    for (key,) in connection.execute(sa.select(intents.c.key)).all():
        vault = key.split("/")[2] if key.startswith(_CLOSE) else vaults.get(key)
        if vault is not None:
            connection.execute(sa.update(intents).where(intents.c.key == key).values(vault=vault))
