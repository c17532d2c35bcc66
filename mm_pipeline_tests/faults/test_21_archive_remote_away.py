"""Row 21: a remote that is away or refuses, a lock left behind: evaluations go on, the archive catches up in order."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from mm_pipeline.adapters.archive import ArchiveRepository
from mm_pipeline.adapters.archive.files import checksum_of
from mm_pipeline.cli import main
from mm_pipeline.contracts import states as contracts
from mm_pipeline.domain.errors import ArchiveError
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.dagster_samples import DAGSTER_WARNINGS, ETH, FixedSources, Installation, check_of, metadata_of
from mm_pipeline_tests.paging_samples import AT, BAR, calm_market, with_price

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed"),
    *DAGSTER_WARNINGS,
]
REFUSES = "#!/bin/sh\necho closed for today >&2\nexit 1\n"


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@cache
def falling() -> pl.DataFrame:
    return with_price(calm_market(), 2750.0, AT + BAR)


class Archived:
    """An installation whose archive has a bare repository as its remote."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, kept: Path) -> None:
        self.kept = kept
        self.remote = folder / "remote.git"
        subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(self.remote)], check=True)
        self.installation = Installation(
            folder, FixedSources({ETH: falling()}), settings={"channels": [], "exchange": "kucoin"}
        )
        self.installation.grid("eth")
        self.installation.grid("idle", enabled=False)
        self.instance = instance
        self.clone = self.installation.home / "archive"

    def tick(self, bars: int) -> dg.ExecuteInProcessResult:
        result = self.installation.tick(AT + bars * BAR, self.instance)
        assert result.success
        return result

    def begin(self) -> None:
        """As after ``tick(0)``, which is made once: the home and the remote are copied."""
        copy = self.kept / "remote.git"
        if copy.exists():
            shutil.copytree(copy, self.remote, dirs_exist_ok=True)
        self.installation.tick_once(AT)
        if not copy.exists():
            shutil.copytree(self.remote, copy)

    def refuse(self, *, is_closed: bool = True) -> None:
        hook = self.remote / "hooks" / "pre-receive"
        hook.write_text(REFUSES)
        hook.chmod(0o755 if is_closed else 0o644)
        if not is_closed:
            hook.unlink()

    def subjects(self) -> list[str]:
        """Commits of the remote, oldest first."""
        told = (
            git(self.remote, "log", "--no-merges", "--reverse", "--date-order", "--format=%s", "main")
            if self.has_commits()
            else ""
        )
        return [line.removeprefix("Evaluations to 2025-03-03 ") for line in told.splitlines()]

    def has_commits(self) -> bool:
        return bool(git(self.remote, "for-each-ref"))

    def file(self, path: str) -> Any:
        return yaml.safe_load(git(self.remote, "show", f"main:{path}"))

    def problem(self, result: dg.ExecuteInProcessResult) -> str:
        check = check_of(result, "archive", "pushed")
        assert not check.passed
        return str(check.metadata["problem"].value)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def archived(tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archived]:
    with dg.DagsterInstance.ephemeral() as instance:
        made = Archived(tmp_path, instance, kept)
        monkeypatch.setenv("MM_ARCHIVE_REMOTE", str(made.remote))
        yield made


def test_21_every_evaluation_and_hour_is_a_file_in_the_remote(archived: Archived) -> None:
    result = archived.tick(0)
    assert check_of(result, "archive", "pushed").passed
    archived.tick(3)  # two were missed: their gap is filled
    assert archived.subjects() == ["14:00 UTC", "14:45 UTC"]
    names = git(archived.remote, "ls-tree", "-r", "--name-only", "main").splitlines()
    expected = [f"exit_states/2025/03/03/14{minute}_eth.yaml" for minute in ("00", "15", "30", "45")]
    assert [name for name in names if name.startswith("exit_states")] == expected
    assert [name for name in names if name.startswith("metrics")] == ["metrics/2025/03/03/14_ETH-USDT.yaml"]
    assert sum(name.startswith("entry_states") for name in names) == 4

    row = archived.file("exit_states/2025/03/03/1445_eth.yaml")
    stored = archived.installation.read(
        "exit_states", "eth", start=AT.replace(day=1, hour=0), end=AT + timedelta(days=1)
    ).row(-1, named=True)
    assert (row["state"], row["price"]) == (stored["state"], stored["price"])
    assert row["state"] == "MANDATORY_EXIT"
    assert row["risk"]["capital_at_risk_1h_quote"] == stored["risk"]["capital_at_risk_1h_quote"]
    assert row["settings_hash"] == load_settings(archived.installation.settings_file).hash
    hour = archived.file("metrics/2025/03/03/14_ETH-USDT.yaml")["kucoin:ETH/USDT"]
    assert hour["close_time"] == AT
    assert {"verdict", "atr_14", "code_version"} <= set(hour)


def test_21_remote_that_refuses_or_is_away_delays_the_push_alone(archived: Archived) -> None:
    archived.begin()
    archived.refuse()
    told = archived.problem(archived.tick(1))
    assert "closed for today" in told
    moved = archived.remote.rename(archived.remote.with_name("away.git"))
    assert "was not pushed" in archived.problem(archived.tick(2))
    moved.rename(archived.remote)
    archived.refuse(is_closed=False)
    result = archived.tick(3)
    assert check_of(result, "archive", "pushed").passed
    assert metadata_of(result, "archive")["pushed"] == 3
    assert archived.subjects() == ["14:00 UTC", "14:15 UTC", "14:30 UTC", "14:45 UTC"]
    with archived.installation.journal() as journal:
        assert len(journal.evaluations("eth")) == 4


def test_21_lock_left_behind_is_cleared_once_it_is_stale(archived: Archived) -> None:
    archived.begin()
    lock = archived.clone / ".git" / "index.lock"
    lock.touch()
    assert "index.lock" in archived.problem(archived.tick(1))
    an_hour_ago = lock.stat().st_mtime - 3600
    os.utime(lock, (an_hour_ago, an_hour_ago))
    archived.tick(2)
    names = git(archived.remote, "ls-tree", "-r", "--name-only", "main")
    assert all(f"14{minute}_eth.yaml" in names for minute in ("00", "15", "30"))
    assert not lock.exists()


def test_21_what_somebody_else_pushed_stays(archived: Archived, tmp_path: Path) -> None:
    archived.begin()
    other = tmp_path / "other"
    subprocess.run(["git", "clone", "--quiet", str(archived.remote), str(other)], check=True)
    (other / "README.md").write_text("notes\n")
    git(other, "add", "README.md")
    git(other, "-c", "user.name=ann", "-c", "user.email=ann@localhost", "commit", "-q", "-m", "notes")
    git(other, "push", "-q")
    archived.tick(1)
    assert archived.subjects() == ["14:00 UTC", "notes", "14:15 UTC"]


def test_21_lost_clone_goes_on_from_what_the_remote_has(archived: Archived) -> None:
    archived.begin()
    shutil.rmtree(archived.clone)
    archived.tick(1)
    assert archived.subjects() == ["14:00 UTC", "14:15 UTC"]


def test_21_lost_clone_of_other_settings_goes_on_too(archived: Archived) -> None:
    archived.begin()
    shutil.rmtree(archived.clone)
    file = archived.installation.settings_file
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"policy": "seed"}))
    result = archived.tick(1)
    assert check_of(result, "archive", "pushed").passed
    hour = archived.file("metrics/2025/03/03/14_ETH-USDT.yaml")["kucoin:ETH/USDT"]
    assert hour["settings_hash"] == load_settings(file).hash
    assert archived.subjects() == ["14:00 UTC", "14:15 UTC"]


def test_21_half_made_clone_is_made_whole_and_never_the_repository_around_it(
    archived: Archived, tmp_path: Path
) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    (tmp_path / "draft.py").write_text("secret\n")
    git(tmp_path, "add", "draft.py")
    (archived.clone / ".git").mkdir(parents=True)
    archived.tick(0)
    head = archived.clone / ".git" / "HEAD"
    head.write_text("")
    archived.tick(1)
    assert archived.subjects() == ["14:00 UTC", "14:15 UTC"]
    names = git(archived.remote, "ls-tree", "-r", "--name-only", "main")
    assert "draft.py" not in names
    assert git(tmp_path, "status", "--short", "draft.py") == "A  draft.py\n"


def test_21_evaluations_of_the_month_before_are_archived_once_it_works_again(
    archived: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived.installation.grid("eth", started_at="2025-02-20T00:00:00Z")
    first = -(14 * 4) - 2 * 96 - 1  # the last evaluation but one of February
    archived.tick(first)
    monkeypatch.setenv("MM_ARCHIVE_REMOTE", "")
    for bars in (first + 1, first + 2):
        archived.tick(bars)
    monkeypatch.setenv("MM_ARCHIVE_REMOTE", str(archived.remote))
    archived.tick(first + 3)
    names = git(archived.remote, "ls-tree", "-r", "--name-only", "main").splitlines()
    told = [name.removeprefix("exit_states/2025/") for name in names if name.startswith("exit_states")]
    assert told == [
        "02/28/2345_eth.yaml",
        "03/01/0000_eth.yaml",
        "03/01/0015_eth.yaml",
        "03/01/0030_eth.yaml",
    ]


def test_21_lost_marks_archive_the_last_day_again(archived: Archived) -> None:
    archived.begin()
    (archived.clone / ".git" / "mm_archived.json").write_text("")
    archived.tick(3)
    names = git(archived.remote, "ls-tree", "-r", "--name-only", "main")
    assert all(f"14{minute}_eth.yaml" in names for minute in ("00", "15", "30", "45"))


@pytest.mark.parametrize("lock", ["refs/heads/main.lock", "HEAD.lock"])
def test_21_any_stale_lock_is_cleared(archived: Archived, lock: str) -> None:
    archived.begin()
    left = archived.clone / ".git" / lock
    left.touch()
    os.utime(left, (0, 0))
    assert check_of(archived.tick(1), "archive", "pushed").passed


def test_21_revised_candle_archives_its_evaluation_again(archived: Archived) -> None:
    archived.begin()
    archived.tick(1)
    candles = archived.installation.sources.candles[ETH]
    archived.installation.sources.candles[ETH] = with_price(candles, 2990.0, AT, AT + BAR)
    archived.tick(2)
    changed = git(archived.remote, "show", "--name-status", "--format=", "main").split()
    assert "exit_states/2025/03/03/1415_eth.yaml" in changed
    assert changed[changed.index("exit_states/2025/03/03/1415_eth.yaml") - 1] == "M"
    assert "exit_states/2025/03/03/1400_eth.yaml" not in changed


def test_21_address_of_the_remote_is_written_nowhere(archived: Archived) -> None:
    archived.tick(0)
    written = (file for file in archived.clone.rglob("*") if file.is_file() and "logs" not in file.parts)
    assert not any(str(archived.remote).encode() in file.read_bytes() for file in written)
    git(archived.clone, "update-ref", "-d", "refs/remotes/mm_archive/main")
    for address in ("http://ann:s3cret@127.0.0.1:1/archive.git", "http://s3cret@127.0.0.1:1/archive.git"):
        with pytest.raises(ArchiveError) as refused:
            ArchiveRepository(archived.clone, address, load_settings().archive).push()
        assert "s3cret" not in str(refused.value)


def test_21_credentials_reach_git_as_such_and_stand_on_no_command_line(
    archived: Archived, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived.begin()
    seen: list[Any] = []
    run = subprocess.run

    def watched(command: list[str], **options: Any) -> Any:
        seen.append((command, options.get("env", {})))
        return run(command, **options)

    monkeypatch.setattr("mm_pipeline.adapters.archive.repository.subprocess.run", watched)
    git(archived.clone, "update-ref", "-d", "refs/remotes/mm_archive/main")
    with pytest.raises(ArchiveError):
        ArchiveRepository(archived.clone, "http://t0ken@127.0.0.1:1/a.git", load_settings().archive).push()
    assert not any("t0ken" in part for command, _ in seen for part in command)
    holding = {name for _, env in seen for name, value in env.items() if "t0ken" in value}
    assert holding == {"MM_ARCHIVE_USER"}


def test_21_archive_is_read_back_and_replayed(archived: Archived, tmp_path: Path) -> None:
    for bars in range(4):
        archived.tick(bars)
    clone, out = tmp_path / "read", tmp_path / "out"
    subprocess.run(["git", "clone", "--quiet", str(archived.remote), str(clone)], check=True)
    span = ["--from", AT.isoformat(), "--to", (AT + timedelta(hours=1)).isoformat()]
    settings = ["--settings", str(archived.installation.settings_file)]
    done = CliRunner().invoke(
        main, ["archive", "read", "--clone", str(clone), *span, "--out", str(out), "--json", *settings]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"exit_states": 4, "entry_states": 4, "notifications": 2}
    states = pl.read_parquet(out / "exit_states.parquet")
    contracts.EXIT.check(states)
    stored = archived.installation.read(
        "exit_states", "eth", start=AT.replace(day=1, hour=0), end=AT + timedelta(days=1)
    )
    assert states.equals(stored.filter(pl.col("evaluated_at") >= AT).select(states.columns))
    replayed = pl.read_parquet(out / "notifications.parquet")
    with archived.installation.journal() as journal:
        told = [(one.decision.evaluated_at, one.decision.page) for one in journal.notifications.decisions()]
    assert replayed.select("evaluated_at", "page").rows() == told


def resealed(text: str) -> str:
    """A file that somebody edited and gave a right checksum."""
    before = text.rpartition("checksum: ")[0]
    return f"{before}checksum: {checksum_of(before)}\n"


STATE = "exit_states/2025/03/03/1400_eth.yaml"
EDITS: dict[str, tuple[str, Callable[[str], str]]] = {
    "state edited by hand": (STATE, lambda text: text.replace("state: NORMAL", "state: MANDATORY_EXIT", 1)),
    "checksum removed": (STATE, lambda text: text.rpartition("checksum: ")[0]),
    "cut": (STATE, lambda text: text[: len(text) // 2]),
    "unknown state": (STATE, lambda text: resealed(text.replace("state: NORMAL", "state: PANIC", 1))),
    "state missing": (STATE, lambda text: resealed(text.replace("state: NORMAL\n", "", 1))),
    "state given twice": (
        STATE,
        lambda text: resealed(text.replace("state: NORMAL", "state: NORMAL\nstate: NORMAL", 1)),
    ),
    "price that is no number": (STATE, lambda text: resealed(re.sub(r"\nprice: .*", "\nprice: .nan", text))),
    "another time": (STATE, lambda text: resealed(text.replace("14:00:00", "14:15:00", 1))),
    "time without offset": (STATE, lambda text: resealed(text.replace("14:00:00+00:00", "14:00:00", 1))),
    "another grid": (STATE, lambda text: resealed(text.replace("grid: eth", "grid: btc", 1))),
    "grid that is a number": (STATE, lambda text: resealed(text.replace("grid: eth", "grid: 5", 1))),
    "trigger that is a list": (
        STATE,
        lambda text: resealed(re.sub(r"regime_trend:\n(  .*\n)+", "regime_trend: [1]\n", text)),
    ),
    "trigger renamed": (STATE, lambda text: resealed(text.replace("regime_trend:", "regime_trendy:", 1))),
    "declaration unknown": (
        STATE,
        lambda text: resealed(re.sub(r"grid_version: .*", "grid_version: '0123456789abcdef'", text)),
    ),
    "later format": (STATE, lambda text: resealed(text.replace("format: 1", "format: 2", 1))),
    "alias": (STATE, lambda text: resealed(text.replace("grid: eth", "grid: &a eth\nx: *a", 1))),
    "no mapping": (STATE, lambda _: "- 1\n"),
    "tag": (STATE, lambda text: resealed(text.replace("grid: eth", "grid: !!python/name:os.system", 1))),
    "stop of the declaration": ("grids", lambda text: resealed(re.sub(r"stop_loss: .*", "stop_loss: 1.0", text))),
    "declaration edited": ("grids", lambda text: text.replace("levels: 6", "levels: 7", 1)),
}


def test_21_edited_clone_is_refused_by_the_name_of_its_file(archived: Archived, tmp_path: Path) -> None:
    archived.begin()
    clone, out = tmp_path / "read", tmp_path / "out"
    subprocess.run(["git", "clone", "--quiet", str(archived.remote), str(clone)], check=True)
    span = ["--from", AT.isoformat(), "--to", (AT + timedelta(hours=1)).isoformat(), "--grid", "eth"]
    command = ["archive", "read", "--clone", str(clone), *span, "--out", str(out)]
    command += ["--settings", str(archived.installation.settings_file)]

    def read() -> tuple[int, str]:
        done = CliRunner().invoke(main, command)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done.exit_code, done.output

    assert read()[0] == 0
    for name, (place, edit) in EDITS.items():
        file = next((clone / "grids" / "eth").glob("*.yaml")) if place == "grids" else clone / place
        whole = file.read_text()
        file.write_text(edit(whole))
        assert file.read_text() != whole, name
        code, told = read()
        assert (code, "eth" in told) == (1, True), f"{name}: {told}"
        file.write_text(whole)
    copied = (clone / STATE).with_name("1415_eth.yaml")
    copied.write_text((clone / STATE).read_text())
    assert read()[0] == 1, "a file under another name"
    copied.unlink()
    declaration = next((clone / "grids" / "eth").glob("*.yaml"))
    declaration.rename(declaration.with_suffix(".gone"))
    assert read()[0] == 1, "a declaration deleted"
    declaration.with_suffix(".gone").rename(declaration)
    unsealed = {STATE: (clone / STATE).read_text(), str(declaration.relative_to(clone)): declaration.read_text()}
    for path, text in unsealed.items():  # as versions before the format wrote them
        (clone / path).write_text(text.rpartition("checksum: ")[0].removeprefix("format: 1\n"))
    assert read()[0] == 0


def test_21_foreign_commits_leave_no_address_behind(tmp_path: Path) -> None:
    made, remote = repository(tmp_path)
    made.push()
    other = ArchiveRepository(tmp_path / "other", str(remote), load_settings().archive)
    other.open()
    other.commit({"b.yaml": "x: 1\n"}, "two", {})
    other.push()
    made.commit({"c.yaml": "x: 1\n"}, "three", {})
    assert made.push() == 1
    assert (tmp_path / "clone" / "b.yaml").exists()
    for clone in ("clone", "other"):
        files = [file for file in (tmp_path / clone).rglob("*") if file.is_file()]
        assert [file for file in files if str(remote).encode() in file.read_bytes()] == []
    (tmp_path / "clone" / ".git" / "FETCH_HEAD").write_text(str(remote))
    made.open()
    assert not (tmp_path / "clone" / ".git" / "FETCH_HEAD").exists()


def test_21_token_in_a_query_is_refused_and_never_shown(tmp_path: Path) -> None:
    repository(tmp_path)
    for address in ("http://127.0.0.1:1/a.git?key=s3cret", "http://ann:s3cret@127.0.0.1:1/a.git?key=s3cret"):
        asked = ArchiveRepository(tmp_path / "clone", address, load_settings().archive)
        for ask in (asked.open, asked.push):
            with pytest.raises(ArchiveError, match="query") as refused:
                ask()
            assert "s3cret" not in str(refused.value)
            assert "127.0.0.1" not in str(refused.value)
    away = ArchiveRepository(tmp_path / "clone", "http://ann:s3cret@127.0.0.1:1/a.git", load_settings().archive)
    with pytest.raises(ArchiveError) as failed:
        away.push()
    assert "127.0.0.1:1/a.git" not in str(failed.value)


def test_21_status_and_push_tell_what_waits(archived: Archived, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_HOME", str(archived.installation.home))
    settings = ["--settings", str(archived.installation.settings_file)]
    archived.begin()
    archived.refuse()
    archived.tick(1)
    told = json.loads(CliRunner().invoke(main, ["archive", "status", "--json", *settings]).stdout)
    assert told["waiting"] == 1
    archived.refuse(is_closed=False)
    assert CliRunner().invoke(main, ["archive", "push", *settings]).stdout == "1 commits pushed.\n"
    assert archived.subjects() == ["14:00 UTC", "14:15 UTC"]
    monkeypatch.delenv("MM_ARCHIVE_REMOTE")
    assert CliRunner().invoke(main, ["archive", "push", *settings]).exit_code != 0


# Settings


def repository(folder: Path, **changes: Any) -> tuple[ArchiveRepository, Path]:
    """A clone with one commit that waits, and its bare remote."""
    remote = folder / "remote.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", str(remote)], check=True)
    policy = load_settings().archive.model_copy(update=changes)
    made = ArchiveRepository(folder / "clone", str(remote), policy)
    made.open()
    assert made.commit({"a.yaml": "x: 1\n"}, "one", {})
    return made, remote


def hook(remote: Path, script: str) -> None:
    file = remote / "hooks" / "pre-receive"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.mark.parametrize("branch", ["main", "watch-1"])
def test_branch_is_pushed_to(tmp_path: Path, branch: str) -> None:
    made, remote = repository(tmp_path, branch=branch)
    assert made.push() == 1
    assert git(remote, "for-each-ref", "--format=%(refname:short)").split() == [branch]
    assert made.push() == 0


@pytest.mark.parametrize("push_attempts", [1, 3])
def test_push_attempts_are_made_in_one_tick(tmp_path: Path, push_attempts: int) -> None:
    made, remote = repository(tmp_path, push_attempts=push_attempts)
    hook(remote, "echo tried >> tries; exit 1")
    with pytest.raises(ArchiveError):
        made.push()
    assert len((remote / "tries").read_text().split()) == push_attempts


@pytest.mark.parametrize(("push_timeout", "is_late"), [(timedelta(seconds=1), True), (timedelta(seconds=30), False)])
def test_push_timeout_ends_a_push_that_hangs(tmp_path: Path, push_timeout: timedelta, *, is_late: bool) -> None:
    made, remote = repository(tmp_path, push_timeout=push_timeout, push_attempts=1)
    hook(remote, "sleep 3")
    if not is_late:
        assert made.push() == 1
        return
    with pytest.raises(ArchiveError, match="longer than 1 s"):
        made.push()


@pytest.mark.parametrize(("stale_lock", "is_cleared"), [(timedelta(seconds=10), True), (timedelta(minutes=5), False)])
def test_stale_lock_says_from_what_age_a_lock_is_cleared(
    tmp_path: Path, stale_lock: timedelta, *, is_cleared: bool
) -> None:
    made, _ = repository(tmp_path, stale_lock=stale_lock)
    lock = made.folder / ".git" / "index.lock"
    lock.touch()
    a_minute_ago = lock.stat().st_mtime - 60
    os.utime(lock, (a_minute_ago, a_minute_ago))
    made.open()
    assert lock.exists() is not is_cleared


def test_remote_env_names_the_variable(archived: Archived, monkeypatch: pytest.MonkeyPatch) -> None:
    file = archived.installation.settings_file
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"archive": {"remote_env": "MM_OTHER"}}))
    result = archived.tick(0)
    assert metadata_of(result, "archive")["remote"] == "MM_OTHER is not set"
    assert not archived.has_commits()
    monkeypatch.setenv("MM_OTHER", str(archived.remote))
    archived.tick(1)
    assert archived.subjects() == ["14:15 UTC"]
