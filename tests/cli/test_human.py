from datetime import UTC, datetime, timedelta

import pytest

from ktd.cli import human

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (9_949, "9.9 KB"),
        (9_960, "10 KB"),
        (999_600, "1.0 MB"),
        (13_259_744, "13 MB"),
        (512_000_000, "512 MB"),
        (1_300_000_000, "1.3 GB"),
        (140_000_000_000, "140 GB"),
        (1_340_000_000_000, "1.3 TB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert human.size(count) == text


@pytest.mark.parametrize(("count", "text"), [(7, "7"), (16_400_000, "16.4M"), (671_026_419_200, "671B"), (7e9, "7.0B")])
def test_parameter_counts(count: float, text: str) -> None:
    assert human.parameters(count) == text


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(seconds=0.4), "Less than a second"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(seconds=5), "5 seconds"),
        (timedelta(seconds=70), "About a minute"),
        (timedelta(minutes=12), "12 minutes"),
        (timedelta(minutes=70), "About an hour"),
        (timedelta(hours=3), "3 hours"),
        (timedelta(days=2), "2 days"),
        (timedelta(weeks=3), "3 weeks"),
        (timedelta(days=150), "5 months"),
        (timedelta(days=800), "2 years"),
    ],
)
def test_times(duration: timedelta, text: str) -> None:
    assert human.since((NOW - duration).isoformat(), NOW) == text + " ago"
    assert human.until((NOW + duration).isoformat(), NOW) == text + " from now"


def test_times_without_an_end_and_past_it() -> None:
    assert human.until("2318-01-01T00:00:00.000000Z", NOW) == "Forever"
    assert human.until((NOW - timedelta(seconds=1)).isoformat(), NOW) == "Stopping..."


@pytest.mark.parametrize(
    ("duration", "text"), [(85_100_000, "85.1ms"), (4_213_000_000, "4.213s"), (72_500_000_000, "1m12.5s")]
)
def test_measured_times(duration: int, text: str) -> None:
    assert human.nanoseconds(duration) == text


def test_a_table_is_aligned_without_trailing_blanks() -> None:
    assert human.table(("NAME", "ID"), [("long-name", "1"), ("a", "22")]) == (
        "NAME         ID\nlong-name    1\na            22"
    )
    assert human.table(("NAME", "ID"), []) == "NAME    ID"
