"""Keepers that are ended again and again while a day goes on: who runs now, and how each of them ended."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

RUN = ("run", "--config", "keeper.toml", "--json")
PATIENCE_SECONDS = 600
"""For whatever a day waits for, many keepers' lives included."""
PAUSE_SECONDS = 0.02
SETTLING = 10
"""Pauses before a keeper is stopped."""
STOP_SECONDS = 10.0
"""Within which a keeper that is told to stop has stopped."""
Point = tuple[str, str]


@dataclass(frozen=True)
class Doom:
    """How a keeper ends: killed at the first of its `points` (see `day_host`), or by a signal, so many
    `seconds` after it has said so many `lines`. A `cold` one is a process that imports everything anew, and
    knows no points."""

    number: signal.Signals = signal.SIGKILL
    points: tuple[Point, ...] = ()
    lines: int = 0
    seconds: float = 0.0
    cold: bool = False

    def __str__(self) -> str:
        return "at a write" if self.points else f"{'cold ' if self.cold else ''}{self.number.name}"


UNHURT = Doom(lines=sys.maxsize)
"""Waits for a line that nobody says."""


class Host:
    """The process that forks keepers and signers (`day_host`)."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._to: IO[bytes] = process.stdin
        self._from: IO[bytes] = process.stdout

    def tell(self, line: Mapping[str, Any]) -> int:
        """What the host answers to a line."""
        self._to.write(json.dumps(line).encode() + b"\n")
        self._to.flush()
        return int(self._from.readline())

    def ended(self, seconds: float) -> int | None:
        """How the keeper ended, if it has or does within the time."""
        return int(self._from.readline()) if select.select([self._from], [], [], seconds)[0] else None

    @contextmanager
    def signer(self, folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
        """A signer whose file is in the folder; where it listens."""
        said = folder / "said"
        arguments = ["signer", "--config", "signer.toml", "--json"]
        place = {"folder": str(folder), "environment": dict(environment), "output": str(said)}
        child = self.tell({**place, "arguments": arguments})
        try:
            deadline = time.monotonic() + PATIENCE_SECONDS
            while not lines(said):
                assert time.monotonic() < deadline, "no signer"
                self.ended(PAUSE_SECONDS)
            yield json.loads(lines(said)[0])["url"]
        finally:
            self.tell({"end": child})


@contextmanager
def hosting(scratch: Path) -> Iterator[Host]:
    command = [sys.executable, Path(__file__).with_name("day_host.py"), scratch]
    # Unbuffered, so that what `select` says is all there is.
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        yield Host(process)


def lines(file: Path) -> list[str]:
    """Whole ones only."""
    text = file.read_text() if file.exists() else ""
    return text[: text.rfind("\n") + 1].splitlines()


@dataclass
class Life:
    """A keeper that runs. `due` is when its signal comes, once it is known, and `told` when it came."""

    doom: Doom
    output: Path
    child: int
    cold: subprocess.Popen[bytes] | None = None
    due: float | None = None
    told: float | None = None

    def ended(self, host: Host) -> int | None:
        """Its exit code, or minus the signal that ended it, if it has ended or does in a moment."""
        if self.cold is None:
            return host.ended(PAUSE_SECONDS)
        try:
            return self.cold.wait(PAUSE_SECONDS)
        except subprocess.TimeoutExpired:
            return None

    def strike(self) -> None:
        """The signal that it is doomed to get, when its time has come."""
        if self.doom.points or self.told is not None:
            return
        now = time.monotonic()
        if self.due is None and len(lines(self.output)) >= self.doom.lines:
            self.due = now + self.doom.seconds
        if self.due is not None and now >= self.due:
            os.kill(self.child, self.doom.number)
            self.told = now


@dataclass
class Tally:
    """How keepers have ended, by doom; the points at which some were killed; and how many seconds those took
    that were told to stop."""

    ends: Counter[str] = field(default_factory=Counter)
    touched: set[Point] = field(default_factory=set)
    stops: list[float] = field(default_factory=list)


@dataclass
class Keepers:
    """One keeper after the other in an operator's folder, each with the next doom, if there is one. `free`
    ends the lease of a keeper that was killed."""

    host: Host
    folder: Path
    environment: Mapping[str, str]
    doom: Callable[[], Doom | None]
    free: Callable[[], None]
    tally: Tally
    _life: Life | None = None
    _lives: int = 0

    @property
    def writes(self) -> Path:
        """What has been written into the journal (see `day_host`)."""
        return self.folder / "writes"

    def said(self) -> list[str]:
        """The last that the keeper which runs has said."""
        return [] if self._life is None else lines(self._life.output)[-5:]

    def begin(self, doom: Doom | None = None) -> None:
        """A keeper with this doom, or with the next one."""
        doom = doom or self.doom() or UNHURT
        output = self.folder / f"said.{self._lives}"
        self._lives += 1
        if doom.cold:
            with output.open("wb") as said:
                process = subprocess.Popen(
                    [sys.executable, "-m", "keeper.ops.cli", *RUN],
                    cwd=self.folder,
                    env={**os.environ, **self.environment},
                    stdout=said,
                    stderr=said,
                )
            self._life = Life(doom, output, process.pid, process)
            return
        place = {"folder": str(self.folder), "environment": dict(self.environment), "output": str(output)}
        notes = {"writes": str(self.writes), "points": doom.points, "keeper": True}
        self._life = Life(doom, output, self.host.tell({**place, **notes, "arguments": RUN}))

    def attend(self) -> None:
        """For a moment: one that has ended gets a successor, and one whose time has come its signal."""
        life = self._life
        assert life is not None
        code = life.ended(self.host)
        if code is None:
            life.strike()
            return
        told = "\n".join(self.said())
        if life.doom.number is signal.SIGTERM:
            assert life.told is not None, told
            assert code == 0, told
            self.tally.stops.append(time.monotonic() - life.told)
        else:
            assert code == -signal.SIGKILL, told
            if life.doom.points:
                # Its last note is that at which it died.
                what, _, when = lines(self.writes)[-1].rpartition(" ")
                self.tally.touched.add((what, when))
            else:
                assert life.told is not None, told
            self.free()
        self.tally.ends[str(life.doom)] += 1
        self.begin()

    @contextmanager
    def held(self) -> Iterator[None]:
        """The keeper that runs, if it still does, stands still meanwhile."""
        life = self._life
        assert life is not None
        with suppress(ProcessLookupError):
            os.kill(life.child, signal.SIGSTOP)
        yield
        with suppress(ProcessLookupError):
            os.kill(life.child, signal.SIGCONT)

    def stop(self) -> None:
        """Has the keeper that runs, and that nothing happens to any more, stop by itself."""
        for _ in range(SETTLING):
            # One that is dying at its point is seen to have died there.
            self.attend()
        life = self._life
        assert life is not None
        # So is one that has got its signal just now.
        while life.told is not None:
            assert time.monotonic() < life.told + PATIENCE_SECONDS, "the keeper does not end"
            self.attend()
            life = self._life
        if life.doom.points:
            # It would not forget them.
            self.kill()
            self.free()
            self.begin(UNHURT)
            life = self._life
            assert life is not None
        life.doom = UNHURT
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (code := life.ended(self.host)) is None and not lines(life.output):
            assert time.monotonic() < deadline
        assert code is None, "\n".join(self.said())
        os.kill(life.child, signal.SIGTERM)
        told = time.monotonic()
        while (code := life.ended(self.host)) is None:
            assert time.monotonic() < told + STOP_SECONDS, "the keeper does not stop"
        assert code == 0, "\n".join(self.said())
        self.tally.stops.append(time.monotonic() - told)
        self._life = None

    def kill(self) -> None:
        """Whatever runs."""
        life, self._life = self._life, None
        if life is not None and life.ended(self.host) is None:
            os.kill(life.child, signal.SIGKILL)
            while life.ended(self.host) is None:
                pass
