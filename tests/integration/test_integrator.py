"""The integrator's life: promote, handover, a support bundle that replays elsewhere without personal data."""

from __future__ import annotations

import json
import zipfile
from datetime import date
from pathlib import Path

import orjson
import pytest

from comptoir.app.bundle import make_bundle, replay_bundle
from comptoir.app.handover import check_expiry, handover
from comptoir.app.promote import promote
from comptoir.app.scrub import Scrubber, codes_stay
from comptoir.app.trial_imports import FILE as TRIALS
from comptoir.app.trial_imports import waive
from comptoir.errors import ConfigError
from comptoir.sdk import Credentials
from comptoir.testing import FakeClock

from tests.support.merchant import Merchant, request_json, simple_order

CLOCK = FakeClock()
OVERRIDE = "mapping: woocommerce.order.in\nextends: true\ntables:\n  status: {expedie: completed}\n"


@pytest.fixture
def staging(merchant: Merchant) -> Merchant:
    (merchant.folder / "stage.toml").write_text('stage = "staging"\n')
    path = merchant.folder / "mappings" / "woocommerce" / "order.in.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(OVERRIDE)
    (merchant.folder / "secret.key").write_text("never to travel")
    (merchant.folder / ".env").write_text("AIRFLOW_CONN_BOUTIQUE=never to travel")
    waive(
        merchant.config,
        "gesco",
        because="its import is tried elsewhere (test_trial_imports.py)",
        ports=merchant.ports(),
    )
    return merchant


# -- promote -------------------------------------------------------------------------------------------------------


def test_configuration_and_mappings_travel_and_nothing_else(staging: Merchant, tmp_path: Path) -> None:
    production = tmp_path / "production"
    plan = promote(staging.config, production, CLOCK, plan=True)
    assert not production.exists() and not plan.done
    assert [(s.path, s.action) for s in plan.steps] == [
        ("comptoir.toml", "add"),
        ("mappings/woocommerce/order.in.yaml", "add"),
        (TRIALS, "add"),
    ]
    done = promote(staging.config, production, CLOCK)
    files = {p.relative_to(production).as_posix() for p in production.rglob("*") if p.is_file()}
    assert files == {
        "comptoir.toml", "mappings/woocommerce/order.in.yaml", "stage.toml", TRIALS, ".comptoir/promoted.json"
    }  # fmt: skip
    assert (production / "stage.toml").read_text() == 'stage = "production"\n'
    assert done.credentials == ("AIRFLOW_CONN_BOUTIQUE", "AIRFLOW_CONN_GESCO")
    assert promote(staging.config, production, CLOCK).steps == ()


def test_a_change_made_in_production_is_not_lost_in_silence(staging: Merchant, tmp_path: Path) -> None:
    production = tmp_path / "production"
    promote(staging.config, production, CLOCK)
    staging.edit_config('cutover = "', '# a word\ncutover = "')
    there = production / "comptoir.toml"
    there.write_text(there.read_text() + "# by hand\n")
    with pytest.raises(ConfigError, match=r"changed in .*production since the last promotion: comptoir\.toml"):
        promote(staging.config, production, CLOCK)
    done = promote(staging.config, production, CLOCK, overwrite=True)
    assert "-# by hand" in done.steps[0].difference and "+# a word" in done.steps[0].difference
    assert done.kept_in is not None
    assert "# by hand" in (Path(done.kept_in) / "comptoir.toml").read_text()
    (staging.folder / "mappings" / "woocommerce" / "order.in.yaml").unlink()
    assert [s.action for s in promote(staging.config, production, CLOCK).steps] == ["remove"]
    assert not (production / "mappings" / "woocommerce" / "order.in.yaml").exists()


def test_what_is_not_in_order_is_not_promoted(staging: Merchant, merchant: Merchant, tmp_path: Path) -> None:
    override = staging.folder / "mappings" / "woocommerce" / "order.in.yaml"
    override.write_text(OVERRIDE + "fields: {no_such_field: {const: 1}}\n")
    with pytest.raises(ConfigError, match="not promoted, the mappings have faults"):
        promote(staging.config, tmp_path / "production", CLOCK)
    override.write_text(OVERRIDE)
    with pytest.raises(ConfigError, match="another folder"):
        promote(staging.config, staging.folder, CLOCK)
    (staging.folder / "stage.toml").unlink()
    with pytest.raises(ConfigError, match="only staging is promoted"):
        promote(staging.config, tmp_path / "production", CLOCK)
    assert not (tmp_path / "production").exists()


# -- handover ------------------------------------------------------------------------------------------------------


def test_handover_says_who_owns_what_and_no_secret(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    merchant.run()
    secret = {"conn_type": "woocommerce", "host": "http://boutique.test", "login": "ck_hidden", "password": "cs_hidden",
              "extra": {"expires_on": "2027-01-31"}}  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_BOUTIQUE", json.dumps(secret))
    found = handover(merchant.config)
    shop = next(c for c in found["connections"] if c["connection"] == "boutique")
    assert shop["secret_expires_on"] == date(2027, 1, 31)
    assert shop["credentials_found"] and shop["invoicing"] == "gesco"
    assert {c["entity"]: c["way"] for c in shop["cursors"]} == {"order": "delta", "customer": "sweep", "item": "delta"}
    assert {
        "what": "sales of boutique",
        "owner": "gesco",
        "where": "numbered, booked and reported only there",
    } in found["authorities"]
    assert next(r for r in found["routes"] if r["route"] == "orders")["last_run"].endswith("success")
    assert found["stage"] == "production"
    assert "hidden" not in str(found)


@pytest.mark.parametrize(
    ("ends", "ok", "words"),
    [
        ("2026-12-31", True, "ends on 2026-12-31"),
        ("2026-11-30", False, "ends on 2026-11-30, in 8 days"),
        ("2026-11-01", False, "ended on 2026-11-01"),
        ("soon", False, "`expires_on` is no date"),
    ],
)
def test_the_end_of_a_secret_is_said_in_time(ends: str, ok: bool, words: str) -> None:
    (item,) = check_expiry("boutique", Credentials(extra={"expires_on": ends}), date(2026, 11, 22))
    assert (item.ok, item.detail) == (ok, words)
    assert check_expiry("boutique", Credentials(), date(2026, 11, 22)) == []


# -- support bundle ------------------------------------------------------------------------------------------------


def _strange(merchant: Merchant) -> None:
    """An order in a state that no table has, of a person who must not be seen."""
    shop = merchant.shops["boutique"]
    order = simple_order()
    order["billing"] = {
        **order.get("billing", {}), "first_name": "Éloïse", "last_name": "Quatrebarbes-Zyl", "email": "eloise@zyl.test",
        "address_1": "77 chemin des Oyats", "city": "Wimereux", "phone": "0698765432",
    }  # fmt: skip
    order["customer_note"] = "Sonnez chez Zyl"
    kept = shop.orders[request_json(shop, "POST", "/orders", order)["id"]]
    row = kept.order(keep=True)
    row.status, row.modified = "wc-strange", shop.now
    kept.changed()


def test_a_bundle_replays_elsewhere_without_personal_data(merchant: Merchant, tmp_path: Path) -> None:
    _strange(merchant)
    merchant.run()
    out = tmp_path / "bundle.zip"
    made = make_bundle(merchant.config, out)
    assert (made["records"], made["same_outcome"], made["runs"]) == (1, 1, 1)
    with zipfile.ZipFile(out) as archive:
        whole = b"".join(archive.read(name) for name in archive.namelist()).decode()
    hidden = "Quatrebarbes Zyl zyl.test Oyats Wimereux 0698765432 Éloïse Sonnez Exemple cs_ ck_"
    for word in hidden.split():
        assert word not in whole, word
    (found,) = replay_bundle(out)
    assert found["same"] and found["expected"] == {"code": "unmapped_value", "field": "payment_state"}


def test_a_named_record_that_is_well_comes_along(merchant: Merchant, tmp_path: Path) -> None:
    number = request_json(merchant.shops["boutique"], "POST", "/orders", simple_order())["id"]
    merchant.run()
    out = tmp_path / "bundle.zip"
    made = make_bundle(merchant.config, out, [f"boutique:order:{number}"])
    assert (made["records"], made["same_outcome"]) == (1, 1)
    assert replay_bundle(out)[0]["got"] is None
    with pytest.raises(ConfigError, match="names no record"):
        make_bundle(merchant.config, out, ["boutique:4711"])
    with pytest.raises(ConfigError, match="not kept"):
        make_bundle(merchant.config, out, ["boutique:order:999999"])


@pytest.mark.parametrize(
    "content",
    [b"no zip", None, {"records.json": b"[]"}, {"records.json": b"[1]", "mappings.json": b"{}"}],
)
def test_a_file_that_is_no_bundle_is_refused(tmp_path: Path, content: bytes | dict[str, bytes] | None) -> None:
    file = tmp_path / "x.zip"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)
    with pytest.raises(ConfigError, match="is no support bundle"):
        replay_bundle(file)


def test_invented_values_keep_their_shape() -> None:
    scrubber = Scrubber(b"k" * 32)
    record = {
        "email": "Éva.Müller@x.fr", "postcode": "0210", "n": 12, "phone": 33612345678, "date": "2026-01-02T03:04:05",
        "total": "12.50", "currency": "EUR", "note": "ok 🎁!", "empty": "", "none": None, "list": ["Ωmega"],
    }  # fmt: skip
    found = scrubber.record(record)
    assert found == scrubber.record(record)
    assert found["email"] != record["email"] and found["email"][3] == "." and "@" in found["email"]
    assert len(found["postcode"]) == 4 and found["postcode"][0] == "0"
    assert (found["n"], found["date"], found["total"], found["currency"]) == (12, "2026-01-02T03:04:05", "12.50", "EUR")
    assert found["phone"] != 33612345678 and len(str(found["phone"])) == 11
    assert found["note"].endswith(" 🎁!") and found["note"] != record["note"]
    assert (found["empty"], found["none"]) == ("", None)
    assert found["list"] != record["list"]
    codes = scrubber.record({"status": "wc-strange", "city": "Lyon", "meta_data": [{"value": "Zyl"}]}, codes_stay)
    assert codes["status"] == "wc-strange" and codes["city"] != "Lyon" and codes["meta_data"][0]["value"] != "Zyl"
    assert orjson.dumps(found)
