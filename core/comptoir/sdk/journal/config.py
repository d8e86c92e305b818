"""Settings that every connection to an accounting program has: the folder, the profile, and the folder's own codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from comptoir.sdk.protocols import ConnectorConfig

__all__ = ["FolderTables", "JournalConfig"]

Code = Annotated[str, StringConstraints(pattern=r"^[0-9A-Z][0-9A-Z._/-]{0,99}$")]
Collective = Annotated[str, StringConstraints(pattern=r"^[0-9]{3}[0-9A-Z]{0,97}$")]
_ACCOUNT = re.compile(r"[0-9]{3}[0-9A-Z]*(/[0-9A-Z][0-9A-Z._-]*)?")


class FolderTables(ConnectorConfig):
    """What an accounting folder calls otherwise than `[accounting]`.

    `accounts`: the hub's account -> the folder's, or `COLLECTIVE/THIRD` where it keeps that account as a third party.
    `third_parties`: the hub's code -> the folder's; `ACCOUNT/CODE` names it for one collective account only.
    `collectives`: accounts that begin so and go on with letters become this collective account, and `third_party_form`
    makes the third party's code of `{rest}` or `{account}`.
    """

    accounts: dict[str, str] = Field(default_factory=dict)
    third_parties: dict[str, Code] = Field(default_factory=dict)
    journals: dict[str, str] = Field(default_factory=dict)
    sections: dict[str, Code] = Field(default_factory=dict)
    collectives: dict[Collective, Collective] = Field(default_factory=dict)
    third_party_form: str = Field(default="C{rest}", pattern=r"^[0-9A-Z]{0,8}\{(rest|account)\}$")

    @field_validator("accounts")
    @classmethod
    def _accounts(cls, value: dict[str, str]) -> dict[str, str]:
        for ours, theirs in value.items():
            if not _ACCOUNT.fullmatch(theirs):
                raise ValueError(f"accounts.{ours}: {theirs!r} is neither an account nor ACCOUNT/THIRD")
        # Two accounts under one name in the folder are a summary that nobody could take apart again.
        seen: dict[str, str] = {}
        for ours, theirs in value.items():
            other = seen.setdefault(theirs, ours)
            if other != ours:
                raise ValueError(
                    f"accounts: {other} and {ours} would both be {theirs}: nobody could tell their sums apart"
                )
        return value

    @field_validator("journals")
    @classmethod
    def _journals(cls, value: dict[str, str]) -> dict[str, str]:
        for ours, theirs in value.items():
            if not re.fullmatch(r"[A-Z0-9]{1,10}", theirs):
                raise ValueError(f"journals.{ours}: {theirs!r} is not 1 to 10 capitals or digits")
        return value


class JournalConfig(FolderTables):
    """How one accounting folder wants its entry files.

    `folder`: where files are handed over. A relative one starts at comptoir.toml and is made on first use; an absolute
    one must exist (a share that is not mounted is an error, not an empty folder). Below it stand `compta/` (the files),
    `ack/` (import reports) and our own `.comptoir/`.

    `profile`: a shipped profile, or a file of one's own beside comptoir.toml (`NAME.toml`).
    """

    folder: Path
    profile: str = Field(min_length=1)
    first_number: int = Field(default=1, ge=1, le=9_000_000, description="Of the running piece numbers of a file")
    ack_charset: str = Field(default="cp1252", pattern=r"^(cp1252|cp850|utf-8|iso8859-15)$")
    ack_max_bytes: int = Field(default=20_000_000, gt=0)
    lock_wait_seconds: float = Field(default=30.0, ge=0)
