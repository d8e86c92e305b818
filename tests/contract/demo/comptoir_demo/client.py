"""HTTP of the demo shop: a token in a header."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

from comptoir.sdk import ConfigError, ConnectorContext, ContractViolation, OutcomeUnknown, RecordRejected

__all__ = ["DemoClient"]

Row = Mapping[str, Any]


class DemoClient:
    """Lists, single records and batches of one shop."""

    def __init__(self, ctx: ConnectorContext) -> None:
        self._connection = ctx.connection
        for part in ("host", "password"):
            if not getattr(ctx.credentials, part):
                raise ConfigError(
                    f"{ctx.connection}: the connection has no {part}",
                    hint="Give the shop's address as host and its token as password.",
                    connection=ctx.connection,
                    field=part,
                )
        self._api = f"{ctx.credentials.host}/api"
        token = ctx.credentials.password

        def sign(method: str, url: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
            return url, {**headers, "X-Token": token}

        self._http = ctx.http.with_signing(sign, secrets=(token,))

    def page(self, what: str, params: Mapping[str, str]) -> tuple[list[Row], int, Mapping[str, str]]:
        """Rows, how many there are from here on, and the answer's headers."""
        body, headers = self._http.get_json(f"{self._api}/{what}?{urlencode(params)}")
        rows, total = (body.get("rows"), body.get("total")) if isinstance(body, dict) else (None, None)
        if not isinstance(rows, list) or not isinstance(total, int) or not all(map(_has_id, rows)):
            raise self._strange(what)
        return rows, total, headers

    def one(self, what: str, number: str) -> Row | None:
        """One record; None when there is none."""
        if not (number.isascii() and number.isdigit()):
            return None
        try:
            body, _ = self._http.get_json(f"{self._api}/{what}/{quote(number, safe='')}")
        except RecordRejected as error:
            if error.remote.get("status") == "404":
                return None
            raise
        if not _has_id(body) or str(body["id"]) != number:
            raise self._strange(what)
        found: Row = body
        return found

    def get(self, path: str) -> Any:
        """Any other resource."""
        return self._http.get_json(f"{self._api}/{path}")[0]

    def send(self, method: str, what: str, rows: Sequence[Row]) -> list[Row]:
        """The answered element of each row, in their order."""
        body, _ = self._http.send_json(method, f"{self._api}/{what}", {"rows": list(rows)})
        answers = body.get("rows") if isinstance(body, dict) else None
        if not isinstance(answers, list) or len(answers) != len(rows) or not all(isinstance(a, dict) for a in answers):
            raise OutcomeUnknown(
                f"{self._connection}: the answer to {method} {what} does not fit what was sent",
                connection=self._connection,
            )
        return answers

    def _strange(self, what: str) -> ContractViolation:
        return ContractViolation(
            f"{self._connection}: {what}: the shop's answer has another shape than a list of records",
            connection=self._connection,
        )


def _has_id(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), int) and not isinstance(row["id"], bool)
