"""A command in this process with all that it says, for tests that look for secrets in it."""

import asyncio
import json
import traceback
from collections.abc import Mapping

import typer
from typer.testing import CliRunner

from keeper.errors import KeeperError


async def loud(app: typer.Typer, secrets: Mapping[str, str], *arguments: object) -> tuple[int, str]:
    """Its exit code; stdout, stderr, and the error as text, as JSON and with its traceback."""
    words = [str(each) for each in arguments]
    done = await asyncio.to_thread(lambda: CliRunner().invoke(app, words, env=secrets))
    if not isinstance(done.exception, KeeperError):
        return done.exit_code, done.output
    trace = "".join(traceback.format_exception(done.exception))
    said = f"{done.output}{done.exception}{json.dumps(done.exception.as_dict())}{trace}"
    return done.exception.exit_code, said
