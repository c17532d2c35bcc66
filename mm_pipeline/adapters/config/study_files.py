"""Reads a folder of study files, one study a file; a bad file is a named problem and never stops the others."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import yaml
from pydantic import ValidationError

from mm_pipeline.adapters.candles.candle_files import CandleFile
from mm_pipeline.adapters.config.strict_yaml import load_mapping, read_text, shown, validation_errors
from mm_pipeline.adapters.frames.paths import NAME
from mm_pipeline.domain.errors import ConfigError, PipelineError
from mm_pipeline.domain.study import StudyDeclaration

STUDY_SUFFIXES: Final = (".yaml", ".yml")
STUDY_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""What a study may be called: its name begins the keys of its assets, where Dagster takes no hyphen."""
_PART: Final = re.compile(r"[^.\[\]]+")


@dataclass(frozen=True)
class StudyFile:
    """A study that can be run.

    Attributes
    ----------
    name
        Of the file, without its suffix.
    candles
        Absolute paths of its candle files.
    policies
        By name, the file of a policy that is not packaged; None for one that is.
    """

    name: str
    path: Path
    declaration: StudyDeclaration
    candles: tuple[CandleFile, ...]
    policies: dict[str, Path | None]


@dataclass(frozen=True)
class StudyProblem:
    """A file that cannot be used."""

    file: str
    error: ConfigError


@dataclass(frozen=True)
class StudyFolder:
    """The studies that can be run, by name, and what is wrong with the rest."""

    studies: tuple[StudyFile, ...]
    problems: tuple[StudyProblem, ...]


def load_studies(folder: Path, packaged: Collection[str]) -> StudyFolder:
    """Read every ``*.yaml`` and ``*.yml`` of a folder; a folder that is not there holds none.

    Parameters
    ----------
    packaged
        Names of the policies that the package brings.
    """
    try:
        paths = sorted(p for p in folder.iterdir() if p.suffix in STUDY_SUFFIXES and not p.name.startswith("."))
    except FileNotFoundError:
        paths = []
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        unread = ConfigError(f"cannot be read ({reason}).", "Check its permissions.", file=shown(folder))
        return StudyFolder((), (StudyProblem(shown(folder), unread),))
    studies: dict[str, StudyFile] = {}
    problems = []
    for path in paths:
        try:
            study = read_study(path, packaged)
            if study.name in studies:
                hint = "Keep one of the two files."
                raise ConfigError(f"{studies[study.name].path.name} has the same name.", hint, file=shown(path))
            studies[study.name] = study
        except ConfigError as error:
            problems.append(StudyProblem(shown(path), error))
        except Exception as error:  # a file of a study stops no other, and no watch
            unread = ConfigError(f"cannot be read ({error}).", "Look at the file.", file=shown(path))
            problems.append(StudyProblem(shown(path), unread))
    return StudyFolder(tuple(studies.values()), tuple(problems))


def read_study(path: Path, packaged: Collection[str], *, name: str | None = None) -> StudyFile:
    """Read one study file; paths in it start at its folder.

    Parameters
    ----------
    packaged
        Names of the policies that the package brings.
    name
        Another name than that of the file.

    Raises
    ------
    ConfigError
        With the file, the line, the key and the hint.
    """
    called = path.stem if name is None else name
    file = shown(path)
    if not STUDY_NAME.fullmatch(called):
        hint = "Use small letters, digits and _, beginning with a letter, like wide_grids."
        raise ConfigError(f"{called!r} cannot be the name of a study.", hint, file=file)
    try:
        declaration = StudyDeclaration.model_validate(load_mapping(path))
        candles = _candles(declaration, path, file)
        return StudyFile(called, path, declaration, candles, _policies(declaration, path, packaged))
    except ValidationError as error:
        raise _placed(validation_errors(file, error, StudyDeclaration), path) from error
    except ConfigError as error:
        raise _placed(error, path) from error


def with_candles(study: StudyFile, paths: Sequence[Path]) -> StudyFile:
    """The study on the markets of other candle files, and on those alone.

    Raises
    ------
    ConfigError
        When two of the files are of markets with the same base.
    CandleFileError
        When the name of a file says no market.
    """
    candles = tuple(CandleFile.named(path.resolve()) for path in dict.fromkeys(paths))
    markets = tuple(dict.fromkeys(str(file.market) for file in candles))
    changed = study.declaration.model_dump() | {"markets": markets, "candles": ()}
    try:
        declaration = StudyDeclaration.model_validate(changed)
    except ValidationError as error:
        raise validation_errors("--candles", error, StudyDeclaration) from error
    return replace(study, declaration=declaration, candles=candles)


def _candles(declaration: StudyDeclaration, path: Path, file: str) -> tuple[CandleFile, ...]:
    found = []
    for number, text in enumerate(declaration.candles):
        key = f"candles[{number}]"
        candles = _file_named(text, path, {"file": file, "key": key})
        try:
            named = CandleFile.named(candles.resolve())
        except PipelineError as error:
            raise ConfigError(error.problem, error.hint, file=file, key=key) from error
        if named.market not in declaration.all_markets:
            hint = f"Write {named.market} among the markets, or take the file out."
            raise ConfigError(f"{candles.name} is of {named.market}, which is not studied.", hint, file=file, key=key)
        found.append(named)
    return tuple(found)


def _file_named(text: str, study: Path, place: Mapping[str, str]) -> Path:
    """A file by its path as it is seen from the study file.

    Raises
    ------
    ConfigError
        When it is not there, or its path cannot even be looked at.
    """
    hint = "Write its path as it is seen from the study file, or an absolute one."
    try:
        found = study.parent / Path(text).expanduser()
        is_there = found.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a name too long, a folder behind a lock
        raise ConfigError(f"{text[:60]!r} cannot be looked at ({error}).", hint, **place) from error
    if not is_there:
        raise ConfigError(f"there is no file {shown(found)}.", hint, **place)
    return found


def _policies(declaration: StudyDeclaration, path: Path, packaged: Collection[str]) -> dict[str, Path | None]:
    found: dict[str, Path | None] = {}
    for number, text in enumerate(declaration.policies):
        place = {"file": shown(path), "key": f"policies[{number}]"}
        own = _file_named(text, path, place) if text.endswith(STUDY_SUFFIXES) else None
        name = text if own is None else own.stem
        if own is not None and not NAME.fullmatch(name):
            hint = "Rename the file: letters, digits, - and _, beginning with a letter or digit, like my_policy.yaml."
            raise ConfigError(f"{name!r} cannot be the name of a policy.", hint, **place)
        if own is None and name not in packaged:
            hint = f"Write one of {', '.join(sorted(packaged))}, or the path of a .yaml file."
            raise ConfigError(f"there is no policy {name!r}.", hint, **place)
        if name in found or (own is not None and name in packaged):
            raise ConfigError(f"two policies are called {name}.", "Rename the file.", **place)
        found[name] = own
    return found


def _placed(error: ConfigError, path: Path) -> ConfigError:
    """The same error with the line of its key, where the key, or what it belongs to, stands in the file."""
    if not error.key or "(line " in error.problem:
        return error  # the YAML itself is at fault, and its reader has named the line
    line = _line_of(error.key, path)
    if line is None:
        return error
    problem = error.problem.removeprefix(f"{error.file}: {error.key}: ")
    placed = ConfigError(f"(line {line}) {problem}", error.hint, file=error.file, key=error.key)
    placed.__cause__ = error.__cause__
    return placed


def _line_of(key: str, path: Path) -> int | None:
    """Line of a dotted key, counted from 1; that of the innermost mapping that holds it where it is missing."""
    node = yaml.compose(read_text(path), Loader=yaml.SafeLoader)
    line = None
    for part in _PART.findall(key):
        if isinstance(node, yaml.SequenceNode):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
            continue
        children = node.value if isinstance(node, yaml.MappingNode) else []
        pair = next(((name, value) for name, value in children if name.value == part), None)
        if pair is None:
            return line
        line, node = pair[0].start_mark.line + 1, pair[1]
    return line
