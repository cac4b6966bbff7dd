"""Files of plans: their canonical bytes, and nothing else; signers take the same bytes."""

from pathlib import Path

from keeper import files
from keeper.chain.snapshot import Snapshot
from keeper.errors import ConfigError, PlanError
from keeper.planning.plan import MAX_PLAN_BYTES, Plan


def load(path: Path) -> Plan:
    """Raises ConfigError when there is no such file, PlanError when it holds no plan."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PLAN_BYTES + 1)
    except OSError as error:
        raise ConfigError("Cannot read the plan", where=path, seen=error.strerror) from error
    return Plan.from_bytes(data)


def save(path: Path, plan: Plan) -> None:
    """Whole or not at all. Raises ConfigError when it cannot be written."""
    files.write(path, plan.to_bytes(), "plan")


def load_snapshot(path: Path, plan: Plan) -> Snapshot:
    """The snapshot the plan rests on. Raises PlanError when the file is another one, DecodeError when it is
    damaged."""
    snapshot = Snapshot.load(path)
    if snapshot.hash != plan.snapshot_hash:
        raise PlanError(
            "The snapshot is not the plan's",
            expected=plan.snapshot_hash,
            seen=snapshot.hash,
            where=path,
        )
    return snapshot
