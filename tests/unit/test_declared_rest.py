"""REST systems by description: what the conformance suite does not ask, and every way a description can be wrong."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from comptoir.errors import AuthError, ConfigError, ContractViolation, OutcomeUnknown, TransientError
from comptoir.model.refs import EntityName
from comptoir.sdk import Credentials, HttpRequest, HttpResponse
from comptoir.sdk.declared import declared_connector, read_description
from comptoir.sdk.declared.paging import next_link
from comptoir.sdk.declared.rest import moment_of, written
from comptoir.sdk.protocols import Fetches, Probes, PullRequest, Pulls, PushBatch, Pushes, PushOp
from comptoir.testing import ScriptedTransport, connector_context, ok, status

HEAD = """\
key = "acme"
name = "Acme"
version = "1.0.0"
summary = "Acme."
kind = "shop"
api_version = "1"
"""
REST = (
    HEAD
    + """
[rest]
auth = "query"
auth_name = "api_key"

[rest.entities.item]
path = "/items"
records = "rows"
modified = "at"
since_param = "since"
single = "/items/{id}"

[rest.entities.item.paging]
style = "link_header"
"""
)
WRITES = (
    HEAD
    + """
[rest]
auth = "bearer"

[rest.entities.order.push]
path = "/orders"
id = "order.id"
idempotency_header = "X-Once"

[rest.entities.order.update]
path = "/orders/{id}"

[rest.entities.order.lookup]
path = "/orders"
param = "ref"
key = "ref"

[entities.order]
natural_key = "ref"
"""
)
KEY = "the-key-of-acme"


def folder(tmp_path: Path, text: str, key: str = "acme") -> Path:
    place = tmp_path / "connectors" / key
    place.mkdir(parents=True)
    (place / "manifest.toml").write_text(text, encoding="utf-8")
    return place


def connector(tmp_path: Path, text: str, answers: Any, **credentials: Any) -> tuple[Any, ScriptedTransport]:
    transport = ScriptedTransport(answers)
    cls = declared_connector(folder(tmp_path, text))
    given = Credentials(**{"host": "https://acme.example/shop/", "password": KEY, **credentials})
    return cls(cls.config_model(), connector_context(transport=transport, credentials=given)), transport


def pulled(acme: Any, **request: Any) -> list[Any]:
    return list(acme.pull(PullRequest(EntityName.ITEM, **request)))


def rows(*ids: int, link: str | None = None, at: str = "2026-11-20T10:00:00Z") -> HttpResponse:
    headers = {"link": f'<{link}>; rel="next"'} if link else {}
    return ok({"rows": [{"id": n, "at": at} for n in ids]}, headers=headers)


def orders(*keys: str) -> PushBatch:
    ops = [PushOp(f"d-{k}", EntityName.ORDER, "create", k, {"ref": k}, "hash") for k in keys]
    return PushBatch("b-1", EntityName.ORDER, ops)


# -- reading -----------------------------------------------------------------------------------------------------


def test_a_key_in_the_query_goes_with_each_page_and_is_kept_in_no_position(tmp_path: Path) -> None:
    answers = [rows(1, link=f"/shop/items?api_key={KEY}&p=2"), rows(2)]
    acme, sent = connector(tmp_path, REST, answers)
    first, second = pulled(acme)
    assert sent.requests[0].url == f"https://acme.example/shop/items?api_key={KEY}"
    assert sent.requests[1].url == f"https://acme.example/shop/items?p=2&api_key={KEY}"
    assert first.position == {"scope": "", "url": "https://acme.example/shop/items?p=2"}
    assert second.position is None
    assert KEY not in repr(vars(acme))


@pytest.mark.parametrize(
    "link", ["https://evil.example/items?p=2", "//evil.example/items", "http://acme.example/shop/items"]
)
def test_the_key_is_not_sent_to_another_server(tmp_path: Path, link: str) -> None:
    acme, sent = connector(tmp_path, REST, [rows(1, link=link)])
    with pytest.raises(ContractViolation, match="another server"):
        pulled(acme)
    assert len(sent.requests) == 1


def test_a_stored_position_that_leads_elsewhere_is_not_followed(tmp_path: Path) -> None:
    acme, sent = connector(tmp_path, REST, [])
    with pytest.raises(ContractViolation, match="another server"):
        pulled(acme, position={"scope": "", "url": "https://evil.example/items"})
    assert sent.requests == []


@pytest.mark.failure_mode(13)
def test_pages_that_go_in_a_circle_end_as_a_failure(tmp_path: Path) -> None:
    answers = [rows(1, link="/shop/items?p=2"), rows(2, link="/shop/items?p=3"), rows(3, link="/shop/items?p=2")]
    acme, _ = connector(tmp_path, REST, answers)
    with pytest.raises(ContractViolation, match="came a second time"):
        pulled(acme)


def test_a_position_of_other_parameters_is_not_gone_on_from(tmp_path: Path) -> None:
    acme, sent = connector(tmp_path, REST, [rows(1)])
    pulled(acme, position={"scope": "since=2020", "url": "https://acme.example/shop/items?p=9"})
    assert "p=9" not in sent.requests[0].url


@pytest.mark.failure_mode(11)
def test_a_filter_that_the_server_ignores_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = "2020-01-01T00:00:00Z"
    acme, sent = connector(tmp_path, REST, [rows(1, link="/shop/items?p=2", at=old), rows(2, at=old)])
    with caplog.at_level(logging.WARNING):
        pulled(acme, since=datetime(2026, 11, 1, tzinfo=UTC))
    assert "since=2026-11-01T00%3A00%3A00Z" in sent.requests[0].url
    assert [r.getMessage() for r in caplog.records if "ignores 'since'" in r.getMessage()] != []
    assert sum("ignores" in r.getMessage() for r in caplog.records) == 1


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (status(404, {"message": "nope"}), ConfigError, "nope"),
        (ok({"rows": None}), ContractViolation, "has no list at 'rows'"),
        (ok({"rows": [1]}), ContractViolation, "record 1 of item is no object"),
        (ok({"rows": [{"id": None}]}), ContractViolation, "has no id at 'id'"),
        (ok({"rows": [{"id": True}]}), ContractViolation, "has no id at 'id'"),
        (status(401), AuthError, "refused the credentials"),
    ],
)
def test_strange_answers_land_where_somebody_can_act(
    tmp_path: Path, answer: HttpResponse, error: type[Exception], said: str
) -> None:
    acme, _ = connector(tmp_path, REST, [answer])
    with pytest.raises(error, match=said) as raised:
        pulled(acme)
    assert KEY not in f"{raised.value} {getattr(raised.value, 'hint', '')}"


def _paged(style: str) -> str:
    return REST.replace('style = "link_header"', style)


def test_the_server_may_refuse_the_page_past_the_end_if_that_is_said(tmp_path: Path) -> None:
    style = 'style = "page"\npast_end_status = 404'
    acme, sent = connector(tmp_path, _paged(style), [rows(1, 2), status(404), rows(1, 2)])
    assert [len(page.items) for page in pulled(acme)] == [2]
    # The page before is looked at again: nothing has slid into it.
    assert [r.url.partition("page=")[2][:1] for r in sent.requests] == ["1", "2", "1"]


@pytest.mark.failure_mode(12)
def test_what_slides_into_a_page_that_was_read_is_given_too(tmp_path: Path) -> None:
    style = 'style = "page"\nsize_param = "n"\nsize = 2'
    # Record 1 goes away after the first page: 3 slides into it, and the second page begins with 4.
    answers = [rows(1, 2), rows(4, 5), rows(2, 3), rows(), rows(4, 5)]
    acme, _ = connector(tmp_path, _paged(style), answers)
    assert [i.external_id for page in pulled(acme) for i in page.items] == ["1", "2", "3", "4", "5"]


@pytest.mark.failure_mode(20)
def test_a_list_that_ends_before_its_own_total_is_not_whole(tmp_path: Path) -> None:
    style = 'style = "page"\ntotal_header = "X-Total"'
    answers = [ok({"rows": [{"id": 1}]}, headers={"x-total": "3"}), ok({"rows": []}, headers={"x-total": "3"}), rows(1)]
    acme, _ = connector(tmp_path, _paged(style), answers)
    with pytest.raises(TransientError, match="ended after 1 of 3 records"):
        pulled(acme)


def test_single_records_are_asked_for_by_ids_that_can_be_ones(tmp_path: Path) -> None:
    acme, sent = connector(tmp_path, REST, [ok({"id": "é 1", "at": None}), status(410)])
    ids = ["../admin", "a b", "", "x?y", "é1", "2"]
    found = [i.external_id for page in acme.fetch(EntityName.ITEM, ids) for i in page.items]
    assert found == ["é 1"]
    assert [r.url.partition("?")[0].rpartition("/")[2] for r in sent.requests] == ["%C3%A91", "2"]


@pytest.mark.parametrize(
    ("header", "link"),
    [
        ('<https://a/1>; rel="prev", <https://a/3>; rel="next"', "https://a/3"),
        ("<https://a/3>; rel=next", "https://a/3"),
        ('<https://a/x,y>; title="a, b"; rel="last next"', "https://a/x,y"),
        ('<https://a/1>; rel="nextish"', None),
        ("", None),
        ('<>; rel="nothing"', None),
    ],
)
def test_link_headers(header: str, link: str | None) -> None:
    assert next_link(header) == link


# -- times -------------------------------------------------------------------------------------------------------

PARIS = ZoneInfo("Europe/Paris")


@pytest.mark.failure_mode(6)
@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ("iso", "2026-10-25T01:30:00Z"),
        ("epoch", "1792891800"),
        ("epoch_ms", "1792891800000"),
        ("date", "2026-10-25"),
        # The clock shows 02:30 twice this night: an hour more is asked for.
        ("iso_local", "2026-10-25T02:30:00"),
    ],
)
def test_a_moment_is_asked_for_in_the_servers_form_and_never_later(how: str, asked: str) -> None:
    since = datetime(2026, 10, 25, 1, 30, 0, 900_000, tzinfo=UTC)
    text = written(since, how, PARIS)
    assert text == asked or (how == "epoch_ms" and text == "1792891800900")


@pytest.mark.parametrize(
    ("value", "how", "moment"),
    [
        ("2026-10-25T02:30:00", "iso", datetime(2026, 10, 25, 0, 30, tzinfo=UTC)),
        ("2026-07-01 12:00:00", "iso", datetime(2026, 7, 1, 10, tzinfo=UTC)),
        ("2026-07-01T12:00:00+05:00", "iso", datetime(2026, 7, 1, 7, tzinfo=UTC)),
        (1_792_891_800, "epoch", datetime(2026, 10, 25, 1, 30, tzinfo=UTC)),
        ("1792891800500", "epoch_ms", datetime(2026, 10, 25, 1, 30, 0, 500_000, tzinfo=UTC)),
        ("soon", "iso", None),
        (None, "iso", None),
        (True, "epoch", None),
        (10**30, "epoch", None),
        ({}, "iso", None),
    ],
)
def test_the_moment_of_a_record(value: Any, how: str, moment: datetime | None) -> None:
    assert moment_of(value, how, PARIS) == moment


# -- writing -----------------------------------------------------------------------------------------------------


def _target(tmp_path: Path, handle: Any, text: str = WRITES) -> tuple[Any, ScriptedTransport]:
    return connector(tmp_path, text, handle)


@pytest.mark.failure_mode(93)
def test_a_record_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    # The look-up gives what merely looks alike, too.
    answers = [ok([{"ref": "A-1", "id": 7}, {"ref": "A-12", "id": 8}]), ok([{"ref": "A-22", "id": 9}])]
    acme, sent = _target(tmp_path, [*answers, ok({"order": {"id": 10}})])
    first, second = acme.push(orders("A-1", "A-2"))
    assert (first.outcome, first.external_id) == ("accepted", "7")
    assert (second.outcome, second.external_id) == ("accepted", "10")
    assert [r.method for r in sent.requests] == ["GET", "GET", "POST"]
    assert sent.requests[2].headers["X-Once"] == "d-A-2"
    assert json.loads(sent.requests[2].body or b"") == {"ref": "A-2"}


@pytest.mark.failure_mode(34)
def test_two_records_with_one_key_are_a_persons_business(tmp_path: Path) -> None:
    twice = ok([{"ref": "A-1", "id": 7}, {"ref": "A-1", "id": 8}])
    acme, _ = _target(tmp_path, [twice, twice])
    (result,) = acme.push(orders("A-1"))
    assert result.outcome == "rejected"
    assert "2 records with the key A-1" in str(result.reason)
    assert acme.probe(orders("A-1"))[0].found == "unknown"


@pytest.mark.failure_mode(27)
def test_a_failure_after_some_were_made_is_cleared_up_by_looking(tmp_path: Path) -> None:
    made = [ok([]), ok({"order": {"id": 1}})]
    acme, _ = _target(tmp_path, [*made, status(401)])
    with pytest.raises(OutcomeUnknown, match="after some of 2 order records had been written"):
        acme.push(orders("A-1", "A-2"))
    acme, _ = _target(tmp_path / "2", [status(401)])
    with pytest.raises(AuthError):
        acme.push(orders("A-1", "A-2"))


def test_a_look_up_at_a_wrong_place_is_never_taken_for_absence(tmp_path: Path) -> None:
    acme, sent = _target(tmp_path, [status(404, {"message": "no such place"})])
    (result,) = acme.push(orders("A-1"))
    assert result.outcome == "rejected"
    assert [r.method for r in sent.requests] == ["GET"]
    said = WRITES.replace('key = "ref"\n\n[ent', 'key = "ref"\nabsent_status = 404\n\n[ent')
    acme, _ = _target(tmp_path / "2", [status(404), ok({"order": {"id": 1}})], said)
    assert acme.push(orders("A-1"))[0].outcome == "accepted"


def test_an_existing_record_is_changed_under_its_id(tmp_path: Path) -> None:
    acme, sent = _target(tmp_path, [ok({}), status(404)])
    op = PushOp("d", EntityName.ORDER, "update", "A-1", {"ref": "A-1"}, "h", external_id="7/8")
    assert acme.push(PushBatch("b", EntityName.ORDER, [op]))[0].outcome == "accepted"
    assert (sent.requests[0].method, sent.requests[0].url) == ("PUT", "https://acme.example/shop/orders/7%2F8")
    assert acme.probe(PushBatch("b", EntityName.ORDER, [op]))[0].found == "absent", "again does no harm"
    gone = acme.push(PushBatch("b", EntityName.ORDER, [op]))[0]
    assert (gone.outcome, "does not exist there any more" in str(gone.hint)) == ("rejected", True)


def test_without_a_look_up_one_at_a_time_and_a_person_decides(tmp_path: Path) -> None:
    text = WRITES[: WRITES.index("[rest.entities.order.lookup]")] + '[entities.order]\nnatural_key = "ref"\n'
    acme, _ = _target(tmp_path, [], text)
    assert acme.manifest.entities[EntityName.ORDER].batch_size == 1
    assert acme.manifest.lost_answer == "none"
    assert not isinstance(acme, Probes)
    assert isinstance(acme, Pushes)


def test_it_has_the_methods_of_its_description_and_no_others(tmp_path: Path) -> None:
    reads, _ = connector(tmp_path, REST, [])
    assert (isinstance(reads, Pulls), isinstance(reads, Fetches), isinstance(reads, Pushes)) == (True, True, False)
    writes, _ = connector(tmp_path / "2", WRITES, [])
    assert (isinstance(writes, Pulls), isinstance(writes, Pushes), isinstance(writes, Probes)) == (False, True, True)


# -- address and description -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credentials", "said"),
    [
        ({"host": ""}, "has no host"),
        ({"host": "http://acme.example"}, "has a plain http address"),
        ({"host": "ftp://acme.example"}, "no http or https address"),
        ({"host": "https://user:hunter22@acme.example"}, "credentials or a query"),
        ({"host": "https://acme.example:99999"}, "no web address"),
        ({"password": ""}, "AIRFLOW_CONN_SHOP has no password"),
        ({"password": "a\nb-secret"}, "a line break"),
    ],
)
def test_a_connection_that_lacks_something_says_what_and_shows_nothing(
    tmp_path: Path, credentials: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        connector(tmp_path, REST, [], **credentials)
    shown = f"{refused.value} {refused.value.hint}"
    assert KEY not in shown
    assert "hunter22" not in shown
    assert "b-secret" not in shown


def test_plain_http_is_for_this_machine_or_said(tmp_path: Path) -> None:
    asked: list[HttpRequest] = []

    def answer(request: HttpRequest) -> HttpResponse:
        asked.append(request)
        return rows()

    local, _ = connector(tmp_path, REST, answer, host="http://127.0.0.1:8080")
    pulled(local)
    allowed = REST.replace('auth = "query"', 'auth = "query"\nallow_http = true')
    open_, _ = connector(tmp_path / "2", allowed, answer, host="http://acme.example")
    pulled(open_)
    assert [r.url.partition("/items")[0] for r in asked] == ["http://127.0.0.1:8080", "http://acme.example"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('auth = "query"', 'auth = "oauth"', "9: rest.auth: 'oauth' is not allowed; allowed: 'none', 'basic'"),
        ('auth_name = "api_key"\n', "", '8: rest: auth = "query" needs `auth_name`'),
        ('path = "/items"', 'path = "https://evil.example/items"', "13: rest.entities.item.path: expected a path"),
        ('path = "/items"', 'path = "/../admin"', "13: rest.entities.item.path: `..` is not used"),
        ('modified = "at"\n', "", "12: rest.entities.item: `since_param` needs `modified`"),
        ("/items/{id}", "/items", "12: rest.entities.item: `single` needs {id}"),
        ('style = "link_header"', 'style = "cursor"', '19: rest.entities.item.paging: style = "cursor" needs `param`'),
        ('style = "link_header"', 'style = "page"\nnext = "x"', "has no `next`"),
        ("[rest.entities.item]", "[rest.entities.article]", "12: rest.entities.article: 'article' is not allowed"),
        ('kind = "shop"', 'kind = "shop"\nlost_answer = "natural_key"', "6: lost_answer: 'natural_key' contradicts"),
        ('key = "acme"', 'key = "acne"', "1: key: it is 'acne', but its folder is 'acme'"),
        ('name = "Acme"', 'name = "Acme', "no valid TOML"),
        ("[rest]", "[files]\n[rest]", "files.format: this setting is missing"),
    ],
)
def test_a_wrong_description_is_named_by_line_and_key(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert old in REST
    place = folder(tmp_path, REST.replace(old, new))
    with pytest.raises(ConfigError) as refused:
        read_description(place)
    assert said in refused.value.message
    assert refused.value.message.startswith("connectors/acme/manifest.toml:")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("[entities.item]\npull = false", "entities.item.pull: False contradicts what is described (True)"),
        ("[entities.order]\nbatch_size = 3", "entities.order: no endpoint or file gives it; described: item"),
        ('[entities.item]\nbrings = ["refund"]', "entities.item.brings: a connector without code cannot do this"),
        ('[settings.zone]\ntype = "float"', "'float' is not allowed; allowed: 'text', 'integer', 'boolean'"),
        ('[settings.zone]\nallowed = ["a"]\ndefault = "b"', "the default 'b' is not among those allowed: a"),
        ("[settings.Zone]", "settings"),
    ],
)
def test_what_stands_beside_the_endpoints_is_checked_too(tmp_path: Path, more: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_description(folder(tmp_path, f"{REST}\n{more}\n"))
    assert said in refused.value.message


@pytest.mark.parametrize(("text", "said"), [("", "neither [rest] nor"), ("[files]\nformat = 'xml'", "files.entities")])
def test_a_manifest_without_rest_or_files_is_none(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_description(folder(tmp_path, f"{HEAD}{text}\n"))
    assert said in refused.value.message


def test_only_what_is_taken_in_can_be_read(tmp_path: Path) -> None:
    text = REST.replace("entities.item", "entities.journal_entry")
    with pytest.raises(ConfigError, match=r":13: rest\.entities\.journal_entry\.path: journal_entry is not read"):
        read_description(folder(tmp_path, text))


def test_a_write_needs_its_natural_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"entities\.order\.natural_key: this setting is missing"):
        read_description(folder(tmp_path, WRITES.replace('natural_key = "ref"', "")))
