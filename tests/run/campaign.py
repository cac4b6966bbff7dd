"""Days that are played again and again on one chain, with keepers that are ended, and compared."""

import itertools
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from day_host import AFTER, BEFORE
from days import USERS, Day, Outcome, deeper, free
from killed import Doom, Host, Keepers, Point, Tally, hosting, lines
from running import KEY, PROPOSER, Post
from scripts import SCRIPTS, Script
from staged import USDC, Staged

from keeper.simulation.cast import KEY_VARIABLE, Cast, SignerProcess
from keeper.simulation.devnet import Devnet
from keeper.simulation.vault import SIGNERS, deploy_vault

Place = Callable[[], AbstractContextManager[str]]
FUNDS = 3_000_000 * USDC
DEEPEST = 12
"""The last write that a keeper may be killed at by its number."""
TALKATIVE = 8
"""Lines after which it may get a signal at the latest: a start, and a pass that sends."""
LATE = 0.3
"""Seconds after a line, at the latest."""


@dataclass
class Campaign:
    """A vault whose days are played. `points` are those that undisturbed keepers pass by."""

    stage: Staged
    host: Host
    nodes: Sequence[str]
    folder: Path
    drawn: random.Random
    points: set[Point] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)
    expected: dict[Script, Outcome] = field(default_factory=dict)
    _days: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    @contextmanager
    def of(cls, devnet: Devnet, folder: Path, seed: object) -> Iterator["Campaign"]:
        """With a vault whose plans wait for `FINALITY`, and users with funds; nothing is mined by itself."""
        stage = deeper(Staged(devnet, deploy_vault(devnet)))
        asset, vault = stage.deployment.asset, stage.deployment.vault
        for role in USERS:
            stage.act("deployer", asset, "mint(address,uint256)", devnet.address(role), FUNDS)
            stage.act(role, asset, "approve(address,uint256)", vault, FUNDS)
        devnet.rpc("evm_setAutomine", False)
        with ExitStack() as stack:
            processes = [stack.enter_context(_replica(devnet)) for _ in SIGNERS]
            nodes = [_first_line(each) for each in processes]
            host = stack.enter_context(hosting(folder))
            yield cls(stage, host, nodes, folder, random.Random(str(seed)))

    # DAYS

    def undisturbed(self) -> None:
        """Each day once, as it is to be."""
        for script in SCRIPTS:
            self.expected[script] = self._play(script, lambda: None)
        for file in self.folder.glob("day*/writes"):
            self.points |= {(what, when) for what, _, when in (each.rpartition(" ") for each in lines(file))}

    def every_point(self) -> None:
        """Each day once, with a keeper killed at the first of the points where none was yet, and so on."""
        for script in SCRIPTS:
            assert self._play(script, self._at_a_point) == self.expected[script], script.__name__

    def _at_a_point(self) -> Doom | None:
        left = self.points - self.tally.touched
        return Doom(points=tuple(sorted(left))) if left else None

    def days(
        self,
        wanted: int,
        doom: Callable[[], Doom],
        scripts: Sequence[Script] = SCRIPTS,
        place: Place = lambda: nullcontext("data"),
    ) -> None:
        """Days, one script after the other, each with a journal of its own, until so many keepers have ended
        as they were doomed to. All is as it would be without that."""
        goal = self.tally.ends.total() + wanted
        for script in itertools.cycle(scripts):
            if (left := goal - self.tally.ends.total()) == 0:
                return
            # Some are for the other days.
            share = min(left, -(-wanted // len(scripts)))
            with place() as data:
                outcome = self._play(script, self._at_most(share, doom), data)
            assert outcome == self.expected[script], script.__name__

    def _at_most(self, share: int, doom: Callable[[], Doom]) -> Callable[[], Doom | None]:
        """For so many keepers from now on."""
        last = self.tally.ends.total() + share
        return lambda: doom() if self.tally.ends.total() < last else None

    def _play(self, script: Script, doom: Callable[[], Doom | None], place: str = "data") -> Outcome:
        folder = self.folder / f"day{next(self._days)}"
        folder.mkdir()
        devnet, since = self.stage.devnet, self.stage.head.number
        with devnet.undone(), ExitStack() as stack:
            signers = [
                SignerProcess(role, stack.enter_context(self._signer(folder / role, role, node)), node)
                for role, node in self._seats
            ]
            post = Post(folder, self.stage, place)
            environment = {name: post.environment[name] for name in (KEY, PROPOSER)}
            keepers = Keepers(self.host, folder, environment, doom, lambda: free(post.place), self.tally)
            stack.callback(keepers.kill)
            day = Day(post, Cast(tuple(signers)), keepers)
            script(day)
            outcome = day.outcome(since)
        return outcome

    @property
    def _seats(self) -> Iterator[tuple[str, str]]:
        return zip(SIGNERS, self.nodes, strict=True)

    @contextmanager
    def _signer(self, folder: Path, role: str, node: str) -> Iterator[str]:
        folder.mkdir()
        devnet = self.stage.devnet
        (folder / "policy.toml").write_text(self.stage.deployment.policy_toml)
        head = 'listen = "127.0.0.1:0"\npolicy = "policy.toml"\nrecord = "promises.sqlite"\n'
        rest = f'endpoints = "endpoints.toml"\n\n[key]\nenv = "{KEY_VARIABLE}"\n'
        (folder / "signer.toml").write_text(head + rest)
        entry = f'clock = "chain"\n\n[[chains.{devnet.chain_id}.endpoints]]\nurl = "{node}"\n'
        (folder / "endpoints.toml").write_text(entry)
        with self.host.signer(folder, {KEY_VARIABLE: devnet.key(role)}) as url:
            yield url

    # DOOMS

    def at_writes(self) -> Doom:
        """At some write, whatever it is."""
        number = str(self.drawn.randint(1, DEEPEST))
        return Doom(points=((number, self.drawn.choice((BEFORE, AFTER))),))

    def at_any_moment(self, *, cold: bool = False) -> Doom:
        return Doom(lines=self.drawn.randint(0, TALKATIVE), seconds=self.drawn.uniform(0, LATE), cold=cold)

    def told_to_stop(self) -> Doom:
        return Doom(
            signal.SIGTERM, lines=self.drawn.randint(1, TALKATIVE), seconds=self.drawn.uniform(0, LATE)
        )


@contextmanager
def _replica(devnet: Devnet) -> Iterator[subprocess.Popen[str]]:
    """A node of a signer's own."""
    command = ["-m", "keeper.simulation.replica", "--origin", devnet.url, "--chain-id", str(devnet.chain_id)]
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.terminate()


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()
