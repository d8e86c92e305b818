"""Reads single records of a shop again, by their ids: a hundred a request, and one by one what a list does not give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from comptoir.sdk import ContractViolation
from comptoir_woocommerce.client import WooCommerceClient
from comptoir_woocommerce.paging import PAGE_ROWS, ListReader

__all__ = ["Fetcher", "record_numbers"]

Record = Mapping[str, Any]


def record_numbers(external_ids: Sequence[str]) -> list[int]:
    """The ids as numbers, each once, in order. What is no number is no record of WooCommerce: it is left out."""
    valid = (int(text) for text in external_ids if text.isascii() and text.isdigit() and len(text) < 19)
    return [number for number in dict.fromkeys(valid) if number > 0]


class Fetcher:
    """Single records of one connection. `lists` makes a reader of one list with its filters."""

    def __init__(
        self, client: WooCommerceClient, connection: str, lists: Callable[[str, Mapping[str, str]], ListReader]
    ) -> None:
        self._client = client
        self._connection = connection
        self._lists = lists

    def records(
        self, path: str, filters: Mapping[str, str], numbers: Sequence[int], *, trash: bool
    ) -> Iterator[tuple[list[Record], str | None]]:
        """The records with these ids, and the Date header they came with; at most a hundred at a time.

        With `trash`, those that the list leaves out are asked for one by one: one in the trash comes with that state.
        """
        for at in range(0, len(numbers), PAGE_ROWS):
            chunk = numbers[at : at + PAGE_ROWS]
            rows, date = self._listed(path, filters, chunk)
            if trash:
                held = {row["id"] for row in rows}
                rows += [row for number in chunk if number not in held and (row := self.one(path, number))]
            yield rows, date

    def families(self, numbers: Sequence[int]) -> Iterator[tuple[list[Record], str | None]]:
        """Products by their own ids or those of their variations, each product once, at most a hundred at a time.

        No list gives a variation by its id, but `products/ID` does, with the id of its product (recorded).
        """
        given: set[int] = set()
        for at in range(0, len(numbers), PAGE_ROWS):
            chunk = numbers[at : at + PAGE_ROWS]
            products, date = self._listed("/products", {"status": "any"}, chunk)
            known = {row["id"] for row in products} | {child for row in products for child in _children(row)}
            for number in chunk:
                if number in known:
                    continue
                row = self.one("/products", number)
                parent = row and row.get("parent_id")
                if row and row.get("type") == "variation" and isinstance(parent, int) and parent > 0:
                    row = None if parent in known else self.one("/products", parent)
                if row:
                    products.append(row)
                    known |= {row["id"], *_children(row)}
            fresh = [row for row in products if row["id"] not in given]
            given |= {row["id"] for row in fresh}
            yield fresh, date

    def one(self, path: str, number: int) -> Record | None:
        """One record; None when the shop does not have it (any more)."""
        row, _ = self._client.get_one(f"{path}/{number}")
        if row is not None and row.get("id") != number:
            raise ContractViolation(
                f"{self._connection}: {path}/{number} was asked for, the shop gave {row.get('id')!r}",
                hint="A cache before the shop, or a plugin, gives the answer to another request.",
                connection=self._connection,
            )
        return row

    def _listed(self, path: str, filters: Mapping[str, str], chunk: Sequence[int]) -> tuple[list[Record], str | None]:
        wanted, rows, date = set(chunk), list[Record](), None
        for batch in self._lists(path, {**filters, "include": ",".join(map(str, chunk))}).read():
            strangers = [row["id"] for row in batch.rows if row["id"] not in wanted]
            if strangers:
                raise ContractViolation(
                    f"{self._connection}: {path}: the shop ignores `include`: it gave {strangers[0]} unasked",
                    hint="Look for a plugin that changes the REST API's lists.",
                    connection=self._connection,
                    code="include_ignored",
                )
            rows += batch.rows
            date = date or batch.date
        return rows, date


def _children(product: Record) -> set[int]:
    return {child for child in product.get("variations") or () if isinstance(child, int)}
