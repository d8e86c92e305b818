"""Which accounts a merchant's sales go to: the default French map and what `[accounting]` overrides of it.

The accounts are those of the plan comptable général with free sub-accounts (sales-accounting §1). They are a proposal
for the merchant's expert-comptable to approve; code never names an account outside this file.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from comptoir.model.base import Country, Currency

__all__ = [
    "AccountMap",
    "ChannelBooks",
    "ChannelSettings",
    "MoneyAccount",
    "Pieces",
    "SchemeAccounts",
    "VatAccounts",
    "default_customer_account",
]

Account = Annotated[str, StringConstraints(pattern=r"^[0-9]{3}[0-9A-Z]{0,12}$")]
JournalCode = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,6}$")]
_LABELS = {
    "411": "Clients",
    "4191": "Bons cadeaux émis",
    "4457": "TVA collectée",
    "445711": "TVA collectée 20",
    "445712": "TVA collectée 5.5",
    "445713": "TVA collectée 10",
    "445714": "TVA collectée 2.1",
    "445717": "TVA OSS",
    "467": "Contre-remboursement",
    "5112": "Chèques à encaisser",
    "5115": "Cartes à encaisser",
    "512": "Banque",
    "517": "Autres organismes financiers",
    "5171": "Stripe",
    "5172": "PayPal",
    "53": "Caisse",
    "658": "Charges diverses de gestion courante",
    "707": "Ventes de marchandises",
    "7071": "Ventes 20",
    "7072": "Ventes 5.5",
    "7073": "Ventes 10",
    "7074": "Ventes 2.1",
    "7075": "Ventes à distance intracommunautaires",
    "7076": "Livraisons intracommunautaires exonérées",
    "70771": "Exportations exonérées",
    "70772": "Ventes DOM sans TVA",
    "70773": "Ventes, taxe collectée par la plateforme",
    "70774": "Ventes exonérées",
    "7085": "Ports et frais accessoires facturés",
    "758": "Produits divers de gestion courante",
}


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SchemeAccounts(_Settings):
    """Revenue accounts of sales without the company's own VAT: goods, and shipping with other charges."""

    sales: Account
    shipping: Account


class VatAccounts(SchemeAccounts):
    """Accounts of one rate. `vat` may hold `{country}` for OSS; None: nothing is collected at this rate (0)."""

    vat: Annotated[str, StringConstraints(pattern=r"^[0-9]{3}[0-9A-Z]*(\{country\})?$")] | None = None


class MoneyAccount(_Settings):
    """Where a payment arrives: one journal per money account (sales-accounting §0)."""

    account: Account
    journal: JournalCode
    journal_label: str


class Pieces(_Settings):
    """Piece numbers: `{prefix}` is the channel's, `{number}` the order's or the refund's number.

    The kind stands at the end, because programs that shorten a piece cut it on the left.
    """

    sale: str = "{prefix}{number}"
    payment: str = "{prefix}{number}R"
    credit_note: str = "{prefix}{number}A"
    refund_payment: str = "{prefix}{number}B"

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        templates = [self.sale, self.payment, self.credit_note, self.refund_payment]
        if any("{number}" not in t for t in templates) or len(set(templates)) < len(templates):
            raise ValueError("each piece needs {number}, and no two kinds may look alike")
        return self


class ChannelSettings(_Settings):
    """What `[accounting.channels.NAME]` may say about one channel; the rest follows from its name."""

    label: str | None = None
    customer_account: Account | None = None
    customer_label: str | None = None
    piece_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{0,8}$")] | None = None
    pieces: Pieces = Pieces()
    sale_date: Literal["paid", "completed", "ordered"] = "paid"
    b2b_accounts: bool = False


class ChannelBooks(_Settings):
    """How one channel is booked: everything about it that an entry needs.

    `sale_date`: the day a sale is posted on; where the order has no such moment, the next one known. `b2b_accounts`:
    an order of a company goes to a customer account of its own, which names the company; otherwise, and always for
    consumers, to the channel's (sales-accounting §0, no names in B2C entries).
    """

    connection: str
    invoicing: str = "self"
    label: str
    customer_account: Account
    customer_label: str
    piece_prefix: str
    pieces: Pieces = Pieces()
    sale_date: Literal["paid", "completed", "ordered"] = "paid"
    b2b_accounts: bool = False
    country: Country
    currency: Currency
    time_zone: str = "Europe/Paris"


def default_customer_account(connection: str) -> str:
    """411 and at most seven characters of the connection's name; names that do not fit get a hash of
    themselves.
    """
    return "411" + _short(connection, 7)


def _short(name: str, length: int) -> str:
    plain = re.sub(r"[^A-Z0-9]", "", unicodedata.normalize("NFKD", name.upper()))
    if plain and len(plain) <= length and plain.casefold() == name.casefold():
        return plain
    # Another name may have the same letters: a short hash keeps two channels apart.
    digits = str(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") % 100).zfill(2)
    return plain[: length - 2] + digits


def _default_map() -> dict[str, Any]:
    def rate(n: int) -> dict[str, str]:
        return {"sales": f"707{n}00", "shipping": f"7085{n}0", "vat": f"44571{n}"}

    stripe = {"account": "517100", "journal": "ST", "journal_label": "Stripe"}
    paypal = {"account": "517200", "journal": "PP", "journal_label": "PayPal"}
    bank = {"account": "512000", "journal": "BQ", "journal_label": "Banque"}
    return {
        "vat": {"20": rate(1), "5.5": rate(2), "10": rate(3), "2.1": rate(4)},
        "oss": {"sales": "707500", "shipping": "708550", "vat": "445717{country}"},
        "intra_eu": {"sales": "707600", "shipping": "708560"},
        "export": {"sales": "707710", "shipping": "708571"},
        "dom": {"sales": "707720", "shipping": "708572"},
        "marketplace": {"sales": "707730", "shipping": "708573"},
        "exempt": {"sales": "707740", "shipping": "708574"},
        "without_vat": {"sales": "707100", "shipping": "708510"},
        "payments": {
            "card": {"account": "511500", "journal": "CB", "journal_label": "Cartes bancaires"},
            "transfer": bank,
            "direct_debit": bank,
            "cheque": {"account": "511200", "journal": "CH", "journal_label": "Chèques"},
            "cash": {"account": "530000", "journal": "CA", "journal_label": "Caisse"},
            "cod": {"account": "467000", "journal": "CR", "journal_label": "Contre-remboursement"},
        },
        "source_methods": {"stripe": stripe, "paypal": paypal, "ppcp": paypal, "ppec_paypal": paypal},
    }


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        nested = isinstance(value, Mapping) and isinstance(old, Mapping)
        merged[key] = _merge(old, value) if nested else value  # type: ignore[arg-type]
    return merged


class AccountMap(_Settings):
    """The accounts of an installation; `AccountMap()` is the default French map.

    A configuration gives only what differs: `[accounting.vat."8.5"]` adds a rate, `[accounting.vat."20"] vat =
    "445700"` changes one account of another.
    """

    franchise: bool = Field(default=False, description="Franchise en base: no VAT is charged (CGI 293 B)")
    vat: dict[str, VatAccounts]
    oss: VatAccounts
    ioss: VatAccounts | None = None
    intra_eu: SchemeAccounts
    export: SchemeAccounts
    dom: SchemeAccounts
    marketplace: SchemeAccounts
    exempt: SchemeAccounts
    without_vat: SchemeAccounts = Field(description="Revenue under franchise en base")
    charges: dict[str, Account] = Field(default_factory=dict, description="Charge kind -> its own account")
    payments: dict[str, MoneyAccount]
    source_methods: dict[str, MoneyAccount] = Field(description="The shop's own payment method goes first")
    gift_cards: Literal["undeclared", "single_purpose", "multi_purpose"] = "undeclared"
    gift_card_account: Account = "419100"
    gift_card_journal: JournalCode = "BC"
    rounding_loss: Account = "658000"
    rounding_gain: Account = "758000"
    tolerance: Decimal = Field(default=Decimal("0.05"), ge=0, le=1, description="Per document")
    vat_tolerance: Decimal = Field(default=Decimal("0.02"), ge=0, le=1, description="Per line and rate")
    vat_tolerance_cap: Decimal = Field(default=Decimal("0.20"), ge=0, le=10, description="Per document and rate")
    sales_journal: JournalCode = "VE"
    sales_journal_label: str = "Ventes"
    labels: dict[str, str] = Field(default_factory=dict, description="Account, or its beginning -> title")
    channels: dict[str, ChannelSettings] = Field(default_factory=dict)
    country: Country | None = None
    currency: Currency | None = None

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, given: Any) -> Any:
        return _merge(_default_map(), given) if isinstance(given, Mapping) else given

    @field_validator("vat")
    @classmethod
    def _rates(cls, value: dict[str, VatAccounts]) -> dict[str, VatAccounts]:
        seen: dict[Decimal, str] = {}
        for key, accounts in value.items():
            try:
                rate = Decimal(key)
            except InvalidOperation:
                raise ValueError(f'{key!r} is no rate; write it in percent, such as "5.5"') from None
            if seen.setdefault(rate, key) != key:
                raise ValueError(f"the rate {key} stands there twice ({seen[rate]} and {key})")
            if rate and accounts.vat is None:
                raise ValueError(f'the rate {key} needs a VAT account (vat = "445...")')
        return value

    @model_validator(mode="after")
    def _one_journal_each(self) -> Self:
        journals: dict[str, str] = {}
        for money in (*self.payments.values(), *self.source_methods.values()):
            if journals.setdefault(money.journal, money.account) != money.account:
                raise ValueError(
                    f"the journal {money.journal} serves {journals[money.journal]} and {money.account}: "
                    "each money account has a journal of its own"
                )
        return self

    def for_company(self, *, country: str, currency: str) -> Self:
        """The same map for a company; its channels are booked in this currency."""
        return self.model_copy(update={"country": country, "currency": currency})

    def channel(self, connection: str, *, invoicing: str = "self") -> ChannelBooks:
        """How a channel is booked. Raises ValueError when the map was not made for a company (`for_company`)."""
        if self.country is None or self.currency is None:
            raise ValueError("call for_company() first: country and currency of the books are not known")
        given = self.channels.get(connection, ChannelSettings())
        prefix = _short(connection, 4) if given.piece_prefix is None else given.piece_prefix
        return ChannelBooks(
            connection=connection,
            invoicing=invoicing,
            label=given.label or connection,
            customer_account=given.customer_account or default_customer_account(connection),
            customer_label=given.customer_label or f"Clients {given.label or connection}",
            piece_prefix=prefix,
            pieces=given.pieces,
            sale_date=given.sale_date,
            b2b_accounts=given.b2b_accounts,
            country=self.country,
            currency=self.currency,
        )

    def rate(self, rate: Decimal) -> VatAccounts | None:
        """The accounts of a domestic rate, None when the map has no such rate."""
        return next((accounts for key, accounts in self.vat.items() if Decimal(key) == rate), None)

    def money(self, method: str, source_method: str | None) -> MoneyAccount | None:
        """Where a payment arrives: by the shop's own method (`stripe` also serves `stripe_sepa`), else the
        neutral one.
        """
        if source_method:
            known = [
                key
                for key in self.source_methods
                if source_method == key or source_method.startswith((f"{key}_", f"{key}-"))
            ]
            if known:
                return self.source_methods[max(known, key=len)]
        return self.payments.get(method)

    def label(self, account: str) -> str:
        """The account's title: its own, else that of the longest beginning that has one."""
        for length in range(len(account), 1, -1):
            found = self.labels.get(account[:length]) or _LABELS.get(account[:length])
            if found:
                return f"{found} {account[6:]}" if account.startswith("445717") and length == 6 else found
        return account
