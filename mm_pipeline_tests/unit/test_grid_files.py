"""Grid files: each hostile example is refused with its file, key and hint, and never stops the others."""

import os
from pathlib import Path

import pytest

from mm_pipeline.adapters.config.grid_files import GridProblem, check_grid_file, load_grids
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.grid import RESERVED_IDS

SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "local" / "grids" / "eth-v3.yaml"

GOOD = """\
id: good
exchange: kucoin
symbol: ETH/USDT
enabled: true
lower: 3070
upper: 3185
levels: 6
spacing: arithmetic
stop_loss: 2990
capital: 1000
fee: 0.001
started_at: 2025-01-01T00:00:00Z
"""
BAD = GOOD.replace("id: good", "id: bad")


def swapped(old: str, new: str) -> bytes:
    assert BAD.count(old) == 1
    return BAD.replace(old, new).encode()


# name -> content, the key that the error names, a word of its problem, a word of its hint
HOSTILE: dict[str, tuple[bytes, str, str, str]] = {
    "duplicate_key": (swapped("fee:", "levels: 7\nfee:"), "levels", "twice", "Keep one"),
    "unknown_key": (swapped("fee:", "leverage: 5\nfee:"), "leverage", "not a known key", "Remove it"),
    "misspelt_key": (swapped("stop_loss:", "stoploss:"), "stop_loss", "missing", "stop_loss"),
    "missing_key": (swapped("upper: 3185\n", ""), "upper", "missing", "Add the key"),
    "empty_value": (swapped("upper: 3185", "upper:"), "upper", "number", "Write a number"),
    "lower_above_upper": (swapped("lower: 3070", "lower: 3200"), "upper", "not above lower", "Swap"),
    "lower_equals_upper": (swapped("upper: 3185", "upper: 3070"), "upper", "not above lower", "Swap"),
    "stop_at_lower": (swapped("2990", "3070"), "stop_loss", "not below lower", "below the grid"),
    "one_level": (swapped("levels: 6", "levels: 1"), "levels", "greater than or equal to 2", "2 or more"),
    "million_levels": (swapped("levels: 6", "levels: 1000000"), "levels", "less than", "1000 or less"),
    "fractional_levels": (swapped("levels: 6", "levels: 6.5"), "levels", "integer", "whole number"),
    "levels_in_quotes": (swapped("levels: 6", 'levels: "6"'), "levels", "integer", "whole number"),
    "indistinct_levels": (
        swapped("3185\nlevels: 6", "3070.000000000001\nlevels: 999"),
        "",
        "too close",
        "fewer levels",
    ),
    "negative_capital": (swapped("1000", "-1"), "capital", "greater than or equal to 0", "0 or more"),
    "fee_of_five_percent_as_5": (swapped("0.001", "5"), "fee", "less than", "0.05 or less"),
    "nan_price": (swapped("lower: 3070", "lower: .nan"), "lower", "finite", "finite"),
    "infinite_price": (swapped("upper: 3185", "upper: .inf"), "upper", "finite", "finite"),
    "overflowing_price": (swapped("upper: 3185", "upper: 1e999"), "upper", "too large", "finite"),
    "sexagesimal_price": (swapped("lower: 3070", "lower: 12:30"), "lower", "base 60", "plain number"),
    "octal_levels": (swapped("levels: 6", "levels: 010"), "levels", "leading zero", "Drop the zero"),
    "hexadecimal_levels": (swapped("levels: 6", "levels: 0x10"), "levels", "not decimal", "decimal"),
    "thousands_separator": (swapped("lower: 3070", "lower: 3,070"), "lower", "separators", "digits alone"),
    "underscored_price": (swapped("lower: 3070", "lower: 3_070"), "lower", "separators", "digits alone"),
    "enabled_yes": (swapped("enabled: true", "enabled: yes"), "enabled", "reads differently", "true"),
    "enabled_off": (swapped("enabled: true", "enabled: off"), "enabled", "reads differently", "false"),
    "enabled_in_quotes": (swapped("enabled: true", 'enabled: "true"'), "enabled", "boolean", "true or false"),
    "enabled_as_number": (swapped("enabled: true", "enabled: 1"), "enabled", "boolean", "true or false"),
    "path_in_symbol": (swapped("ETH/USDT", "../../etc/passwd"), "symbol", "BASE/QUOTE", "ETH/USDT"),
    "path_in_exchange": (swapped("kucoin", "../kucoin"), "exchange", "not a ccxt exchange id", "lower-case"),
    "path_in_id": (swapped("id: bad", "id: ../bad"), "id", "pattern", "Correct"),
    "id_with_newline": (swapped("id: bad", 'id: "bad\\n"'), "id", "pattern", "Correct"),
    "numeric_id": (swapped("id: bad", "id: 7"), "id", "string", "in quotes"),
    "unknown_spacing": (swapped("arithmetic", "linear"), "spacing", "geometric", "'arithmetic' or 'geometric'"),
    "date_without_time": (swapped("2025-01-01T00:00:00Z", "2025-01-01"), "started_at", "ISO 8601", "Z"),
    "time_without_offset": (swapped("00:00:00Z", "00:00:00"), "started_at", "UTC offset", "Z"),
    "no_such_day": (swapped("2025-01-01T", "2025-02-30T"), "started_at", "not a time that exists", "Z"),
    "time_in_quotes": (
        swapped("2025-01-01T00:00:00Z", '"2025-01-01T00:00:00Z"'),
        "started_at",
        "datetime",
        "without quotes",
    ),
    "unix_time": (swapped("2025-01-01T00:00:00Z", "1735689600"), "started_at", "datetime", "Z"),
    "start_in_antiquity": (swapped("2025-01-01T", "0001-01-01T"), "started_at", "outside 2010", "Z"),
    "start_before_time": (swapped("2025-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"), "started_at", "exists", "Z"),
    "microsecond_start": (swapped("00:00:00Z", "00:00:00.000001Z"), "started_at", "finer", "Z"),
    "anchor_and_alias": (swapped("2990", "&p 2990\ncapital2: *p"), "stop_loss", "anchor", "Remove the anchor"),
    "alias_alone": (swapped("lower: 3070", "lower: *p"), "lower", "alias", "Write the value out"),
    "merge_key": (swapped("fee:", "<<: {fee: 1}\nfee:"), "", "merge", "Write the merged keys out"),
    "python_tag": (swapped("lower: 3070", "lower: !!python/object/apply:os.system [x]"), "lower", "tag", "Remove"),
    "int_tag": (swapped("lower: 3070", 'lower: !!int "3070"'), "lower", "tag", "Remove"),
    "two_documents": (f"{BAD}---\n{GOOD}".encode(), "", "more than one document", "Split"),
    "directive": (f"%YAML 1.1\n---\n{BAD}".encode(), "", "directive", "%"),
    "tab_indentation": (swapped("levels: 6", "levels:\n\t- 6"), "", "not YAML at line", "spaces"),
    "unclosed_quote": (swapped("symbol: ETH", 'symbol: "ETH'), "", "not YAML", "quotes"),
    "list_at_the_top": (b"- id: bad\n", "", "not a mapping", "key: value"),
    "plain_words": (b"a grid please\n", "", "not a mapping", "key: value"),
    "nothing_in_it": (b"", "", "is empty", "key: value"),
    "comments_alone": (b"# nothing\n", "", "is empty", "key: value"),
    "deep_nesting": (b"id: " + b"[" * 30_000, "id" + "[0]" * 11, "nests deeper", "simpler"),
    "many_values": (b"id: [" + b"1," * 30_000 + b"]", "id[19997]", "values", "simpler"),
    "too_large": (BAD.encode() + b"#" * 300_000, "", "larger than", "smaller"),
    "latin_1": (swapped("id: bad", "id: bäd").decode().encode("latin-1"), "", "not UTF-8", "UTF-8"),
    "binary": (bytes(range(256)), "", "not UTF-8", "UTF-8"),
    "null_byte": (swapped("id: bad", "id: b\0ad"), "", "character", "control characters"),
    "impossible_escape": (swapped("id: bad", 'id: "\\UFFFFFFFF"'), "", "not YAML at line 1", "Correct that line"),
    "terminal_escape": (swapped("id: bad", 'id: "\\e[2Jbad"'), "id", "control characters", "plain text"),
    "terminal_escape_in_key": (swapped("id: bad", '"\\e[2J": bad'), "", "control characters", "plain words"),
    "lone_surrogate": (swapped("id: bad", 'id: "\\uD800"'), "", "not YAML at line 1", "Correct that line"),
    "list_as_key": (swapped("id: bad", "[id]: bad"), "", "not text", "plain words"),
}


def only_problem(folder: Path) -> GridProblem:
    (problem,) = load_grids(folder).problems
    return problem


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused_with_file_key_and_mend_while_the_others_load(name: str, tmp_path: Path) -> None:
    content, key, problem_word, mend_word = HOSTILE[name]
    (tmp_path / "bad.yaml").write_bytes(content)
    (tmp_path / "good.yaml").write_text(GOOD)

    folder = load_grids(tmp_path)

    assert [grid.id for grid in folder.grids] == ["good"]
    (problem,) = folder.problems
    assert problem.file == str(tmp_path / "bad.yaml")
    assert problem.grid_id == "bad"
    assert problem.error.file == problem.file
    assert problem.error.key == key
    assert problem_word in problem.error.problem
    assert mend_word in problem.error.hint
    assert str(problem.error).isprintable()
    with pytest.raises(ConfigError) as refused:
        check_grid_file(tmp_path / "bad.yaml")
    assert str(refused.value) == str(problem.error)


def test_several_faults_in_one_file_are_told_together(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(BAD.replace("levels: 6", "levels: 1").replace("fee: 0.001", "fee: 5"))
    message = str(only_problem(tmp_path).error)
    assert "levels" in message
    assert "fee: is refused" in message
    assert "fee: Write 0.05 or less." in message


def test_misspelt_key_is_told_the_known_one(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(swapped("fee:", "fees: 1\nfee:"))
    assert only_problem(tmp_path).error.hint == "Write fee if that is meant, or remove it."


def test_same_id_in_two_files_refuses_both(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml"):
        (tmp_path / name).write_text(GOOD)
    folder = load_grids(tmp_path)
    assert folder.grids == ()
    assert [(problem.grid_id, problem.error.key) for problem in folder.problems] == [("good", "id")] * 2
    assert "b.yml" in folder.problems[0].error.problem
    assert "its own id" in folder.problems[0].error.hint


def test_same_id_in_a_faulty_file_refuses_the_sound_one_too(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "b.yaml").write_text(GOOD.replace("levels: 6", "levels: 1"))
    folder = load_grids(tmp_path)
    assert folder.grids == ()
    assert [problem.error.key for problem in folder.problems] == ["id", "levels"]


@pytest.mark.parametrize(
    "fault",
    ["levels: 6\nlevels: 6", "levels: [6", "levels: 6\n\tx: 1", "levels: &a 6", "levels: 12:30", "levels: 0x10"],
)
@pytest.mark.parametrize("id_line", ["id: good", "id:   good  # mine", '"id": "good"', "id: 'good'"])
def test_same_id_in_a_file_that_is_not_yaml_refuses_the_sound_one_too(tmp_path: Path, fault: str, id_line: str) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    broken = GOOD.replace("levels: 6", fault).replace("id: good", id_line)
    (tmp_path / "b.yaml").write_text(broken)
    folder = load_grids(tmp_path)
    assert folder.grids == ()
    assert [problem.grid_id for problem in folder.problems] == ["good", "good"]


def test_no_file_that_was_cut_anywhere_is_accepted(tmp_path: Path) -> None:
    whole = "\n".join(sorted(GOOD.splitlines(), key=lambda line: line.startswith("stop_loss"))) + "\n"
    assert whole.splitlines()[-1].startswith("stop_loss")
    file = tmp_path / "good.yaml"
    for length in range(len(whole)):
        file.write_text(whole[:length])
        assert load_grids(tmp_path).grids == (), repr(whole[:length])
    file.write_text(whole)
    assert [grid.id for grid in load_grids(tmp_path).grids] == ["good"]


def test_a_last_line_without_its_end_is_named(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(GOOD.rstrip("\n"))
    error = only_problem(tmp_path).error
    assert f"line {len(GOOD.splitlines())}) does not end" in error.problem
    assert "line break" in error.hint


@pytest.mark.parametrize("name", sorted(RESERVED_IDS))
def test_a_name_of_the_program_is_no_grid_id(tmp_path: Path, name: str) -> None:
    (tmp_path / "bad.yaml").write_text(GOOD.replace("id: good", f"id: {name}"))
    problem = only_problem(tmp_path)
    assert problem.error.key == "id"
    assert "choose another id" in str(problem.error).lower()


def test_unreadable_file_named_like_a_sound_grid_does_not_blame_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(GOOD)
    (tmp_path / "good.yaml").write_text("[")
    folder = load_grids(tmp_path)
    assert [grid.id for grid in folder.grids] == ["good"]
    assert only_problem(tmp_path).grid_id is None


@pytest.mark.parametrize("is_there", [True, False])
def test_folder_without_grids_is_a_problem_of_its_own(tmp_path: Path, is_there: bool) -> None:
    folder = tmp_path / "grids"
    if is_there:
        folder.mkdir()
        (folder / "README.md").write_text("not a grid")
        (folder / ".hidden.yaml").write_text(GOOD)
    problem = only_problem(folder)
    assert problem.grid_id is None
    assert problem.file == str(folder)
    assert "grid folder" in problem.error.problem
    assert problem.error.hint


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.yaml").write_text(GOOD)
    folder = tmp_path / "grids"
    folder.mkdir()
    (folder / "good.yaml").symlink_to("../elsewhere.yaml")
    assert "link out of the grid folder" in only_problem(folder).error.problem
    assert load_grids(folder).grids == ()


def test_links_inside_the_folder_load_as_a_mounted_configuration_map(tmp_path: Path) -> None:
    (tmp_path / "..2025").mkdir()
    (tmp_path / "..2025" / "good.yaml").write_text(GOOD)
    (tmp_path / "..data").symlink_to("..2025")
    (tmp_path / "good.yaml").symlink_to("..data/good.yaml")
    assert [grid.id for grid in load_grids(tmp_path).grids] == ["good"]


def test_entries_that_are_no_plain_files_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "dangling.yaml").symlink_to("nowhere.yaml")
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    problems = load_grids(tmp_path).problems
    assert [problem.grid_id for problem in problems] == ["dangling", "folder", "loop", "pipe"]
    assert all(problem.error.hint for problem in problems)


def test_file_name_with_control_characters_is_shown_escaped(tmp_path: Path) -> None:
    (tmp_path / "\x1b[2J.yaml").write_text(BAD.replace("levels: 6", "levels: 1"))
    assert only_problem(tmp_path).file.isprintable()


def test_capital_suffix_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "good.YAML").write_text(GOOD)
    assert [grid.id for grid in load_grids(tmp_path).grids] == ["good"]


def test_shipped_founding_grid_loads_disabled_at_its_levels() -> None:
    grid = check_grid_file(SHIPPED)
    assert (grid.id, str(grid.market), grid.enabled, grid.capital) == ("eth-v3", "kucoin:ETH/USDT", False, 0.0)
    assert grid.level_prices().tolist() == [3070.0, 3093.0, 3116.0, 3139.0, 3162.0, 3185.0]
    assert grid.stop_loss == 2990.0
