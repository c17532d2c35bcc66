"""Row 48: commands that are started at once on a home that is not there yet make its Dagster storage once."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mm_pipeline.adapters import dagster_folder
from mm_pipeline.adapters.config.home import dagster_dir
from mm_pipeline.adapters.dagster_folder import INSTANCE_SETTINGS, LOCK_FILE, opening
from mm_pipeline.adapters.writing import FileLock
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.orchestration.runs import opened_instance

pytestmark = pytest.mark.fault

PROCESSES, HOMES = 4, 3
OPENING = """
import os, sys, time, traceback
from pathlib import Path
from mm_pipeline.orchestration.runs import dagster_instance

def opened(home, at_s):
    time.sleep(max(0.0, at_s - time.monotonic()))
    try:
        with dagster_instance(home) as instance:
            instance.get_runs()
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

def started(home, at_s):
    child = os.fork()  # which is at the opening at once: everything is imported
    if not child:
        os._exit(opened(home, at_s))
    return child

processes, *homes = sys.argv[1:]
failed = 0
for home in homes:
    at_s = time.monotonic() + 0.2
    children = [started(Path(home), at_s) for _ in range(int(processes))]
    failed += sum(os.waitpid(child, 0)[1] != 0 for child in children)
print(failed)
"""


def test_48_processes_that_open_a_fresh_home_at_once_all_open_it(tmp_path: Path) -> None:
    homes = [tmp_path / str(number) for number in range(HOMES)]
    arguments = [sys.executable, "-W", "ignore", "-c", OPENING, str(PROCESSES), *map(str, homes)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout == "0\n", done.stderr[-3000:]
    for home in homes:
        assert (dagster_dir(home) / "dagster.yaml").read_bytes() == INSTANCE_SETTINGS.read_bytes()
        assert [file for file in dagster_dir(home).iterdir() if file.name.startswith(".dagster.yaml")] == []


@pytest.mark.parametrize("obstacle", ["a process that hangs", "a disk that takes no lock"])
def test_48_home_whose_lock_cannot_be_had_is_opened_all_the_same(
    tmp_path: Path, obstacle: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_folder, "_OPENED_WITHIN_S", 0.1)
    held = FileLock(dagster_dir(tmp_path) / LOCK_FILE)
    if obstacle == "a process that hangs":
        assert held.try_take("hangs")
    else:
        (dagster_dir(tmp_path) / LOCK_FILE).mkdir(parents=True)
    with opened_instance(tmp_path) as instance:
        assert instance.get_runs() == []
    held.free()


def test_48_settings_are_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half_written(file: Path, content: bytes) -> int:
        with file.open("wb") as opened:
            opened.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", half_written)
        with pytest.raises(StorageError, match="No space left"), opening(tmp_path):
            pass
    assert [file.name for file in dagster_dir(tmp_path).iterdir()] == [LOCK_FILE]
    with opening(tmp_path) as folder:
        assert (folder / "dagster.yaml").read_bytes() == INSTANCE_SETTINGS.read_bytes()


def test_48_settings_that_an_operator_changed_stay_as_they_are(tmp_path: Path) -> None:
    dagster_dir(tmp_path).mkdir()
    changed = yaml.safe_dump(yaml.safe_load(INSTANCE_SETTINGS.read_text()) | {"telemetry": {"enabled": False}})
    (dagster_dir(tmp_path) / "dagster.yaml").write_text(changed)
    with opening(tmp_path) as folder:
        assert (folder / "dagster.yaml").read_text() == changed
