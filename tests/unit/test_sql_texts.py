"""Only one plain SELECT ever goes to a program's database: what is anything else is refused before it is sent."""

from __future__ import annotations

import socket
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptoir.sdk import ConfigError, ContractViolation, Credentials, TransientError
from comptoir.sdk.sql import checked_select, load_query, open_database
from comptoir.testing import connector_context

PACKAGED = [
    (package, name)
    for package in ("comptoir_sage", "comptoir_ebp")
    for name in ("items", "stock", "customers", "acknowledged")
]


@pytest.mark.parametrize(("package", "name"), PACKAGED)
def test_the_packaged_queries_are_plain_selects_that_say_what_they_are(package: str, name: str) -> None:
    query = load_query(package, name)
    assert query.text.startswith(f"SELECT '{name} 1' AS \"Comptoir\",")
    assert "--" not in query.text and ";" not in query.text


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not begin with SELECT"),
        ("-- SELECT 1", "does not begin with SELECT"),
        ("UPDATE F_ARTSTOCK SET AS_QteSto = 0", "does not begin with SELECT"),
        ("(SELECT 1)", "does not begin with SELECT"),
        ("WITH x AS (SELECT 1) SELECT 1 FROM x", "does not begin with SELECT"),
        ("SELECT 1; DELETE FROM F_ARTICLE", "it holds '; DELETE F'"),
        ("SELECT 1 DELETE FROM F_ARTICLE", "the word DELETE"),
        ("SELECT * INTO copie FROM F_ARTICLE", "the word INTO"),
        ("SELECT * FROM F_ARTICLE WITH (TABLOCKX)", "the word WITH"),
        ("SELECT * FROM F_ARTICLE (nolock)", "it calls 'f_article'"),
        ("SELECT AR_Ref FROM F_ARTICLE FOR UPDATE", "the word FOR"),
        ("SELECT /* */ 1", r"it holds '/\* \*/ 1'"),
        ("SELECT /**/ 1", r"it holds '/\*\*/ 1'"),
        ("SELECT 1 EXEC xp_cmdshell 'dir'", "the word EXEC"),
        ("SELECT xp_cmdshell('dir')", "it calls 'xp_cmdshell'"),
        ("SELECT setval('f_article_cbmarq_seq', 1)", "it calls 'setval'"),
        ("SELECT dbo.F_Delete(1)", "it calls 'f_delete'"),
        ("SELECT [F_Delete](1)", r"it calls '\[f?F?_Delete\]'"),
        ('SELECT "f"(1)', "it calls"),
        ("SELECT * FROM OPENROWSET('x', 'y')", "the word OPENROWSET"),
        ("SELECT 'it''s", "it holds"),
        ('SELECT "open', "it holds"),
        ("SELECT 1)) DROP TABLE x", "parentheses|the word DROP"),
        ("SELECT 1) UNION (SELECT 2", "parentheses do not match"),
        ("SELECT (1", "parentheses do not match"),
        ("SELECT AR_Ref FROM F_ARTICLE ORDER BY AR_Ref", "ORDER BY"),
        ("SELECT @x", "it holds '@x'"),
        ("SELECT ?", r"it holds '\?'"),
        ("SELECT \\", "it holds"),
        ("SELECT $$a$$", "it holds"),
        ("SELECT 1 \N{FULLWIDTH SEMICOLON} DROP", "it holds"),
        ("SELECT 1\0", "it holds"),
        ("SELECT " + "1," * 20_000 + "1", "longer than"),
    ],
)
def test_anything_else_is_refused(text: str, why: str) -> None:
    with pytest.raises(ContractViolation, match=why) as raised:
        checked_select(text, "acme/sql/x.sql")
    assert "acme/sql/x.sql is not run" in raised.value.message


def test_words_in_texts_names_and_comments_are_no_statements() -> None:
    text = "SELECT 'DROP TABLE x; --' AS \"Delete; Into\", [Update] FROM t -- ; DELETE FROM t\nWHERE a = 'it''s'"
    assert checked_select(text, "x") == (
        "SELECT 'DROP TABLE x; --' AS \"Delete; Into\", [Update] FROM t WHERE a = 'it''s'"
    )


@given(st.text(alphabet="SELECT select'\"[]();-*/ \nINSERTupdate1,=%@", max_size=60))
def test_what_is_let_through_holds_no_second_statement(text: str) -> None:
    try:
        passed = checked_select(f"SELECT 1 {text}", "x")
    except ContractViolation:
        return
    bare = passed
    for quote in ("''", '""'):
        bare = bare.replace(quote, "")
    outside = "".join(part for n, part in enumerate(bare.split("'")) if n % 2 == 0) if '"' not in bare else ""
    assert ";" not in outside and "--" not in outside


def test_a_package_without_the_query() -> None:
    with pytest.raises(ContractViolation, match="has no comptoir_sage/sql/payments"):
        load_query("comptoir_sage", "payments")


GOOD = {"host": "127.0.0.1", "schema": "BIJOU", "login": "lecteur-7", "password": "s3cret-Mot"}
QUICK: dict[str, Any] = {**GOOD, "extra": {"timeout": "2"}}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": ""}, "has no host"),
        ({"schema": ""}, "has no schema"),
        ({"login": ""}, "has no login"),
        ({"extra": {"driver": "oracle"}}, "no driver 'oracle'"),
        ({"host": "sql.example"}, "would go to sql.example without TLS"),
        ({"extra": {"timeout": "soon"}}, "not 1 to 3600 seconds"),
        ({"extra": {"timeout": "0"}}, "not 1 to 3600 seconds|no driver"),
        ({"extra": {"timeout": "nan"}}, "not 1 to 3600 seconds"),
    ],
)
def test_settings_that_lead_nowhere_are_named(changes: dict[str, object], words: str) -> None:
    ctx = connector_context(connection="gesco", credentials=Credentials(**(GOOD | changes)))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=words) as raised, open_database(ctx):
        pass
    said = f"{raised.value} {raised.value.hint}"
    assert "gesco" in said.casefold() and "lecteur-7" not in said and "s3cret-Mot" not in said


def test_a_sql_server_that_is_not_there() -> None:
    """The real driver, against a port where nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        ctx = connector_context(connection="gesco", credentials=Credentials(port=held.getsockname()[1], **QUICK))
        with pytest.raises(TransientError, match="cannot be reached") as raised, open_database(ctx):
            pass
    said = f"{raised.value} {raised.value.hint}"
    assert "AIRFLOW_CONN_GESCO" in said and "lecteur-7" not in said and "s3cret-Mot" not in said


def test_what_answers_and_is_no_sql_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        ctx = connector_context(connection="gesco", credentials=Credentials(port=server.getsockname()[1], **QUICK))

        def answer() -> None:
            link, _ = server.accept()
            with link:
                link.recv(4096)
                link.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 64)

        talking = Thread(target=answer)
        talking.start()
        with pytest.raises(TransientError, match="cannot be reached, or broke off"), open_database(ctx):
            pass
        talking.join()
