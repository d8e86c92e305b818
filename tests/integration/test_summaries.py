"""One entry for each day, where the accountant has approved it; the documents' own entries stay in the hub."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from comptoir.app.batches import list_batches, withdraw
from comptoir.app.export import export_fec
from comptoir.app.proof import prove_books
from comptoir.engine.summaries import sum_up_days
from comptoir.errors import ConfigError
from comptoir.model.refs import EntityName

from tests.support.merchant import Merchant, request_json, simple_order
from tests.support.settlements import CONFIG, written

D = Decimal
APPROVED = """
[accounting.channels.boutique]
posting = "day"
summary_approved_by = "Cabinet Martin, 2 January 2026"
"""
ALONE = CONFIG.split("\n[connections.passerelle]")[0] + "\n"


@pytest.fixture
def merchant(make_merchant: Callable[..., Merchant]) -> Merchant:
    made = make_merchant(ALONE + APPROVED)
    made.shop()
    return made


def sell(merchant: Merchant, number: int) -> list[str]:
    shop = merchant.shops["boutique"]
    return [str(request_json(shop, "POST", "/orders", simple_order())["number"]) for _ in range(number)]


def next_day(merchant: Merchant, days: int = 1) -> None:
    now = merchant.clock.now
    merchant.clock.now = lambda: now() + timedelta(days=days)  # type: ignore[method-assign]


def sums(merchant: Merchant) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for line in written(merchant):
        amount = D(line["Debit"].replace(",", ".")) - D(line["Credit"].replace(",", "."))
        found[line["CompteNum"]] = found.get(line["CompteNum"], D(0)) + amount
    return {account: amount for account, amount in found.items() if amount}


def journal(merchant: Merchant, where: str = "kind <> 'summary'") -> dict[str, Decimal]:
    return dict(
        merchant.rows(
            "select account, sum(case side when 'D' then amount else -amount end) from journal_line l "
            f"join journal_entry j on j.id = l.entry_id where withdrawn_in is null and {where} group by 1 "
            "having sum(case side when 'D' then amount else -amount end) <> 0"
        )
    )


def proved(merchant: Merchant) -> list[str]:
    with merchant.hub() as hub:
        return prove_books(hub).violations()


def test_a_day_goes_out_as_one_entry_of_each_kind_once_it_is_over(merchant: Merchant) -> None:
    numbers = sell(merchant, 3)
    counts = merchant.run("books").entities[EntityName.JOURNAL_ENTRY]
    assert (counts.changed, counts.delivered) == (3, 0)
    next_day(merchant)
    sell(merchant, 1)
    assert merchant.run("books").entities[EntityName.JOURNAL_ENTRY].delivered == 2
    pieces = {line["PieceRef"] for line in written(merchant)}
    assert len(pieces) == 2 and not pieces & set(numbers)
    of_the_day = "document in ({})".format(", ".join(f"'{number}'" for number in numbers))
    assert sums(merchant) == journal(merchant, of_the_day) == journal(merchant, "kind = 'summary'")
    assert merchant.value("select count(*) from journal_entry where summarised_in is not null") == 6
    assert proved(merchant) == []
    # Nothing goes out twice, however often it is run.
    merchant.run("books", full=True)
    assert len({line["PieceRef"] for line in written(merchant)}) == 2
    year = merchant.clock.now().year
    _, entries = export_fec(merchant.config, merchant.folder, year)
    assert entries == 2 + 2  # the day that is over as it went out, and the entries of the other


def test_what_comes_late_goes_into_another_entry_of_its_day(merchant: Merchant) -> None:
    sell(merchant, 1)
    merchant.run("books")
    sell(merchant, 1)  # placed on that day, read on the next
    next_day(merchant)
    with merchant.hub() as hub:
        sum_up_days(hub)
    merchant.run("books")
    assert len({line["PieceRef"] for line in written(merchant)}) == 4
    keys = [row[0] for row in merchant.rows("select key from journal_entry where kind = 'summary' order by seq")]
    assert len(keys) == 4 and sum(key.endswith("/2") for key in keys) == 2
    assert sums(merchant) == journal(merchant)
    assert proved(merchant) == []


def test_without_the_accountants_name_there_is_no_summary(make_merchant: Callable[..., Merchant]) -> None:
    merchant = make_merchant(ALONE + '\n[accounting.channels.boutique]\nposting = "day"\n')
    merchant.shop()
    with pytest.raises(ConfigError, match=r"comptoir.toml:\d+: accounting.channels.boutique: .*summary_approved_by"):
        merchant.run("books")


@pytest.mark.failure_mode(70)
def test_an_order_that_does_not_add_up_is_left_out_of_its_day(merchant: Merchant) -> None:
    bad, *_ = sell(merchant, 3)
    merchant.run("books")
    with merchant.hub() as hub, hub.database.transaction() as session:
        session.execute(
            "update order_line l set net = net + 0.05, list_net = list_net + 0.05 from sales_order o "
            f"where o.id = l.document_id and o.number = '{bad}' and l.position = 1"
        )
    next_day(merchant)
    merchant.run("books")
    assert sums(merchant) == journal(merchant, f"kind <> 'summary' and document <> '{bad}'")
    assert merchant.rows("select external_id, cause from quarantine where state = 'open'") == [
        (bad, "unexplained_cent")
    ]
    # Put right, it goes out in another entry of the same day.
    with merchant.hub() as hub, hub.database.transaction() as session:
        session.execute(
            "update order_line l set net = net - 0.05, list_net = list_net - 0.05 from sales_order o "
            f"where o.id = l.document_id and o.number = '{bad}' and l.position = 1"
        )
    merchant.run("books")
    assert sums(merchant) == journal(merchant)
    assert merchant.value("select count(*) from quarantine where state = 'open'") == 0


def test_an_altered_summary_is_held_back_and_told(merchant: Merchant) -> None:
    sell(merchant, 2)
    merchant.run("books")
    next_day(merchant)
    merchant.run("books")
    with merchant.hub() as hub, hub.database.transaction() as session:
        session.execute(
            "update journal_line l set amount = amount + 0.01 from journal_entry j where j.id = l.entry_id "
            "and j.kind = 'summary' and l.account like '707%%'"
        )
    (words,) = proved(merchant)
    assert "account 707100" in words and "(-0.01 EUR)" in words and "its entries give" in words


def test_a_batch_with_a_summary_is_taken_back_and_written_again(merchant: Merchant) -> None:
    sell(merchant, 3)
    merchant.run("books")
    next_day(merchant)
    merchant.run("books")
    before, pieces = sums(merchant), {line["PieceRef"] for line in written(merchant)}
    (batch,) = list_batches(merchant.config)
    merchant.config.write_text(merchant.config.read_text() + '\n[accounting.vat."20"]\nsales = "707900"\n')
    withdraw(merchant.config, [str(batch.id)], because="compte 7079")
    assert written(merchant) == []
    merchant.run("books")
    after = sums(merchant)
    assert {line["PieceRef"] for line in written(merchant)} == pieces
    assert after.pop("707900") == before.pop("707100")
    assert after == before
    assert proved(merchant) == []


def test_a_channel_that_is_posted_by_document_again_leaves_nothing_behind(merchant: Merchant) -> None:
    numbers = sell(merchant, 2)
    merchant.run("books")
    merchant.edit_config('posting = "day"\n', 'posting = "document"\n')
    merchant.run("books")
    assert {line["PieceRef"].rstrip("R") for line in written(merchant)} == set(numbers)
    assert sums(merchant) == journal(merchant)
