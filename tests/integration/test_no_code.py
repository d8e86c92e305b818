"""Connectors without code, end to end: `comptoir run` with descriptions and mappings, no Python of the merchant."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

import comptoir.cli
from comptoir.cli.output import OUTPUT
from comptoir.store import schema

from tests.support.file_servers import PASSWORD, USER, sftp_server
from tests.support.kiosque import PAGING, TOKEN, Kiosque, item, order, serving

pytestmark = pytest.mark.integration

DATA = Path(__file__).resolve().parents[1] / "data" / "no_code"
CONFIG = """\
[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"
siren = "303265045"

[connections.kiosque]
connector = "kiosque"
cutover = "2020-01-01"
invoicing = "gesco"

[connections.place]
connector = "place"
folder = "depot/place"
cutover = "2020-01-01"
invoicing = "gesco"

[connections.fournisseur]
connector = "grossiste"
folder = "depot/fournisseur"

[connections.gesco]
connector = "ebp"
folder = "exchange/ebp"
document_prefix = "{CHANNEL}-"
credit_note_prefix = "{CHANNEL}-AV"

[routes.commandes]
entity = "order"
from = "kiosque"
to = ["gesco"]

[routes.place]
entity = "order"
from = "place"
to = ["gesco"]

[routes.articles]
entity = "item"
from = "kiosque"

[routes.catalogue]
entity = "item"
from = "fournisseur"
"""


class Merchant:
    """A folder with comptoir.toml, descriptions and mappings, and the command line."""

    def __init__(self, folder: Path, url: str, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._url = url
        self._capsys = capsys
        self._patch = patch
        for name in ("connectors", "mappings"):
            shutil.copytree(DATA / name, folder / name)
        (folder / "comptoir.toml").write_text(CONFIG, encoding="utf-8")
        for name in ("exchange/ebp", "depot/place/out", "depot/fournisseur"):
            (folder / name).mkdir(parents=True)

    def command(self, *arguments: str) -> tuple[int, str, str]:
        """`comptoir ...`: exit code, standard output, standard error."""
        self._patch.setattr(OUTPUT, "json", False)
        self._patch.setattr(sys, "argv", ["comptoir", "--config", str(self.folder / "comptoir.toml"), *arguments])
        with pytest.raises(SystemExit) as left:
            comptoir.cli.main()
        shown = self._capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    def run(self, route: str, *options: str) -> dict[str, Any]:
        """The report of a run that succeeds."""
        code, out, err = self.command("run", route, "--json", *options)
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        return found

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(schema.plain_url(self._url)) as connection:
            return connection.execute(query.encode()).fetchall()

    def documents(self) -> str:
        """All order files that EBP was given."""
        files = sorted((self.folder / "exchange" / "ebp" / "import").glob("COMMANDES_*.CSV"))
        return "\n".join(path.read_text("cp1252") for path in files)

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text(encoding="utf-8")
        assert old in text
        (self.folder / path).write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture
def merchant(
    tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Merchant:
    monkeypatch.setenv("COMPTOIR_DATABASE_URL", database_url)
    return Merchant(tmp_path, database_url, capsys, monkeypatch)


@pytest.fixture
def kiosque(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kiosque]:
    shop = Kiosque(orders=[order(n) for n in range(501, 511)], items=[item(n) for n in range(1, 8)])
    with serving(shop):
        monkeypatch.setenv(
            "AIRFLOW_CONN_KIOSQUE", json.dumps({"conn_type": "kiosque", "host": shop.url, "password": TOKEN})
        )
        yield shop


def _with_paging(merchant: Merchant, style: str) -> None:
    before = 'style = "page"\nsize_param = "size"\nsize = 4\ntotal = "meta.total"\n'
    merchant.edit("connectors/kiosque/manifest.toml", before, PAGING[style])


@pytest.mark.parametrize("style", list(PAGING))
def test_orders_of_a_rest_shop_reach_the_back_office(merchant: Merchant, kiosque: Kiosque, style: str) -> None:
    _with_paging(merchant, style)
    first = merchant.run("commandes")
    assert (first["considered"], first["changed"], first["delivered"], first["quarantined"]) == (10, 10, 10, 0)
    assert first["state"] == "success"
    text = merchant.documents()
    for number in range(501, 511):
        assert text.count(f"KIOSQUE-K-{number};") == 1
    assert merchant.rows("select sum(total), sum(residual) from sales_order") == [(240, 0)]

    # The overlap reads the newest order again, and it is the same.
    asked = len(kiosque.asked)
    second = merchant.run("commandes")
    assert (second["considered"], second["unchanged"], second["delivered"]) == (1, 1, 0)
    assert "updated_since=2026-11-20T09%3A29%3A30Z" in kiosque.asked[asked]
    whole = merchant.run("commandes", "--full")
    assert (whole["considered"], whole["unchanged"], whole["delivered"]) == (10, 10, 0)
    assert merchant.documents() == text


def test_an_order_that_changes_later_is_seen_and_a_volatile_field_is_no_change(
    merchant: Merchant, kiosque: Kiosque
) -> None:
    kiosque.orders[0]["status"] = "open"
    assert merchant.run("commandes")["delivered"] == 9
    kiosque.orders[0] |= {"status": "paid", "updated_at": "2026-11-20T11:00:00"}
    kiosque.orders[9]["views"] = 99
    again = merchant.run("commandes")
    assert (again["considered"], again["unchanged"], again["delivered"]) == (2, 1, 1)
    assert "KIOSQUE-K-501;" in merchant.documents()


def test_items_of_a_rest_shop_are_taken_in_with_the_setting_of_the_connection(
    merchant: Merchant, kiosque: Kiosque
) -> None:
    merchant.edit("comptoir.toml", 'connector = "kiosque"\n', 'connector = "kiosque"\nzone = "outre-mer"\n')
    assert merchant.run("articles")["changed"] == 7
    assert all("zone=outre-mer" in path for path in kiosque.asked)
    assert merchant.run("articles")["unchanged"] == 7
    merchant.edit("comptoir.toml", "outre-mer", "lune")
    code, _, err = merchant.command("run", "articles")
    assert code == 2
    assert "comptoir.toml:9: connections.kiosque.zone" in err
    assert "metropole" in err


def test_a_suppliers_catalogue_is_taken_in_and_filed_away(merchant: Merchant) -> None:
    incoming = merchant.folder / "depot" / "fournisseur"
    shutil.copy(DATA / "files" / "catalogue_cp1252_pointvirgule.csv", incoming / "catalogue_2026-11-22.csv")
    first = merchant.run("catalogue")
    assert (first["considered"], first["changed"], first["quarantined"]) == (12, 12, 0)
    found = merchant.rows("select sku, name, state, tax_rate::text from item where sku = 'GE-MUG01'")
    assert found == [("GE-MUG01", 'Mug émaillé "Bistrot"; blanc 35 cl', "active", "20")]
    assert merchant.rows("select count(*) from item where state = 'retired'") == [(1,)]

    second = merchant.run("catalogue")
    assert (second["considered"], second["changed"]) == (0, 0)
    (filed,) = (incoming / "done").iterdir()
    assert filed.read_bytes() == (DATA / "files" / "catalogue_cp1252_pointvirgule.csv").read_bytes()

    # The next night's file with the same rows changes nothing.
    shutil.copy(DATA / "files" / "catalogue_cp1252_pointvirgule.csv", incoming / "catalogue_2026-11-23.csv")
    third = merchant.run("catalogue")
    assert (third["considered"], third["unchanged"]) == (12, 12)


REFUND_IN = """\
mapping: place.refund.in
version: 1
fields:
  external_id: {from: avoir, as: code}
  order_id: {from: commande, as: code}
  order_number: {from: commande, as: code}
  number: {from: avoir, as: code}
  channel: {context: channel}
  refunded_at: {from: date, as: utc}
  refunded_on: {from: date, as: iso_date}
  currency: {const: EUR}
  amount: {from: montant, as: decimal}
  payment_method: {const: marketplace}
"""


def test_refunds_that_a_system_lists_by_themselves_are_read_after_its_orders(merchant: Merchant) -> None:
    merchant.edit(
        "connectors/place/manifest.toml",
        "[files.entities.order]",
        '[files.entities.refund]\npattern = "avoirs_*.csv"\nkey = "avoir"\nsnapshot = "each"\n\n[files.entities.order]',
    )
    (merchant.folder / "mappings/place/refund.in.yaml").write_text(REFUND_IN, encoding="utf-8")
    incoming = merchant.folder / "depot" / "place" / "out"
    shutil.copy(DATA / "files" / "place_commandes.csv", incoming / "commandes_1.csv")
    (incoming / "avoirs_1.csv").write_text("avoir;commande;date;montant\nA-1;P-9001;2026-11-21;1.00\n", "cp1252")
    assert merchant.run("place")["entities"]["refund"]["changed"] == 1
    assert merchant.rows("select order_external_id, amount from refund") == [("P-9001", Decimal("1.00"))]
    assert len(list((merchant.folder / "exchange/ebp/import").glob("AVOIRS_*.CSV"))) == 1
    assert merchant.run("place")["entities"].get("refund", {}).get("considered", 0) == 0


def test_orders_in_csv_files_reach_the_back_office_once(merchant: Merchant) -> None:
    incoming = merchant.folder / "depot" / "place" / "out"
    shutil.copy(DATA / "files" / "place_commandes.csv", incoming / "commandes_1.csv")
    first = merchant.run("place")
    assert (first["considered"], first["delivered"], first["quarantined"]) == (2, 2, 0)
    text = merchant.documents()
    assert "PLACE-P-9001;" in text
    assert "Mug émaillé « Bistrot »" in text
    assert merchant.rows("select number, total, residual from sales_order order by number") == [
        ("P-9001", Decimal("34.55"), 0),
        ("P-9002", 1440, 0),
    ]
    assert merchant.rows("select count(*) from order_line") == [(3,)]
    assert merchant.run("place")["considered"] == 0
    # The same file once more, under another name, with another order behind it.
    late = (DATA / "files" / "place_commandes.csv").read_bytes()
    shutil.copy(DATA / "files" / "place_commandes.csv", incoming / "commandes_2.csv")
    (incoming / "commandes_3.csv").write_bytes(late.replace(b"P-900", b"P-800"))
    third = merchant.run("place")
    assert (third["considered"], third["unchanged"], third["delivered"]) == (4, 2, 2)
    assert merchant.documents().count("PLACE-P-9001;") == text.count("PLACE-P-9001;")


def test_orders_on_an_sftp_server_are_claimed_read_and_filed_away_there(
    merchant: Merchant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "partner"
    (root / "out").mkdir(parents=True)
    shutil.copy(DATA / "files" / "place_commandes.csv", root / "out" / "commandes_1.csv")
    with sftp_server(root) as server:
        merchant.edit("comptoir.toml", 'folder = "depot/place"', f'folder = "sftp://127.0.0.1:{server.port}"')
        code, _, err = merchant.command("run", "place", "--json")
        assert (code, "AIRFLOW_CONN_PLACE has no extra.host_key" in err) == (2, True)
        extra = {"host_key": server.host_key}
        monkeypatch.setenv("AIRFLOW_CONN_PLACE", json.dumps({"login": USER, "password": PASSWORD, "extra": extra}))
        assert merchant.run("place")["delivered"] == 2
        assert merchant.run("place")["considered"] == 0
    assert list((root / "out").iterdir()) == []
    (filed,) = (root / "done").iterdir()
    assert filed.read_bytes() == (DATA / "files" / "place_commandes.csv").read_bytes()


def test_a_bad_file_waits_for_a_person_and_does_not_hold_the_others_up(merchant: Merchant) -> None:
    incoming = merchant.folder / "depot" / "place" / "out"
    (incoming / "commandes_1.csv").write_bytes((DATA / "files" / "place_commandes.csv").read_bytes()[:-40])
    shutil.copy(DATA / "files" / "place_commandes.csv", incoming / "commandes_2.csv")
    report = merchant.run("place")
    assert (report["considered"], report["delivered"], report["quarantined"]) == (3, 2, 1)
    assert report["state"] == "partial"
    _, out, _ = merchant.command("quarantine", "list", "--json")
    (parked,) = json.loads(out)
    assert "the file commandes_1.csv was refused, nothing of it was used: its last line does not end" in out
    assert parked["cause"] == "unreadable"
    # Tried again, it is what it was: a mapping has nothing to say about a file that is cut.
    _, out, _ = merchant.command("quarantine", "retry", "--all", "--json")
    assert "still cannot be mapped" in out
    _, out, _ = merchant.command("quarantine", "list", "--json")
    assert json.loads(out)[0]["message"] == parked["message"]
    merchant.run("place")
    rejected = sorted(p.name.split("~")[1] for p in (merchant.folder / "depot" / "place" / "rejected").iterdir())
    assert rejected == ["commandes_1.csv", "commandes_1.csv.report.csv"]
    assert [p.name.split("~")[1] for p in (merchant.folder / "depot" / "place" / "done").iterdir()] == [
        "commandes_2.csv"
    ]


def test_check_and_connectors_know_them(merchant: Merchant, kiosque: Kiosque) -> None:
    code, out, err = merchant.command("check", "--json")
    found = json.loads(out)
    assert code == 0, err
    assert [i["name"] for i in found["kiosque"]] == ["answers", "clocks"]
    assert {i["name"] for i in found["mappings"]} >= {"kiosque.order.in", "grossiste.item.in", "place.order.in"}
    _, out, _ = merchant.command("connectors", "--json")
    listed = {m["key"]: m for m in json.loads(out)}
    assert listed["kiosque"]["origin"] == "connectors/kiosque"
    assert listed["kiosque"]["entities"]["order"]["cursor"] == "modified"
    assert listed["place"]["entities"]["order"]["pull"] is True
    assert "woocommerce" in listed
    _, out, _ = merchant.command("map", "check", "--json")
    assert {m["mapping"]: m["error"] for m in json.loads(out)}["kiosque.order.in"] is None


@pytest.mark.airflow
def test_their_routes_become_dags(merchant: Merchant) -> None:
    from comptoir.airflow.dag_factory import build_dags

    dags = build_dags(merchant.folder / "comptoir.toml")
    assert set(dags) == {"comptoir__commandes", "comptoir__place", "comptoir__articles", "comptoir__catalogue"}
    assert not any("broken" in dag.tags for dag in dags.values())
    assert dags["comptoir__commandes"].tags == {"comptoir", "order", "kiosque", "gesco"}


def test_a_refused_token_shows_neither_itself_nor_the_order(
    merchant: Merchant, kiosque: Kiosque, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = json.dumps({"conn_type": "kiosque", "host": kiosque.url, "password": "not-the-right-token"})
    monkeypatch.setenv("AIRFLOW_CONN_KIOSQUE", wrong)
    code, out, err = merchant.command("run", "commandes", "--json")
    assert code == 3
    assert "refused the credentials" in err
    assert "not-the-right-token" not in out + err


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('auth = "bearer"', 'auth = "token"', "14: rest.auth: 'token' is not allowed; allowed: 'none', 'basic'"),
        ('path = "/orders"\n', 'chemin = "/orders"\n', "25: rest.entities.order.chemin: unknown setting; allowed: "),
        ("{config.zone}", "{config.lune}", "34: rest.entities.item.params.zone: {config.lune} is unknown; allowed:"),
        ('kind = "shop"', 'kind = "kiosk"', "5: kind: 'kiosk' is not allowed; allowed: 'shop', 'marketplace'"),
    ],
)  # fmt: skip
def test_a_wrong_description_is_named_by_file_line_and_key(merchant: Merchant, old: str, new: str, said: str) -> None:
    merchant.edit("connectors/kiosque/manifest.toml", old, new)
    code, _, err = merchant.command("check")
    assert code == 2
    assert f"connectors/kiosque/manifest.toml:{said}" in err.replace("\n", " ")
