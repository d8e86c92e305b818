"""Query parameters of lists, checked as the shop checks them, and the page they ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from comptoir_woocommerce._sandbox.render import Renderer

__all__ = ["ORDER_STATUSES", "ListQuery", "Problem", "page_headers"]

ORDER_STATUSES = (
    "auto-draft", "pending", "processing", "on-hold", "completed", "cancelled", "refunded", "failed", "checkout-draft",
)  # fmt: skip
_LISTED_STATUSES = ("any", "trash", *ORDER_STATUSES)
_ORDERINGS = {
    "orders": ("date", "id", "include", "title", "slug", "modified"),
    "refunds": ("date", "id", "include", "title", "slug", "modified"),
    "products": ("date", "id", "include", "title", "slug", "modified", "price", "popularity", "rating"),
    "variations": ("date", "id", "include", "title", "slug", "modified", "menu_order"),
    "customers": ("id", "include", "name", "registered_date"),
}
_ROLES = ("all", "administrator", "editor", "author", "contributor", "subscriber", "customer", "shop_manager")


class Problem(Exception):
    """A refusal: status and body as the shop words it."""

    def __init__(self, status: int, code: str, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"code": code, "message": message, "data": {"status": status} if data is None else data}

    @classmethod
    def parameter(cls, name: str, words: str, code: str, details: dict[str, Any] | None = None) -> Problem:
        """A parameter that the shop does not take."""
        more = {"code": code, "message": words, "data": details}
        data = {"status": 400, "params": {name: words}, "details": {name: more}}
        return cls(400, "rest_invalid_param", f"Invalid parameter(s): {name}", data)


def _any_of(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])}, and {words[-1]}"


def _whole(query: dict[str, str], name: str, default: int, low: int, high: int | None) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not text.lstrip("-").isdigit():
        raise Problem.parameter(name, f"{name} is not of type integer.", "rest_invalid_type", {"param": name})
    number = int(text)
    if number < low or (high is not None and number > high):
        limits = f"between {low} (inclusive) and {high} (inclusive)" if high else f"greater than or equal to {low}"
        raise Problem.parameter(name, f"{name} must be {limits}", "rest_out_of_bounds")
    return number


@dataclass(frozen=True, slots=True)
class ListQuery:
    """One list request, understood."""

    kind: str
    page: int
    per_page: int
    offset: int | None
    orderby: str
    descending: bool
    statuses: tuple[str, ...]
    after: int | None
    before: int | None
    include: tuple[int, ...]
    skus: tuple[str, ...]
    role: str
    email: str | None
    customer: int | None

    @classmethod
    def read(cls, kind: str, query: dict[str, str], to: Renderer) -> ListQuery:
        """Raises Problem for a parameter that the shop would refuse."""
        orderings = _ORDERINGS[kind]
        orderby = query.get("orderby", "name" if kind == "customers" else "date")
        if orderby not in orderings:
            raise Problem.parameter("orderby", f"orderby is not one of {_any_of(orderings)}.", "rest_not_in_enum")
        order = query.get("order", "asc" if kind == "customers" else "desc")
        if order not in ("asc", "desc"):
            raise Problem.parameter("order", "order is not one of asc and desc.", "rest_not_in_enum")
        return cls(
            kind=kind,
            page=_whole(query, "page", 1, 1, None),
            per_page=_whole(query, "per_page", 10, 1, 100),
            offset=_whole(query, "offset", 0, 0, None) if "offset" in query else None,
            orderby=orderby,
            descending=order == "desc",
            statuses=_statuses(kind, query.get("status", "any")),
            after=_bound(kind, query, "modified_after", to),
            before=_bound(kind, query, "modified_before", to),
            include=tuple(int(n) for n in query.get("include", "").split(",") if n.strip().isdigit()),
            skus=tuple(sku.strip().lower() for sku in query.get("sku", "").split(",") if sku.strip()),
            role=_role(kind, query.get("role", "customer")),
            email=query.get("email"),
            customer=int(query["customer"]) if query.get("customer", "").isdigit() else None,
        )

    @property
    def start(self) -> int:
        """How many rows are skipped; `offset` wins over `page`."""
        return self.offset if self.offset else (self.page - 1) * self.per_page

    @property
    def filters(self) -> tuple[Any, ...]:
        """Everything that decides which rows in which order: two requests with equal ones share a result."""
        return (
            self.kind, self.orderby, self.descending, self.statuses, self.after, self.before, self.include, self.skus,
            self.role, self.email, self.customer,
        )  # fmt: skip

    def in_time(self, modified: int | None) -> bool:
        """Both bounds are exclusive."""
        if self.after is None and self.before is None:
            return True
        moment = modified or 0
        return (self.after is None or moment > self.after) and (self.before is None or moment < self.before)


def _statuses(kind: str, text: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if kind == "orders":
        for position, status in enumerate(found):
            if status not in _LISTED_STATUSES:
                words = f"status[{position}] is not one of {_any_of(_LISTED_STATUSES)}."
                raise Problem.parameter("status", words, "rest_not_in_enum")
    return found


def _role(kind: str, role: str) -> str:
    if kind == "customers" and role not in _ROLES:
        raise Problem.parameter("role", f"role is not one of {_any_of(_ROLES)}.", "rest_not_in_enum")
    return role


def _bound(kind: str, query: dict[str, str], name: str, to: Renderer) -> int | None:
    """A time bound as the shop reads it, its faults included; customers have none, whatever is asked."""
    text = query.get(name)
    if text is None or kind == "customers":
        return None
    try:
        moment = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise Problem.parameter(name, "Invalid date.", "rest_invalid_date") from None
    in_gmt = query.get("dates_are_gmt", "false") in ("true", "1")
    if moment.tzinfo is not None:
        # With dates_are_gmt the shop first makes it local and then compares that with its GMT column.
        seconds = int(moment.timestamp())
        return seconds + to.offset(seconds) if in_gmt else seconds
    seconds = int(moment.replace(tzinfo=UTC).timestamp())
    return seconds if in_gmt else seconds - to.offset(seconds - to.offset(seconds))


def page_headers(query: ListQuery, total: int, url: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Counts, and links to the neighbouring pages; these repeat the request's parameters, signature and all."""
    pages = -(-total // query.per_page)
    headers = {"X-WP-Total": str(total), "X-WP-TotalPages": str(pages)}

    def link(page: int, relation: str) -> str:
        others = [(name, value) for name, value in pairs if name != "page"]
        text = "&".join(f"{quote(n)}={quote(v, safe='+/:')}" for n, v in [*others, ("page", str(page))])
        return f'<{url}?{text}>; rel="{relation}"'

    links = []
    if query.page > 1:
        links.append(link(min(query.page - 1, max(pages, 1)), "prev"))
    if pages > query.page:
        links.append(link(query.page + 1, "next"))
    if links:
        headers["Link"] = ", ".join(links)
    return headers
