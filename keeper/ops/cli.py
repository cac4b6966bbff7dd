"""The `keeper` command.

**Adding a command.** Write `keeper/ops/commands/<name>.py` with a module-level `app: typer.Typer` and add
one line to `COMMANDS`. The module is imported when the command runs, never for `keeper --help`, so it may
import what it needs at its top. Keep it thin: parse options, call functions that anyone can import, print.

* `keeper demo`: an `app` with a single `@app.command()`. `keeper devnet up`: an `app` with several, or with
  one and an `@app.callback()` so that typer keeps the subcommand's name.
* Every command takes `json: JsonOption = False` and prints its result with `keeper.ops.output.show(data,
  text, json=json)`: with `--json` exactly one JSON object on stdout. Progress and logs go to stderr.
* A command that fails raises a KeeperError and prints nothing about it. One whose checks ran and said no
  prints its result and raises `typer.Exit(1)`.

**Exit codes.** 0 done, every check held. 1 a check failed, or what was read makes no sense. 2 usage or
configuration. 3 an endpoint. 4 refused (policy, plan or quorum). 5 internal. 6 a call or transaction
reverted. 130 interrupted. They come from `KeeperError.exit_code`; the error is one message on stderr, and
with `--json` also `{"ok": false, "error": {"kind", "message", ...}}` on stdout.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from types import TracebackType
from typing import Annotated, Final

import typer
from typer.main import get_command

from keeper import ENGINE_VERSION
from keeper.errors import ConfigError, KeeperError

INTERNAL: Final = 5
INTERRUPTED: Final = 130


@dataclass(frozen=True)
class Command:
    """A command by the module that implements it; `summary` is its line in the root help."""

    name: str
    module: str
    summary: str


COMMANDS: Final = (
    Command("connector", "keeper.ops.commands.connector", "List, write and test connectors."),
    Command("demo", "keeper.ops.commands.demo", "Play one day of a vault on real protocols and check it."),
    Command("devnet", "keeper.ops.commands.devnet", "Local chains with the real protocols."),
    Command("explain", "keeper.ops.commands.explain", "What a plan does, why, and what could go wrong."),
    Command("export", "keeper.ops.commands.export", "Everything that happened, for bookkeeping."),
    Command("guardian", "keeper.ops.commands.guardian", "Pause, veto, exit-only, and what is queued."),
    Command("intend", "keeper.ops.commands.intend", "Do to a vault what people want, by a signed plan."),
    Command("nav", "keeper.ops.commands.nav", "What a vault is worth, proved against its contract."),
    Command("plan", "keeper.ops.commands.plan", "Derive the plan that follows from the chains."),
    Command("policy", "keeper.ops.commands.policy", "Check a policy, and that chain and code agree with it."),
    Command("price", "keeper.ops.commands.price", "What tokens are worth, hop by hop, and why."),
    Command("reconcile", "keeper.ops.commands.reconcile", "Explain past plans again, from the chain."),
    Command("repair", "keeper.ops.commands.repair", "What is wrong with what is under way, and its cure."),
    Command("resume", "keeper.ops.commands.resume", "Let a vault take risk again after a breaker tripped."),
    Command("run", "keeper.ops.commands.run", "Look after vaults, unattended."),
    Command("safe", "keeper.ops.commands.safe", "Plans as transactions of a Safe in the keeper role."),
    Command("signer", "keeper.ops.commands.signer", "Run a signer that recomputes a plan before it signs."),
    Command("sim", "keeper.ops.commands.sim", "Forks of live chains, their bundles, and the RPC proxy."),
    Command("snapshot", "keeper.ops.commands.snapshot", "Take, show and verify what a plan rests on."),
    Command("status", "keeper.ops.commands.status", "Vaults, breakers, and transactions under way."),
    Command("strategy", "keeper.ops.commands.strategy", "List and write strategies."),
    Command("verify", "keeper.ops.commands.verify", "Derive a plan again: identical, or what differs."),
)

# What follows the command's name belongs to the command, --help included.
_PASS_THROUGH: Final = {
    "allow_extra_args": True,
    "allow_interspersed_args": False,
    "ignore_unknown_options": True,
    "help_option_names": [],
}


def _run(command: Command, args: Sequence[str]) -> None:
    loaded = getattr(import_module(command.module), "app", None)
    if not isinstance(loaded, typer.Typer):
        raise ConfigError("A command module defines app: typer.Typer", where=command.module)
    get_command(loaded)(args=list(args), prog_name=f"keeper {command.name}")


def _register(root: typer.Typer, command: Command) -> None:
    def forward(context: typer.Context) -> None:
        _run(command, context.args)

    root.command(command.name, help=command.summary, context_settings=_PASS_THROUGH)(forward)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(ENGINE_VERSION)
        raise typer.Exit()


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Omnichain vault keeper: rebalances as signed artefacts that anyone can replay."""


def build(commands: Sequence[Command] = COMMANDS) -> typer.Typer:
    """The root application over a command table; imports none of the commands."""
    root = typer.Typer(no_args_is_help=True, add_completion=False)
    root.callback()(_root)
    for command in commands:
        _register(root, command)
    return root


def report(error: KeeperError, *, as_json: bool) -> None:
    """One message on stderr and, for `--json`, one object on stdout."""
    if as_json:
        typer.echo(json.dumps({"ok": False, "error": error.as_dict()}))
    typer.echo(f"keeper: {error}", err=True)


def _internal(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Last hook: a defect ends with a traceback and its own code; Python's would be 1, "a check failed"."""
    sys.__excepthook__(kind, error, trace)
    raise SystemExit(INTERNAL)


def main(args: Sequence[str] | None = None, commands: Sequence[Command] = COMMANDS) -> None:
    """Entry point of the `keeper` command; always ends with SystemExit, but for defects."""
    sys.excepthook = _internal
    given = list(sys.argv[1:] if args is None else args)
    try:
        # The command itself, as calling the Typer would replace the hook above by its own.
        get_command(build(commands))(args=given, prog_name="keeper")
    except KeeperError as error:
        report(error, as_json="--json" in given)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        typer.echo("keeper: interrupted", err=True)
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
