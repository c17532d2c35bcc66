"""``mm status`` over a real journal: what is decided, told, answered and due; and what is too old to be believed."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.adapters.config.grid_files import GridFolder, load_grids
from mm_pipeline.adapters.config.home import JOURNAL_VARIABLE
from mm_pipeline.adapters.journal import DeliveryOutcome, Evaluation, Journal, Page, sqlite_url
from mm_pipeline.application.operator.status import GridStatus, grid_statuses, pulse_of
from mm_pipeline.cli.journal_access import open_journal
from mm_pipeline.cli.operator.status import status
from mm_pipeline.domain.errors import StorageError
from mm_pipeline.domain.evaluation_kind import EvaluationKind
from mm_pipeline.domain.grid import Grid
from mm_pipeline.domain.instants import to_ms
from mm_pipeline.domain.notifications import Cause, Notice, ResponseKind
from mm_pipeline.rendering.terminal.evaluation_tables import WIDE_COLUMNS
from mm_pipeline.rendering.terminal.operator_tables import alarm_lines, pulse_line, seconds_text, status_table
from mm_pipeline.settings import load_deployment
from mm_pipeline_tests.journal_samples import evaluation
from mm_pipeline_tests.journal_samples import grid as sample_grid
from mm_pipeline_tests.operator_samples import BY, OperatedHome, answer, claim, commit, decision, operated_home, send
from mm_pipeline_tests.page_samples import RISK, a_report, with_cost

MINUTE = timedelta(minutes=1)
BAR = 15 * MINUTE
AT = datetime(2026, 3, 2, 12, tzinfo=UTC)
NOW = AT + timedelta(minutes=4)


@pytest.fixture(autouse=True)
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long other tests take."""
    monkeypatch.setattr(SystemClock, "now_ms", lambda _self: to_ms(NOW))


"""The newest close by this machine's clock, which the command reads."""
MANDATORY, LATEST, WARNING, NORMAL = (
    Notice.MANDATORY_EXIT,
    Notice.LATEST_ACCEPTABLE_EXIT,
    Notice.WARNING,
    Notice.NORMAL,
)


def grid(grid_id: str = "eth", **changes: Any) -> Grid:
    return sample_grid(grid_id, started_at=AT - timedelta(days=2), **changes)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OperatedHome:
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(JOURNAL_VARIABLE, raising=False)
    return operated_home(tmp_path)


@pytest.fixture
def journal(home: OperatedHome) -> Iterator[Journal]:
    """The journal, with one grid declared."""
    home.declare(grid())
    with home.journal() as opened:
        opened.observe_grids([grid()], AT - timedelta(days=1))
        yield opened


def judged(journal: Journal, state: str, *, at: datetime = AT, name: str = "eth", **changes: Any) -> None:
    made = replace(
        evaluation(), grid=name, evaluated_at=at, state=state, fired=(), triggers={}, **{"as_of": at} | changes
    )
    journal.record_evaluations([made])


def told(journal: Journal, notice: Notice, *, at: datetime = AT, **options: Any) -> str:
    return commit(journal, decision(notice, at, **options.pop("changes", {})), decided_at=at + MINUTE, **options)


def found(
    journal: Journal, *, now: datetime = AT + 5 * MINUTE, folder: GridFolder | None = None
) -> dict[str, GridStatus]:
    statuses = grid_statuses(
        journal, folder or GridFolder((), ()), now=now, max_lateness=20 * MINUTE, overdue_after=15 * MINUTE
    )
    return {one.report.grid_id: one for one in statuses}


def printed(*parts: object, width: int = 160) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    for part in parts:
        console.print(part)
    return console.export_text()


def test_journal_that_does_not_exist_yet_is_an_error_and_is_not_made(
    home: OperatedHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = home.mm(status)
    assert isinstance(result.exception, StorageError)
    assert f"there is no journal at {home.journal_file} yet. It begins with the first evaluation" in str(
        result.exception
    )
    assert not home.journal_file.parent.exists()
    elsewhere = home.folder / "elsewhere.db"
    monkeypatch.setenv(JOURNAL_VARIABLE, sqlite_url(elsewhere))
    with pytest.raises(StorageError, match=r"no journal at .*elsewhere\.db yet"):
        open_journal(load_deployment(home.settings_file))
    assert not elsewhere.exists()
    elsewhere.write_bytes(b"")
    with pytest.raises(StorageError, match="no journal"):
        open_journal(load_deployment(home.settings_file))
    assert elsewhere.read_bytes() == b""
    monkeypatch.setenv(JOURNAL_VARIABLE, "nonsense")
    with pytest.raises(StorageError, match="address cannot be used"):
        open_journal(load_deployment(home.settings_file))


def test_commands_read_the_journal_that_the_daemon_writes(
    home: OperatedHome, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_journal(load_deployment(home.settings_file)) as opened:
        assert opened.known_grids() == ["eth"]
    with Journal(sqlite_url(home.folder / "other.db")) as other:
        other.observe_grids([grid("btc")], AT)
    monkeypatch.setenv(JOURNAL_VARIABLE, sqlite_url(home.folder / "other.db"))
    with open_journal(load_deployment(home.settings_file)) as opened:
        assert opened.known_grids() == ["btc"]


def test_calm_grid_is_told_as_json_with_the_contract_s_keys_and_exits_zero(
    home: OperatedHome, journal: Journal
) -> None:
    judged(journal, "WARNING", at=AT - 3 * BAR)
    for bars in (2, 1, 0):
        judged(journal, "NORMAL", at=AT - bars * BAR)
    result = home.mm(status, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["evaluated_at"] == AT.strftime("%Y-%m-%dT%H:%M:%SZ")
    (one,) = data["grids"]
    assert {"grid", "state", "since", "price", "triggers", "risk", "age_s", "reasons"} <= set(one)
    assert (one["grid"], one["state"], one["price"], one["risk"]) == ("eth", "NORMAL", 3100.25, None)
    assert one["since"] == (AT - 2 * BAR).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert 0 <= one["age_s"] <= 900
    assert (one["page"], one["flat_at"], one["last_known_state"]) == (None, None, None)
    assert one["due"] == {
        "respond_by": None,
        "is_window_over": False,
        "open_emergencies": [],
        "waiting": [],
        "overdue": [],
    }


def test_old_evaluation_is_unknown_with_what_was_known_and_exits_one(home: OperatedHome, journal: Journal) -> None:
    judged(journal, "MANDATORY_EXIT", at=AT - 3 * BAR)
    result = home.mm(status, "--json")
    assert result.exit_code == 1
    (one,) = json.loads(result.stdout)["grids"]
    assert (one["state"], one["last_known_state"]) == ("UNKNOWN", "MANDATORY_EXIT")
    assert one["since"] == (AT - 3 * BAR + 20 * MINUTE).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "more than 20min (notify.max_lateness)" in one["reasons"][0]
    words = home.mm(status).stdout.split()
    assert {"UNKNOWN", "MANDATORY_EXIT"} <= set(words)


@pytest.mark.parametrize(("age", "state"), [(20 * MINUTE, "NORMAL"), (20 * MINUTE + timedelta(seconds=1), "UNKNOWN")])
def test_evaluation_counts_until_max_lateness(journal: Journal, age: timedelta, state: str) -> None:
    judged(journal, "NORMAL")
    assert found(journal, now=AT + age)["eth"].report.state == state


def test_unknown_keeps_the_last_known_state_of_its_own_range(journal: Journal) -> None:
    judged(journal, "LATEST_ACCEPTABLE_EXIT", at=AT - BAR, grid_version=grid().version_hash)
    judged(journal, "UNKNOWN", reasons=("newest bar closed 47 min ago",), grid_version=grid().version_hash)
    report = found(journal)["eth"].report
    assert (report.state, report.last_known_state, report.since) == ("UNKNOWN", "LATEST_ACCEPTABLE_EXIT", AT)
    assert report.reasons == ("newest bar closed 47 min ago",)
    journal.observe_grids([sample_grid("eth", started_at=AT - MINUTE)], AT)
    assert found(journal)["eth"].report.last_known_state is None


def test_triggers_are_those_that_were_journalled(journal: Journal) -> None:
    reading = {"value": 1.3, "threshold": 1.25, "margin": 0.05, "fired": True, "since": AT - BAR}
    made = replace(
        evaluation(), grid="eth", evaluated_at=AT, state="WARNING", triggers={"volatility_expanded": reading}
    )
    journal.record_evaluations([made])
    one = found(journal)["eth"]
    assert [(trigger.name, trigger.value, trigger.since) for trigger in one.report.fired] == [
        ("volatility_expanded", 1.3, AT - BAR)
    ]
    assert one.as_json(now=AT)["triggers"]["volatility_expanded"]["fired"] is True
    assert "volatility_expanded" in printed(status_table([one], now=AT))


def test_grid_that_was_never_evaluated_or_starts_in_the_future_is_unknown(home: OperatedHome, journal: Journal) -> None:
    judged(journal, "NORMAL")
    home.declare(grid("new"), sample_grid("later", started_at=AT + timedelta(days=1)))
    (home.folder / "grids" / "bad.yaml").write_text("id: bad\nlower: 3\n")
    result = home.mm(status, "--json")
    assert result.exit_code == 1
    told_of = {one["grid"]: one for one in json.loads(result.stdout)["grids"]}
    assert {name: (one["state"], one["age_s"] is None) for name, one in told_of.items()} == {
        "eth": ("NORMAL", False),
        "new": ("UNKNOWN", True),
        "bad": ("UNKNOWN", True),
        "later": ("UNKNOWN", True),
    }
    assert "starts in the future" in told_of["later"]["reasons"][0]
    assert "never evaluated" in told_of["new"]["reasons"][0]
    assert "bad.yaml" in told_of["bad"]["reasons"][0]


def test_enabled_grid_without_its_file_is_unknown_until_it_is_retired(journal: Journal) -> None:
    judged(journal, "NORMAL")
    journal.observe_grids([], AT)
    report = found(journal)["eth"].report
    assert (report.state, report.last_known_state) == ("UNKNOWN", "NORMAL")
    assert "no longer watched: its file is gone" in report.reasons[0]
    assert "mm grids retire eth" in report.reasons[0]
    assert journal.retire_grid("eth", AT + MINUTE, by="me")
    assert found(journal, now=AT + 2 * MINUTE) == {}


def test_disabled_grid_without_its_file_is_not_shown(journal: Journal) -> None:
    journal.observe_grids([grid(enabled=False)], AT)
    journal.observe_grids([], AT)
    assert found(journal) == {}


def test_enabled_grid_that_starts_in_the_future_is_unknown_and_says_what_to_write(journal: Journal) -> None:
    ahead = sample_grid("eth", started_at=AT + timedelta(days=365))
    journal.observe_grids([ahead], AT)
    report = found(journal)["eth"].report
    assert report.state == "UNKNOWN"
    assert "starts in the future" in report.reasons[0]
    assert "`enabled: false`" in report.reasons[0]
    journal.observe_grids([ahead.model_copy(update={"enabled": False})], AT + MINUTE)
    assert found(journal, now=AT + 2 * MINUTE) == {}


def test_grid_switched_off_since_shows_no_exit_advice(journal: Journal) -> None:
    judged(journal, "MANDATORY_EXIT")
    told(journal, MANDATORY)
    off = grid(enabled=False)
    journal.observe_grids([off], AT + MINUTE)
    one = found(journal)["eth"]
    assert (one.report.state, one.report.triggers, one.report.last_known_state) == ("UNKNOWN", (), None)
    assert (one.last_page, one.due.respond_by) == (None, None)
    assert "switched off" in one.report.reasons[0]
    judged(journal, "WAIT", at=AT + BAR, kind=EvaluationKind.ENTRY)
    one = found(journal, now=AT + BAR + MINUTE)["eth"]
    assert (one.report.state, one.last_page, one.due.respond_by) == ("WAIT", None, None)
    assert "MANDATORY" not in printed(status_table([one], now=AT + BAR + MINUTE))


def test_emergency_waits_then_rings_then_is_acknowledged(home: OperatedHome, journal: Journal) -> None:
    judged(journal, "MANDATORY_EXIT")
    page = told(journal, MANDATORY, channels={"phone": 0, "mail": 1})
    one = found(journal)["eth"]
    assert one.last_page is not None
    assert (one.last_page.delivery, set(one.last_page.waiting_on)) == ("waiting", {"phone", "mail"})
    assert (one.due.waiting, one.due.overdue, one.due.open_emergencies) == ((page,), (), ())
    assert (one.due.respond_by, one.due.is_window_over) == (AT + BAR, False)
    assert "waiting for" in printed(status_table([one], now=AT + 5 * MINUTE))

    send(journal, page, AT + 2 * MINUTE, receipt="r1")
    one = found(journal)["eth"]
    assert one.last_page is not None
    assert (one.last_page.delivery, dict(one.last_page.sent_on)) == ("sent", {"phone": AT + 2 * MINUTE})
    assert (one.due.waiting, one.due.open_emergencies) == ((), (page,))
    late = found(journal, now=AT + BAR + MINUTE)["eth"]
    assert late.due.is_window_over
    text = printed(status_table([late], now=AT + BAR + MINUTE))
    assert "ANSWER OVERDUE" in text
    assert "an alarm still rings" in text

    answer(journal, ResponseKind.ACKNOWLEDGED, AT + 4 * MINUTE, page=page, by="ann")
    one = found(journal)["eth"]
    assert one.last_page is not None
    assert (one.last_page.acknowledged_by, one.last_page.acknowledge_s) == ("ann", 120.0)
    assert one.due.respond_by is None
    result = home.mm(status, "--json")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)["grids"][0]["page"]
    assert (data["notice"], data["delivery"], data["acknowledged_by"], data["acknowledge_s"]) == (
        "MANDATORY_EXIT",
        "sent",
        "ann",
        120.0,
    )
    assert data["sent_on"] == {"phone": (AT + 2 * MINUTE).strftime("%Y-%m-%dT%H:%M:%SZ")}
    assert "acknowledged by ann" in home.mm(status).stdout


def test_flat_position_answers_and_is_told_of_this_range_alone(journal: Journal) -> None:
    judged(journal, "MANDATORY_EXIT")
    answer(journal, ResponseKind.FLAT, AT - timedelta(days=3), by="bob")
    told(journal, MANDATORY)
    assert (found(journal)["eth"].flat_at, found(journal)["eth"].due.respond_by) == (None, AT + BAR)
    answer(journal, ResponseKind.FLAT, AT + 3 * MINUTE, by="ann")
    one = found(journal)["eth"]
    assert (one.flat_at, one.flat_by, one.due.respond_by) == (AT + 3 * MINUTE, "ann", None)
    assert "flat since" in printed(status_table([one], now=AT + 5 * MINUTE))


def test_unknown_page_takes_back_nothing_of_what_was_asked_before(journal: Journal) -> None:
    judged(journal, "UNKNOWN", reasons=("stale",))
    told(journal, LATEST, at=AT - BAR)
    told(journal, Notice.UNKNOWN)
    one = found(journal)["eth"]
    assert one.last_page is not None
    assert (one.last_page.notice, one.due.respond_by) == ("UNKNOWN", AT - BAR + 60 * MINUTE)
    told(journal, NORMAL, at=AT + BAR)
    assert found(journal, now=AT + BAR + MINUTE)["eth"].due.respond_by is None


def test_page_about_a_range_that_was_left_is_not_due(journal: Journal) -> None:
    judged(journal, "NORMAL")
    told(journal, LATEST, at=AT - BAR)
    journal.observe_grids([sample_grid("eth", started_at=AT - MINUTE)], AT)
    assert found(journal)["eth"].due.respond_by is None


def test_page_that_no_channel_takes_is_overdue_until_something_newer_is_told(journal: Journal) -> None:
    judged(journal, "WARNING")
    page = told(journal, WARNING, at=AT - 2 * BAR)
    begun = claim(journal, AT)
    journal.outbox.end(begun, DeliveryOutcome.REFUSED, at=AT, detail="wrong key")
    journal.outbox.give_up(page, at=AT, detail="every channel refused it")
    one = found(journal)["eth"]
    assert one.last_page is not None
    assert (one.last_page.delivery, one.due.overdue, one.due.waiting) == ("undeliverable", (page,), ())
    text = printed(status_table([one], now=AT))
    assert "UNDELIVERABLE" in text
    assert "1 page OVERDUE" in text
    later = told(journal, MANDATORY, at=AT)
    send(journal, later, AT + MINUTE)
    assert found(journal)["eth"].due.overdue == ()


def test_page_that_waits_is_not_due_any_more_once_something_newer_is_told(journal: Journal) -> None:
    judged(journal, "MANDATORY_EXIT")
    page = told(journal, WARNING, at=AT - 2 * BAR)
    assert found(journal)["eth"].due.waiting == (page,)
    newer = told(journal, MANDATORY)
    one = found(journal)["eth"]
    assert (one.due.waiting, one.due.overdue) == ((newer,), ())


def test_repeated_page_is_told_with_its_own_times(journal: Journal) -> None:
    judged(journal, "MANDATORY_EXIT")
    send(journal, told(journal, MANDATORY, at=AT - 12 * BAR), AT - 12 * BAR + MINUTE)
    again = {"cause": Cause.REISSUE, "episode_at": AT - 12 * BAR, "number": 2}
    page = told(journal, MANDATORY, changes=again)
    one = found(journal)["eth"]
    assert one.last_page is not None
    assert (one.last_page.page, one.last_page.evaluated_at) == (page, AT)


def test_alarms_of_the_last_day_are_told(home: OperatedHome, journal: Journal) -> None:
    judged(journal, "NORMAL")
    for number, at in enumerate((AT - timedelta(hours=25), AT - timedelta(hours=1))):
        alarm = Page(
            page=f"alarm-{number}",
            notice="ALARM",
            grids=(),
            evaluated_at=at,
            decided_at=at,
            priority=1,
            title=f"CHANNEL phone refuses pages ({number})",
            text="",
            **BY,
        )
        assert journal.notifications.raise_alarm(alarm, channels={"mail": 0}, due_at=at)
    assert [one["title"] for one in json.loads(home.mm(status, "--json").stdout)["alarms"]] == [
        "CHANNEL phone refuses pages (1)"
    ]
    assert "refuses pages (1)" in home.mm(status).stdout
    assert "alarm" in printed(*alarm_lines([(AT, "BLIND")]))


def test_narrow_terminal_gets_the_same_in_lines_most_urgent_first(journal: Journal) -> None:
    journal.observe_grids([grid(), grid("btc", symbol="BTC/USDT")], AT - BAR)
    judged(journal, "MANDATORY_EXIT")
    judged(journal, "NORMAL", name="btc")
    page = told(journal, MANDATORY)
    send(journal, page, AT + 2 * MINUTE, receipt="r1")
    statuses = list(found(journal).values())
    text = printed(status_table(statuses, now=AT + 5 * MINUTE, width=80), width=80)
    assert max(map(len, text.splitlines())) <= 80
    for said in (
        "MANDATORY_EXIT  eth  for 5 min",
        "price 3,100.25, 5 min ago",
        "sent phone",
        "answer by",
        "NORMAL  btc",
    ):
        assert said in text
    assert text.index("eth") < text.index("btc")


@pytest.mark.parametrize("width", [40, 80, WIDE_COLUMNS, 160])
def test_nothing_is_cut_off_at_any_width(journal: Journal, width: int) -> None:
    judged(journal, "LATEST_ACCEPTABLE_EXIT", at=AT - BAR)
    judged(journal, "UNKNOWN", reasons=("the newest bar of the market closed too long ago",))
    send(journal, told(journal, LATEST, channels={"telephone": 0, "mail": 1}), AT + MINUTE, "telephone", receipt="r1")
    text = printed(status_table(list(found(journal, now=AT + 90 * MINUTE).values()), now=AT, width=width), width=width)
    said = {"eth", "UNKNOWN", "LATEST_ACCEPTABLE_EXIT", "market", "telephone", "mail", "OVERDUE", "rings"}
    assert said <= set(text.split())


def test_run_of_a_state_begins_after_the_last_other_one_as_it_was_recorded_last(journal: Journal) -> None:
    for bars, state, seen in ((3, "NORMAL", "a"), (2, "WARNING", "a"), (2, "NORMAL", "b"), (1, "NORMAL", "a")):
        judged(journal, state, at=AT - bars * BAR, input_hash=seen)
    judged(journal, "NORMAL")
    assert found(journal)["eth"].report.since == AT - 3 * BAR


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.0, "0 s"), (59.4, "59 s"), (60.0, "1 min"), (11030.0, "3 h 4 min"), (180_000.0, "2 d 2 h")],
)
def test_length_of_time_is_told_in_its_largest_units(seconds: float | None, text: str) -> None:
    assert seconds_text(seconds) == text


def test_folder_of_grids_that_cannot_be_read_hides_no_grid(home: OperatedHome, journal: Journal) -> None:
    judged(journal, "NORMAL")
    assert list(found(journal, folder=load_grids(home.folder / "nowhere"))) == ["eth"]


def test_evaluations_are_never_written(home: OperatedHome, journal: Journal) -> None:
    judged(journal, "NORMAL")
    before: list[Evaluation] = journal.evaluations()
    home.mm(status)
    assert journal.evaluations() == before


def test_price_has_the_age_of_its_bar_and_the_state_its_moment(journal: Journal) -> None:
    judged(journal, "NORMAL", price=3_000.0, as_of=AT - BAR)
    status = found(journal, now=AT + MINUTE)["eth"]

    for width in (80, 160):
        text = printed(status_table([status], now=AT + MINUTE, width=width), width=width)
        assert "NORMAL" in text
        assert "as of " in text
        assert "16 min ago" in text
        assert " 1 min ago" not in text
    data = status.as_json(now=AT + MINUTE)
    assert (data["state"], data["as_of"], data["price_age_s"]) == ("NORMAL", AT - BAR, 16 * 60)
    assert data["shown_state"].startswith("NORMAL as of ")


def test_state_of_its_own_bar_is_shown_without_a_moment(journal: Journal) -> None:
    judged(journal, "NORMAL", price=3_000.0, as_of=AT)

    assert found(journal, now=AT + MINUTE)["eth"].report.shown_state == "NORMAL"


@pytest.mark.parametrize(
    ("age", "is_silent", "says"),
    [
        (20 * MINUTE, False, "the watch is alive: evaluated 03-02 12:00 UTC, 20 min ago; next 12:15"),
        (
            21 * MINUTE,
            True,
            "THE WATCH IS SILENT: evaluated 03-02 12:00 UTC, 21 min ago. Start it: mm up",
        ),
    ],
)
def test_status_says_whether_the_watch_itself_is_alive(
    journal: Journal, age: timedelta, says: str, *, is_silent: bool
) -> None:
    judged(journal, "NORMAL")
    pulse = pulse_of(list(found(journal, now=AT + age).values()), now=AT + age, max_lateness=20 * MINUTE)
    assert (pulse.evaluated_at, pulse.is_silent) == (AT, is_silent)
    assert says in printed(pulse_line(pulse))


def test_watch_that_never_evaluated_is_silent_where_it_has_a_grid(journal: Journal) -> None:
    assert pulse_of(list(found(journal).values()), now=AT, max_lateness=20 * MINUTE).is_silent
    assert not pulse_of([], now=AT, max_lateness=20 * MINUTE).is_silent


@pytest.mark.parametrize("width", [80, WIDE_COLUMNS])
def test_blind_grid_shows_no_forecast_of_an_earlier_price(journal: Journal, width: int) -> None:
    seen = found(journal)["eth"]
    for state, is_told in (("NORMAL", True), ("UNKNOWN", False)):
        report = replace(with_cost(a_report(state), RISK), risk_level="LOW")
        text = printed(status_table([replace(seen, report=report)], now=AT, width=width), width=width)
        assert ("62%" in text) == is_told, text


def test_status_of_a_terminal_fits_eighty_columns(journal: Journal) -> None:
    judged(journal, "NORMAL")
    report = replace(with_cost(a_report("NORMAL"), RISK), risk_level="LOW")
    text = printed(status_table([replace(found(journal)["eth"], report=report)], now=AT, width=80), width=80)
    assert "PnL -31.60 USDT, 1 h at risk 25.30 USDT, stop within 24 h 62%" in text
