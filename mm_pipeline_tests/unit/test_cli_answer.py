"""``mm ack``, ``mm flat``, ``mm notify test``: what an operator does about pages, and whether they would come."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from mm_pipeline.adapters.clock import SystemClock
from mm_pipeline.adapters.config.home import journal_file
from mm_pipeline.adapters.journal import Journal, sqlite_url
from mm_pipeline.cli import main
from mm_pipeline.cli.delivery_access import delivery_for
from mm_pipeline.cli.up.command import check_reaches_somebody
from mm_pipeline.domain.errors import ConfigError
from mm_pipeline.domain.notifications import Cause, Decision, Notice, ResponseKind
from mm_pipeline.paper.pushover import PaperPushover
from mm_pipeline.settings import load_settings
from mm_pipeline_tests.grid_samples import hundreds_grid
from mm_pipeline_tests.operator_samples import commit, decision


@pytest.fixture
def phone() -> Iterator[PaperPushover]:
    with PaperPushover() as server:
        yield server


@pytest.fixture
def settings(tmp_path: Path, phone: PaperPushover, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MM_TEST_TOKEN", "a" * 30)
    monkeypatch.setenv("MM_TEST_USER", "u" * 30)
    monkeypatch.delenv("MM_JOURNAL_URL", raising=False)
    file = tmp_path / "settings.yaml"
    keys = "token_env: MM_TEST_TOKEN, user_env: MM_TEST_USER"
    file.write_text(
        f'channels:\n  - {{name: phone, kind: pushover, api_url: "{phone.url}", {keys}}}\n'
        "  - {name: pages, kind: file, path: pages.jsonl}\n"
    )
    (tmp_path / "grids").mkdir()
    return file


@pytest.fixture
def journal(settings: Path, tmp_path: Path) -> Iterator[Journal]:
    with Journal(sqlite_url(journal_file(tmp_path / "home" / "paper"))) as opened:
        opened.observe_grids([hundreds_grid(id="eth")], SystemClock().now())
        yield opened


def mm(*arguments: str, settings: Path) -> Result:
    return CliRunner().invoke(main, [*arguments, "--settings", str(settings)])


def emergency(journal: Journal, settings: Path) -> Decision:
    """A page that rings on the phone now."""
    now = SystemClock().now()
    one = decision(Notice.MANDATORY_EXIT, now - timedelta(minutes=2), cause=Cause.CHANGE)
    commit(journal, one, decided_at=now)
    delivery_for(load_settings(settings), journal).relay.run()
    return one


def phone_receipts(phone: PaperPushover) -> list[dict[str, object]]:
    """What the provider says of each emergency."""
    found = [phone.account.receipt(str(one.receipt), "a" * 30) for one in phone.messages if one.receipt]
    return [dict(one) for one in found if one is not None]


def phone_receipt(phone: PaperPushover) -> dict[str, object]:
    """What the provider says of the only emergency."""
    (one,) = phone_receipts(phone)
    return one


def test_acknowledged_page_stops_ringing_and_is_on_record_once(
    journal: Journal, settings: Path, phone: PaperPushover
) -> None:
    one = emergency(journal, settings)
    (message,) = phone.messages
    assert message.receipt is not None
    assert {event.settings_hash for event in journal.outbox.events()} == {load_settings(settings).hash}
    assert all(event.code_version for event in journal.outbox.events())
    done = mm("ack", "eth", "--by", "ann", settings=settings)
    assert (done.exit_code, done.stdout.count("acknowledged.")) == (0, 1)
    again = mm("ack", "eth", settings=settings)
    assert (again.exit_code, "acknowledged before" in again.stdout) == (1, True)
    answers = {answer.response.kind: answer for answer in journal.responses.select("eth")}
    assert set(answers) == {ResponseKind.ACKNOWLEDGED, ResponseKind.CANCELLED}
    assert (answers[ResponseKind.ACKNOWLEDGED].by_whom, answers[ResponseKind.ACKNOWLEDGED].source) == ("ann", "mm ack")
    assert answers[ResponseKind.ACKNOWLEDGED].response.page == one.page
    receipt = phone.account.receipt(message.receipt, "a" * 30)
    assert receipt is not None
    assert receipt["expired"] == 1


def test_acknowledging_a_blind_grid_answers_the_emergency_that_stands_too(
    journal: Journal, settings: Path, phone: PaperPushover
) -> None:
    one = emergency(journal, settings)
    now = SystemClock().now()
    blind = decision(Notice.UNKNOWN, now - timedelta(minutes=1))
    commit(journal, blind, decided_at=now)
    done = mm("ack", "eth", settings=settings)
    assert done.exit_code == 0
    answered = {
        answer.response.page
        for answer in journal.responses.select("eth")
        if answer.response.kind is ResponseKind.ACKNOWLEDGED
    }
    assert answered == {one.page, blind.page}
    (message,) = [found for found in phone.messages if found.receipt]
    receipt = phone.account.receipt(str(message.receipt), "a" * 30)
    assert receipt is not None
    assert receipt["expired"] == 1


def test_page_that_nobody_was_shown_is_named_counts_and_is_sent_all_the_same(
    journal: Journal, settings: Path, phone: PaperPushover
) -> None:
    emergency(journal, settings)
    now = SystemClock().now()
    later = decision(Notice.MANDATORY_EXIT, now - timedelta(minutes=1), cause=Cause.NEW_TRIGGER)
    commit(journal, later, decided_at=now)
    done = mm("ack", "eth", settings=settings)
    (page,) = journal.notifications.pages(ids=[later.page])
    said, unseen = done.stdout.splitlines()
    assert "acknowledged." in said
    assert unseen == f"eth: this page has reached nobody yet and is sent all the same: {page.title}"
    delivery_for(load_settings(settings), journal).relay.run()
    assert [message.title for message in phone.messages][1:] == [page.title]
    delivery_for(load_settings(settings), journal).answers.follow()
    assert [one["expired"] for one in phone_receipts(phone)] == [1, 1]
    again = json.loads(mm("ack", "eth", "--json", settings=settings).stdout)
    assert again == {"grids": [{"grid": "eth", "acknowledged": False, "undelivered": []}]}


def test_page_that_only_a_file_took_has_reached_nobody(journal: Journal, settings: Path, phone: PaperPushover) -> None:
    phone.stop()
    one = emergency(journal, settings)
    done = json.loads(mm("ack", "eth", "--json", settings=settings).stdout)
    assert done == {"grids": [{"grid": "eth", "acknowledged": True, "undelivered": [one.page]}]}


def test_position_closed_before_its_page_came_leaves_nothing_to_send(
    journal: Journal, settings: Path, phone: PaperPushover
) -> None:
    now = SystemClock().now()
    commit(journal, decision(Notice.MANDATORY_EXIT, now - timedelta(minutes=1), cause=Cause.CHANGE), decided_at=now)
    assert mm("flat", "eth", settings=settings).exit_code == 0
    delivery_for(load_settings(settings), journal).relay.run()
    assert not phone.messages


def test_acknowledgement_is_kept_although_the_provider_is_away(
    journal: Journal, settings: Path, phone: PaperPushover
) -> None:
    emergency(journal, settings)
    phone.stop()
    done = mm("ack", "eth", settings=settings)
    assert done.exit_code == 0
    assert "rings on for now" in done.stderr
    phone.start()
    assert delivery_for(load_settings(settings), journal).answers.follow().answers[0].response.kind == "cancelled"


def test_shell_without_the_channels_keys_says_that_the_alarm_may_ring_on(
    journal: Journal, settings: Path, phone: PaperPushover, monkeypatch: pytest.MonkeyPatch
) -> None:
    emergency(journal, settings)
    monkeypatch.delenv("MM_TEST_TOKEN")
    done = mm("ack", "eth", settings=settings)
    assert done.exit_code == 0
    assert "phone cannot be asked from this shell" in done.stderr
    (message,) = phone.messages
    receipt = phone.account.receipt(str(message.receipt), "a" * 30)
    assert receipt is not None
    assert receipt["expired"] == 0


def test_flat_position_is_noted_and_ends_the_ringing(journal: Journal, settings: Path, phone: PaperPushover) -> None:
    emergency(journal, settings)
    done = mm("flat", "eth", "--json", settings=settings)
    assert done.exit_code == 0
    assert json.loads(done.stdout)["grids"][0]["grid"] == "eth"
    kinds = {answer.response.kind for answer in journal.responses.select("eth")}
    assert kinds == {ResponseKind.FLAT, ResponseKind.CANCELLED}


def test_flat_before_the_page_ends_the_ringing_and_can_be_taken_back(
    journal: Journal, settings: Path, phone: PaperPushover
) -> None:
    one = emergency(journal, settings)
    earlier = (one.evaluated_at - timedelta(minutes=20)).strftime("%Y-%m-%dT%H:%M:%SZ")
    done = mm("flat", "eth", "--at", earlier, settings=settings)
    assert (done.exit_code, "mm reopen eth" in done.stdout) == (0, True)
    (message,) = phone.messages
    receipt = phone.account.receipt(str(message.receipt), "a" * 30)
    assert receipt is not None
    assert receipt["expired"] == 1
    back = mm("reopen", "eth", "--by", "ann", settings=settings)
    assert (back.exit_code, "open again" in back.stdout) == (0, True)
    newest = journal.responses.select("eth")[-1]
    assert (newest.response.kind, newest.source, newest.by_whom) == (ResponseKind.REOPENED, "mm reopen", "ann")


def test_flat_disables_the_grid_in_its_file_if_asked_to(journal: Journal, settings: Path) -> None:
    file = settings.parent / "grids" / "eth.yaml"
    declared = hundreds_grid(id="eth").model_dump(mode="json")
    file.write_text(yaml.safe_dump(declared).replace("'", ""))
    before = file.read_text()
    done = mm("flat", "eth", "--disable", settings=settings)
    assert (done.exit_code, "Disabled in eth.yaml." in done.stdout) == (0, True)
    assert file.read_text() == before.replace("enabled: true", "enabled: false")
    file.write_text("id: eth\n")
    refused = mm("flat", "eth", "--disable", settings=settings)
    assert (refused.exit_code, "enabled: false" in refused.stderr) == (2, True)


def test_retired_grid_rings_no_more_and_its_unsent_pages_are_not_sent(
    journal: Journal, settings: Path, phone: PaperPushover
) -> None:
    emergency(journal, settings)
    now = SystemClock().now()
    later = decision(Notice.MANDATORY_EXIT, now - timedelta(minutes=1), cause=Cause.NEW_TRIGGER)
    commit(journal, later, decided_at=now)
    done = mm("grids", "retire", "eth", settings=settings)
    assert done.stdout == "eth: retired, and not watched any more. Its alarm was ended.\n"
    assert phone_receipt(phone)["expired"] == 1
    delivery_for(load_settings(settings), journal).relay.run()
    assert len(phone.messages) == 1
    assert "retired before.\n" in mm("grids", "retire", "eth", settings=settings).stdout
    assert [one.response.kind for one in journal.responses.select("eth")] == [ResponseKind.CANCELLED]


@pytest.mark.parametrize("is_there", [True, False])
def test_no_grid_is_retired_while_its_file_may_only_be_out_of_sight(
    journal: Journal, settings: Path, *, is_there: bool
) -> None:
    emergency(journal, settings)
    folder = settings.parent / "grids"
    if is_there:
        (folder / "Some Grid.yaml").write_text("id: [\n")
    else:
        folder.rmdir()
    done = mm("grids", "retire", "eth", settings=settings)
    assert (done.exit_code, "cannot all be read" in done.stderr) == (2, True)
    assert journal.retired_grids() == {}


def test_alarm_of_a_grid_that_came_back_rings_although_it_was_retired_before(
    journal: Journal, settings: Path, phone: PaperPushover
) -> None:
    mm("grids", "retire", "eth", settings=settings)
    journal.observe_grids([hundreds_grid(id="eth")], SystemClock().now())
    emergency(journal, settings)
    assert delivery_for(load_settings(settings), journal).answers.follow().answers == ()
    assert phone_receipt(phone)["expired"] == 0


def test_flat_in_the_future_and_unknown_grids_are_refused(journal: Journal, settings: Path) -> None:
    later = f"{SystemClock().now() + timedelta(hours=1):%Y-%m-%dT%H:%MZ}"
    assert mm("flat", "eth", "--at", later, settings=settings).exit_code == 2
    for command in ("ack", "flat"):
        done = mm(command, "etc", settings=settings)
        assert (done.exit_code, "knows no grid etc" in done.stderr) == (2, True)
    assert not journal.responses.select()


def past(**ago: float) -> str:
    return f"{SystemClock().now() - timedelta(**ago):%Y-%m-%dT%H:%M:%SZ}"


def test_flat_that_closes_nothing_is_refused_with_what_it_contradicts(journal: Journal, settings: Path) -> None:
    started_at = SystemClock().now() - timedelta(hours=1)
    journal.observe_grids([hundreds_grid(id="eth", started_at=started_at)], SystemClock().now())
    refused = mm("flat", "eth", "--at", past(hours=2), settings=settings)
    assert (refused.exit_code, f"began at {started_at:%Y-%m-%d %H:%M} UTC" in refused.stderr) == (2, True)
    assert not journal.responses.select("eth")
    noted = mm("flat", "eth", "--at", past(minutes=50), settings=settings)
    assert (noted.exit_code, f"range that began at {started_at:%Y-%m-%d %H:%M} UTC" in noted.stdout) == (0, True)
    assert mm("reopen", "eth", settings=settings).exit_code == 0
    refused = mm("flat", "eth", "--at", past(minutes=40), settings=settings)
    assert (refused.exit_code, "mm reopen said that the position is open" in refused.stderr) == (2, True)
    assert journal.responses.select("eth")[-1].response.kind is ResponseKind.REOPENED
    assert mm("flat", "eth", settings=settings).exit_code == 0


@pytest.mark.parametrize("command", ["ack", "flat", "reopen"])
def test_clock_behind_the_journal_is_refused_not_confirmed(journal: Journal, settings: Path, command: str) -> None:
    later = SystemClock().now() + timedelta(hours=3)
    commit(journal, decision(Notice.MANDATORY_EXIT, later - timedelta(minutes=2)), decided_at=later)
    refused = mm(command, "eth", settings=settings)
    assert (refused.exit_code, "it is behind by" in refused.stderr) == (2, True)
    assert not journal.responses.select("eth")


@pytest.mark.parametrize(("command", "kind"), [("flat", ResponseKind.FLAT), ("reopen", ResponseKind.REOPENED)])
def test_word_takes_its_place_after_a_page_of_a_clock_slightly_ahead(
    journal: Journal, settings: Path, command: str, kind: ResponseKind
) -> None:
    decided_at = SystemClock().now() + timedelta(seconds=20)
    commit(journal, decision(Notice.MANDATORY_EXIT, decided_at - timedelta(minutes=2)), decided_at=decided_at)
    assert mm(command, "eth", settings=settings).exit_code == 0
    (word,) = (one for one in journal.responses.select("eth") if one.response.kind is kind)
    assert word.known_at > decided_at


def test_flat_of_the_range_before_is_asked_about(journal: Journal, settings: Path) -> None:
    now = SystemClock().now()
    commit(journal, decision(Notice.MANDATORY_EXIT, now - timedelta(hours=3)), decided_at=now - timedelta(hours=3))
    journal.observe_grids([hundreds_grid(id="eth", started_at=now - timedelta(hours=1))], now)
    refused = mm("flat", "eth", settings=settings)
    assert (refused.exit_code, "--new-range" in refused.stderr) == (2, True)
    assert not journal.responses.select("eth")
    assert mm("flat", "eth", "--new-range", settings=settings).exit_code == 0
    assert mm("reopen", "eth", settings=settings).exit_code == 0
    commit(journal, decision(Notice.MANDATORY_EXIT, now - timedelta(minutes=2)), decided_at=now)
    assert mm("flat", "eth", settings=settings).exit_code == 0


def test_nothing_told_is_nothing_to_acknowledge(journal: Journal, settings: Path) -> None:
    done = mm("ack", "eth", settings=settings)
    assert (done.exit_code, "nothing to acknowledge" in done.stdout) == (1, True)


def test_test_message_is_marked_on_every_channel(settings: Path, phone: PaperPushover, tmp_path: Path) -> None:
    done = mm("notify", "test", settings=settings)
    assert done.exit_code == 0, done.output
    (message,) = phone.messages
    assert message.title.startswith("TEST: ")
    line = json.loads((tmp_path / "home" / "paper" / "pages.jsonl").read_text())
    assert line["title"].startswith("TEST: ")
    assert "phone: taken" in done.stdout


def test_channel_that_does_not_take_the_test_message_is_told(settings: Path, phone: PaperPushover) -> None:
    phone.fail_next(1, status=400)
    done = mm("notify", "test", "--channel", "phone", "--json", settings=settings)
    assert done.exit_code == 1
    (row,) = json.loads(done.stdout)["channels"]
    assert (row["channel"], row["taken"]) == ("phone", False)
    assert mm("notify", "test", "--channel", "fax", settings=settings).exit_code == 2


def test_real_exchange_is_not_watched_while_pages_reach_nobody(settings: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.yaml"
    real.write_text("exchange: kucoin\n")
    with pytest.raises(ConfigError, match="reach nobody"):
        check_reaches_somebody(load_settings(real))
    check_reaches_somebody(load_settings(settings))
    real.write_text(settings.read_text() + "exchange: kucoin\n")
    check_reaches_somebody(load_settings(real))
