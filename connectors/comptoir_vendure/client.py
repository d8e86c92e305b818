"""GraphQL of a Vendure shop: the session, and which error means what.

Vendure answers nearly everything with status 200; what happened stands in `errors[].extensions.code`.

| what the shop says | error |
|---|---|
| `FORBIDDEN` with a session that was good before | a new login, and the request again: nothing was done yet |
| `FORBIDDEN` right after a login | `AuthError`: a right is missing in the account's role |
| a login that is refused | `AuthError` in the shop's words |
| a login without a token in the answer | `ConfigError`: the shop keeps sessions in cookies only |
| `CHANNEL_NOT_FOUND` | `ConfigError`: the setting `channel` |
| `GRAPHQL_VALIDATION_FAILED`, `BAD_USER_INPUT`, `USER_INPUT_ERROR` to a read | `ConfigError`: no such field or bound |
| the same, and `ENTITY_NOT_FOUND`, to a write | `RecordRejected` |
| any other error to a read | `TransientError` |
| any other error to a write | `RecordRejected`: a mutation of Vendure is one transaction, it was rolled back |
| 404 | `ConfigError`: no Admin API at that address |
| no GraphQL answer at all | to a read `ContractViolation`, to a write `OutcomeUnknown` |
| anything else | as in `comptoir.sdk.http` |
"""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from comptoir.sdk import (
    AuthError,
    ComptoirError,
    ConfigError,
    ConnectorContext,
    ContractViolation,
    HttpClient,
    OutcomeUnknown,
    RecordRejected,
    TransientError,
)
from comptoir_vendure import queries
from comptoir_vendure.config import VendureConfig, shop_access

__all__ = ["VendureClient", "server_time"]

_FORBIDDEN = frozenset(("FORBIDDEN", "UNAUTHENTICATED"))
_MISUSED = frozenset(("GRAPHQL_VALIDATION_FAILED", "GRAPHQL_PARSE_FAILED", "BAD_USER_INPUT", "USER_INPUT_ERROR"))
Signer = Callable[[str, str, Mapping[str, str]], tuple[str, Mapping[str, str]]]


def server_time(headers: Mapping[str, str]) -> datetime | None:
    """The moment in a Date header; None when there is none that can be read."""
    try:
        moment = email.utils.parsedate_to_datetime(headers.get("date", ""))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _signer(extra: Mapping[str, str]) -> Signer:
    """Adds these headers to each request."""

    def sign(method: str, url: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        return url, {**headers, **extra}

    return sign


@dataclass(frozen=True, slots=True)
class _Refusal:
    """The first error of an answer."""

    code: str
    words: str


class VendureClient:
    """Queries and mutations of one shop. May be used by several threads at once."""

    def __init__(self, config: VendureConfig, ctx: ConnectorContext) -> None:
        self.access = shop_access(ctx.credentials, ctx.connection)
        self._url = self.access.url + config.api_path
        self._config = config
        self._ctx = ctx
        self._session: HttpClient | None = None

    def ask(self, query: str, variables: Mapping[str, Any]) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """The data of a query and the answer's headers; repeated by `ctx.http` when the way to the shop fails."""
        body = {"query": query, "variables": variables}
        answer, headers = self._as_somebody(lambda http: http.ask_json(self._url, body))
        return self._data(answer, writes=False), headers

    def change(self, query: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """The data of a mutation, which is sent once. OutcomeUnknown when it may have been carried out.

        RecordRejected when the shop refused it, all of it; `remote` holds Vendure's code.
        """
        body = {"query": query, "variables": variables}
        answer, _ = self._as_somebody(lambda http: http.send_json("POST", self._url, body))
        return self._data(answer, writes=True)

    # --- session ----------------------------------------------------------------------------------------------

    def _as_somebody(
        self, send: Callable[[HttpClient], tuple[Any, Mapping[str, str]]]
    ) -> tuple[Any, Mapping[str, str]]:
        """The answer with a valid session: one that has ended is opened again, once."""
        session = self._session
        if session is not None:
            answer, headers = self._translated(lambda: send(session))
            refusal = _refusal(answer)
            if refusal is None or refusal.code not in _FORBIDDEN or self.access.api_key:
                return answer, headers
            self._ctx.logger.info("%s: the session has ended; logging in again", self._ctx.connection)
        fresh = self._session = self._open()
        return self._translated(lambda: send(fresh))

    def _open(self) -> HttpClient:
        """A client that is known to the shop: by an API key, or by the token of a login."""
        headers = {"vendure-token": self._config.channel} if self._config.channel else {}
        secrets = (self.access.login, self.access.password, self.access.api_key)
        if self.access.api_key:
            signer = _signer({**headers, "vendure-api-key": self.access.api_key})
            return self._ctx.http.with_signing(signer, secrets=secrets, timeout=self._config.timeout)
        http = self._ctx.http.with_signing(_signer(headers), secrets=secrets, timeout=self._config.timeout)
        variables = {"username": self.access.login, "password": self.access.password}
        # A login that is repeated because its answer was lost leaves a second session behind, which ends by itself.
        answer, answered = self._translated(
            lambda: http.ask_json(self._url, {"query": queries.LOGIN, "variables": variables})
        )
        result = self._data(answer, writes=False).get("login")
        if not isinstance(result, dict) or result.get("__typename") != "CurrentUser":
            words = result.get("message") if isinstance(result, dict) else None
            raise AuthError(
                f"{self._ctx.connection}: the shop refused the login: {str(words or 'it gave no reason')[:300]}",
                hint="Check login and password of the connection, and that the administrator exists and is verified.",
                connection=self._ctx.connection,
                code="login_refused",
            )
        token = answered.get("vendure-auth-token", "")
        if not token:
            raise ConfigError(
                f"{self._ctx.connection}: the shop gave no token for the login",
                hint="It keeps sessions in cookies only: add 'bearer' to authOptions.tokenMethod of the shop, or use "
                "an API key.",
                connection=self._ctx.connection,
                code="no_token",
            )
        bearer = _signer({**headers, "Authorization": f"Bearer {token}"})
        return self._ctx.http.with_signing(bearer, secrets=(*secrets, token), timeout=self._config.timeout)

    # --- answers ----------------------------------------------------------------------------------------------

    def _translated(self, call: Callable[[], tuple[Any, Mapping[str, str]]]) -> tuple[Any, Mapping[str, str]]:
        """The answer, also of a refusal by status 400, which is how Vendure answers a query that it cannot read."""
        try:
            return call()
        except RecordRejected as error:
            status, code = error.remote.get("status"), error.remote.get("code", "")
            if status == "400" and code in _MISUSED:
                return {"errors": [{"message": error.message, "extensions": {"code": code}}]}, {}
            if status == "404":
                raise ConfigError(
                    error.message,
                    hint="There is no Admin API at that address: check the host and the setting `api_path`.",
                    connection=error.connection,
                    code="no_api",
                ) from None
            raise

    def _data(self, answer: Any, *, writes: bool) -> Mapping[str, Any]:
        refusal = _refusal(answer)
        if refusal is not None:
            raise self._error(refusal, writes=writes)
        data = answer.get("data") if isinstance(answer, dict) else None
        if not isinstance(data, dict):
            unfit: type[ComptoirError] = OutcomeUnknown if writes else ContractViolation
            raise unfit(
                f"{self._ctx.connection}: {self._url} gave JSON that is no answer of GraphQL",
                hint="A proxy or another program answers at that address; look at it in a browser.",
                connection=self._ctx.connection,
                code="no_graphql",
            )
        return data

    def _error(self, refusal: _Refusal, *, writes: bool) -> ComptoirError:
        who = self._ctx.connection
        said = f"{who}: the shop says: {refusal.words}"
        found: ComptoirError
        if refusal.code in _FORBIDDEN:
            found = AuthError(
                said,
                hint="The account may not do this. Its role needs ReadOrder, ReadCustomer, ReadCatalog and "
                "ReadStockLocation to read, UpdateCatalog to publish; or the API key was withdrawn.",
                connection=who,
                code="forbidden",
            )
        elif refusal.code == "CHANNEL_NOT_FOUND":
            hint = "The setting `channel` must be the token of a channel (Settings > Channels)."
            found = ConfigError(said, hint=hint, connection=who, field="channel")
        elif writes:
            found = RecordRejected(said, connection=who, code=refusal.code.lower() or "refused")
        elif refusal.code in _MISUSED:
            found = ConfigError(
                said,
                hint="The shop does not know what was asked for: a custom field that it does not have (`gtin_field`, "
                "`vat_field`), more rows than it gives (`page_rows`), or a version other than 3.7.",
                connection=who,
                code=refusal.code.lower(),
            )
        else:
            found = TransientError(said, connection=who, code=refusal.code.lower() or "shop_failed")
        found.remote = {"code": refusal.code}
        return found


def _refusal(answer: Any) -> _Refusal | None:
    """The first error of a GraphQL answer: also beside data, where it means that a part of them is missing."""
    errors = answer.get("errors") if isinstance(answer, dict) else None
    if not isinstance(errors, list) or not errors:
        return None
    first = errors[0] if isinstance(errors[0], dict) else {}
    extensions = first.get("extensions")
    code = extensions.get("code") if isinstance(extensions, dict) else None
    return _Refusal(str(code or "")[:100], str(first.get("message") or "an error without words")[:300])
