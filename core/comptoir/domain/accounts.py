"""Which accounts a merchant's documents go to: the default French map and what `[accounting]` overrides of it."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from comptoir.domain.account_settings import (
    LABELS,
    Account,
    ChannelBooks,
    ChannelSettings,
    JournalCode,
    MoneyAccount,
    PaymentRule,
    Pieces,
    Provider,
    Purchases,
    SalesRule,
    SchemeAccounts,
    Till,
    VatAccounts,
    VatBooks,
    default_map,
)
from comptoir.model.base import Country, Currency

__all__ = [
    "AccountMap",
    "ChannelBooks",
    "ChannelSettings",
    "MoneyAccount",
    "Pieces",
    "Provider",
    "SchemeAccounts",
    "Till",
    "VatAccounts",
    "default_customer_account",
    "default_supplier_account",
]

_Rule = TypeVar("_Rule", SalesRule, PaymentRule)
#: What belongs to the installation as a whole, or to all days.
_NOT_DATED = ("changes", "channels", "locked_until", "late_documents", "corrections", "country", "currency")
_CONDITIONS = ("channel", "country", "scheme", "rate", "charge", "method", "source_method")


def default_customer_account(connection: str) -> str:
    """411 and at most seven characters of the connection's name; names that do not fit get a hash of
    themselves.
    """
    return "411" + _short(connection, 7)


def default_supplier_account(code: str) -> str:
    """401 and at most seven characters of the supplier's code, like `default_customer_account`."""
    return "401" + _short(code, 7)


def _short(name: str, length: int) -> str:
    plain = re.sub(r"[^A-Z0-9]", "", unicodedata.normalize("NFKD", name.upper()))
    if plain and len(plain) <= length and plain.casefold() == name.casefold():
        return plain
    # Another name may have the same letters: a short hash keeps two channels apart.
    digits = str(int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "big") % 100).zfill(2)
    return plain[: length - 2] + digits


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        nested = isinstance(value, Mapping) and isinstance(old, Mapping)
        merged[key] = _merge(old, value) if nested else value  # type: ignore[arg-type]
    return merged


class AccountMap(BaseModel):
    """The accounts of an installation; `AccountMap()` is the default French map.

    A configuration gives only what differs: `[accounting.vat."8.5"]` adds a rate, `[accounting.vat."20"] vat =
    "445700"` changes one account of another. `[[accounting.sales]]` and `[[accounting.payment_rules]]` hold exceptions
    by channel, country, scheme, rate, charge or payment method. `[[accounting.changes]]` is what differs from a day on:
    `valid_from` and any of these settings; `on(day)` is the map as it stands on a day.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    franchise: bool = Field(default=False, description="Franchise en base: no VAT is charged (CGI 293 B)")
    vat: dict[str, VatAccounts]
    dom_vat: dict[str, VatAccounts] = Field(description="Rates of Guadeloupe, Martinique, Réunion")
    corsica_vat: dict[str, VatAccounts] = Field(description="Rates of Corsica; others there are the mainland's")
    oss: VatAccounts
    ioss: VatAccounts | None = None
    intra_eu: SchemeAccounts
    export: SchemeAccounts
    dom: SchemeAccounts
    marketplace: SchemeAccounts
    exempt: SchemeAccounts
    without_vat: SchemeAccounts = Field(description="Revenue under franchise en base")
    sales: tuple[SalesRule, ...] = ()
    charges: dict[str, Account] = Field(default_factory=dict, description="Charge kind -> its own account")
    payments: dict[str, MoneyAccount]
    source_methods: dict[str, MoneyAccount] = Field(description="The shop's own payment method goes first")
    payment_rules: tuple[PaymentRule, ...] = ()
    providers: dict[str, Provider] = Field(description="Gateways and marketplaces by the name that payouts give")
    fees: dict[str, Account] = Field(description="Fee kind -> account")
    tills: dict[str, Till] = Field(default_factory=dict)
    purchases: Purchases
    vat_books: VatBooks = VatBooks()
    vat_boxes: dict[str, str] = Field(
        default_factory=dict, description="VAT code, or its beginning -> box of the return, before the usual ones"
    )
    gift_cards: Literal["undeclared", "single_purpose", "multi_purpose"] = "undeclared"
    gift_card_items: dict[str, Literal["single_purpose", "multi_purpose"]] = Field(
        default_factory=dict, description="SKU -> kind, where an installation sells both"
    )
    gift_card_account: Account = "419100"
    gift_card_journal: JournalCode = "BC"
    expired_gift_cards: Account | None = Field(
        default=None, description="Where expired cards go, once the accountant said how their VAT is treated"
    )
    deposit_account: Account = "419110"
    escompte_account: Account = "665000"
    rounding_loss: Account = "658000"
    rounding_gain: Account = "758000"
    exchange_loss: Account = "666000"
    exchange_gain: Account = "766000"
    tolerance: Decimal = Field(default=Decimal("0.05"), ge=0, le=1, description="Per document")
    vat_tolerance: Decimal = Field(default=Decimal("0.02"), ge=0, le=1, description="Per line and rate")
    vat_tolerance_cap: Decimal = Field(default=Decimal("0.20"), ge=0, le=10, description="Per document and rate")
    sales_journal: JournalCode = "VE"
    sales_journal_label: str = "Ventes"
    general_journal: JournalCode = "OD"
    general_journal_label: str = "Opérations diverses"
    locked_until: date | None = Field(default=None, description="Last day of the periods that the books have closed")
    late_documents: Literal["first_open_day", "today"] = Field(
        default="first_open_day", description="Where a document of a closed period is posted"
    )
    corrections: Literal["reversal", "difference"] = Field(
        default="reversal", description="What goes out when a posted entry changes: reversal and new version, or less"
    )
    labels: dict[str, str] = Field(default_factory=dict, description="Account, or its beginning -> title")
    channels: dict[str, ChannelSettings] = Field(default_factory=dict)
    changes: tuple[dict[str, Any], ...] = Field(default=(), description="What differs from `valid_from` on")
    country: Country | None = None
    currency: Currency | None = None
    _stages: tuple[tuple[date, AccountMap], ...] = PrivateAttr(default=())
    # What was looked up before: the settings never change.
    _rate_cache: dict[tuple[str, Decimal], VatAccounts] = PrivateAttr(default_factory=dict)
    _title_cache: dict[str, str] = PrivateAttr(default_factory=dict)

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)

    @model_validator(mode="before")
    @classmethod
    def _over_defaults(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        merged = _merge(default_map(), given)
        _follow_methods(merged, given)
        return merged

    @field_validator("vat", "dom_vat", "corsica_vat")
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
        served: list[MoneyAccount | Provider] = [*self.payments.values(), *self.source_methods.values()]
        served += [*(rule.money for rule in self.payment_rules), *self.providers.values()]
        for money in served:
            if journals.setdefault(money.journal, money.account) != money.account:
                raise ValueError(
                    f"the journal {money.journal} serves {journals[money.journal]} and {money.account}: "
                    "each money account has a journal of its own"
                )
        return self

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        groups: list[tuple[str, Sequence[SalesRule | PaymentRule]]] = [
            ("sales", self.sales),
            ("payment_rules", self.payment_rules),
        ]
        for name, rules in groups:
            for number, rule in enumerate(rules):
                for other in rules[:number]:
                    if _conditions(rule) == _conditions(other) and rule.valid_from == other.valid_from:
                        raise ValueError(f"two rules of {name} have the same conditions from the same day on")
        return self

    @model_validator(mode="after")
    def _staged(self) -> Self:
        if not self.changes:
            return self
        settings = self.model_dump(exclude={"changes"})
        stages: list[tuple[date, AccountMap]] = []
        for name in _NOT_DATED:
            if any(name in change for change in self.changes):
                raise ValueError(f"{name} does not change from a day on: set it outside of changes")
        dated = [(_valid_from(change), change) for change in self.changes]
        for day, change in sorted(dated, key=lambda item: item[0]):
            if stages and stages[-1][0] == day:
                raise ValueError(f"two changes are valid from {day}: make them one")
            settings = _merge(settings, {k: v for k, v in change.items() if k != "valid_from"})
            stages.append((day, AccountMap.model_validate(settings)))
        self._stages = tuple(stages)
        return self

    def on(self, day: date) -> AccountMap:
        """The map as it stands on a day."""
        found: AccountMap = self
        for first, stage in self._stages:
            if first <= day:
                found = stage
        return found

    def for_company(self, *, country: str, currency: str) -> Self:
        """The same map for a company; its channels are booked in this currency."""
        company = self.model_copy(update={"country": country, "currency": currency})
        company._stages = tuple(
            (day, stage.for_company(country=country, currency=currency)) for day, stage in self._stages
        )
        return company

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
            prepayments=given.prepayments,
            sale_per=given.sale_per,
            posting=given.posting,
            summary_approved_by=given.summary_approved_by,
            country=self.country,
            currency=self.currency,
        )

    def rate(self, rate: Decimal, territory: Literal["mainland", "dom", "corsica"] = "mainland") -> VatAccounts | None:
        """The accounts of a domestic rate, None when the map has no such rate.

        A rate that the overseas departments or Corsica do not have of their own is the mainland's.
        """
        found = self._rate_cache.get((territory, rate))
        if found is None:
            own = {"mainland": {}, "dom": self.dom_vat, "corsica": self.corsica_vat}[territory]
            for group in (own, self.vat):
                found = next((accounts for key, accounts in group.items() if Decimal(key) == rate), None)
                if found is not None:
                    self._rate_cache[territory, rate] = found
                    break
        return found

    def sales_rule(self, day: date, **facts: Any) -> SalesRule | None:
        """The exception for a sale with these facts (channel, country, scheme, rate, charge), if there is one."""
        return _best(self.sales, day, facts)

    def money(
        self,
        method: str,
        source_method: str | None,
        *,
        channel: str | None = None,
        country: str | None = None,
        day: date | None = None,
    ) -> MoneyAccount | None:
        """Where a payment arrives: by a rule, by the shop's own method (`stripe` also serves `stripe_sepa`), else by
        the neutral one.
        """
        facts = {"channel": channel, "country": country, "method": method, "source_method": source_method}
        rule = _best(self.payment_rules, day or date.min, facts) if self.payment_rules else None
        if rule is not None:
            return rule.money
        if source_method:
            known = [
                key
                for key in self.source_methods
                if source_method == key or source_method.startswith((f"{key}_", f"{key}-"))
            ]
            if known:
                return self.source_methods[max(known, key=len)]
        return self.payments.get(method)

    def gift_card_kind(self, sku: str | None) -> str:
        """Single- or multi-purpose, by the item sold; "undeclared" when nobody said it."""
        return self.gift_card_items.get(sku or "", self.gift_cards)

    def label(self, account: str) -> str:
        """The account's title: its own, else that of the longest beginning that has one."""
        known = self._title_cache.get(account)
        if known is None:
            known = self._title_cache[account] = self._title(account)
        return known

    def _title(self, account: str) -> str:
        for length in range(len(account), 1, -1):
            found = self.labels.get(account[:length]) or LABELS.get(account[:length])
            if found:
                return f"{found} {account[6:]}" if account.startswith("445717") and length == 6 else found
        return account


def _follow_methods(merged: dict[str, Any], given: Mapping[str, Any]) -> None:
    """A gateway of the proposal pays out from where its payments go, unless the merchant says where."""
    methods, own, providers = given.get("source_methods"), given.get("providers", {}), merged["providers"]
    if not (isinstance(methods, Mapping) and isinstance(own, Mapping) and isinstance(providers, Mapping)):
        return
    moved = {
        name: {**provider, **{key: value for key, value in methods[name].items() if key != "posted_by"}}
        for name, provider in providers.items()
        if name not in own and isinstance(methods.get(name), Mapping)
    }
    merged["providers"] = {**providers, **moved}


def _valid_from(change: Mapping[str, Any]) -> date:
    day = change.get("valid_from")
    if isinstance(day, str):
        return date.fromisoformat(day)
    if type(day) is not date:
        raise ValueError("each of the changes needs valid_from, a day such as 2027-01-01")
    return day


def _conditions(rule: SalesRule | PaymentRule) -> tuple[tuple[str, Any], ...]:
    given = ((name, getattr(rule, name, None)) for name in _CONDITIONS)
    return tuple((name, value) for name, value in given if value is not None)


def _best(rules: Iterable[_Rule], day: date, facts: Mapping[str, Any]) -> _Rule | None:
    """The rule whose conditions all hold: the one with most conditions, then the newest, then the first."""
    holding = [
        rule
        for rule in rules
        if rule.covers(day) and all(facts.get(name) == value for name, value in _conditions(rule))
    ]
    if not holding:
        return None
    return max(holding, key=lambda rule: (len(_conditions(rule)), rule.valid_from or date.min))
