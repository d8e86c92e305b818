"""`[files]` of a description: which files hold which records, and how they are written."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from comptoir.model.refs import EntityName
from comptoir.sdk.files import wrong_name

__all__ = ["FileEntity", "FilesTable", "Numbers"]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


def _charset(name: str) -> str:
    try:
        "a".encode(name)
    except (LookupError, UnicodeError):
        raise ValueError("unknown charset; for instance utf-8, cp1252, iso-8859-15") from None
    if "a".encode(name)[:1] not in (b"a", b"\xff", b"\xfe"):
        raise ValueError("not a charset for text files; for instance utf-8, cp1252, iso-8859-15")
    return name


def _pattern(text: str) -> str:
    """A pattern of a file's name in one folder."""
    if wrong_name(text.replace("*", "x").replace("?", "x").replace("[", "x").replace("]", "x")) is not None:
        raise ValueError("expected the pattern of a name such as stock_*.csv, without a folder")
    return text


def _folder(text: str) -> str:
    if text and any(wrong_name(part) is not None for part in text.split("/")):
        raise ValueError("expected a folder below the connection's, such as out or out/stock")
    return text


Charset = Annotated[str, AfterValidator(_charset)]
Folder = Annotated[str, AfterValidator(_folder)]
Caption = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]


class Numbers(_Closed):
    """Columns that hold numbers as people write them; they become exact decimals with a point."""

    columns: tuple[Caption, ...] = Field(min_length=1)
    decimal: Literal[",", "."] = ","
    thousands: Literal["", " ", ".", ",", "'"] = Field(
        default="", description="Between thousands; a space stands for every kind of space"
    )

    @model_validator(mode="after")
    def _two_signs(self) -> Self:
        if self.decimal == self.thousands:
            raise ValueError("`decimal` and `thousands` are the same sign")
        return self


class Dates(_Closed):
    """Columns that hold days; they become YYYY-MM-DD."""

    columns: tuple[Caption, ...] = Field(min_length=1)
    format: Literal["DD/MM/YYYY", "YYYY-MM-DD", "DD.MM.YYYY", "YYYYMMDD", "DD/MM/YY"] = "DD/MM/YYYY"


class FileEntity(_Closed):
    """The files of one entity.

    `snapshot`: `newest` = each file holds everything, so only the newest is read; `each` = every file is news, all are
    read, oldest first.
    """

    pattern: Annotated[str, AfterValidator(_pattern)] = Field(description="Of the files' names: * and ?")
    key: tuple[Caption, ...] = Field(min_length=1, description="The columns or fields that tell a record from others")
    snapshot: Literal["newest", "each"] = "newest"
    columns: tuple[Caption, ...] = Field(default=(), description="Names of the columns of a CSV file without header")
    required: tuple[Caption, ...] = Field(default=(), description="Columns without which a file is refused")
    lines: Caption | None = Field(
        default=None, description="Rows with the same key are one record; they stand in a list of this name"
    )
    records: str = Field(
        default="", description="JSON: where the list stands; XML: the path of the element that is a record"
    )
    lists: tuple[Caption, ...] = Field(default=(), description="XML: elements that may stand several times")
    numbers: Numbers | None = None
    dates: Dates | None = None

    @field_validator("key", "required", mode="before")
    @classmethod
    def _several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _columns_known(self) -> Self:
        if self.columns and len(set(self.columns)) != len(self.columns):
            raise ValueError("`columns` names one column twice")
        if self.columns:
            for name in (*self.key, *self.required):
                if name not in self.columns:
                    raise ValueError(f"{name!r} is not among `columns`")
        if self.lines and self.lines in self.columns:
            raise ValueError(f"`lines` = {self.lines!r} is the name of a column")
        return self


class FilesTable(_Closed):
    """`[files]`: a system that puts files into a folder, or on a server."""

    format: Literal["csv", "json", "jsonl", "xml"]
    folder: Folder = Field(default="", description="Below the connection's folder")
    charset: Charset = Field(default="utf-8", description="A byte order mark in a file is stronger")
    fallback_charset: Charset | None = Field(
        default=None, description='Of files that are no UTF-8; with charset = "utf-8" only'
    )
    delimiter: Literal[";", ",", "\t", "|"] = ";"
    final_newline: Literal["required", "optional"] = Field(
        default="required", description="A CSV file that does not end with a line break is taken for cut"
    )
    ready: Literal["settled", "marker"] = Field(
        default="settled", description="Read when it has stopped growing, or when its marker file is there"
    )
    marker: Annotated[str, StringConstraints(pattern=r"^\.[A-Za-z0-9]{1,10}$")] = ".ok"
    settle_seconds: float = Field(default=5.0, ge=0, le=600)
    after: Literal["archive", "keep"] = Field(
        default="archive", description="What becomes of a file that was read; `keep` needs no right to write"
    )
    archive: Folder = "done"
    reject: Folder = "rejected"
    compression: Literal["none", "auto"] = Field(default="none", description="auto: .gz, and .zip with one file in it")
    bad_rows: float = Field(default=0.05, ge=0, le=1, description="A file with a larger share of bad rows is refused")
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=1024, le=512 * 1024 * 1024)
    max_rows: int = Field(default=1_000_000, ge=1, le=5_000_000)
    entities: dict[EntityName, FileEntity] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.fallback_charset and self.charset.lower().replace("-", "") != "utf8":
            raise ValueError('`fallback_charset` belongs to charset = "utf-8": any bytes are text in another one')
        if self.after == "archive" and len({e.pattern for e in self.entities.values()}) < len(self.entities):
            raise ValueError('two entities read the same files: one would take them from the other; set after = "keep"')
        if len({self.folder, self.archive, self.reject}) < 3 or not self.archive or not self.reject:
            raise ValueError("`folder`, `archive` and `reject` are three different folders")
        for entity in self.entities.values():
            self._check(entity)
        return self

    def _check(self, entity: FileEntity) -> None:
        csv = self.format == "csv"
        if not csv and (entity.columns or entity.lines):
            raise ValueError(f'`columns` and `lines` belong to format = "csv", this is {self.format}')
        if entity.records and self.format not in ("json", "xml"):
            raise ValueError(f'`records` belongs to format = "json" and "xml", this is {self.format}')
        if self.format == "xml" and not entity.records:
            raise ValueError("`records` is missing: the path of the element that is a record, such as catalogue/item")
        if entity.lists and self.format != "xml":
            raise ValueError(f'`lists` belongs to format = "xml", this is {self.format}')
