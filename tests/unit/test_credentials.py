"""Credentials from AIRFLOW_CONN_*: both of Airflow's forms, and no value of them in any message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comptoir.app.credentials import EnvSecrets, from_fields, variable
from comptoir.errors import ConfigError
from comptoir.sdk import Credentials


def get(text: str) -> Credentials | None:
    return EnvSecrets({"AIRFLOW_CONN_BOUTIQUE": text}).get("boutique")


def test_the_json_form() -> None:
    found = get(
        ' {"conn_type": "woocommerce", "host": "https://shop.example", "login": "ck_1", "password": "cs_2", '
        '"port": 8443, "schema": "https", "extra": {"verify": false}}\n'
    )
    assert found == Credentials("https://shop.example", "ck_1", "cs_2", 8443, "https", {"verify": False})


def test_what_is_left_out_is_empty() -> None:
    assert get('{"conn_type": "ebp"}') == Credentials()
    assert get('{"host": null, "port": "", "extra": ""}') == Credentials()
    assert get('{"port": "993", "extra": "{\\"a\\": 1}", "password": 1234}') == Credentials(
        password="1234", port=993, extra={"a": 1}
    )


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("woocommerce://ck_1:cs_2@shop.example", Credentials("shop.example", "ck_1", "cs_2")),
        (
            "woocommerce://ck_1:cs%2F%40%3A2@shop.example:8443/https?verify=no&a=",
            Credentials("shop.example", "ck_1", "cs/@:2", 8443, "https", {"verify": "no", "a": ""}),
        ),
        ("woo://ck:cs@https%3A%2F%2Fshop.example%2FMaSite", Credentials("https://shop.example/MaSite", "ck", "cs")),
        ("sftp://me:p@[::1]:22", Credentials("::1", "me", "p", 22)),
        ("a://h?__extra__=%7B%22x%22%3A%20%5B1%5D%7D", Credentials("h", extra={"x": [1]})),
    ],
)  # fmt: skip
def test_the_uri_form(uri: str, expected: Credentials) -> None:
    assert get(uri) == expected


def test_no_variable_is_no_credentials() -> None:
    assert EnvSecrets({}).get("boutique") is None
    assert get("") is None
    assert variable("shop_2") == "AIRFLOW_CONN_SHOP_2"


WRONG = [
    ('{"password": "geheim"', "it is no JSON object"),
    ('{"password": "geheim",}', "it is no JSON object"),
    ('["geheim"]', "neither JSON nor a URI"),
    ("geheim", "neither JSON nor a URI"),
    ("woo://ck:geheim@", "neither JSON nor a URI"),
    ("woo://ck:geheim@shop:port", "neither JSON nor a URI"),
    ("woo://ck:geheim@[::1", "neither JSON nor a URI"),
    ("woo://ck:geheim@h?__extra__=geheim", "`__extra__` is no JSON object"),
    ('{"password": "geheim", "port": "geheim"}', "`port` is no whole number"),
    ('{"password": "geheim", "port": [1]}', "`port` is no whole number"),
    ('{"password": "geheim", "port": 1.5}', "`port` is no whole number"),
    ('{"password": "geheim", "extra": "geheim"}', "`extra` is no JSON object"),
    ('{"password": "geheim", "extra": [1]}', "`extra` is no JSON object"),
    ('{"password": ["geheim"]}', "`password` is no text"),
    ('{"host": {"a": "geheim"}}', "`host` is no text"),
    ('{"a":' * 100_000, "it is no JSON object"),
]


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_what_cannot_be_read_names_the_variable_and_no_value(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        get(text)
    error = caught.value
    assert error.message.startswith("AIRFLOW_CONN_BOUTIQUE cannot be read: ")
    assert why in error.message
    assert error.connection == "boutique"
    assert "geheim" not in f"{error!r}{error.hint}{error.__cause__}"
    # A traceback shows no cause that holds the text.
    assert error.__suppress_context__ or error.__context__ is None


@given(st.dictionaries(
    st.sampled_from(["host", "login", "password", "port", "schema", "extra", "other"]),
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3),
))  # fmt: skip
def test_any_json_is_read_or_refused(fields: dict[str, Any]) -> None:
    try:
        assert isinstance(get(json.dumps(fields)), Credentials)
    except ConfigError as error:
        assert "AIRFLOW_CONN_BOUTIQUE" in error.message


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        get(text)
        get(f"woo://{text}")
    except ConfigError as error:
        assert "AIRFLOW_CONN_BOUTIQUE" in error.message


def test_credentials_show_nothing_of_themselves() -> None:
    found = from_fields({"host": "h", "login": "ck_geheim", "password": "cs_geheim", "extra": {"a": "geheim"}})
    assert repr(found) == "Credentials()"
