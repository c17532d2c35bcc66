"""Load one YAML document so that it can be read in one way only; every refusal names the file, the key and the hint.

Settings, policies and grids are read through here. What the keys mean does not belong here: the pydantic models know,
and ``validation_errors`` turns their complaints into the same kind of error.
"""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from yaml import events

from mm_pipeline.adapters.config.yaml_scalars import Scalar, read_plain_scalar
from mm_pipeline.domain.errors import ConfigError

# Limits of the reader itself: they must hold before any settings file is read, so they cannot be settings.
MAX_BYTES = 262_144
MAX_DEPTH = 12
MAX_NODES = 20_000

_MENDS = {
    "missing": "Add the key with its value.",
    "float_type": "Write a number.",
    "finite_number": "Write a finite number.",
    "int_type": "Write a whole number.",
    "int_from_float": "Write a whole number.",
    "bool_type": "Write true or false.",
    "string_type": "Write text, in quotes where it looks like a number.",
    "datetime_type": "Write a time like 2025-01-31T00:00:00Z, without quotes.",
    "timezone_aware": "Write a time like 2025-01-31T00:00:00Z.",
    "model_type": "Write a mapping (indented key: value lines).",
    "dict_type": "Write a mapping (indented key: value lines).",
    "list_type": "Write a list ([a, b] or lines that begin with -).",
    "tuple_type": "Write a list ([a, b] or lines that begin with -).",
    "enum": "Write {expected}.",
    "literal_error": "Write {expected}.",
    "greater_than": "Write a value above {gt}.",
    "greater_than_equal": "Write {ge} or more.",
    "less_than": "Write a value below {lt}.",
    "less_than_equal": "Write {le} or less.",
}


_MISSING: Final = {"stop_loss": "Add the price of the stop, or `stop_loss: none` for a grid without one."}
"""What to write for a missing key where its value alone would not tell it."""


def load_mapping(path: Path) -> dict[str, Any]:
    """Read a file that holds one YAML mapping, strictly.

    Parameters
    ----------
    path
        A regular file of at most ``MAX_BYTES`` bytes of UTF-8.

    Returns
    -------
    Values are ``str | int | float | bool | None | datetime`` (aware, UTC), lists and mappings with text keys.

    Raises
    ------
    ConfigError
        Unreadable, too large or not UTF-8, cut within its last line, not one mapping, duplicate keys, anchors,
        aliases, merges, tags, nesting beyond ``MAX_DEPTH``, or a scalar that YAML versions read differently.
    """
    text = read_text(path)
    mapping = parse_mapping(text, file=shown(path))
    if not text.endswith("\n"):
        last_line = text.count("\n") + 1
        problem = f"its last line (line {last_line}) does not end: the file may be cut inside a number."
        raise ConfigError(problem, "Check that line, then end it with a line break.", file=shown(path))
    return mapping


def read_text(path: Path) -> str:
    """Text of a regular file of at most ``MAX_BYTES`` bytes of UTF-8.

    Raises
    ------
    ConfigError
        When it cannot be read, is too large, no regular file, or not UTF-8.
    """
    file = shown(path)
    try:
        data = _read_regular_file(path, file)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigError(f"cannot be read ({reason}).", "Check the path and its permissions.", file=file) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8 at byte {error.start}.", "Save it as UTF-8 text.", file=file) from error


def parse_mapping(text: str, *, file: str) -> dict[str, Any]:
    """Read a YAML mapping from text; ``file`` is the name that errors carry. See ``load_mapping``."""
    return _Reader(text, file).document()


def validation_errors(file: str, error: ValidationError, model: type[BaseModel] | None = None) -> ConfigError:
    """Say a pydantic refusal in the file's own terms.

    Parameters
    ----------
    file
        Name of the file, as the operator knows it.
    error
        What pydantic raised. A message of a validator of ours reads ``problem; hint``.
    model
        The model that was filled; with it a misspelt key is told its nearest known one.

    Returns
    -------
    An error whose ``key`` is the first dotted key at fault; problem and hint tell all of them.
    """
    complaints = [_complaint(details, model) for details in error.errors(include_url=False)]
    first_key, first_problem, first_hint = complaints[0]
    problems = [first_problem, *(f"{key}: {problem}" if key else problem for key, problem, _ in complaints[1:])]
    hints = [first_hint, *(f"{key}: {hint}" if key else hint for key, _, hint in complaints[1:])]
    return ConfigError(" ".join(problems), " ".join(hints), file=file, key=first_key)


def shown(name: str | Path) -> str:
    """A path or key as it may be printed: control characters and broken encodings escaped, 200 characters at most."""
    text = os.fspath(name).encode("utf-8", "backslashreplace").decode("utf-8")
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    return escaped if len(escaped) <= 200 else f"{escaped[:197]}..."


def _read_regular_file(path: Path, file: str) -> bytes:
    # Without O_NONBLOCK, opening a named pipe waits for a writer for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as stream:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigError("is not a regular file.", "Put the settings in a plain text file.", file=file)
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"is larger than {MAX_BYTES} bytes.", "Make the file smaller.", file=file)
    return data


class _Reader:
    """One pass over the parser's events; nothing is composed before it has been judged."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.events = self._parse(text)
        self.nodes = 0

    def document(self) -> dict[str, Any]:
        next(self.events)  # the stream's start
        start = next(self.events)
        if not isinstance(start, events.DocumentStartEvent):
            raise self._error("", "is empty.", "Write its keys, one `key: value` a line.")
        if start.version or start.tags:
            raise self._error("", "has a % directive.", "Remove the line that begins with %.", start)
        root = next(self.events)
        if not isinstance(root, events.MappingStartEvent):
            raise self._error("", "is not a mapping.", "Write its keys, one `key: value` a line.", root)
        self._judge(root, "", 1)
        value = self._mapping("", 1)
        next(self.events)  # the document's end
        following = next(self.events)
        if not isinstance(following, events.StreamEndEvent):
            raise self._error("", "holds more than one document.", "Split it into one file each.", following)
        return value

    def _parse(self, text: str) -> Iterator[yaml.Event]:
        try:
            # libyaml reads a calibration table in a tenth of the time that the parser in Python takes.
            yield from yaml.parse(text, Loader=yaml.CSafeLoader)
        except yaml.MarkedYAMLError as error:
            line = f" at line {error.problem_mark.line + 1}" if error.problem_mark else ""
            problem = f"is not YAML{line}: {shown(error.problem or 'cannot be parsed')}."
            raise self._error("", problem, "Correct that line; indent with spaces and close quotes.") from error
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            problem = "has a character that YAML does not allow."
            raise self._error("", problem, "Save it as plain UTF-8 text without control characters.") from error

    def _value(self, event: yaml.Event, key: str, depth: int) -> Any:
        self._judge(event, key, depth)
        if isinstance(event, events.MappingStartEvent):
            return self._mapping(key, depth)
        if isinstance(event, events.SequenceStartEvent):
            return self._sequence(key, depth)
        assert isinstance(event, events.ScalarEvent)  # noqa: S101 - an alias has been refused, nothing else is left
        return self._scalar(event, key)

    def _mapping(self, key: str, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(name_event := next(self.events), events.MappingEndEvent):
            name = self._key(name_event, key)
            dotted = f"{key}.{shown(name)}" if key else shown(name)
            if name in mapping:
                raise self._error(dotted, "is given twice.", "Keep one of the two lines.", name_event)
            mapping[name] = self._value(next(self.events), dotted, depth + 1)
        return mapping

    def _sequence(self, key: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self.events), events.SequenceEndEvent):
            items.append(self._value(event, f"{key}[{len(items)}]", depth + 1))
        return items

    def _key(self, event: yaml.Event, parent: str) -> str:
        self._judge(event, parent, 1)
        if not isinstance(event, events.ScalarEvent):
            raise self._error(parent, "has a key that is not text.", "Write keys as plain words.", event)
        name = str(event.value)
        if name == "<<" and not event.style:
            raise self._error(parent, "uses a merge (<<).", "Write the merged keys out.", event)
        if not name or not name.isprintable():
            problem = "has a key that is empty or has control characters."
            raise self._error(parent, problem, "Write keys as plain words.", event)
        return name

    def _scalar(self, event: events.ScalarEvent, key: str) -> Scalar:
        text = str(event.value)
        if not text.replace("\n", "").replace("\t", "").isprintable():
            raise self._error(key, "has control characters in its text.", "Write plain text.", event)
        if event.style:
            return text
        try:
            return read_plain_scalar(text)
        except ValueError as error:
            problem, _, hint = str(error).partition("; ")
            raise self._error(key, f"{problem}.", _sentence(hint), event) from error

    def _judge(self, event: yaml.Event, key: str, depth: int) -> None:
        self.nodes += 1
        if isinstance(event, events.AliasEvent):
            raise self._error(key, "uses an alias (*).", "Write the value out.", event)
        if getattr(event, "anchor", None) is not None:
            raise self._error(key, "has an anchor (&).", "Remove the anchor and write the value out.", event)
        if getattr(event, "tag", None) is not None:
            raise self._error(key, "has a tag (!).", "Remove the tag.", event)
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            problem = f"nests deeper than {MAX_DEPTH} levels or holds more than {MAX_NODES} values."
            raise self._error(key, problem, "Make the file simpler.", event)

    def _error(self, key: str, problem: str, hint: str, event: yaml.Event | None = None) -> ConfigError:
        place = f" (line {event.start_mark.line + 1})" if event is not None and event.start_mark else ""
        return ConfigError(f"{problem.removesuffix('.')}{place}.", hint, file=self.file, key=key)


def _complaint(details: ErrorDetails, model: type[BaseModel] | None) -> tuple[str, str, str]:
    """Dotted key, problem and hint of one pydantic complaint."""
    location = details["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{shown(part)}" for part in location).removeprefix(".")
    kind, message = details["type"], details["msg"]
    if kind == "missing":
        return key, "is missing.", _MISSING.get(key, _MENDS[kind])
    if kind == "extra_forbidden":
        return key, "is not a known key.", _spelling_mend(location, model)
    if kind == "value_error":
        problem, _, hint = message.removeprefix("Value error, ").rpartition("; ")
        return key, f"{(problem or hint).removesuffix('.')}.", _sentence(hint if problem else "correct the value")
    hint = _MENDS.get(kind, "Correct the value.").format(**details.get("ctx", {}))
    return key, f"{_said(message)}.", hint


def _said(message: str) -> str:
    return "is refused: " + message[:1].lower() + message[1:].removesuffix(".")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."


def _spelling_mend(location: tuple[int | str, ...], model: type[BaseModel] | None) -> str:
    for part in location[:-1]:
        field = model.model_fields.get(str(part)) if model else None
        nested = field.annotation if field else None
        model = nested if isinstance(nested, type) and issubclass(nested, BaseModel) else None
    known = list(model.model_fields) if model else []
    nearest = difflib.get_close_matches(str(location[-1]), known, n=1)
    if nearest:
        return f"Write {nearest[0]} if that is meant, or remove it."
    return f"Remove it; the known keys are {', '.join(known)}." if known else "Remove it, or correct its spelling."
