"""`comptoir journey`: one record told in sentences, in English and French."""

from __future__ import annotations

import pytest

from comptoir.app.journey import LANGUAGES, journeys
from comptoir.errors import ConfigError

from tests.support.merchant import Merchant, request_json, simple_order


def test_the_journey_of_an_order_tells_every_step(merchant: Merchant) -> None:
    shop = merchant.shops["boutique"]
    made = request_json(shop, "POST", "/orders", simple_order(set_paid=False))
    merchant.run()
    request_json(shop, "PUT", f"/orders/{made['id']}", {"set_paid": True})
    request_json(shop, "POST", f"/orders/{made['id']}/refunds", {"amount": "3.00", "api_refund": False})
    merchant.run()
    (english,) = [j for j in journeys(merchant.config, str(made["id"]), lang="en") if j.subject.entity == "order"]
    told = [text for _, text in english.sentences]
    for wanted in ("received from boutique", "not passed on: not paid yet", "received again", "planned for gesco",
                   f"sent to gesco as {made['id']}", "handed over to gesco", "refund"):  # fmt: skip
        assert any(wanted in text for text in told), (wanted, told)
    assert [at for at, _ in english.sentences] == sorted(at for at, _ in english.sentences)
    (french,) = [j for j in journeys(merchant.config, str(made["id"]), lang="fr") if j.subject.entity == "order"]
    assert any("remis à gesco" in text for _, text in french.sentences)
    assert len(french.sentences) == len(english.sentences)


def test_a_record_is_found_by_sku_and_e_mail_and_nobody_is_named(merchant: Merchant) -> None:
    made = request_json(merchant.shops["boutique"], "POST", "/orders", simple_order())
    merchant.run()
    for reference in ("MUG-001", "ZOE@example.test", str(made["id"])):
        (found,) = journeys(merchant.config, reference, lang="en")
        assert found.subject.external_id == str(made["id"])
        assert "Lefèvre" not in str(found.as_dict())


def test_a_parked_record_tells_its_cause_and_what_to_do(merchant: Merchant) -> None:
    shop = merchant.shops["boutique"]
    made = request_json(shop, "POST", "/orders", simple_order())
    shop.orders[made["id"]].order(keep=True).status = "expedie"
    shop.orders[made["id"]].changed()
    merchant.run()
    (told,) = journeys(merchant.config, str(made["id"]), lang="en")
    assert any("set aside" in text and "woocommerce.order.in" in text for _, text in told.sentences)


def test_nothing_known_says_what_may_be_asked(merchant: Merchant) -> None:
    with pytest.raises(ConfigError, match="nothing is known under"):
        journeys(merchant.config, "nobody@example.test")


def test_both_languages_say_the_same_facts() -> None:
    assert LANGUAGES["en"].keys() == LANGUAGES["fr"].keys()
