"""What a connector's author writes for the conformance suite: how to play the remote's user, nothing more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from comptoir.sdk import (
    Change,
    Company,
    Connector,
    ConnectorConfig,
    Credentials,
    EntityName,
    HttpRequest,
    Transport,
    WebhookRequest,
)
from comptoir.testing.fakes import FakeClock

__all__ = ["ConnectorKit", "FileKit", "NewRecord"]


@dataclass(frozen=True, slots=True)
class NewRecord:
    """A record to be written: the key by which the target can be asked for it, and what goes there (the form that the
    connector's `out` mapping gives)."""

    natural_key: str
    payload: Mapping[str, Any]


class ConnectorKit:
    """One remote with its user, made anew for each test: subclass it for a connector.

    `start` makes the remote (a sandbox) and keeps it in `self`; the methods after it act on the remote directly, never
    through the connector. Time is `self.clock`, which moves when it is told to. `self.folder` is empty and the tests'
    own. A method that the manifest makes necessary and that is not written fails the rule K00.
    """

    #: The class under test.
    connector: ClassVar[type[Connector]]
    #: How many records the connector reads at once: tests make a little more than two pages of them.
    page_rows: ClassVar[int] = 100
    #: Rule (`K38`), or rule and entity (`K38 order`) -> why it cannot hold for this connector. The suite skips it and
    #: says the reason.
    exempt: ClassVar[Mapping[str, str]] = {}
    #: `entity.path.to.field` (`*` for any place in a list) -> why a float may stand there in what is read.
    floats: ClassVar[Mapping[str, str]] = {}
    #: Field that is written -> further fields of the remote's record that follow from it (a stock state, a date).
    follows: ClassVar[Mapping[str, Sequence[str]]] = {}
    #: The header that carries a webhook's signature.
    signature_header: ClassVar[str] = ""

    def __init__(self, clock: FakeClock, folder: Path) -> None:
        self.clock = clock
        self.folder = folder

    # --- the connection ---------------------------------------------------------------------------------------

    def start(self) -> None:
        """Makes the remote: reachable, with no or few records."""
        raise NotImplementedError

    def transport(self) -> Transport | None:
        """The way to the remote without sockets. None for a connector of files: then any request is a failure."""
        raise NotImplementedError

    def config(self) -> ConnectorConfig:
        """The connection's settings."""
        return self.connector.config_model()

    def credentials(self) -> Credentials:
        """Right ones. Their password, login and the texts in `extra` must never be shown."""
        return Credentials()

    def company(self) -> Company:
        """The merchant."""
        return Company(name="Maison Exemple", country="FR", currency="EUR")

    def secrets(self) -> Sequence[str]:
        """Further values that must never be shown: tokens made of the credentials, session keys."""
        return ()

    def is_write(self, request: HttpRequest) -> bool:
        """Whether a request changes something at the remote. Override it where reads are sent by POST (GraphQL)."""
        return request.method not in ("GET", "HEAD", "OPTIONS")

    # --- what a user does at the remote -----------------------------------------------------------------------

    def create(self, entity: EntityName) -> str:
        """A user makes a record; the id by which `pull` gives it."""
        raise NotImplementedError

    def create_many(self, entity: EntityName, count: int) -> None:
        """So many records more. Override it where the remote has a quicker way."""
        for _ in range(count):
            self.create(entity)

    def edit(self, entity: EntityName, external_id: str) -> None:
        """A user changes something of the record that the hub must come to know."""
        raise NotImplementedError

    def delete(self, entity: EntityName, external_id: str) -> None:
        """A user deletes the record for good."""
        raise NotImplementedError

    def ids(self, entity: EntityName) -> set[str]:
        """The ids of all records that a full `pull` must give at this moment."""
        raise NotImplementedError

    def read(self, entity: EntityName, external_id: str) -> Mapping[str, Any] | None:
        """The whole record as the remote has it, None when it has none."""
        raise NotImplementedError

    # --- what the hub writes ----------------------------------------------------------------------------------

    def record(self, entity: EntityName, n: int, over: Mapping[str, Any]) -> NewRecord | None:
        """The n-th record for `push`; different `n`, different natural keys.

        `over` asks for certain values: a name of the manifest's `limits.lengths` -> a text (where the field has a
        form, an e-mail address or a code, another one of the same length); `text` -> free text, in any field that
        takes some; `amount`, `quantity` -> a Decimal; `currency` -> a code. None when records of this entity have no
        such thing. With other keys than these the suite does not come.
        """
        raise NotImplementedError

    def refused(self, entity: EntityName) -> NewRecord:
        """A record that the remote understands and refuses (not one that the connector itself sees to be wrong, where
        the remote refuses any at all)."""
        raise NotImplementedError

    def stored(self, entity: EntityName, natural_key: str) -> Sequence[Mapping[str, Any]]:
        """Each object that the remote has under this key: two when there are two.

        Under the names of `over` (those that `record` takes) its values as the remote holds them, and `id`. A text
        that the remote keeps in several lines is a list.
        """
        raise NotImplementedError

    def change(self, entity: EntityName, n: int, over: Mapping[str, Any]) -> Change | None:
        """A change to the n-th record of some that are made when they are needed; `over` as in `record`.

        It sets every field that the manifest says can be published, unless `over` asks for one thing only.
        """
        raise NotImplementedError

    def refused_change(self, entity: EntityName) -> Change:
        """A change that the remote understands and refuses, of a record that exists."""
        raise NotImplementedError

    def shown(self, entity: EntityName, external_id: str, what: str) -> Any:
        """What the remote has of a changed record under one name of `over`: `shown(STOCK, "12", "quantity")`."""
        raise NotImplementedError

    # --- webhooks and reports ---------------------------------------------------------------------------------

    def webhook(self, entity: EntityName, external_id: str) -> WebhookRequest:
        """What the remote sends when this record was changed, rightly signed."""
        raise NotImplementedError

    def signed(self, body: bytes, like: WebhookRequest) -> WebhookRequest:
        """The same webhook with another body, rightly signed."""
        raise NotImplementedError

    def webhook_address(self) -> str:
        """Where the hub would listen."""
        return "https://hub.example/webhooks/kit"

    def answer(self, entity: EntityName, natural_key: str, reason: str | None) -> None:
        """The remote's later word about a written record: taken, or refused for a reason."""
        raise NotImplementedError


class FileKit(ConnectorKit):
    """A kit for a connector of files: the suite damages what the remote has exported."""

    #: Between the columns of an export.
    delimiter: ClassVar[str] = ";"
    #: Of exports, where they are written otherwise than what the program takes (`limits.charset`).
    charset: ClassVar[str] = ""

    def transport(self) -> Transport | None:
        """None: such a connector sends nothing."""
        return None

    def exported(self, entity: EntityName) -> Path:
        """The newest export in which `pull` finds the records of this entity; it exists and is complete."""
        raise NotImplementedError

    def key_column(self, entity: EntityName) -> str:
        """The caption of the column without which no record can be told from another."""
        raise NotImplementedError

    def unplug(self) -> None:
        """The folder is gone: a share that is not mounted any more."""
        raise NotImplementedError
