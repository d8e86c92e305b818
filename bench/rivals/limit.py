"""The bare limit: sockets, msgspec, strings and COPY. No model, no checks, no resume, one commit at the end.

    python -m bench.rivals.limit SHOP KEY SECRET DATABASE

It writes the rows that ours writes, amounts as the shop's own text, and nothing of it could be kept: a field of
another shape breaks it, a kill loses everything.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import itertools
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import msgspec
import psycopg
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_THREADS = 4
_DECODE_RAW = msgspec.json.Decoder(list[msgspec.Raw]).decode
_DECODE = msgspec.json.Decoder().decode
_COLUMNS = {
    "raw_record": "id, connection, entity, external_id, fingerprint, state, record_id, version, source_modified_at, "
    "received_at",
    "raw_payload": "raw_id, version, received_at, key_id, body",
    "binding": "id, record_id, connection, entity, external_id, state, first_seen, last_seen",
    "delivery": "id, target, entity, record_id, source, route, natural_key, action, state, due_at, created_at",
    "outcome": "run_id, connection, entity, external_id, outcome, reason",
    "sales_order": "id, connection, external_id, number, source_status, ordered_at, ordered_on, source_zone, "
    "original_time, modified_at, paid_at, completed_at, currency, price_basis, rounding_level, rounding_mode, "
    "customer_id, account, ship_country, payment_state, fulfilment_state, return_state, hold, payment_method, total, "
    "total_tax, total_shipping, total_shipping_tax, total_discount, total_discount_tax, computed_total, residual, "
    "before_cutover, raw_id, mapping_hash, rev, created_at, updated_at",
    "order_line": "document_id, position, external_id, kind, item_id, sku, gtin, name, quantity, unit, unit_price, "
    "list_net, list_tax, net, tax",
    "document_charge": "document_id, position, external_id, kind, label, method, net, tax",
    "document_discount": "document_id, position, external_id, code, net, tax",
    "document_payment": "document_id, position, method, source_method, label, provider_ref, amount, paid_at",
    "document_tax": "document_id, owner, position, seq, category, rate, base, amount, country, scheme, collected_by, "
    "source_code, label",
    "personal_party": "document_id, role, kind, company, first_name, last_name, email, phone, lines, postcode, city, "
    "region, country, note, extra",
}
_METHODS = {"bacs": "transfer", "cheque": "cheque", "cod": "cod", "stripe": "card", "ppcp-gateway": "wallet"}


def main() -> None:
    shop, key, secret, url = sys.argv[1:]
    pages = _Pages(shop, key, secret)
    with ExitStack() as stack:
        connections = {name: stack.enter_context(psycopg.connect(url)) for name in _COLUMNS}
        copies: dict[str, Any] = {
            name: stack.enter_context(
                connection.cursor().copy(f"copy {name} ({_COLUMNS[name]}) from stdin (format csv)".encode())
            )
            for name, connection in connections.items()
        }
        for body in pages:
            for name, lines in _rows(body).items():
                if lines:
                    copies[name].write("".join(lines))


class _Pages:
    """Pages in order, some of them under way."""

    def __init__(self, shop: str, key: str, secret: str) -> None:
        self._host = urlsplit(shop).netloc
        self._headers = {"Authorization": "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()}
        self._idle: list[http.client.HTTPConnection] = []

    def __iter__(self) -> Iterator[bytes]:
        first, total = self._get(1)
        yield first
        with ThreadPoolExecutor(_THREADS) as pool:
            window = []
            for page in range(2, total + 1):
                window.append(pool.submit(self._get, page))
                if len(window) > _THREADS:
                    yield window.pop(0).result()[0]
            for coming in window:
                yield coming.result()[0]

    def _get(self, page: int) -> tuple[bytes, int]:
        connection = self._idle.pop() if self._idle else http.client.HTTPConnection(self._host)
        path = f"/wp-json/wc/v3/orders?per_page=100&page={page}&orderby=id&order=asc&status=any"
        connection.request("GET", path, headers=self._headers)
        response = connection.getresponse()
        body = response.read()
        self._idle.append(connection)
        return body, int(response.headers["x-wp-totalpages"])


_CIPHER = AESGCM(bytes(32))
_PACK = zstandard.ZstdCompressor(level=1).compress
_COUNT = itertools.count(
    (time.time_ns() // 1_000_000 << 80 | 0x7 << 76 | 0b10 << 62) + int.from_bytes(os.urandom(3), "big")
)


def _id() -> str:
    return f"{next(_COUNT):032x}"


def _q(text: str | None) -> str:
    if not text:
        return ""
    if '"' in text or "," in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def _cents(text: str) -> int:
    whole, _, part = text.partition(".")
    return int(whole + part.ljust(2, "0"))


def _rows(body: bytes) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {name: [] for name in _COLUMNS}
    now = time.strftime("%Y-%m-%d %H:%M:%S+00", time.gmtime())
    for raw in _DECODE_RAW(body):
        order = _DECODE(raw)
        key, raw_id, number, status = _id(), _id(), order["number"], order["status"]
        billing, shipping, meta = order["billing"], order["shipping"], order["meta_data"]
        paid, completed, method = (
            order["date_paid_gmt"] or "",
            order["date_completed_gmt"] or "",
            order["payment_method"],
        )
        modified = order["date_modified_gmt"] + "+00"
        print_ = hashlib.blake2b(raw, digest_size=16).hexdigest()
        rows["raw_record"].append(
            f"{raw_id},boutique,order,{order['id']},\\x{print_},mapped,{key},1,{modified},{now}\n"
        )
        nonce = os.urandom(12)
        sealed = (nonce + _CIPHER.encrypt(nonce, _PACK(raw), None)).hex()
        rows["raw_payload"].append(f"{raw_id},1,{now},limit,\\x{sealed}\n")
        rows["binding"].append(f"{_id()},{key},boutique,order,{order['id']},linked,{now},{now}\n")
        word = _METHODS.get(method, "other")
        if status == "refunded":
            state = "refunded"
        elif status == "failed":
            state = "failed"
        else:
            settled = status in ("processing", "completed") and method != "cod"
            state = "paid" if paid or settled else "unpaid"
        gone = "shipped" if status == "completed" or (status == "refunded" and completed) else (
            "cancelled" if status in ("cancelled", "refunded") else "open"
        )  # fmt: skip
        if state == "refunded":
            reason = ""
        elif gone == "cancelled":
            reason = "cancelled"
        elif state == "failed":
            reason = "payment failed"
        elif state == "unpaid" and word not in ("transfer", "cheque", "cod"):
            reason = "not paid yet"
        else:
            reason = ""
        if reason:
            rows["outcome"].append(f"{key},boutique,order,{number},skipped,{reason}\n")
        else:
            rows["delivery"].append(f"{_id()},gesco,order,{key},boutique,orders,{number},create,held,{now},{now}\n")
        place = shipping["country"] or billing["country"]
        rates = {rate["rate_id"]: rate for rate in order["tax_lines"]}
        computed = 0
        for position, line in enumerate(order["line_items"], 1):
            net, tax, quantity = line["total"], line["total_tax"], line["quantity"]
            computed += _cents(net) + _cents(tax)
            price = f"{_cents(line['subtotal']) / 100 / quantity:.10f}" if quantity else line["subtotal"]
            rows["order_line"].append(
                f"{key},{position},{line['id']},stock,{line['variation_id'] or line['product_id'] or ''},"
                f"{_q(line['sku'])},{_q(line.get('global_unique_id'))},{_q(line['name'])},{quantity},C62,{price},"
                f"{line['subtotal']},{line['subtotal_tax']},{net},{tax}\n"
            )
            _tax(rows["document_tax"], key, "line", position, line, rates, place)
        for position, line in enumerate((*order["shipping_lines"], *order["fee_lines"]), 1):
            computed += _cents(line["total"]) + _cents(line["total_tax"])
            kind = "shipping" if "method_id" in line else "fee"
            rows["document_charge"].append(
                f"{key},{position},{line['id']},{kind},{_q(line.get('method_title') or line.get('name'))},"
                f"{line.get('method_id', '')},{line['total']},{line['total_tax']}\n"
            )
            _tax(rows["document_tax"], key, "charge", position, line, rates, place)
        for position, coupon in enumerate(order["coupon_lines"], 1):
            rows["document_discount"].append(
                f"{key},{position},{coupon['id']},{_q(coupon['code'])},{coupon['discount']},{coupon['discount_tax']}\n"
            )
        total = order["total"]
        if state in ("paid", "refunded") and _cents(total):
            rows["document_payment"].append(
                f"{key},1,{word},{method},{_q(order['payment_method_title'])},{order['transaction_id']},{total},"
                f"{paid and paid + '+00'}\n"
            )
        company = billing["company"]
        account = "b2b" if company or meta else "b2c" if order["customer_id"] else "guest"
        ordered, wait = order["date_created"], "none"
        if status in ("pending", "failed") or (status == "on-hold" and not paid):
            wait = "payment"
        residual = _cents(total) - computed
        rows["sales_order"].append(
            f"{key},boutique,{order['id']},{number},{status},{order['date_created_gmt']}+00,{ordered[:10]},Europe/Paris,"
            f"{ordered},{modified},{paid and paid + '+00'},{completed and completed + '+00'},{order['currency']},"
            f"{'incl' if order['prices_include_tax'] else 'excl'},line,ROUND_HALF_UP,{order['customer_id'] or ''},"
            f"{account},{place},{state},{gone},none,{wait},{word},{total},{order['total_tax']},"
            f"{order['shipping_total']},{order['shipping_tax']},{order['discount_total']},{order['discount_tax']},"
            f"{computed / 100:.2f},{residual / 100:.2f},f,{raw_id},limit,1,{now},{now}\n"
        )
        extra = {entry["key"]: entry["value"] for entry in meta}
        extra.update(payment_method=method, created_via=order["created_via"])
        noted = _q(msgspec.json.encode(extra).decode())
        rows["personal_party"].append(
            f"{key},buyer,{'organisation' if company else 'person'},{_q(company)},{_q(billing['first_name'])},"
            f"{_q(billing['last_name'])},{billing['email']},{billing['phone']},,,,,,{_q(order['customer_note'])},{noted}\n"
        )
        for role, block in (("billing", billing), ("shipping", shipping)):
            if block["last_name"] or block["city"]:
                first, second = block["address_1"], block["address_2"]
                lines = _q('{"' + '","'.join([x.replace('"', '\\"') for x in (first, second) if x]) + '"}')
                rows["personal_party"].append(
                    f"{key},{role},,{_q(block['company'])},{_q(block['first_name'])},{_q(block['last_name'])},"
                    f"{block.get('email', '')},{block['phone']},{lines},{block['postcode']},{_q(block['city'])},"
                    f"{block['state']},{block['country']},,\n"
                )
    return rows


def _tax(
    rows: list[str], key: str, owner: str, position: int, line: dict[str, Any], rates: dict[int, Any], place: str
) -> None:
    parts = [part for part in line["taxes"] if part["total"] != ""]
    if not parts:
        if _cents(line["total"]):
            scheme = "exempt" if place in ("FR", "GP", "BE") else "export"
            rows.append(
                f"{key},{owner},{position},1,{'E' if scheme == 'exempt' else 'G'},0,{line['total']},0,{place},{scheme},"
                "seller,,\n"
            )
        return
    for sequence, part in enumerate(parts, 1):
        rate = rates[part["id"]]
        land = rate["rate_code"][:2]
        amount = line["total_tax"] if len(parts) == 1 else part["total"]
        rows.append(
            f"{key},{owner},{position},{sequence},S,{rate['rate_percent']},{line['total']},{amount},{land},"
            f"{'domestic' if land == 'FR' else 'oss'},seller,{_q(rate['rate_code'])},{_q(rate['label'])}\n"
        )


if __name__ == "__main__":
    main()
