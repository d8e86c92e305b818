"""The read-only door to a program's database: a real server, texts that are no queries, logins that may write."""

from __future__ import annotations

import csv
import io
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from comptoir.sdk import AuthError, ComptoirError, ConfigError, ContractViolation, TransientError
from comptoir.sdk.sql import DRIVERS, Query, checked_select, load_query, open_database
from comptoir.store import schema
from comptoir.testing import connector_context

from tests.support.sage_database import DRIVER, SageDatabase, credentials


@pytest.fixture
def sage(database_url: str, monkeypatch: pytest.MonkeyPatch) -> SageDatabase:
    monkeypatch.setitem(DRIVERS, "postgresql", DRIVER)
    return SageDatabase(schema.plain_url(database_url))


def context(sage: SageDatabase, tmp_path: Path, **changes: Any) -> Any:
    return connector_context(base_dir=tmp_path, connection="gesco", credentials=credentials(sage.url, **changes))


def result(sage: SageDatabase, tmp_path: Path, query: Query, **options: Any) -> list[dict[str, str]]:
    spool = io.BytesIO()
    with open_database(context(sage, tmp_path)) as database:
        database.spool(query, spool, **options)
    return list(csv.DictReader(io.StringIO(spool.getvalue().decode("utf-8"), newline=""), delimiter=";"))


def test_the_queries_of_sage_run_as_they_stand(sage: SageDatabase, tmp_path: Path) -> None:
    sage.item("MUG-001", "Mug « émail » ; 35 cl", "12.5")
    sage.stock("MUG-001", 1, "7.25", 2, 1, 30)
    for name in ("items", "stock", "customers", "acknowledged"):
        rows = result(sage, tmp_path, load_query("comptoir_sage", name))
        assert all(row["Comptoir"] == f"{name} 1" for row in rows)
    (item,) = result(sage, tmp_path, load_query("comptoir_sage", "items"))
    assert item["AR_Design"] == "Mug « émail » ; 35 cl"
    assert (item["AR_PrixVen"], item["AR_PrixTTC"], item["U_Intitule"]) == ("12.500000", "0", "Pièce")
    assert set(item["F_FAMCOMPTA"].split("|")) == {"1=C20/20.000000", "2=C55/5.500000"}
    assert item["cbModification"] == "2026-11-20 10:00:00.123"
    first, second = sorted(result(sage, tmp_path, load_query("comptoir_sage", "stock")), key=lambda r: r["DE_No"])
    assert [first[name] for name in ("AS_QteSto", "AS_QteRes", "AS_QtePrepa", "AS_QteCom")] == [
        "7.250000", "2.000000", "1.000000", "30.000000"
    ]  # fmt: skip
    assert (second["DE_Intitule"], second["AS_QteSto"]) == ("Entrepôt Besançon", "0.000000")


def test_cells_that_would_break_a_file_come_back_whole(sage: SageDatabase, tmp_path: Path) -> None:
    names = ["a;b", 'say "cheese"', "two\nlines", "=1+1", " spaced ", "", "'; DROP TABLE F_ARTICLE --", "100 %s"]
    for number, name in enumerate(names):
        sage.item(f"R{number}", name)
    rows = result(sage, tmp_path, load_query("comptoir_sage", "items"), after=("cbModification", "2026"))
    assert {row["AR_Ref"]: row["AR_Design"] for row in rows} == {f"R{n}": name for n, name in enumerate(names)}


def test_only_rows_from_a_moment_on(sage: SageDatabase, tmp_path: Path) -> None:
    sage.item("OLD", "Ancien", cbModification="2026-11-20 09:59:59")
    sage.item("NEW", "Nouveau", cbModification="2026-11-20 10:00:00")
    query = load_query("comptoir_sage", "items")
    assert [r["AR_Ref"] for r in result(sage, tmp_path, query, after=("cbModification", "2026-11-20 10:00:00"))] == [
        "NEW"
    ]
    with pytest.raises(ContractViolation, match="is no column of items"):
        result(sage, tmp_path, query, after=('x" OR 1=1 --', "2026"))
    # What stands in the value is a value.
    assert result(sage, tmp_path, query, after=("cbModification", "x' OR '1'='1")) == []


def test_nothing_is_written_even_by_a_text_that_got_past_the_check(sage: SageDatabase, tmp_path: Path) -> None:
    sage.item("MUG-001", "Mug")
    hostile = [
        "SELECT 1 AS a) AS s; DELETE FROM F_ARTICLE; SELECT * FROM (SELECT 1 AS a",
        "WITH gone AS (DELETE FROM F_ARTICLE RETURNING AR_Ref) SELECT AR_Ref FROM gone",
        "SELECT setval('f_article_cbmarq_seq', 99) AS a",
    ]
    for text in hostile:
        with pytest.raises(ContractViolation):
            checked_select(text, "x")
        with pytest.raises(ComptoirError):
            result(sage, tmp_path, Query("hostile", text))
    assert sage.run("select AR_Ref from F_ARTICLE") == [("MUG-001",)]
    assert sage.run("select last_value from f_article_cbmarq_seq") == [(1,)]


def test_a_login_that_could_write_is_named_and_one_that_cannot_is_well(sage: SageDatabase, tmp_path: Path) -> None:
    with open_database(context(sage, tmp_path)) as database:
        item = database.rights("F_ARTICLE")
    assert not item.ok and "may change F_ARTICLE" in item.detail and "db_datareader" in str(item.hint)
    role = f"lecteur_{abs(hash(sage.url)) % 10**9}"
    sage.run(f"create role {role}")
    login = f"{credentials(sage.url).login}/{role}"
    try:
        sage.run(f"grant select on all tables in schema public to {role}")
        with open_database(context(sage, tmp_path, login=login)) as database:
            assert database.rights("F_ARTICLE").ok
            database.try_out(load_query("comptoir_sage", "items"))
        sage.run(f"revoke select on F_ARTICLE from {role}")
        ctx = context(sage, tmp_path, login=login)
        with pytest.raises(AuthError, match="may not read a table") as raised, open_database(ctx) as database:
            database.try_out(load_query("comptoir_sage", "items"))
        assert role not in f"{raised.value} {raised.value.hint}"
    finally:
        sage.run(f"drop owned by {role}")
        sage.run(f"drop role {role}")


def test_errors_say_who_has_to_act_and_show_no_secret(sage: SageDatabase, tmp_path: Path) -> None:
    def refused(kind: type[ComptoirError], query: Query, **changes: Any) -> str:
        with pytest.raises(kind) as raised, open_database(context(sage, tmp_path, **changes)) as database:
            database.spool(query, io.BytesIO())
        assert raised.value.connection == "gesco"
        return f"{raised.value} {raised.value.hint}"

    stock = load_query("comptoir_sage", "stock")
    assert "refuses the login" in refused(AuthError, stock, login="nobody_here", password="s3cret-Mot")
    assert "nobody_here" not in refused(AuthError, stock, login="nobody_here", password="s3cret-Mot")
    assert "refuses the login" in refused(AuthError, stock, schema="no_such_folder")
    assert "not the tables or columns" in refused(ConfigError, load_query("comptoir_ebp", "items"))
    assert "cannot be reached" in refused(TransientError, stock, host="127.0.0.1", port=1)
    with (
        pytest.raises(ContractViolation, match="gives at as datetime"),
        open_database(context(sage, tmp_path)) as found,
    ):
        found.spool(Query("x", 'SELECT cbModification AS "at" FROM F_DEPOT'), io.BytesIO())


def test_memory_does_not_grow_with_the_rows(sage: SageDatabase, tmp_path: Path) -> None:
    sage.run(
        "insert into F_COMPTET (CT_Num, CT_Intitule, CT_Type, CT_Prospect, cbModification) "
        "select 'C' || n, repeat('x', 60), 0, 0, '2026-01-01' from generate_series(1, 60000) n"
    )

    class Nowhere(io.RawIOBase):
        size = 0

        def write(self, data: Any) -> int:
            self.size += len(data)
            return len(data)

    sink: Any = Nowhere()
    tracemalloc.start()
    try:
        with open_database(context(sage, tmp_path)) as database:
            assert database.spool(load_query("comptoir_sage", "customers"), sink) == 60_000
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert sink.size > 6_000_000 and peak < 3_000_000
