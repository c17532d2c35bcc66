"""A Git repository in the home: commits are the queue, and a push empties it in order. Whatever fails waits there."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

import stamina

from mm_pipeline.adapters.archive.policy import ArchivePolicy
from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.domain.errors import ArchiveError

_LOCAL_TIMEOUT_S: Final = 120.0
_ADDED_AT_ONCE: Final = 500
"""Paths a command line is given: a year's gap has more than one may hold."""
_ELSEWHERE = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"})
"""Variables that name another repository."""
_REMOTE: Final = "mm_archive"
"""A name that no configuration of the operator's has."""
_USER, _PASSWORD = "MM_ARCHIVE_USER", "MM_ARCHIVE_PASSWORD"
"""Variables in git's environment alone."""
_MARKS = "mm_archived.json"


class ArchiveRepository:
    """The archive's clone.

    Its remote's address is in no file and no message. What it holds of a user or token reaches git as a credential
    alone; the rest stands among the arguments of git's own helper while it talks to the remote. That is why an address
    with a query, which may be a token, is refused.

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
        """Make the repository where there is none or half of one, and clear away what a process left that died."""
        self._check_address()
        with suppress(OSError):
            (self._git_folder / "FETCH_HEAD").unlink()  # earlier versions left the address there
        if shutil.which("git") is None:
            raise ArchiveError("git is not installed.", "Install it; until then nothing is archived.")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clear_stale_locks()
        except OSError as error:
            raise ArchiveError(f"{self.folder} cannot be used: {error.strerror}.", "Free it, or make room.") from error
        if self._git("rev-parse", "--git-dir", allowed=None).returncode:
            (self._git_folder / "HEAD").unlink(missing_ok=True)  # one that was cut off; init writes it anew
            self._git("init", "--quiet", f"--initial-branch={self._policy.branch}")
        if (self._git_folder / "MERGE_HEAD").exists():
            self._git("merge", "--abort", allowed=None)

    def _check_address(self) -> None:
        parts = urlsplit(self._remote)
        if parts.scheme in ("http", "https") and (parts.query or parts.fragment):
            raise ArchiveError(
                "the archive's address has a query or fragment: other users of this machine would see it.",
                "Put the token in place of the user: https://TOKEN@host/path.",
            )

    def _clear_stale_locks(self) -> None:
        now_s = SystemClock().now().timestamp()
        for lock in [*self._git_folder.glob("*.lock"), *self._git_folder.glob("refs/**/*.lock")]:
            if abs(now_s - lock.stat().st_mtime) > self._policy.stale_lock.total_seconds():
                lock.unlink(missing_ok=True)

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
            self._git("add", "--force", "--", *paths[first : first + _ADDED_AT_ONCE])
        is_new = self._git("diff", "--cached", "--quiet", allowed=(0, 1)).returncode == 1
        if is_new:
            self._git("commit", "--quiet", "--no-verify", "-m", message)
        self._write(self._git_folder / _MARKS, json.dumps({name: at.isoformat() for name, at in marks.items()}))
        return is_new

    def text(self, path: str) -> str | None:
        """A file as it stands; None where there is none."""
        try:
            return (self.folder / path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            return None

    def marks(self) -> dict[str, datetime]:
        """Up to when each series is archived; empty where that is not known."""
        try:
            content = json.loads((self._git_folder / _MARKS).read_text())
            return {name: datetime.fromisoformat(text) for name, text in content.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def has_commits(self) -> bool:
        """Whether anything was ever archived here."""
        return self._git("rev-parse", "--verify", "--quiet", self._branch, allowed=None).returncode == 0

    def waiting(self) -> int:
        """Commits that the remote does not have yet."""
        if not self.has_commits():
            return 0
        return int(self._git("rev-list", "--count", self._branch, "--not", f"--remotes={_REMOTE}").stdout)

    def push(self) -> int:
        """Push every commit that waits, oldest first; how many there were."""
        self._check_address()
        waiting = self.waiting()
        if waiting:
            for attempt in stamina.retry_context(on=ArchiveError, attempts=self._policy.push_attempts, timeout=None):
                with attempt:
                    self._push_once()
        return waiting

    def _push_once(self) -> None:
        pushed = self._pushed()
        if pushed.returncode and ("fetch first" in pushed.stderr or "non-fast-forward" in pushed.stderr):
            self._take_in_remote()
            pushed = self._pushed()
        if pushed.returncode:
            raise ArchiveError(
                f"the archive was not pushed: {self._told(pushed.stderr)}",
                "It is tried again at every evaluation; check the remote and what it refuses.",
            )

    def _pushed(self) -> subprocess.CompletedProcess[str]:
        target = f"{self._branch}:{self._branch}"
        return self._git("push", "--quiet", _REMOTE, target, timeout_s=self._timeout_s, allowed=None)

    def _take_in_remote(self) -> None:
        """Merge what somebody else pushed: of a file that both have this one stands, and no commit is lost."""
        # Without FETCH_HEAD: git writes the remote's address into it.
        theirs = f"refs/remotes/{_REMOTE}/{self._policy.branch}"
        wanted = f"+{self._branch}:{theirs}"
        self._git("fetch", "--quiet", "--no-write-fetch-head", _REMOTE, wanted, timeout_s=self._timeout_s)
        options = ("--quiet", "--no-verify", "--allow-unrelated-histories", "--strategy-option=ours")
        merged = self._git("merge", *options, "-m", "Taken in from the remote", theirs, allowed=None)
        if merged.returncode:
            self._git("merge", "--abort", allowed=None)
            raise ArchiveError(
                f"what somebody else pushed cannot be merged: {self._told(merged.stderr)}",
                "Give each watch a branch of its own (archive.branch).",
            )

    @property
    def _git_folder(self) -> Path:
        return self.folder / ".git"

    @property
    def _branch(self) -> str:
        return f"refs/heads/{self._policy.branch}"

    @property
    def _timeout_s(self) -> float:
        return self._policy.push_timeout.total_seconds()

    def _git(
        self, *arguments: str, timeout_s: float = _LOCAL_TIMEOUT_S, allowed: Iterable[int] | None = (0,)
    ) -> subprocess.CompletedProcess[str]:
        """Run git in the clone; ``allowed`` exit codes, None for any."""
        try:
            done = subprocess.run(  # noqa: S603 - arguments are this module's own
                ["git", f"--git-dir={self._git_folder}", f"--work-tree={self.folder}", *arguments],  # noqa: S607
                cwd=self.folder,
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
        address, user, password = _without_credentials(self._remote)
        settings = {
            f"remote.{_REMOTE}.url": address,
            f"remote.{_REMOTE}.fetch": f"+refs/heads/*:refs/remotes/{_REMOTE}/*",
            "user.name": "mm_pipeline",
            "user.email": "mm@localhost",
            "commit.gpgsign": "false",
            "gc.autoDetach": "false",
        }
        if user:
            settings["credential.helper"] = f'!f() {{ echo "username=${_USER}"; echo "password=${_PASSWORD}"; }}; f'
        inherited = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
        first = int(inherited.get("GIT_CONFIG_COUNT", "0") or 0)
        counted = {"GIT_CONFIG_COUNT": str(first + len(settings)), _USER: user, _PASSWORD: password}
        for number, (key, value) in enumerate(settings.items(), start=first):
            counted |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        asks_nobody = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        return {"GIT_SSH_COMMAND": "ssh -oBatchMode=yes"} | inherited | counted | asks_nobody

    def _told(self, text: str) -> str:
        """What git says, without the remote's address or anything of its user."""
        address, *secrets = _without_credentials(self._remote)
        told = text.replace(self._remote, "the remote").replace(address.rstrip("/"), "the remote")
        for secret in secrets:
            told = told.replace(secret, "***") if secret else told
        told = re.sub(r"//[^/@\s]+@", "//***@", told)
        return " ".join(told.split())[:300] or "without a word"

    def _write(self, path: Path, text: str) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f".{path.name}.new")
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        except OSError as error:
            raise ArchiveError(f"{path} cannot be written: {error.strerror}.", "Free it, or make room.") from error


def _without_credentials(remote: str) -> tuple[str, str, str]:
    """Address, user and password of a remote; those of ssh and of paths stay as they are.

    A token that stands where a user does wants a password that means nothing.
    """
    parts = urlsplit(remote)
    if parts.scheme not in ("http", "https") or parts.username is None:
        return remote, "", ""
    host = parts.netloc.rpartition("@")[2]
    address = urlunsplit((parts.scheme, host, parts.path, parts.query, parts.fragment))
    return address, unquote(parts.username), unquote(parts.password or "x-oauth-basic")
