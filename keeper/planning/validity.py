"""When a plan may still be acted on. Times are UNIX seconds by one clock."""

from keeper.errors import RefusedError
from keeper.planning.plan import Plan
from keeper.planning.policy import Policy


def require_reference_time(reference_time: int, policy: Policy, now: int) -> None:
    """Raises RefusedError for a reference time that signers would refuse at `now`."""
    oldest, latest = now - policy.time.max_reference_age, now + policy.time.max_clock_skew
    if reference_time < oldest:
        raise RefusedError(
            "The reference time is too old for the policy",
            expected=f"{oldest} or later, {policy.time.max_reference_age} s before now",
            seen=f"{reference_time}, {now - reference_time} s before now",
            where="time.max_reference_age",
        )
    if reference_time > latest:
        raise RefusedError(
            "The reference time is in the future", expected=f"at most {latest}", seen=reference_time
        )


def require_valid(plan: Plan, now: int) -> None:
    """Raises RefusedError for a plan whose time is over at `now`."""
    if now > plan.valid_until:
        raise RefusedError(
            "The plan is older than its validity",
            expected=f"until {plan.valid_until}",
            seen=f"{now}, {now - plan.valid_until} s later",
            where=f"plan 0x{plan.plan_hash.hex()}",
            hint="It can still be verified; to act, make a new one.",
        )
