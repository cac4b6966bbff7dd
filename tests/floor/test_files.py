"""What commands write, wherever they are told to."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from keeper import files
from keeper.errors import ConfigError


def test_a_file_is_replaced_with_its_mode_and_behind_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    real.chmod(0o600)
    link.symlink_to(real)
    files.write(link, b"new", "plan")
    assert link.is_symlink()
    assert (real.read_bytes(), stat.S_IMODE(real.stat().st_mode)) == (b"new", 0o600)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link", "real"]


def test_a_device_and_a_pipe_stay_what_they_are(tmp_path: Path) -> None:
    files.write(Path("/dev/null"), b"new", "plan")
    assert Path("/dev/null").is_char_device()
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    files.write(pipe, b"new", "plan")
    reader.join()
    assert (pipe.is_fifo(), read) == (True, [b"new"])
    end, start = os.pipe()
    files.write(Path(f"/dev/fd/{start}"), b"new", "plan")
    assert os.read(end, 10) == b"new"
    os.close(start)
    os.close(end)


def test_two_who_write_one_file_leave_one_of_theirs(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from keeper import files\n"
        "for _ in range(300): files.write(Path(sys.argv[1]), sys.argv[2].encode() * 200_000, 'plan')"
    )
    place = tmp_path / "plan"
    writers = [subprocess.Popen([sys.executable, "-c", code, str(place), letter]) for letter in "ab"]
    while any(writer.poll() is None for writer in writers):
        if place.exists():
            assert place.read_bytes() in (b"a" * 200_000, b"b" * 200_000)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert [each.name for each in tmp_path.iterdir()] == ["plan"]


@pytest.mark.parametrize("place", ["", ".", "/", "folder", "none/file", "loop"])
def test_what_is_no_place_for_a_file_is_refused(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match="Cannot write the plan"):
        files.write(Path(place), b"new", "plan")
