"""A Git repository in the home: commits are the queue, and a push empties it in order. Whatever fails waits there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

import stamina

from mm_pipeline.adapters.archive.policy import ArchivePolicy
from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.domain.errors import ArchiveError

_LOCAL_TIMEOUT_S: Final = 60.0
_ADDED_AT_ONCE: Final = 500
"""Paths a command line is given: a year's gap has more than one may hold."""
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_CONFIG_")
"""Variables that name another repository or its configuration; those of credentials stay."""
_MARKS = "mm_archived.json"


class ArchiveRepository:
    """The archive's clone.

    Its remote is never written to disk or put on a command line: its address may hold a token.

    Parameters
    ----------
    folder
        Where the clone is, or is made.
    remote
        Address of the remote.
    policy
        Branch, time and attempts.

    Raises
    ------
    ArchiveError
        From every method; what was committed stays and is pushed later.
    """

    def __init__(self, folder: Path, remote: str, policy: ArchivePolicy) -> None:
        self.folder = folder
        self._remote = remote
        self._policy = policy

    def open(self) -> None:
        """Make the repository where there is none, and clear away the lock of a process that died."""
        if shutil.which("git") is None:
            raise ArchiveError("git is not installed.", "Install it; until then nothing is archived.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / ".git").is_dir():
                self._git("init", "--quiet", f"--initial-branch={self._policy.branch}")
            lock = self.folder / ".git" / "index.lock"
            stale_s = self._policy.stale_lock.total_seconds()
            if lock.exists() and SystemClock().now().timestamp() - lock.stat().st_mtime > stale_s:
                lock.unlink(missing_ok=True)
        except OSError as error:
            raise ArchiveError(f"{self.folder} cannot be used: {error.strerror}.", "Free it, or make room.") from error

    def commit(self, files: Mapping[str, str], message: str, marks: Mapping[str, datetime]) -> bool:
        """Write files and commit them; False where nothing is new.

        Parameters
        ----------
        files
            Text by path within the repository.
        marks
            Up to when each series is archived with this commit.
        """
        for path, text in files.items():
            self._write(self.folder / path, text)
        paths = list(files)
        for first in range(0, len(paths), _ADDED_AT_ONCE):
            self._git("add", "--", *paths[first : first + _ADDED_AT_ONCE])
        is_new = self._git("diff", "--cached", "--quiet", allowed=(0, 1)).returncode == 1
        if is_new:
            self._git("commit", "--quiet", "--no-verify", "-m", message)
        self._write(self.folder / ".git" / _MARKS, json.dumps({name: at.isoformat() for name, at in marks.items()}))
        return is_new

    def marks(self) -> dict[str, datetime]:
        """Up to when each series is archived; empty where that is not known."""
        try:
            content = json.loads((self.folder / ".git" / _MARKS).read_text())
            return {name: datetime.fromisoformat(text) for name, text in content.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def waiting(self) -> int:
        """Commits that the remote does not have yet."""
        if self._git("rev-parse", "--verify", "--quiet", "HEAD", allowed=(0, 1)).returncode:
            return 0
        return int(self._git("rev-list", "--count", "HEAD", "--not", "--remotes=origin").stdout)

    def push(self) -> int:
        """Push every commit that waits, oldest first; how many there were."""
        waiting = self.waiting()
        if waiting:
            for attempt in stamina.retry_context(on=ArchiveError, attempts=self._policy.push_attempts, timeout=None):
                with attempt:
                    self._push_once()
        return waiting

    def _push_once(self) -> None:
        target = f"HEAD:refs/heads/{self._policy.branch}"
        pushed = self._git("push", "--quiet", "origin", target, timeout_s=self._timeout_s, allowed=None)
        if pushed.returncode and ("fetch first" in pushed.stderr or "non-fast-forward" in pushed.stderr):
            self._follow_remote()
            pushed = self._git("push", "--quiet", "origin", target, timeout_s=self._timeout_s, allowed=None)
        if pushed.returncode:
            raise ArchiveError(
                f"the archive was not pushed: {self._told(pushed.stderr)}",
                "It is tried again at every evaluation; check the remote and what it refuses.",
            )

    def _follow_remote(self) -> None:
        """Put what waits on top of what somebody else pushed."""
        self._git("fetch", "--quiet", "origin", self._policy.branch, timeout_s=self._timeout_s)
        rebased = self._git("rebase", "--quiet", "FETCH_HEAD", allowed=None)
        if rebased.returncode:
            self._git("rebase", "--abort", allowed=None)
            raise ArchiveError(
                "the remote has other files of the same evaluations.",
                "Give each watch a branch of its own (archive.branch).",
            )

    @property
    def _timeout_s(self) -> float:
        return self._policy.push_timeout.total_seconds()

    def _git(
        self, *arguments: str, timeout_s: float = _LOCAL_TIMEOUT_S, allowed: Iterable[int] | None = (0,)
    ) -> subprocess.CompletedProcess[str]:
        """Run git in the clone; ``allowed`` exit codes, None for any."""
        try:
            done = subprocess.run(  # noqa: S603 - arguments are this module's own
                ["git", "-C", str(self.folder), *arguments],  # noqa: S607
                env=self._environment(),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                stdin=subprocess.DEVNULL,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ArchiveError(
                f"git {arguments[0]} took longer than {timeout_s:g} s.", "It is tried again at every evaluation."
            ) from error
        except OSError as error:
            raise ArchiveError(f"git cannot be run: {error.strerror}.", "Install it.") from error
        if allowed is not None and done.returncode not in allowed:
            raise ArchiveError(
                f"git {arguments[0]} failed: {self._told(done.stderr)}", "It is tried again at every evaluation."
            )
        return done

    def _environment(self) -> dict[str, str]:
        settings = {
            "remote.origin.url": self._remote,
            "remote.origin.fetch": "+refs/heads/*:refs/remotes/origin/*",
            "user.name": "mm_pipeline",
            "user.email": "mm@localhost",
            "commit.gpgsign": "false",
            "gc.autoDetach": "false",
        }
        counted = {"GIT_CONFIG_COUNT": str(len(settings))}
        for number, (key, value) in enumerate(settings.items()):
            counted |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_ELSEWHERE)}
        return inherited | counted | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}

    def _told(self, text: str) -> str:
        """What git says, without the remote's address."""
        return " ".join(text.replace(self._remote, "the remote").split())[:300] or "without a word"

    def _write(self, path: Path, text: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ArchiveError(f"{path} cannot be written: {error.strerror}.", "Free it, or make room.") from error
