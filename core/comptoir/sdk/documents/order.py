"""An order as a document of a back office, before any file format: codes, texts, rows, what was paid."""

from __future__ import annotations

import abc
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Generic, Literal, TypeVar

from comptoir.errors import ConfigError, ContractViolation
from comptoir.sdk.documents.build import Builder, Row
from comptoir.sdk.documents.card import Card, CardRules
from comptoir.sdk.documents.codes import capital_code
from comptoir.sdk.documents.config import SalesSettings
from comptoir.sdk.documents.profile import DocumentProfile
from comptoir.sdk.journal.text import Remarks, as_date, cents, words

__all__ = ["OrderBuilder", "OrderFormat", "Party", "SalesDocument"]

S = TypeVar("S", bound=SalesSettings)


@dataclass(frozen=True, slots=True)
class Party:
    """Who buys or receives, in the program's charset and lengths."""

    name: str = ""
    lines: tuple[str, ...] = ()
    postcode: str = ""
    city: str = ""
    country: str = ""
    phone: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True)
class SalesDocument:
    """A document ready to be laid out. `total` is what the buyer pays (or gets back), tax included; `scheme` a VAT
    scheme other than the domestic one; `mode` the program's code of the means of payment; `order` the shop's number of
    the order, or of the refund; `texts` the filled templates. `credits`: the number of the order's document of which
    this is a credit note."""

    number: str
    customer: str
    day: date
    delivery: date
    buyer: Party
    rows: tuple[Row, ...]
    freight: Decimal
    freight_rate: Decimal
    total: Decimal
    paid: Decimal
    mode: str
    scheme: str
    vat_id: str
    note: str
    order: str
    texts: tuple[str, ...] = ()
    credits: str | None = None
    remarks: Remarks = field(default_factory=Remarks)


class OrderBuilder(Builder):
    """Makes the document of a payload of an `order.out` mapping, with the characters of one profile.

    No field begins with #, which is a tag in Sage's own format.
    """

    taboo = "#"

    def __init__(
        self, payload: Mapping[str, Any], settings: SalesSettings, shipping_as: str, profile: DocumentProfile,
        program: str, record: str,
    ) -> None:  # fmt: skip
        super().__init__(payload, _Rules(settings, shipping_as), record, profile.charset)
        self.settings = settings
        self.profile = profile
        self.program = program
        self.item_length = profile.limits.item
        self.label_length = profile.limits.label
        self.gross = settings.prices == "gross"

    def code(self, code: str, where: str) -> str:
        """By the connection's table, else as it is: in capitals where the program has those."""
        if code in self.settings.item_codes:
            return self.settings.item_codes[code]
        if self.profile.codes == "plain":
            return super().code(code, where)
        alias = capital_code(code, self.item_length, self.charset)
        if alias == code.upper() != code:
            self.remarks.add(where, f"item codes of {self.program} are in capitals: {alias}")
        elif alias != code:
            self.remarks.add(where, f"code that {self.program} cannot hold; its alias is {alias}")
        return alias

    def charge_item(self, charge: Mapping[str, Any]) -> str:
        """What takes off is a discount."""
        kind = words(charge.get("kind"))
        if kind not in self.settings.charge_items and self.amount(charge.get("net"), "charges.net") < 0:
            return self.settings.discount_item
        return super().charge_item(charge)

    def document(self, company_currency: str, templates: Sequence[tuple[str, str]] = ()) -> SalesDocument:
        """The document; RecordRejected, naming record, field and the setting to change: currency other than the
        company's, buyer without code, tax that cannot be expressed, total that the program would not reproduce."""
        payload = self.payload
        self.currency(company_currency)
        day = as_date(payload.get("ordered_on"), self.record, "ordered_on")
        total = cents(self.amount(payload.get("total"), "total"))
        freight, rate, charges = self.freight()
        rows = self.close([*self.item_rows(), *self.charge_rows(charges)], freight, rate, total)
        if not rows:
            message = f"{self.program} takes no document without a line."
            raise self.refuse("it has no lines", "lines", "no_lines", message)
        limits = self.profile.limits
        buyer = self.party()
        number = self.named("number", limits.number)
        order = self.text(payload.get("order_number"), "order_number")
        known = {
            "number": number,
            "order": order,
            "channel": words(payload.get("channel")),
            "name": buyer.name,
            "address": " ".join(buyer.lines),
            **{part: getattr(buyer, part) for part in ("postcode", "city", "country", "phone", "email")},
        }
        texts = tuple(self.text(_filled(template, known), name, limits.text) for name, template in templates)
        paid = sum((self.amount(p.get("amount"), "payments.amount") for p in payload.get("payments") or ()), Decimal(0))
        return SalesDocument(
            number=number,
            customer=self.customer(buyer),
            day=day,
            delivery=day + timedelta(days=self.settings.delivery_days),
            buyer=buyer,
            rows=rows,
            freight=freight,
            freight_rate=rate,
            total=total,
            paid=cents(paid),
            mode=self.payment_mode(),
            scheme=self.scheme(),
            vat_id=self.text(payload.get("vat_id"), "vat_id", 25),
            note=self.text(payload.get("note"), "note", 250),
            order=order,
            texts=texts,
            remarks=self.remarks,
        )

    def party(self) -> Party:
        """The buyer: of the billing address, or the delivery address where that one names nobody."""
        limits, source = self.profile.limits, self.payload.get("billing") or {}
        if not words(source.get("name")) and self.payload.get("shipping"):
            source = self.payload["shipping"]
        lines = [
            piece
            for n, line in enumerate(source.get("lines") or (), 1)
            for piece in textwrap.wrap(self.text(line, f"billing.lines[{n}]"), limits.address)
        ]
        if len(lines) > 3:
            self.remarks.add("billing.lines", "more than three address lines; the rest was left out")
        phone = words(source.get("phone")) or words(self.payload.get("phone"))
        return Party(
            name=self.text(source.get("name"), "billing.name", limits.name),
            lines=tuple(lines[:3]),
            postcode=self.text(source.get("postcode"), "billing.postcode", limits.postcode),
            city=self.text(source.get("city"), "billing.city", limits.city),
            country=self.text(source.get("country"), "billing.country", 3),
            phone=self.text("00" + phone[1:] if phone.startswith("+") else phone, "billing.phone", 21),
            email=self.text(words(source.get("email")) or words(self.payload.get("email")), "billing.email", 69),
        )

    def customer(self, buyer: Party) -> str:
        """The code on which the document is booked."""
        settings = self.settings
        if settings.customers == "default":
            return settings.default_customer or ""
        if buyer.name:
            return self.named("customer_code", self.profile.limits.customer)
        if settings.default_customer is None:
            raise self.refuse(
                "the buyer has no name",
                "billing.name",
                "missing_party",
                f"Complete the buyer in the shop, or set default_customer of the {self.program} connection to a "
                "customer card for such orders.",
            )
        self.remarks.add("customer", "the buyer has no name: booked on the default customer")
        return settings.default_customer

    def scheme(self) -> str:
        """The VAT scheme of the document, '' for the domestic one; refused where it has several."""
        schemes = sorted(self.schemes())
        if len(schemes) > 1:
            raise self.refuse(
                f"it was sold under several VAT schemes ({', '.join(schemes)}) and {self.program} has one for a "
                "document",
                "lines.taxes.scheme",
                "territoriality",
                f"Enter it by hand in {self.program}, one document for each scheme.",
            )
        return schemes[0] if schemes else ""


@dataclass(frozen=True, slots=True)
class _Rules:
    """The settings, with what only the format knows: where shipping stands."""

    settings: SalesSettings
    shipping_as: str

    @property
    def default_item(self) -> str | None:
        return self.settings.default_item

    @property
    def shipping_item(self) -> str:
        return self.settings.shipping_item

    @property
    def fee_item(self) -> str:
        return self.settings.fee_item

    @property
    def charge_items(self) -> Mapping[str, str]:
        return self.settings.charge_items

    @property
    def rounding_item(self) -> str:
        return self.settings.rounding_item

    @property
    def max_rounding(self) -> Decimal:
        return self.settings.max_rounding

    @property
    def price_decimals(self) -> int:
        return self.settings.price_decimals

    @property
    def payment_modes(self) -> Mapping[str, str]:
        return self.settings.payment_modes


class OrderFormat(abc.ABC, Generic[S]):
    """One layout of orders. `header` are the first lines of the customer's own export, where the format begins with
    them."""

    def __init__(self, profile: DocumentProfile, settings: S, header: Sequence[str] = ()) -> None:
        self.profile = profile
        self.settings = settings
        self.header = tuple(header)
        for name in ("default_item", "shipping_item", "fee_item", "discount_item", "rounding_item"):
            self._fits(name, getattr(settings, name))
        for table in ("charge_items", "item_codes"):
            for key, code in getattr(settings, table).items():
                self._fits(f"{table}.{key}", code)
        default = settings.default_customer
        if len(default or "") > profile.limits.customer:
            raise ConfigError(f"default_customer: {default} is longer than {profile.limits.customer}", code="profile")

    def _fits(self, name: str, code: str | None) -> None:
        if len(code or "") > self.profile.limits.item:
            raise ConfigError(
                f"{name}: {code} is longer than the {self.profile.limits.item} characters of an item", code="profile"
            )

    def shipping(self) -> Literal["header", "item"]:
        """Whether shipping stands in the document's header, or is a line."""
        return "item"

    def templates(self) -> Sequence[tuple[str, str]]:
        """Name and template of references and headings, in the order in which `SalesDocument.texts` has them filled."""
        return ()

    def examine(self, build: OrderBuilder, document: SalesDocument) -> None:
        """Refuses (RecordRejected) what this format cannot say of a document."""

    @property
    def takes_credit_notes(self) -> bool:
        """The profile says how the program takes them."""
        return self.profile.credit_notes is not None

    @property
    def takes_customers(self) -> bool:
        """The profile says how the program takes cards."""
        return self.profile.customers is not None

    @abc.abstractmethod
    def write(self, documents: Sequence[SalesDocument]) -> bytes:
        """The bytes of a file of orders, or of credit notes."""

    def card_rules(self, program: str) -> CardRules:
        """What a card of the program can hold, by the profile."""
        limits = self.profile.limits
        return CardRules(
            program=program, charset=self.profile.charset, code=limits.customer, name=limits.name, lines=3,
            address=limits.address, postcode=limits.postcode, city=limits.city, phone=21, email=69, contact=35,
            taboo=OrderBuilder.taboo,
        )  # fmt: skip

    def examine_card(self, card: Card, record: str) -> None:
        """Refuses (RecordRejected) what this format cannot say of a card."""

    def write_cards(self, cards: Sequence[Card]) -> bytes:
        """The bytes of a file of customer cards; asked of formats whose profile takes them."""
        raise ContractViolation(f"{self.profile.source}: the format {self.profile.format} writes no cards")


def _filled(template: str, known: Mapping[str, str]) -> str:
    """The template with what is known of the order, in one pass: a value is never read as a template."""
    return " ".join(re.sub(r"\{(\w+)\}", lambda match: known.get(match[1], ""), template).split())
