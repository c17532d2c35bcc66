"""The unit file for systemd: it is valid, starts what the package has, and takes from the process what it needs not."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from mm_pipeline.cli import main

UNIT = Path(__file__).resolve().parents[2] / "deploy" / "local" / "mm-up.service"


def entries() -> dict[str, list[str]]:
    """Values by key, of all sections."""
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/mm_pipeline/.venv/bin/mm up", "/bin/true up"))
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_starts_a_command_that_there_is() -> None:
    (command,) = entries()["ExecStart"]
    _, *arguments = command.split()
    assert CliRunner().invoke(main, [*arguments, "--help"]).exit_code == 0


def test_it_stands_up_again_and_may_write_to_its_home_alone() -> None:
    found = entries()
    for key, value in {
        "Restart": "always",
        "StartLimitIntervalSec": "0",
        "UMask": "0077",
        "NoNewPrivileges": "yes",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateTmp": "yes",
        "CapabilityBoundingSet": "",
        "KillMode": "mixed",
    }.items():
        assert found[key] == [value], key
    assert found["EnvironmentFile"] == ["/etc/mm_pipeline/secrets.env"]
    secrets = [entry for entry in found["Environment"] if any(word in entry for word in ("KEY", "TOKEN", "SECRET"))]
    assert secrets == []
