"""Keepers and signers by the dozen: a process that has everything imported forks one for each line it reads.

A line is JSON. `arguments` are those of the `keeper` command, to be run in `folder` with `environment`; what
it says goes to the file `output`. With `keeper` true the answer is its process, and when it has ended how;
otherwise only the process, which lives until a line names it as the one to `end`.

A keeper notes in the file `writes` what each of its durable writes has put into the journal. It is killed
at the first of the `points`, each a note and "before" or "after" it is on disk, and of the writes by number
("1", "2" and so on).
"""

import gc
import json
import os
import signal
import sys
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine.interfaces import DBAPICursor, ExecutionContext
from sqlalchemy.pool import Pool

from keeper.execution.journal.journal import Journal
from keeper.ops.cli import main as keeper

BEFORE: Final = "before"
AFTER: Final = "after"


@dataclass
class Writes:
    """What this process writes into databases, one note for each commit."""

    file: int
    points: set[tuple[str, str]]
    parts: list[str] = field(default_factory=list)
    made: str | None = None
    count: int = 0

    def listen(self) -> None:
        event.listen(Engine, "begin", self.begin)
        event.listen(Engine, "before_cursor_execute", self.execute)
        event.listen(Engine, "commit", self.commit)
        event.listen(Pool, "checkin", self.checkin)

    def begin(self, connection: Connection) -> None:
        self.parts.clear()

    def execute(
        self,
        connection: Connection,
        cursor: DBAPICursor,
        statement: str,
        parameters: Any,
        context: ExecutionContext,
        many: bool,
    ) -> None:
        verb, _, rest = statement.partition(" ")
        if verb in {"INSERT", "UPDATE"}:
            table = rest.removeprefix("INTO ").split()[0].strip('"')
            values = context.compiled_parameters[0] if context.compiled else {}
            self.parts.append(part(verb, table, values))

    def commit(self, connection: Connection) -> None:
        """Called before it is on disk."""
        if self.parts:
            self.made = note(self.parts)
            self.count += 1
            self.pass_by(BEFORE)

    def checkin(self, *_: object) -> None:
        """Called when the connection is given back, the first thing after a commit."""
        if self.made is not None:
            self.pass_by(AFTER)
            self.made = None

    def pass_by(self, when: str) -> None:
        os.write(self.file, f"{self.made} {when}\n".encode())
        if self.points & {(self.made, when), (str(self.count), when)}:
            os.kill(os.getpid(), signal.SIGKILL)


def part(verb: str, table: str, values: Any) -> str:
    if table == "transitions":
        return f"{values['before']}-{values['after']}"
    if table == "plans":
        return f"plan {values.get('ended') or 'begun'}"
    return table


def note(parts: list[str]) -> str:
    """The steps and plans, and the other tables that were written; that of the lease if it is alone."""
    return ", ".join(sorted({*parts} - {"lease", "intents", "transactions"}) or ["lease"])


def forked(task: dict[str, Any]) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.chdir(task["folder"])
        os.environ.update(task["environment"])
        said = os.open(task["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(said, 1)
        os.dup2(said, 2)
        if task.get("keeper"):
            points = {(what, when) for what, when in task["points"]}
            Writes(os.open(task["writes"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), points).listen()
        keeper(task["arguments"])
    except SystemExit as ended:
        code = int(ended.code or 0)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def ended(child: int) -> int:
    """The exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(scratch: str) -> None:
    for module in ("keeper.ops.commands.run", "keeper.ops.commands.signer", "eth_account"):
        import_module(module)
    # Drivers and migrations are loaded with the first journal.
    Journal(str(Path(scratch) / "unused"))
    gc.freeze()
    for line in sys.stdin:
        task = json.loads(line)
        if "end" in task:
            os.kill(task["end"], signal.SIGTERM)
            answer(ended(task["end"]))
            continue
        child = forked(task)
        answer(child)
        if task.get("keeper"):
            answer(ended(child))


if __name__ == "__main__":
    main(sys.argv[1])
