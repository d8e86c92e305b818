"""Folders of files by description: what is claimed, read, filed away, and what a crash at any point leaves."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from comptoir.errors import ConfigError, ContractViolation, TransientError
from comptoir.model.refs import EntityName
from comptoir.sdk import Page, RawItem
from comptoir.sdk.declared import declared_connector
from comptoir.sdk.protocols import PullRequest
from comptoir.testing import FakeClock, connector_context

MANIFEST = """\
key = "acme"
name = "Acme"
version = "1.0.0"
summary = "Acme."
kind = "supplier"

[files]
format = "csv"
settle_seconds = 0
{options}
[files.entities.item]
pattern = "items*.csv"
key = "id"
snapshot = "{snapshot}"
{more}
"""


class Folder:
    """A described folder, its files, and a cursor that moves as the engine's does."""

    def __init__(self, tmp_path: Path, *, snapshot: str = "each", options: str = "", more: str = "") -> None:
        described = tmp_path / "connectors" / "acme"
        described.mkdir(parents=True)
        text = MANIFEST.format(snapshot=snapshot, options=options, more=more)
        (described / "manifest.toml").write_text(text, encoding="utf-8")
        self.connector = declared_connector(described)
        self.inbox = tmp_path / "inbox"
        self.inbox.mkdir()
        self.clock = FakeClock()
        self.since: datetime | None = None

    def put(self, name: str, *ids: str, age: float = 60, end: str = "\n") -> None:
        """A file, written so many seconds ago."""
        path = self.inbox / name
        path.write_text("id;name\n" + "".join(f"{i};Item {i}\n" for i in ids)[:-1] + end, encoding="utf-8")
        moment = self.clock.now().timestamp() - age
        os.utime(path, (moment, moment))

    def open(self) -> Any:
        config = self.connector.config_model.model_validate({"folder": str(self.inbox)})
        return self.connector(config, connector_context(clock=self.clock))

    def pages(self, position: Any = None) -> list[Page]:
        return list(self.open().pull(PullRequest(EntityName.ITEM, self.since, position)))

    def run(self) -> list[str]:
        """A run that reads everything and stores it: the cursor moves as far as the engine would move it."""
        started = self.clock.now()
        items = [item for page in self.pages() for item in page.items]
        dates = [i.modified_at for i in items if i.modified_at is not None]
        if dates:
            self.since = max([min(started, max(dates)), *([self.since] if self.since else [])])
        self.clock.advance(60)
        return ids(items)

    def tree(self) -> dict[str, list[str]]:
        """Folder -> names in it, without the time before them."""
        found: dict[str, list[str]] = {}
        for path in sorted(self.inbox.rglob("*")):
            if path.is_file():
                place = str(path.parent.relative_to(self.inbox))
                name = path.name[22:] if place != "." else path.name
                found.setdefault(place, []).append(name)
        return found


def ids(items: list[RawItem]) -> list[str]:
    return [i.external_id if i.fault is None else f"!{i.external_id}" for i in items]


def test_files_are_read_oldest_first_and_filed_away_by_the_next_run(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("items_b.csv", "3", age=50)
    folder.put("items_a.csv", "4", "5", age=40)
    folder.put("other.csv", "9")
    assert folder.run() == ["3", "4", "5"]
    assert folder.tree() == {".": ["other.csv"], "processing": ["+items_b.csv", "+items_a.csv"]}
    assert folder.run() == []
    assert folder.tree() == {".": ["other.csv"], "done": ["~items_b.csv", "~items_a.csv"]}


def test_what_was_read_and_not_stored_is_read_again(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("items_1.csv", "1")
    before = [ids(list(page.items)) for page in folder.pages()]
    # The process dies before anything is committed: the cursor has not moved.
    assert [ids(list(page.items)) for page in folder.pages()] == before == [["1"]]
    assert folder.run() == ["1"]
    assert folder.run() == []
    assert list(folder.tree()) == ["done"]


def test_a_read_that_is_cut_goes_on_in_the_same_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("items_1.csv", *(str(n) for n in range(1200)), age=60)
    folder.put("items_2.csv", "a", age=30)
    reading = folder.open().pull(PullRequest(EntityName.ITEM))
    first = next(reading)
    reading.close()
    assert (len(first.items), first.total) == (500, 1200)
    rest = folder.pages(first.position)
    assert [len(page.items) for page in rest] == [500, 200, 1]
    assert rest[0].items[0].external_id == "500"
    assert folder.pages(rest[2].position) == [], "everything was read"


@pytest.mark.failure_mode(3)
def test_a_file_that_arrives_late_with_an_old_date_is_read(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("items_1.csv", "1", age=60)
    assert folder.run() == ["1"]
    folder.put("items_0.csv", "0", age=86_400)
    folder.put("items_00.csv", "00", age=90_000)
    assert folder.run() == ["00", "0"]
    assert folder.run() == []
    assert sorted(folder.tree()["done"]) == ["~items_0.csv", "~items_00.csv", "~items_1.csv"]


def test_a_date_from_the_future_neither_blocks_nor_hides_a_file(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("items_1.csv", "1", age=-86_400)
    assert folder.run() == ["1"]
    folder.put("items_2.csv", "2", age=10)
    assert "2" in folder.run()
    folder.run()
    assert folder.run() == []
    assert list(folder.tree()) == ["done"]


def test_of_several_snapshots_the_newest_is_read_and_an_older_one_never_undoes_it(tmp_path: Path) -> None:
    folder = Folder(tmp_path, snapshot="newest")
    folder.put("items_1.csv", "1", age=90)
    folder.put("items_2.csv", "2", age=60)
    assert folder.run() == ["2"]
    folder.put("items_0.csv", "0", age=900)
    assert folder.run() == []
    assert sorted(folder.tree()["done"]) == ["~items_0.csv", "~items_1.csv", "~items_2.csv"]


def test_one_bad_file_of_several_waits_for_a_person_and_the_others_go_on(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("items_1.csv", "1", "2", age=60, end="")
    folder.put("items_2.csv", "3", age=30)
    first, second = folder.run()
    assert first.startswith("!file items_1.csv ")
    assert second == "3"
    assert folder.run() == []
    assert sorted(folder.tree()["rejected"]) == ["~items_1.csv", "~items_1.csv.report.csv"]
    (report,) = (folder.inbox / "rejected").glob("*.report.csv")
    assert "its last line does not end" in report.read_text("utf-8-sig")
    # The same name with right contents is another file.
    folder.put("items_1.csv", "1", "2", age=5)
    assert folder.run() == ["1", "2"]


def test_a_snapshot_that_cannot_be_used_stops_the_route_until_a_better_one_comes(tmp_path: Path) -> None:
    folder = Folder(tmp_path, snapshot="newest")
    folder.put("items_1.csv", "1", "2", age=60, end="")
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"items_1\.csv cannot be used: its last line does not end"):
            folder.pages()
    folder.put("items_2.csv", "1", "2", age=5)
    assert folder.run() == ["1", "2"]
    assert sorted(folder.tree()["rejected"]) == ["~items_1.csv", "~items_1.csv.report.csv"]


def test_a_file_with_a_marker_waits_for_its_own(tmp_path: Path) -> None:
    folder = Folder(tmp_path, options='ready = "marker"\n')
    folder.put("items_1.csv", "1", age=60)
    assert folder.run() == []
    (folder.inbox / "items_1.csv.ok").write_bytes(b"")
    assert folder.run() == ["1"]
    # A marker that is older than its file belonged to one before it.
    folder.put("items_2.csv.ok", age=500)
    folder.put("items_2.csv", "2", age=60)
    assert folder.run() == []
    moment = folder.clock.now().timestamp()
    os.utime(folder.inbox / "items_2.csv.ok", (moment, moment))
    assert folder.run() == ["2"]


def test_files_that_are_kept_are_read_when_they_are_newer(tmp_path: Path) -> None:
    folder = Folder(tmp_path, options='after = "keep"\n')
    (folder.inbox / "items_1.csv").write_bytes(b"")
    folder.put("items_1.csv", "1", age=60)
    before = folder.tree()
    folder.inbox.chmod(0o555)
    try:
        assert folder.run() == ["1"]
        assert folder.run() == []
    finally:
        folder.inbox.chmod(0o755)
    assert folder.tree() == before
    folder.put("items_1.csv", "1", "2", age=1)
    assert folder.run() == ["1", "2"]


def test_bad_rows_are_records_for_a_person_with_nothing_for_a_mapping(tmp_path: Path) -> None:
    folder = Folder(tmp_path, options="bad_rows = 0.5\n")
    (folder.inbox / "items_1.csv").write_text("id;name\n1;A\n2\n;B\n3;C\n3;D\n4;E\n", encoding="utf-8")
    items = [item for page in folder.pages() for item in page.items]
    assert ids(items) == ["1", "!items_1.csv line 3", "!items_1.csv line 4", "!3", "4"]
    assert all(set(i.payload) == {"file", "at", "fault", "row"} for i in items if i.fault)
    assert "items_1.csv, line 3: it has 1 cells, and there are 2 columns" in str(items[1].fault)


def test_a_file_that_fits_two_entities_is_given_to_neither(tmp_path: Path) -> None:
    more = '[files.entities.stock]\npattern = "items_stock*.csv"\nkey = "id"\n'
    folder = Folder(tmp_path, more=more)
    folder.put("items_stock_1.csv", "1")
    with pytest.raises(ConfigError, match="fits the patterns of several entities"):
        folder.pages()
    assert list(folder.tree()) == ["."]


def test_what_is_not_described_is_not_given_and_a_missing_share_is_no_empty_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with pytest.raises(ContractViolation, match="gives no order"):
        list(folder.open().pull(PullRequest(EntityName.ORDER)))
    folder.inbox.rename(tmp_path / "unmounted")
    with pytest.raises(TransientError):
        folder.pages()
    report = folder.open().check()
    assert [item.ok for item in report.items] == [False]


def test_check_counts_and_touches_nothing(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.put("items_1.csv", "1")
    folder.put("items_2.csv.part", "1")
    before = folder.tree()
    report = folder.open().check()
    assert report.ok
    assert report.items[1].detail.startswith("1 files items*.csv, the newest of 2026-09-15 08:29")
    assert len(report.items) == 2
    assert folder.tree() == before


def test_check_names_files_that_nobody_reads(tmp_path: Path) -> None:
    folder = Folder(tmp_path, options='ready = "marker"\nmarker = ".ok"\n')
    for name in ("items_1.csv", "items_1.csv.ok", "itmes_2.csv", "itmes_2.csv.ok"):
        folder.put(name, "1")
    other = folder.open().check().items[-1]
    assert (other.name, other.detail) == (
        "other files", "2 fit no pattern and are never read, for instance itmes_2.csv, itmes_2.csv.ok"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ('charset = "utf-9"', "files.charset: unknown charset"),
        ('charset = "cp1252"\nfallback_charset = "utf-8"', "belongs to charset"),
        ('archive = "../done"', "files.archive: expected a folder below"),
        ('archive = "rejected"', "three different folders"),
        ('delimiter = "#"', "files.delimiter: '#' is not allowed; allowed: ';', ',', '\\t', '|'"),
        ('marker = "ok"', "files.marker"),
    ],
)
def test_a_wrong_description_of_files_is_named(tmp_path: Path, options: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Folder(tmp_path, options=options + "\n")
    assert said in refused.value.message
