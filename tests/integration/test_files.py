"""One set of rules for files wherever they are: a local folder, SFTP, FTPS and an object store, each for real."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import paramiko
import pytest

from comptoir.app.system import SystemTransport
from comptoir.errors import AuthError, ConfigError, RecordRejected, StorageFull, TransientError
from comptoir.sdk import Credentials
from comptoir.sdk.files import FileEntry, Files, csv_for_people, open_files, settled, wrong_name
from comptoir.sdk.remote_files import RemoteFiles
from comptoir.testing import FakeClock, connector_context

from tests.support.file_servers import PASSWORD, USER, certificate, ftps_server, sftp_server


def _context(folder: Path, clock: FakeClock | None = None, **credentials: Any) -> Any:
    return connector_context(
        base_dir=folder, clock=clock, credentials=Credentials(**credentials), connection="partner",
        transport=SystemTransport(),
    )  # fmt: skip


@pytest.fixture(params=["local", "sftp", "ftps"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Files, Path]]:
    """Files at an address of each kind, and the folder behind it."""
    root = tmp_path / "partner"
    (root / "out").mkdir(parents=True)
    with ExitStack() as stack:
        if request.param == "local":
            yield open_files("partner/out", _context(tmp_path)), root / "out"
        elif request.param == "sftp":
            server = stack.enter_context(sftp_server(root))
            ctx = _context(tmp_path, login=USER, password=PASSWORD, extra={"host_key": server.host_key})
            yield open_files(f"sftp://127.0.0.1:{server.port}/out", ctx), root / "out"
        else:
            pem, authority = certificate(tmp_path)
            port = stack.enter_context(ftps_server(root, pem))
            ctx = _context(tmp_path, login=USER, password=PASSWORD, extra={"ca": authority})
            yield open_files(f"ftps://127.0.0.1:{port}/out", ctx), root / "out"


def test_files_are_listed_read_claimed_and_written(place: tuple[Files, Path]) -> None:
    files, folder = place
    assert files.list() == []
    (folder / "stock é.csv").write_bytes(b"sku;qty\n" * 1000)
    os.utime(folder / "stock é.csv", (1_790_000_000, 1_790_000_000))
    (folder / "later.csv.part").write_bytes(b"half")
    (folder / ".hidden.csv").write_bytes(b"x")
    (folder / "sub").mkdir()
    assert files.list() == [FileEntry("stock é.csv", 8000, datetime.fromtimestamp(1_790_000_000, UTC))]
    with files.open("stock é.csv", max_bytes=8000) as handle:
        assert handle.read() == b"sku;qty\n" * 1000

    assert files.move("stock é.csv", "processing/1~stock é.csv") is True
    assert files.move("stock é.csv", "processing/2~stock é.csv") is False, "somebody else has it"
    assert [e.name for e in files.list("processing")] == ["1~stock é.csv"]
    assert files.list() == []
    assert files.list("done") == []

    (folder / "stock é.csv").write_bytes(b"new")
    with pytest.raises(FileExistsError):
        files.move("stock é.csv", "processing/1~stock é.csv")
    assert (folder / "stock é.csv").read_bytes() == b"new"

    files.write("rejected/report.csv", b"why\n")
    assert (folder / "rejected" / "report.csv").read_bytes() == b"why\n"
    with pytest.raises(FileExistsError):
        files.write("rejected/report.csv", b"other\n")
    assert (folder / "rejected" / "report.csv").read_bytes() == b"why\n"
    assert [p.name for p in (folder / "rejected").iterdir()] == ["report.csv"]


def test_what_is_larger_than_allowed_is_refused_while_it_comes(place: tuple[Files, Path]) -> None:
    files, folder = place
    (folder / "big.csv").write_bytes(b"x" * 600_000)
    with pytest.raises(RecordRejected, match="and 100000 are allowed"):
        files.open("big.csv", max_bytes=100_000)


@pytest.mark.parametrize("path", ["../secret.csv", "/etc/passwd", "a/../../b", "", "a//b", "a\\b", ".hidden", "a\nb"])
def test_no_path_leads_out_of_the_place(place: tuple[Files, Path], path: str) -> None:
    files, folder = place
    (folder.parent / "secret.csv").write_bytes(b"secret")
    (folder / "a.csv").write_bytes(b"x")
    for work in (
        lambda: files.open(path, max_bytes=100),
        lambda: files.move("a.csv", path),
        lambda: files.move(path, "b.csv"),
        lambda: files.write(path, b"x"),
    ):
        with pytest.raises(RecordRejected, match="is no name of a file"):
            work()
    assert sorted(p.name for p in folder.iterdir()) == ["a.csv"]


def test_a_file_that_is_gone_or_a_folder_that_is_not_there_is_said(place: tuple[Files, Path]) -> None:
    files, folder = place
    with pytest.raises(TransientError):
        files.open("gone.csv", max_bytes=100)
    (folder / "a.csv").write_bytes(b"x")
    assert [e.name for e in files.list()] == ["a.csv"], "an error does not spoil the next call"


def test_of_many_readers_one_gets_a_file(place: tuple[Files, Path]) -> None:
    files, folder = place
    for number in range(20):
        (folder / f"{number:02}.csv").write_bytes(b"x")
    got: list[list[bool]] = [[], []]

    def claim(reader: int) -> None:
        for number in range(20):
            got[reader].append(files.move(f"{number:02}.csv", f"mine/{reader}-{number:02}.csv"))

    if isinstance(files, RemoteFiles):  # one connection is one program's
        claim(0)
        claim(1)
    else:
        threads = [threading.Thread(target=claim, args=(reader,)) for reader in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert [sum(both) for both in zip(*got, strict=True)] == [1] * 20


# -- a local folder ----------------------------------------------------------------------------------------------


def test_links_and_special_files_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    inbox = tmp_path / "in"
    inbox.mkdir()
    (inbox / "link.csv").symlink_to(tmp_path / "secret")
    os.mkfifo(inbox / "pipe.csv")
    files = open_files("in", _context(tmp_path))
    assert files.list() == []
    for name in ("link.csv", "pipe.csv"):
        with pytest.raises((TransientError, RecordRejected)):
            files.open(name, max_bytes=100)


def test_a_missing_share_is_no_empty_folder_and_is_not_made(tmp_path: Path) -> None:
    ctx = _context(tmp_path)
    absolute = open_files(str(tmp_path / "mnt"), ctx)
    with pytest.raises(TransientError, match="No such file") as missing:
        absolute.list()
    assert str(tmp_path) not in str(missing.value)
    with pytest.raises(StorageFull):
        absolute.write("a.csv", b"x")
    assert not (tmp_path / "mnt").exists()
    own = open_files("exchange/in", ctx)
    assert own.list() == []
    own.write("a.csv", b"x")
    assert (tmp_path / "exchange" / "in" / "a.csv").exists()


def test_a_growing_file_is_waited_for_once_and_left_for_later(tmp_path: Path) -> None:
    clock = FakeClock()
    ctx = _context(tmp_path, clock)
    now = clock.now().timestamp()
    for name, age in (("old.csv", 60), ("young.csv", 1), ("growing.csv", 1)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (now - age, now - age))
    files = open_files(str(tmp_path), ctx)
    sleep = clock.sleep

    def grow(seconds: float) -> None:
        sleep(seconds)
        (tmp_path / "growing.csv").write_bytes(b"xx")

    clock.sleep = grow  # type: ignore[method-assign]
    assert [e.name for e in settled(files, ctx, 5.0)] == ["old.csv", "young.csv"]
    assert clock.slept == [5.0]
    clock.advance(600)
    os.utime(tmp_path / "growing.csv", (now, now))
    assert len(settled(files, ctx, 5.0)) == 3
    assert clock.slept == [5.0], "nothing is young any more"


@pytest.mark.parametrize(
    ("name", "good"),
    [("stock 2026-11-22 05:00.csv", True), ("été.csv", True), ("x" * 201, False), ("a\u202eb.csv", False),
     ("a\x00b", False), ("..", False), ("C:\\x", False), ("\udcff.csv", False)],
)  # fmt: skip
def test_names_of_strangers(name: str, good: bool) -> None:
    assert (wrong_name(name) is None) is good


def test_a_report_for_people_holds_no_formula_and_keeps_numbers() -> None:
    text = csv_for_people([("=1+1", -3, "+33 1", "é;x"), ("@a", "plain", "\tb", None)]).decode("utf-8-sig")
    assert text == "'=1+1;-3;'+33 1;\"é;x\"\r\n'@a;plain;'\tb;\r\n"


# -- other machines ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("sftp://user:pass@host/x", "holds credentials or a query"),
        ("ftp://host/x", "a folder at ftp:// is not known; allowed: a path, sftp://"),
        ("http://files.example/x", "readable on the way"),
        ("sftp://host:99999/x", "is no address"),
        ("  ", "no folder is set"),
    ],
)
def test_an_address_that_is_none_is_refused(tmp_path: Path, address: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        open_files(address, _context(tmp_path, login=USER, password=PASSWORD))


def test_sftp_speaks_to_the_pinned_server_only(tmp_path: Path) -> None:
    with sftp_server(tmp_path) as server:
        address = f"sftp://127.0.0.1:{server.port}/"
        with pytest.raises(ConfigError, match=r"has no extra\.host_key"):
            open_files(address, _context(tmp_path, login=USER, password=PASSWORD))
        other = paramiko.ECDSAKey.generate()
        extra = {"host_key": f"{other.get_name()} {other.get_base64()}"}
        files = open_files(address, _context(tmp_path, login=USER, password=PASSWORD, extra=extra))
        with pytest.raises(AuthError) as refused:
            files.list()
        assert PASSWORD not in str(refused.value)
        assert server.asked == []
        extra = {"host_key": "ssh-rsa notbase64!"}
        with pytest.raises(ConfigError, match="is no key"):
            open_files(address, _context(tmp_path, login=USER, password=PASSWORD, extra=extra))


def test_a_wrong_password_is_the_merchants_business_and_not_shown(tmp_path: Path) -> None:
    with sftp_server(tmp_path) as server:
        ctx = _context(tmp_path, login=USER, password="wrong-one-77", extra={"host_key": server.host_key})
        with pytest.raises(AuthError) as refused:
            open_files(f"sftp://127.0.0.1:{server.port}/", ctx).list()
        assert "wrong-one-77" not in f"{refused.value} {refused.value.hint}"


def test_sftp_by_key(tmp_path: Path) -> None:
    key = paramiko.ECDSAKey.generate()
    text = io.StringIO()
    key.write_private_key(text, password="phrase-of-the-key")
    (tmp_path / "a.csv").write_bytes(b"x")
    with sftp_server(tmp_path, user_key=key) as server:
        extra = {
            "host_key": server.host_key,
            "private_key": text.getvalue(),
            "private_key_passphrase": "phrase-of-the-key",
        }
        files = open_files(f"sftp://127.0.0.1:{server.port}/", _context(tmp_path, login=USER, extra=extra))
        assert [e.name for e in files.list()] == ["a.csv"]
        wrong = {**extra, "private_key_passphrase": "no"}
        with pytest.raises(ConfigError, match="is no key"):
            open_files(f"sftp://127.0.0.1:{server.port}/", _context(tmp_path, login=USER, extra=wrong))


def test_ftps_checks_the_certificate(tmp_path: Path) -> None:
    pem, _ = certificate(tmp_path)
    with ftps_server(tmp_path, pem) as port:
        files = open_files(f"ftps://127.0.0.1:{port}/", _context(tmp_path, login=USER, password=PASSWORD))
        with pytest.raises(TransientError, match=r"(?i)certificate.verify.failed"):
            files.list()


def test_ftps_with_a_wrong_password_is_refused(tmp_path: Path) -> None:
    pem, authority = certificate(tmp_path)
    with ftps_server(tmp_path, pem) as port:
        ctx = _context(tmp_path, login=USER, password="wrong-one-77", extra={"ca": authority})
        with pytest.raises(AuthError) as refused:
            open_files(f"ftps://127.0.0.1:{port}/", ctx).list()
        assert "wrong-one-77" not in str(refused.value)


def test_a_server_that_went_away_is_asked_again_by_the_next_call(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x")
    with sftp_server(tmp_path) as server:
        ctx = _context(tmp_path, login=USER, password=PASSWORD, extra={"host_key": server.host_key})
        files = open_files(f"sftp://127.0.0.1:{server.port}/", ctx)
        assert len(files.list()) == 1
        assert isinstance(files, RemoteFiles)
        files._system.client.close()
        with pytest.raises(TransientError):
            files.list()
        assert len(files.list()) == 1


def test_an_object_store_is_read_and_written_but_nothing_is_moved(tmp_path: Path) -> None:
    """Through fsspec's interface, over its store in memory: S3 itself needs a server that is not here."""
    from fsspec.implementations.memory import MemoryFileSystem

    system = MemoryFileSystem()
    system.pipe_file("/bucket/out/a.csv", b"abc")
    files = RemoteFiles(lambda: system, "/bucket/out", _context(tmp_path), "s3")
    (found,) = files.list()
    assert (found.name, found.size) == ("a.csv", 3)
    assert abs(found.modified_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert files.open("a.csv", max_bytes=3).read() == b"abc"
    with pytest.raises(RecordRejected):
        files.open("a.csv", max_bytes=2)
    files.write("report.csv", b"why")
    with pytest.raises(FileExistsError):
        files.write("report.csv", b"other")
    with pytest.raises(ConfigError, match="cannot be moved so that only one reader gets them"):
        files.move("a.csv", "done/a.csv")
    system.rm("/bucket", recursive=True)


def test_files_at_a_web_address_are_read_by_name_through_the_connections_own_client(tmp_path: Path) -> None:
    asked: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers.get("Authorization"))
            if not self.path.endswith("/stock.csv"):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Last-Modified", "Sun, 22 Nov 2026 05:00:00 GMT")
            self.send_header("Content-Length", "8")
            self.end_headers()
            self.wfile.write(b"sku;qty\n")

        def log_message(self, format: str, *args: Any) -> None:
            del format, args

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        ctx = _context(tmp_path, login="u", password="p-secret")
        address = f"http://127.0.0.1:{server.server_port}/feeds"
        files = open_files(address, ctx, names=["stock.csv", "prices.csv"])
        assert files.list() == [FileEntry("stock.csv", 8, datetime(2026, 11, 22, 5, tzinfo=UTC))]
        assert files.open("stock.csv", max_bytes=8).read() == b"sku;qty\n"
        assert asked[0] == "Basic dTpwLXNlY3JldA=="
        with pytest.raises(RecordRejected):
            files.open("stock.csv", max_bytes=7)
        with pytest.raises(ConfigError, match="can only be read"):
            files.move("stock.csv", "done/stock.csv")
        with pytest.raises(ConfigError, match="read by name"):
            open_files(address, ctx, names=["stock_*.csv"])
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
