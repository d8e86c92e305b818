"""The main job on real PostgreSQL: orders, refunds and customers of a shop reach the back office, once."""

from __future__ import annotations

import re
from decimal import Decimal

import psycopg
import pytest

from comptoir.engine.counts import RunReport
from comptoir.errors import AuthError, TransientError
from comptoir.model.refs import EntityName, RunState
from comptoir.store.audit import Audit
from comptoir_woocommerce.sandbox import WooCommerceSandbox

from tests.support.merchant import Merchant, request_json, simple_order


def _shop(merchant: Merchant) -> WooCommerceSandbox:
    return merchant.shops["boutique"]


def _partition(report: RunReport) -> None:
    for entity, c in report.entities.items():
        assert c.considered == c.unchanged + c.changed + c.skipped + c.quarantined, entity


def test_a_web_order_reaches_the_back_office(merchant: Merchant) -> None:
    made = request_json(_shop(merchant), "POST", "/orders", simple_order())
    report = merchant.run()
    assert report.state is RunState.SUCCESS
    assert report.as_dict() | {"considered": 1, "changed": 1, "delivered": 1, "rejected": 0} == report.as_dict()
    assert merchant.order_numbers() == [str(made["id"])]
    total, computed, residual = merchant.rows("select total, computed_total, residual from sales_order")[0]
    assert total == computed == Decimal(made["total"])
    assert residual == 0


def test_a_seeded_shop_is_taken_over_whole_and_a_full_run_changes_nothing(merchant: Merchant) -> None:
    shop = _shop(merchant)
    shop.seed_orders(250)
    first = merchant.run()
    _partition(first)
    assert first.main.considered == 250
    assert first.main.delivered > 150
    assert len(merchant.order_numbers()) == first.main.delivered == len(set(merchant.order_numbers()))
    deliveries = merchant.value("select count(*) from delivery")
    files = sorted(p.name for p in (merchant.exchange / "import").iterdir())
    shop.log.clear()

    again = merchant.run(full=True)
    assert again.state is RunState.SUCCESS
    assert again.main.considered == 250
    for counts in again.entities.values():
        assert counts.considered == counts.unchanged
        assert counts.delivered == counts.rejected == 0
    assert merchant.value("select count(*) from delivery") == deliveries
    assert sorted(p.name for p in (merchant.exchange / "import").iterdir()) == files
    assert {entry.method for entry in shop.log} == {"GET"}


def test_totals_of_every_order_agree_or_the_residual_has_a_cause(merchant: Merchant) -> None:
    _shop(merchant).seed_orders(400, seed=7)
    merchant.run(plan_only=True)
    assert merchant.value("select count(*) from sales_order") == 400
    assert merchant.rows("select number from sales_order where total <> computed_total + residual") == []
    assert merchant.rows("select number from sales_order where residual <> 0 and residual_cause is null") == []


@pytest.mark.failure_mode(1)
def test_an_edit_after_the_cursor_is_seen(merchant: Merchant) -> None:
    shop = _shop(merchant)
    made = request_json(shop, "POST", "/orders", simple_order(set_paid=False))
    first = merchant.run()
    assert first.main.reasons == {"not paid yet": 1}
    request_json(shop, "PUT", f"/orders/{made['id']}", {"set_paid": True})
    second = merchant.run()
    assert (second.main.changed, second.main.delivered) == (1, 1)
    assert merchant.order_numbers() == [str(made["id"])]


@pytest.mark.failure_mode(67)
def test_unpaid_orders_wait_but_offline_methods_go(merchant: Merchant) -> None:
    shop = _shop(merchant)
    request_json(shop, "POST", "/orders", simple_order(set_paid=False))
    transfer = request_json(
        shop, "POST", "/orders", simple_order(set_paid=False, status="on-hold", payment_method="bacs")
    )
    report = merchant.run()
    assert report.main.reasons == {"not paid yet": 1}
    assert merchant.order_numbers() == [str(transfer["id"])]


def test_refunds_follow_their_order_and_never_go_without_it(merchant: Merchant) -> None:
    shop = _shop(merchant)
    paid = request_json(shop, "POST", "/orders", simple_order())
    merchant.run()
    line = paid["line_items"][0]["id"]
    request_json(
        shop,
        "POST",
        f"/orders/{paid['id']}/refunds",
        {
            "amount": "10.00",
            "reason": "Mug ébréché",
            "api_refund": False,
            "line_items": [
                {"id": line, "quantity": 1, "refund_total": 8.33, "refund_tax": [{"id": 1, "refund_total": 1.67}]}
            ],
        },
    )
    report = merchant.run()
    assert report.entities[EntityName.REFUND].delivered == 1
    assert len(merchant.documents("AVOIRS")) == 1
    assert merchant.value("select amount from refund") == Decimal("10.00")
    # The order was only touched by its refund: what the back office has of it stays as it is.
    assert report.main.quarantined == 0
    assert len(merchant.documents()) == 1


def test_a_changed_order_is_not_silently_lost_or_doubled(merchant: Merchant) -> None:
    shop = _shop(merchant)
    made = request_json(shop, "POST", "/orders", simple_order())
    merchant.run()
    request_json(shop, "PUT", f"/orders/{made['id']}", {"status": "completed"})
    assert merchant.run().state is RunState.SUCCESS
    assert merchant.value("select count(*) from quarantine") == 0

    request_json(shop, "PUT", f"/orders/{made['id']}", {"billing": {"city": "Lyon"}})
    merchant.run()
    cause, message = merchant.rows("select cause, message from quarantine where state = 'open'")[0]
    assert cause == "changed_after_delivery"
    assert str(made["id"]) in message
    assert merchant.order_numbers() == [str(made["id"])]


def test_a_cancellation_withdraws_what_has_not_gone_out(merchant: Merchant) -> None:
    shop = _shop(merchant)
    made = request_json(shop, "POST", "/orders", simple_order())
    merchant.run(plan_only=True)
    request_json(shop, "PUT", f"/orders/{made['id']}", {"status": "cancelled"})
    report = merchant.run()
    assert report.main.reasons == {"cancelled": 1}
    assert merchant.documents() == []
    assert merchant.value("select count(*) from delivery where state = 'pending'") == 0


@pytest.mark.failure_mode(29)
def test_one_bad_record_does_not_stop_the_others(merchant: Merchant) -> None:
    shop = _shop(merchant)
    ids = [request_json(shop, "POST", "/orders", simple_order())["id"] for _ in range(20)]
    shop.orders[ids[7]].order(keep=True).status = "expedie-colis"
    shop.orders[ids[7]].changed()
    report = merchant.run()
    assert report.state is RunState.PARTIAL
    assert (report.main.delivered, report.main.quarantined) == (19, 1)
    field, hint = merchant.rows("select field, hint from quarantine where state = 'open'")[0]
    assert field is not None
    assert "woocommerce.order.in" in hint
    # The merchant maps his own state, and the record heals by itself at the next look.
    folder = merchant.folder / "mappings" / "woocommerce"
    folder.mkdir(parents=True)
    (folder / "order.in.yaml").write_text(
        "mapping: woocommerce.order.in\nextends: true\ntables:\n  status: {expedie-colis: completed}\n"
    )
    healed = merchant.run(full=True)
    assert (healed.main.delivered, healed.main.quarantined) == (1, 0)
    assert merchant.value("select count(*) from quarantine where state = 'open'") == 0
    assert merchant.order_numbers() == sorted(map(str, ids))


def test_before_the_cutover_orders_are_kept_and_never_delivered(merchant: Merchant) -> None:
    merchant.edit_config('cutover = "2020-01-01"', 'cutover = "2099-01-01"')
    shop = _shop(merchant)
    made = request_json(shop, "POST", "/orders", simple_order())
    report = merchant.run()
    assert report.main.reasons == {"before the cutover": 1}
    assert merchant.value("select before_cutover from sales_order")
    assert merchant.value("select count(*) from binding") == 1
    assert merchant.documents() == []
    assert str(made["id"]) == merchant.value("select external_id from sales_order")


def test_a_later_refund_of_an_older_order_is_listed_for_the_opening_account(merchant: Merchant) -> None:
    shop = _shop(merchant)
    shop.seed_orders(12, days=3, until=shop.now - 5 * 86_400)
    today = merchant.today
    merchant.edit_config('cutover = "2020-01-01"', f'cutover = "{today}"')
    assert merchant.run().main.reasons == {"before the cutover": 12}
    number = merchant.value("select external_id from sales_order where source_status = 'completed' limit 1")
    made = request_json(shop, "GET", f"/orders/{number}")
    request_json(shop, "POST", f"/orders/{made['id']}/refunds", {"amount": "5.00", "api_refund": False})
    report = merchant.run()
    assert report.entities[EntityName.REFUND].reasons == {"names a document from before the cutover": 1}
    names, amount, dated = merchant.rows("select names, amount, dated_on from opening_item")[0]
    assert names == f"order {made['number']}"
    assert amount == Decimal("5.00")
    assert dated == today
    assert merchant.documents("AVOIRS") == []


def test_without_a_cutover_a_large_first_write_is_a_plan(merchant: Merchant) -> None:
    from comptoir.app.run_route import deliver_route

    merchant.edit_config('cutover = "2020-01-01"\n', "")
    shop = _shop(merchant)
    ids = [request_json(shop, "POST", "/orders", simple_order())["id"] for _ in range(60)]
    report = merchant.run()
    assert report.state is RunState.PLAN
    assert report.held == {"gesco": {"order": 60}}
    assert merchant.documents() == []
    assert merchant.run().state is RunState.PLAN
    with merchant.hub() as hub:
        approved = deliver_route(hub, "orders", approve=True)
    assert (approved.state, approved.main.delivered) == (RunState.SUCCESS, 60)
    assert merchant.order_numbers() == sorted(map(str, ids))
    request_json(shop, "POST", "/orders", simple_order())
    assert merchant.run().main.delivered == 1


def test_fifty_documents_are_no_plan(merchant: Merchant) -> None:
    merchant.edit_config('cutover = "2020-01-01"\n', "")
    for _ in range(50):
        request_json(_shop(merchant), "POST", "/orders", simple_order())
    assert merchant.run().main.delivered == 50


def test_an_interrupted_read_goes_on_and_loses_nothing(merchant: Merchant) -> None:
    shop = _shop(merchant)
    shop.seed_orders(450)

    def small_batches(hub: object) -> None:
        hub.batch_records = 100  # type: ignore[attr-defined]

    merchant.edit_config('invoicing = "gesco"', 'invoicing = "gesco"\npages_in_flight = 1')
    failing = iter(range(10_000))

    def fail_on_the_third_page(request: object) -> None:
        if "/orders?" in request.url and next(failing) == 2:  # type: ignore[attr-defined]
            shop.faults.fail_next(99, "status", status=500)

    shop.on_request = fail_on_the_third_page
    with pytest.raises(TransientError):
        merchant.run(change=small_batches)
    landed = merchant.value("select count(*) from sales_order")
    assert 0 < landed < 450
    assert merchant.value("select position is not null and watermark is null from cursor_position")
    shop.faults.clear()
    shop.on_request = None
    report = merchant.run(change=small_batches)
    assert report.state in (RunState.SUCCESS, RunState.PARTIAL)
    assert report.main.considered < 450  # resumed, not begun again
    assert merchant.value("select count(*) from sales_order") == 450
    assert merchant.value("select position is null and watermark is not null from cursor_position")


def test_wrong_credentials_stop_the_route_and_name_the_connection(merchant: Merchant) -> None:
    _shop(merchant).secret = "cs_" + "9" * 40
    with pytest.raises(AuthError, match="boutique"):
        merchant.run()
    state, error = merchant.rows("select state, error from run")[0]
    assert state == "failed"
    assert "cs_" not in error


def test_html_instead_of_json_is_a_clear_message_and_the_next_run_goes_on(merchant: Merchant) -> None:
    shop = _shop(merchant)
    request_json(shop, "POST", "/orders", simple_order())
    shop.faults.fail_next(20, "html")
    with pytest.raises(TransientError, match="HTML instead of JSON"):
        merchant.run()
    shop.faults.clear()
    assert merchant.run().main.delivered == 1


@pytest.mark.failure_mode(55)
def test_another_currency_is_never_booked_as_the_companys(make_merchant) -> None:
    merchant = make_merchant()
    shop = merchant.shop(currency="USD")
    request_json(shop, "POST", "/orders", simple_order())
    report = merchant.run()
    assert (report.main.delivered, report.main.rejected) == (0, 1)
    cause, message = merchant.rows("select cause, message from quarantine")[0]
    assert cause == "currency"
    assert "USD" in message


def test_customers_reach_the_back_office(merchant: Merchant) -> None:
    report = merchant.run("customers")
    assert report.main.considered > 0
    assert report.main.delivered + report.main.rejected == report.main.considered
    again = merchant.run("customers")
    assert again.main.unchanged == again.main.considered == report.main.considered
    assert again.main.delivered == 0


def test_personal_data_stays_in_its_own_tables(merchant: Merchant) -> None:
    _shop(merchant).seed_orders(60)
    merchant.run()
    people = merchant.rows("select email, last_name from personal_party where email is not null limit 30")
    assert people
    audit = Audit(merchant.url)
    assert audit.places_of([re.escape(email) for email, _ in people]) == []
    assert audit.places_of(["boutique"]) != []  # it can find what is there
    audit.close()


def test_raw_payloads_are_sealed_and_can_be_read_back(merchant: Merchant) -> None:
    from comptoir.engine.replay import raw_payload

    made = request_json(_shop(merchant), "POST", "/orders", simple_order())
    merchant.run()
    body = bytes(merchant.value("select body from raw_payload"))
    assert "Lefèvre".encode() not in body
    assert b"billing" not in body
    with merchant.hub() as hub:
        item = raw_payload(hub, "boutique", EntityName.ORDER, str(made["id"]))
    assert item.payload["billing"]["last_name"] == "Lefèvre"
    assert (merchant.folder / ".comptoir" / "secret.key").stat().st_mode & 0o077 == 0


def test_no_row_is_orphaned(merchant: Merchant) -> None:
    _shop(merchant).seed_orders(120)
    merchant.run()
    for table in ("order_line", "document_charge", "document_discount", "document_payment", "document_tax"):
        orphans = merchant.value(
            f"select count(*) from {table} t where not exists (select 1 from sales_order o where o.id = t.document_id) "
            "and not exists (select 1 from refund r where r.id = t.document_id)"
        )
        assert orphans == 0, table
    assert merchant.value(
        "select count(*) from sales_order o where not exists (select 1 from binding b where b.record_id = o.id)"
    ) == 0  # fmt: skip


def test_a_target_that_is_added_later_gets_what_it_missed_by_a_full_run(merchant: Merchant) -> None:
    merchant.edit_config('to = ["gesco"]\nschedule', "schedule")
    shop = _shop(merchant)
    paid = [str(request_json(shop, "POST", "/orders", simple_order())["id"]) for _ in range(3)]
    request_json(shop, "POST", "/orders", simple_order(set_paid=False))
    request_json(shop, "POST", f"/orders/{paid[0]}/refunds", {"amount": "2.00", "api_refund": False})
    assert merchant.run().main.changed == 3
    merchant.edit_config("schedule", 'to = ["gesco"]\nschedule')
    assert merchant.run().main.delivered == 0
    report = merchant.run(full=True)
    assert (report.main.unchanged, report.main.delivered) == (4, 3)
    assert report.entities[EntityName.REFUND].delivered == 1
    assert merchant.order_numbers() == sorted(paid)
    assert merchant.run(full=True).main.delivered == 0


def test_a_record_that_comes_twice_in_a_row_is_stored_once(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    from comptoir_woocommerce.connector import WooCommerceConnector

    shop = _shop(merchant)
    made = [str(request_json(shop, "POST", "/orders", simple_order())["id"]) for _ in range(2)]
    original = WooCommerceConnector.pull

    def twice(self: WooCommerceConnector, request: object) -> object:
        for page in original(self, request):  # type: ignore[arg-type]
            yield page
            yield page

    def one_page_a_batch(hub: object) -> None:
        hub.batch_records = 1  # type: ignore[attr-defined]

    monkeypatch.setattr(WooCommerceConnector, "pull", twice)
    report = merchant.run(change=one_page_a_batch)
    assert (report.main.considered, report.main.unchanged, report.main.changed) == (4, 2, 2)
    assert merchant.order_numbers() == sorted(made)
    assert merchant.value("select count(*) from raw_record") == 2


def test_a_held_plan_goes_when_the_source_gets_a_cutover_and_older_orders_do_not(merchant: Merchant) -> None:
    merchant.edit_config('cutover = "2020-01-01"\n', "")
    shop = _shop(merchant)
    shop.seed_orders(80, days=3, until=shop.now - 5 * 86_400)
    today = [str(request_json(shop, "POST", "/orders", simple_order())["id"]) for _ in range(3)]
    assert merchant.run().state is RunState.PLAN
    day = merchant.today
    merchant.edit_config("[connections.boutique]\n", f'[connections.boutique]\ncutover = "{day}"\n')
    report = merchant.run()
    assert report.state is not RunState.PLAN
    assert merchant.order_numbers() == sorted(today)
    assert merchant.value("select count(*) from sales_order where before_cutover") == 80
    assert merchant.value("select count(*) from delivery where state in ('held', 'pending')") == 0
    assert merchant.run(full=True).main.delivered == 0


@pytest.mark.failure_mode(10)
def test_an_edit_that_moves_no_date_is_found_by_the_sweep_of_open_orders(merchant: Merchant) -> None:
    shop = _shop(merchant)
    made = request_json(shop, "POST", "/orders", simple_order(set_paid=False))
    done = request_json(shop, "POST", "/orders", simple_order(status="completed"))
    merchant.run()
    order = shop.order(made["id"])
    modified = order.modified
    request_json(shop, "PUT", f"/orders/{made['id']}", {"set_paid": True})
    order = shop.order(made["id"])
    order.modified = modified - 86_400  # as WooCommerce leaves it when lines are edited, and outside the overlap
    shop.slot(made["id"]).changed()
    assert merchant.run().main.changed == 0
    with psycopg.connect(merchant.url) as connection:
        connection.execute(
            "update cursor_position set watermark = watermark - interval '7 hours' "
            "where entity = 'order' and scope = 'open'"
        )
    swept = merchant.run()
    assert (swept.main.changed, swept.main.delivered) == (1, 1)
    assert str(made["id"]) in merchant.order_numbers()
    assert str(done["id"]) in merchant.order_numbers()


@pytest.mark.failure_mode(89)
def test_a_run_that_found_nothing_says_why(merchant: Merchant) -> None:
    empty = merchant.run()
    assert empty.main.considered == 0
    assert any("no change since the last run" in note for note in empty.notes)
    request_json(_shop(merchant), "POST", "/orders", simple_order(set_paid=False))
    skipped = merchant.run().as_dict()
    assert skipped["skipped_because"] == {"not paid yet": 1}
    assert not any("nothing was considered" in note for note in skipped.get("notes", []))


def test_progress_counts_what_the_shop_counts(merchant: Merchant) -> None:
    """The refunds that come with the orders are none of the 30 that the shop has announced."""
    shop = _shop(merchant)
    for number in range(30):
        made = request_json(shop, "POST", "/orders", simple_order())
        if number % 3 == 0:
            request_json(shop, "POST", f"/orders/{made['id']}/refunds", {"amount": "3.00", "api_refund": False})
    steps: list[tuple[str, int, int | None]] = []
    merchant.run(progress=lambda *step: steps.append(step))
    assert {label for label, _, _ in steps} == {"boutique: order"}
    assert (sum(count for _, count, _ in steps), steps[-1][2]) == (30, 30)
