"""Settings of an EBP connection: `[connections.NAME]` in comptoir.toml."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from comptoir.sdk.journal.config import FolderTables
from comptoir.sdk.lists.config import checked_captions

__all__ = ["DefaultCustomer", "EbpConfig"]

ItemCode = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=r'^[^;"=+\-@\s][^;"]*$')]
Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,30}$")]


class DefaultCustomer(BaseModel):
    """Who buys when an order names nobody or has no address: a customer card that exists in the folder."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    code: str = Field(pattern=r"^[A-Z0-9]{1,20}$")
    name: str = Field(min_length=1, max_length=60)
    address: str = Field(min_length=1, max_length=40)
    postcode: str = Field(min_length=1, max_length=10)
    city: str = Field(min_length=1, max_length=35)
    country: str = Field(pattern=r"^[A-Z]{2}$")


class EbpConfig(FolderTables):
    """How this EBP folder wants its files.

    `folder`: where files are handed over. A relative one starts at comptoir.toml and is made on first use; an absolute
    one must exist (a share that is not mounted is an error, not an empty folder). Below it stand `import/` (orders,
    credit notes, customers), `compta/` (entries), `ack/` (what EBP or the operator reports back), `export/` (what EBP
    gives of items, stock and customers) and our own `.comptoir/`.
    """

    folder: Path
    charset: str = "cp1252"

    # Documents (gescom-interfaces §2.3)
    document_prefix: str = Field(default="", description="Before the shop's order number; {CHANNEL} is the connection")
    credit_note_prefix: str = Field(default="AV", description="Before the refund's number")
    default_item: ItemCode | None = Field(default="DIVERS", description="For lines without SKU; none: refused")
    shipping_as: Annotated[str, StringConstraints(pattern="^(header|item)$")] = "header"
    shipping_item: ItemCode = "PORT"
    fee_item: ItemCode = "FRAIS"
    charge_items: dict[Word, ItemCode] = Field(default_factory=dict, description="Charge kind -> item code")
    rounding_item: ItemCode = "ARRONDI"
    max_rounding: Decimal = Field(default=Decimal("0.05"), ge=0, le=1)
    price_decimals: int = Field(default=4, ge=2, le=8)
    payment_modes: dict[str, str] = Field(
        default_factory=lambda: {
            "card": "CB",
            "transfer": "VIR",
            "cheque": "CHQ",
            "cash": "ESP",
            "direct_debit": "PRLV",
        },
        description="The shop's method, else the neutral word -> EBP's settlement code (at most 6 characters)",
    )
    territorialities: dict[Word, str] = Field(
        default_factory=dict,
        description="oss, ioss, intra_eu, export -> EBP's Territorialité; unset: such orders are refused",
    )
    columns: tuple[str, ...] = Field(default=(), description="Captions of the order file; empty: all that we know")

    # Customers
    customer_prefix: str | None = Field(default=None, pattern=r"^[A-Z0-9]{0,7}[A-Z]$")
    default_customer: DefaultCustomer | None = None

    # Entries (accounting-files §6)
    with_auto_label: bool = True
    account_length: int = Field(default=10, ge=3, le=15)
    piece_length: int = Field(default=10, ge=4, le=35)
    entry_label_length: int = Field(default=40, ge=10, le=60)
    accounts_file: bool = True
    entry_dates: Literal["JJMMAAAA", "JJMMAA"] = Field(default="JJMMAAAA", description="JJMMAA for EBP 3")
    analytic_lines: bool = Field(default=True, description="Sections below their line; False: they are left out")

    # Names of the import entities in the user's parametrizable formats (credit note: unconfirmed)
    order_entity: Word = "SaleOrders"
    credit_note_entity: Word = "SaleCreditNotes"
    customer_entity: Word = "Customers"

    # Lists (gescom-interfaces §2.2): what EBP says of items, stock and customers
    read_by: Literal["files", "sql"] = Field(default="files", description="Exports, or the database (reading-sql.md)")
    export_folder: Path = Field(default=Path("export"), description="Where EBP's exports are; relative: below `folder`")
    captions: dict[Literal["item", "stock", "customer"], dict[str, str]] = Field(
        default_factory=dict, description="Field -> the caption of its column in this folder's export format"
    )
    item_identity: str | None = Field(
        default=None, min_length=1, description="Caption of a column that stays when an item's code changes"
    )
    customer_identity: str | None = Field(default=None, min_length=1, description="The same for customers")
    reserved_from: Literal["booked", "ordered", "virtual", "none"] = Field(
        default="booked", description="BookedQuantity, OrderedQuantity, RealStock less VirtualStock, or nothing"
    )
    decimal_sign: Literal[",", "."] = ","
    weight_unit: Literal["kg", "g"] = "kg"
    service_families: tuple[str, ...] = Field(default=(), description="Codes of families of services")
    quiet_seconds: float = Field(default=3.0, ge=0, le=600, description="So long an export must have stayed the same")
    max_file_bytes: int = Field(default=512_000_000, gt=0)

    # Reports
    ack_max_bytes: int = Field(default=20_000_000, gt=0)
    lock_wait_seconds: float = Field(default=30.0, ge=0)

    def check_sources(self, sources: Sequence[str]) -> None:
        """Two shops may both have an order 1001: with several, their documents need the channel in the number."""
        if len(sources) > 1 and not all("{CHANNEL}" in p for p in (self.document_prefix, self.credit_note_prefix)):
            raise ValueError(
                f"{', '.join(sources)} may use the same order numbers; set document_prefix = "
                '"{CHANNEL}-" and credit_note_prefix = "{CHANNEL}-AV"'
            )

    @field_validator("charset")
    @classmethod
    def _known_charset(cls, value: str) -> str:
        try:
            "é".encode(value)
        except (LookupError, UnicodeEncodeError):
            raise ValueError(f"unknown or unsuitable charset {value!r}; EBP reads cp1252") from None
        if value.lower().replace("-", "").startswith(("utf16", "utf32")):
            raise ValueError("EBP reads single-byte text; use cp1252")
        return value

    @field_validator("export_folder")
    @classmethod
    def _folder_of_its_own(cls, value: Path) -> Path:
        if value.parts[:1] in ((), ("import",), ("compta",), ("ack",), (".comptoir",)):
            raise ValueError(f"{str(value)!r} is used for something else; exports need a folder of their own")
        return value

    @field_validator("captions")
    @classmethod
    def _known_fields(cls, value: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        from comptoir_ebp.captions import LAYOUTS

        checked_captions(value, LAYOUTS)
        return value

    @field_validator("payment_modes")
    @classmethod
    def _short_modes(cls, value: dict[str, str]) -> dict[str, str]:
        for method, code in value.items():
            if not code.isascii() or not code.isalnum() or len(code) > 6:
                raise ValueError(f"payment_modes.{method}: {code!r} is no code of 1 to 6 letters or digits")
        return value

    @model_validator(mode="after")
    def _known_columns(self) -> Self:
        from comptoir_ebp.documents import CAPTIONS, MANDATORY  # the captions live with the writer

        unknown = [c for c in self.columns if c not in CAPTIONS]
        if unknown:
            raise ValueError(f"columns: unknown caption {unknown[0]!r}")
        missing = [c for c in MANDATORY if self.columns and c not in self.columns]
        if missing:
            raise ValueError(f"columns: {missing[0]!r} is needed by EBP's import")
        return self
