"""What SQL Server is told by the real driver, and what its answers become; the server is one of ours (`tds_server`)."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from comptoir.sdk import AuthError, ComptoirError, ConfigError, Credentials, TransientError
from comptoir.sdk.sql import load_query, open_database
from comptoir.testing import connector_context

from tests.support.tds_server import Answer, Failure, tds_server

STOCK = load_query("comptoir_sage", "stock")
SECRETS = {"login": "lecteur-7", "password": "s3cret-Mot"}


def context(port: int) -> Any:
    given = Credentials(host="127.0.0.1", port=port, schema="BIJOU", extra={"timeout": "5"}, **SECRETS)
    return connector_context(connection="sage", credentials=given)


def answers(rows: Answer | Failure, snapshot: int = 1) -> Any:
    def script(statement: str) -> Answer | Failure:
        if "sys.databases" in statement:
            return Answer(["snapshot_isolation_state"], [[snapshot]])
        return Answer() if statement.startswith(("SET", "use ")) else rows

    return script


def spooled(port: int, **options: Any) -> list[dict[str, str]]:
    spool = io.BytesIO()
    with open_database(context(port)) as database:
        database.spool(STOCK, spool, **options)
    return list(csv.DictReader(io.StringIO(spool.getvalue().decode("utf-8"), newline=""), delimiter=";"))


def test_reading_is_told_to_be_reading_in_a_snapshot_that_nobody_commits() -> None:
    rows = Answer(["AR_Ref", "AG_No1", "AS_QteSto"], [["MUG;é", 0, "7.250000"], ["CŒUR", 11, None]])
    with tds_server(answers(rows)) as (port, seen):
        assert spooled(port) == [
            {"AR_Ref": "MUG;é", "AG_No1": "0", "AS_QteSto": "7.250000"},
            {"AR_Ref": "CŒUR", "AG_No1": "11", "AS_QteSto": ""},
        ]
    assert (seen.login, seen.database, seen.read_only) == ("lecteur-7", "BIJOU", True)
    assert (seen.transactions, seen.commits) == ([5], 0)
    assert [s for s in seen.statements if "sys.databases" not in s and not s.startswith("use ")] == [
        "SET LOCK_TIMEOUT 5000",
        f"SELECT * FROM ({STOCK.text}) AS source",
    ]


def test_without_snapshots_rows_are_read_committed_and_never_dirty() -> None:
    with tds_server(answers(Answer(["AR_Ref"], []), snapshot=0)) as (port, seen):
        assert spooled(port) == []
    assert seen.transactions == [2]
    assert not any("UNCOMMITTED" in statement.upper() or "NOLOCK" in statement.upper() for statement in seen.statements)


def test_a_moment_goes_as_a_parameter() -> None:
    with tds_server(answers(Answer(["AR_Ref"], []))) as (port, seen):
        assert spooled(port, after=("cbModification", "2026-11-22'; DROP TABLE F_ARTICLE --")) == []
    asked = seen.statements[-1]
    assert 'WHERE "cbModification" >= @P' in asked
    # As a value behind the statement, where a quotation mark is a character.
    assert asked.index("2026-11-22'; DROP") > asked.index("@P")


def test_many_rows_come_through_in_portions() -> None:
    rows = Answer(["AR_Ref", "DE_No"], [[f"REF{n:06d}", n] for n in range(20_000)])
    with tds_server(answers(rows)) as (port, _):
        found = spooled(port)
    assert (len(found), found[0]["AR_Ref"], found[-1]["DE_No"]) == (20_000, "REF000000", "19999")


@pytest.mark.parametrize(
    ("number", "kind", "words"),
    [
        (229, AuthError, "may not read a table"),
        (208, ConfigError, "not the tables or columns"),
        (207, ConfigError, "not the tables or columns"),
        (1222, TransientError, "busy or took too long"),
        (1205, TransientError, "busy or took too long"),
        (3952, TransientError, "busy or took too long"),
        (9001, TransientError, "cannot be reached, or broke off"),
    ],
)
def test_errors_of_the_server_in_our_words(number: int, kind: type[ComptoirError], words: str) -> None:
    failure = Failure(number, "Die Rede ist von lecteur-7 mit s3cret-Mot in F_ARTSTOCK")
    with tds_server(answers(failure)) as (port, _), pytest.raises(kind, match=words) as raised:
        spooled(port)
    said = f"{raised.value} {raised.value.hint}"
    assert f"mssql {number}" in said and "lecteur-7" not in said and "s3cret-Mot" not in said


def test_a_refused_login() -> None:
    failure = Failure(18456, "Échec de l'ouverture de session de l'utilisateur 'lecteur-7'.")
    with tds_server(answers(Answer()), login=failure) as (port, _), pytest.raises(AuthError, match="refuses") as raised:
        spooled(port)
    assert "lecteur-7" not in f"{raised.value} {raised.value.hint}"


def test_a_login_that_may_write_is_asked_for_one_table() -> None:
    with tds_server(answers(Answer(["may"], [[1]]))) as (port, seen), open_database(context(port)) as database:
        item = database.rights("F_ARTICLE")
    assert not item.ok and "HAS_PERMS_BY_NAME" in seen.statements[-1] and "F_ARTICLE" in seen.statements[-1]


def test_a_password_is_not_sent_without_the_tls_that_was_asked_for(tmp_path: Path) -> None:
    """The stand-in has no TLS, as a server without a certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    day = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    signed = made.not_valid_before(day).not_valid_after(day + timedelta(days=3650)).sign(key, hashes.SHA256())
    (tmp_path / "own.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "none.pem").write_text("no certificate", encoding="ascii")
    with tds_server(answers(Answer())) as (port, seen):
        for cafile, words in (
            ("own.pem", "no TLS could be agreed upon"),
            ("none.pem", "no TLS could be agreed upon"),
            ("gone.pem", "there is no file gone.pem"),
        ):
            extra = {"timeout": "5", "cafile": cafile}
            given = Credentials(host="127.0.0.1", port=port, schema="BIJOU", extra=extra, **SECRETS)
            ctx = connector_context(connection="sage", credentials=given, base_dir=tmp_path)
            with pytest.raises(ConfigError, match=words) as raised, open_database(ctx):
                pass
            assert "AIRFLOW_CONN_SAGE" in f"{raised.value} {raised.value.hint}"
    assert seen.login == ""
