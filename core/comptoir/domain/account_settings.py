"""The parts of `[accounting]`: what a merchant may say about accounts, and the proposal that it starts from.

The accounts are those of the plan comptable général with free sub-accounts (sales-accounting §1). They are a proposal
for the merchant's expert-comptable to approve; code never names an account outside this file.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from comptoir.model.base import Country, Currency
from comptoir.model.money import TaxScheme
from comptoir.model.order import ChargeKind, PaymentMethod

__all__ = [
    "LABELS",
    "Account",
    "ChannelBooks",
    "ChannelSettings",
    "JournalCode",
    "MoneyAccount",
    "PaymentRule",
    "Pieces",
    "Provider",
    "Purchases",
    "SalesRule",
    "SchemeAccounts",
    "Till",
    "VatAccounts",
    "VatBooks",
    "default_map",
]

Account = Annotated[str, StringConstraints(pattern=r"^[0-9]{3}[0-9A-Z]{0,12}$")]
JournalCode = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,6}$")]
LABELS = {
    "401": "Fournisseurs",
    "411": "Clients",
    "4191": "Bons cadeaux émis",
    "41911": "Clients, avances et acomptes reçus",
    "4452": "TVA due intracommunautaire",
    "44562": "TVA déductible sur immobilisations",
    "44566": "TVA déductible sur biens et services",
    "445662": "TVA déductible intracommunautaire",
    "445664": "TVA déductible sur importations",
    "4457": "TVA collectée",
    "445711": "TVA collectée 20",
    "445712": "TVA collectée 5.5",
    "445713": "TVA collectée 10",
    "445714": "TVA collectée 2.1",
    "445715": "TVA due sur importations",
    "445717": "TVA OSS",
    "445718": "TVA collectée DOM",
    "445719": "TVA collectée Corse",
    "44586": "TVA sur factures non parvenues",
    "44587": "Taxes sur le chiffre d'affaires à régulariser",
    "467": "Contre-remboursement",
    "5112": "Chèques à encaisser",
    "5115": "Cartes à encaisser",
    "512": "Banque",
    "517": "Autres organismes financiers",
    "5171": "Stripe",
    "5172": "PayPal",
    "53": "Caisse",
    "580": "Virements internes",
    "607": "Achats de marchandises",
    "6087": "Frais accessoires d'achat",
    "6132": "Stockage et logistique",
    "6222": "Commissions sur ventes",
    "6226": "Honoraires",
    "6231": "Publicité",
    "6241": "Transports sur achats",
    "6242": "Transports sur ventes",
    "627": "Services bancaires",
    "658": "Charges diverses de gestion courante",
    "665": "Escomptes accordés",
    "666": "Pertes de change",
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
    "70781": "Ventes DOM avec TVA",
    "70782": "Ventes Corse",
    "7085": "Ports et frais accessoires facturés",
    "7097": "Rabais, remises et ristournes accordés",
    "758": "Produits divers de gestion courante",
    "765": "Escomptes obtenus",
    "766": "Gains de change",
}


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class SchemeAccounts(_Settings):
    """Revenue accounts of sales without the company's own VAT: goods, shipping with other charges, later rebates."""

    sales: Account
    shipping: Account
    rebate: Account | None = None


class VatAccounts(SchemeAccounts):
    """Accounts of one rate. `vat` may hold `{country}` for OSS; None: nothing is collected at this rate (0)."""

    vat: Annotated[str, StringConstraints(pattern=r"^[0-9]{3}[0-9A-Z]*(\{country\})?$")] | None = None


class MoneyAccount(_Settings):
    """Where a payment arrives: one journal per money account (sales-accounting §0).

    `posted_by` "payout": the order makes no payment entry; the settlement that lists it moves the money
    (marketplaces, sales-accounting §5).
    """

    account: Account
    journal: JournalCode
    journal_label: str
    posted_by: Literal["order", "payout"] = "order"


class _Rule(_Settings):
    """Conditions: every one that is given must hold; `country` is the place that the goods go to."""

    channel: str | None = None
    country: Country | None = None
    valid_from: date | None = None
    valid_to: date | None = None

    def covers(self, day: date) -> bool:
        """The rule holds on this day (both ends included)."""
        return (self.valid_from is None or self.valid_from <= day) and (self.valid_to is None or day <= self.valid_to)


class SalesRule(_Rule):
    """Other accounts for some sales: `account` is the revenue account, `vat` the account of the tax."""

    scheme: TaxScheme | None = None
    rate: Decimal | None = None
    charge: ChargeKind | Literal["goods"] | None = None
    account: Account | None = None
    vat: Account | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.account is None and self.vat is None:
            raise ValueError("a rule of sales names `account`, `vat` or both")
        return self


class PaymentRule(_Rule):
    """Another money account for some payments."""

    method: PaymentMethod | None = None
    source_method: str | None = None
    money: MoneyAccount


class Provider(_Settings):
    """A payment gateway or marketplace that collects for the merchant and pays out (sales-accounting §4, §5).

    Its `account` must return to zero after each payout. `clears` "orders": payments were posted there with the orders;
    "payouts": the payout itself moves what the customers owe there. `fee_vat` is what its monthly fee invoice says:
    "exempt", "domestic" (French VAT was withheld with the fees; `fee_rate` splits a fee whose VAT the statement does
    not show), "reverse_charge" (invoiced without VAT by a company of another state). Never guessed: "undeclared" parks.
    """

    account: Account
    journal: JournalCode
    journal_label: str
    clears: Literal["orders", "payouts"] = "orders"
    channel: str | None = Field(default=None, description="Whose customers it pays for, with `clears` payouts")
    bank_account: Account = "512000"
    fee_vat: Literal["undeclared", "exempt", "domestic", "reverse_charge"] = "undeclared"
    fee_rate: Decimal | None = Field(default=None, gt=0, lt=100)
    fees: dict[str, Account] = Field(default_factory=dict, description="Fee kind -> account, before the common ones")
    others: dict[str, Account] = Field(
        default_factory=dict, description="loan, loan_repayment, adjustment ... -> the account that it goes to"
    )
    tolerance: Decimal = Field(default=Decimal("0.50"), ge=0, le=10, description="Per payout")


class Till(_Settings):
    """A cash register: one entry per Z closing (sales-accounting §6)."""

    journal: JournalCode = "CA"
    journal_label: str = "Caisse"
    cash_account: Account = "530000"
    transfer_account: Account = "580000"
    tolerance: Decimal = Field(default=Decimal("0.10"), ge=0, le=10, description="Per Z")


class VatBooks(_Settings):
    """VAT accounts that do not depend on a rate."""

    deductible: Account = "445660"
    deductible_assets: Account = "445620"
    deductible_intra_eu: Account = "445662"
    deductible_import: Account = "445664"
    due_intra_eu: Account = "445200"
    due_import: Account = "445715"
    awaiting_invoice: Account = Field(default="445860", description="VAT of withheld fees, until their invoice is here")
    on_deposits: Account = "445870"


class Purchases(_Settings):
    """Supplier invoices (sales-accounting §11). `costs`: kind of cost -> account."""

    journal: JournalCode = "AC"
    journal_label: str = "Achats"
    suppliers: dict[str, Account] = Field(
        default_factory=dict, description="Supplier's code -> its account; 401 and the code when left out"
    )
    discount_account: Account = "765000"
    costs: dict[str, Account]


class Pieces(_Settings):
    """Piece numbers: `{prefix}` is the channel's, `{number}` the order's or the refund's number.

    The kind stands at the end, because programs that shorten a piece cut it on the left.
    """

    sale: str = "{prefix}{number}"
    payment: str = "{prefix}{number}R"
    credit_note: str = "{prefix}{number}A"
    refund_payment: str = "{prefix}{number}B"
    deposit: str = "{prefix}{number}D"

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        templates = [self.sale, self.payment, self.credit_note, self.refund_payment, self.deposit]
        if any("{number}" not in t for t in templates) or len(set(templates)) < len(templates):
            raise ValueError("each piece needs {number}, and no two kinds may look alike")
        return self


class ChannelSettings(_Settings):
    """What `[accounting.channels.NAME]` may say about one channel; the rest follows from its name.

    `prepayments` "deposit": what is paid before the goods leave is a deposit with its VAT (sales-accounting §7), and
    the sale is posted when they leave; `sale_per` "shipment" then makes one sale of each shipment. `posting` "day":
    one entry for each day, which is a tolerance that the accountant must have approved (`summary_approved_by`: who,
    and when).
    """

    label: str | None = None
    customer_account: Account | None = None
    customer_label: str | None = None
    piece_prefix: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9-]{0,8}$")] | None = None
    pieces: Pieces = Pieces()
    sale_date: Literal["paid", "completed", "ordered"] = "paid"
    b2b_accounts: bool = False
    prepayments: Literal["sale", "deposit"] = "sale"
    sale_per: Literal["order", "shipment"] = "order"
    posting: Literal["document", "day"] = "document"
    summary_approved_by: Annotated[str, StringConstraints(min_length=3, strip_whitespace=True)] | None = None

    @model_validator(mode="after")
    def _approved(self) -> Self:
        if self.sale_per == "shipment" and self.prepayments != "deposit":
            raise ValueError('sale_per = "shipment" needs prepayments = "deposit": what is not shipped is not sold yet')
        if self.posting == "day" and self.summary_approved_by is None:
            raise ValueError(
                'posting = "day" is a tolerance for tills; elsewhere it needs summary_approved_by = "who approved it, '
                'and when"'
            )
        return self


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
    prepayments: Literal["sale", "deposit"] = "sale"
    sale_per: Literal["order", "shipment"] = "order"
    posting: Literal["document", "day"] = "document"
    summary_approved_by: str | None = None
    country: Country
    currency: Currency
    time_zone: str = "Europe/Paris"


def default_map() -> dict[str, Any]:
    """The proposal for a French merchant, as `[accounting]` would write it."""

    def rate(n: int) -> dict[str, str]:
        return {"sales": f"707{n}00", "shipping": f"7085{n}0", "vat": f"44571{n}", "rebate": f"7097{n}0"}

    def special(digit: int, vat: str, n: int) -> dict[str, str]:
        return {
            "sales": f"7078{digit}{n}",
            "shipping": f"70858{digit}{n}",
            "vat": f"{vat}{n}",
            "rebate": f"70978{digit}{n}",
        }

    stripe = {"account": "517100", "journal": "ST", "journal_label": "Stripe"}
    paypal = {"account": "517200", "journal": "PP", "journal_label": "PayPal"}
    bank = {"account": "512000", "journal": "BQ", "journal_label": "Banque"}
    return {
        "vat": {"20": rate(1), "5.5": rate(2), "10": rate(3), "2.1": rate(4)},
        "dom_vat": {key: special(1, "445718", n) for n, key in enumerate(("8.5", "2.1", "1.75", "1.05"), 1)},
        "corsica_vat": {key: special(2, "445719", n) for n, key in enumerate(("13", "2.1", "0.9"), 1)},
        "oss": {"sales": "707500", "shipping": "708550", "vat": "445717{country}", "rebate": "709750"},
        "intra_eu": {"sales": "707600", "shipping": "708560", "rebate": "709760"},
        "export": {"sales": "707710", "shipping": "708571", "rebate": "709771"},
        "dom": {"sales": "707720", "shipping": "708572", "rebate": "709772"},
        "marketplace": {"sales": "707730", "shipping": "708573", "rebate": "709773"},
        "exempt": {"sales": "707740", "shipping": "708574", "rebate": "709774"},
        "without_vat": {"sales": "707100", "shipping": "708510", "rebate": "709710"},
        "payments": {
            "card": {"account": "511500", "journal": "CB", "journal_label": "Cartes bancaires"},
            "transfer": bank,
            "direct_debit": bank,
            "cheque": {"account": "511200", "journal": "CH", "journal_label": "Chèques"},
            "cash": {"account": "530000", "journal": "CA", "journal_label": "Caisse"},
            "cod": {"account": "467000", "journal": "CR", "journal_label": "Contre-remboursement"},
        },
        "source_methods": {"stripe": stripe, "paypal": paypal, "ppcp": paypal, "ppec_paypal": paypal},
        # Payment services are mostly invoiced exempt from VAT (sales-accounting §4); a statement that shows VAT parks.
        "providers": {"stripe": {**stripe, "fee_vat": "exempt"}, "paypal": {**paypal, "fee_vat": "exempt"}},
        "fees": {
            "payment": "627000",
            "dispute": "627000",
            "commission": "622200",
            "refund_administration": "622200",
            "subscription": "622200",
            "storage": "613200",
            "fulfilment": "624200",
            "advertising": "623100",
        },
        "purchases": {
            "costs": {
                "goods": "607000",
                "duty": "608700",
                "transport": "624100",
                "fees": "622600",
                "commission": "622200",
                "bank": "627000",
                "storage": "613200",
                "advertising": "623100",
            }
        },
    }
