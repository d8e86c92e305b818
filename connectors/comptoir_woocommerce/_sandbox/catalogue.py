"""Products, variations and customers of the sandbox, and the JSON they are shown as."""

from __future__ import annotations

import functools
import hashlib
import re
import unicodedata
from dataclasses import dataclass, field
from typing import Any

from comptoir_woocommerce._sandbox.render import Renderer

__all__ = ["Customer", "Product", "empty_place", "slug", "starting_products"]

_DATES = ("date_on_sale_from", "date_on_sale_from_gmt", "date_on_sale_to", "date_on_sale_to_gmt")


@functools.lru_cache(maxsize=65536)
def slug(text: str) -> str:
    """WordPress' short form of a title."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")


def empty_place(*, email: bool) -> dict[str, str]:
    """An address block of a customer in which nothing was filled in."""
    names = ["first_name", "last_name", "company", "address_1", "address_2", "city", "postcode", "country", "state"]
    return dict.fromkeys([*names, *(["email"] if email else []), "phone"], "")


@dataclass(slots=True)
class Product:
    """A product, or with `parent_id` a variation of one."""

    id: int
    name: str
    created: int
    modified: int
    type: str = "simple"
    status: str = "publish"
    sku: str = ""
    gtin: str = ""
    regular_price: str = ""
    sale_price: str = ""
    tax_class: str = ""
    manage_stock: bool | str = False
    stock: int | None = None
    backorders: str = "no"
    stock_status: str = "instock"
    virtual: bool = False
    weight: str = ""
    description: str = ""
    parent_id: int = 0
    attributes: list[dict[str, Any]] = field(default_factory=list)
    variations: list[int] = field(default_factory=list)
    grouped: list[int] = field(default_factory=list)
    meta: list[dict[str, Any]] = field(default_factory=list)
    sold: int = 0

    @property
    def price(self) -> str:
        """What it costs now."""
        return self.sale_price or self.regular_price

    def recount(self) -> None:
        """What the shop says of a stock after it changed."""
        if self.manage_stock is True and self.stock is not None:
            if self.stock > 0:
                self.stock_status = "instock"
            else:
                self.stock_status = "outofstock" if self.backorders == "no" else "onbackorder"

    def show(self, to: Renderer) -> dict[str, Any]:
        """As its own endpoint shows it."""
        return self._variation(to) if self.parent_id else self._product(to)

    def show_as_product(self, to: Renderer) -> dict[str, Any]:
        """As `products` shows it, a variation too: by its id, or found by its SKU (recorded)."""
        found = self._product(to)
        if self.parent_id:
            name = f"{self.name} - {', '.join(a['option'] for a in self.attributes)}"
            found |= {"name": name, "slug": slug(name), "parent_id": self.parent_id, "categories": []}
            found |= {"total_sales": "0", "reviews_allowed": False, "purchasable": bool(self.price)}
            found["_links"] = to.links(f"/products/{self.id}", "/products", f"/products/{self.parent_id}")
        return found

    def _common(self) -> dict[str, Any]:
        return {
            "virtual": self.virtual,
            "downloadable": False,
            "downloads": [],
            "download_limit": -1,
            "download_expiry": -1,
        }

    def _stock(self) -> dict[str, Any]:
        counted = self.manage_stock is not False
        return {"manage_stock": self.manage_stock, "stock_quantity": self.stock if counted else None}

    def _orders(self) -> dict[str, Any]:
        return {
            "backorders": self.backorders,
            "backorders_allowed": self.backorders != "no",
            "backordered": self.stock_status == "onbackorder",
            "low_stock_amount": None,
        }

    def _dates(self, to: Renderer) -> dict[str, Any]:
        return {
            "date_created": to.local(self.created),
            "date_created_gmt": to.gmt(self.created),
            "date_modified": to.local(self.modified),
            "date_modified_gmt": to.gmt(self.modified),
        }

    def _product(self, to: Renderer) -> dict[str, Any]:
        address = slug(self.name)
        found: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "slug": address,
            "permalink": f"{to.home}/product/{address}/",
            **self._dates(to),
            "type": self.type,
            "status": self.status,
            "featured": False,
            "catalog_visibility": "visible",
            "description": self.description,
            "short_description": "",
            "sku": self.sku,
            "price": self.price,
            "regular_price": self.regular_price,
            "sale_price": self.sale_price,
            **dict.fromkeys(_DATES),
            "on_sale": bool(self.sale_price),
            "purchasable": self.type not in ("grouped", "external") and bool(self.price or self.variations),
            "total_sales": self.sold,
            **self._common(),
            "external_url": "",
            "button_text": "",
            "tax_status": "taxable",
            "tax_class": self.tax_class,
            **self._stock(),
            **self._orders(),
            "sold_individually": False,
            "weight": self.weight,
            "dimensions": {"length": "", "width": "", "height": ""},
            "shipping_required": not self.virtual,
            "shipping_taxable": not self.virtual,
            "shipping_class": "",
            "shipping_class_id": 0,
            "reviews_allowed": True,
            "average_rating": "0.00",
            "rating_count": 0,
            "upsell_ids": [],
            "cross_sell_ids": [],
            "parent_id": 0,
            "purchase_note": "",
            "categories": [{"id": 15, "name": "Uncategorized", "slug": "uncategorized"}],
        }
        if to.modern:
            found["brands"] = []
        found |= {
            "tags": [],
            "images": [],
            "attributes": [self._attribute(a, to) for a in self.attributes],
            "default_attributes": [],
            "variations": self.variations,
            "grouped_products": self.grouped,
            "menu_order": 0,
            "price_html": f"<bdi>{self.price}</bdi>" if self.price else "",
            "related_ids": [],
            "meta_data": self.meta,
            "stock_status": self.stock_status,
            "has_options": bool(self.variations),
        }
        if to.modern:
            found |= {"post_password": "", "global_unique_id": self.gtin}
        found["_links"] = to.links(f"/products/{self.id}", "/products")
        return found

    def _variation(self, to: Renderer) -> dict[str, Any]:
        path = f"/products/{self.parent_id}"
        found: dict[str, Any] = {"id": self.id}
        if to.modern:
            found["type"] = "variation"
        found |= {
            **self._dates(to),
            "description": self.description,
            "permalink": f"{to.home}/product/{slug(self.name)}/",
            "sku": self.sku,
        }
        if to.modern:
            found["global_unique_id"] = self.gtin
        found |= {
            "price": self.price,
            "regular_price": self.regular_price,
            "sale_price": self.sale_price,
            **dict.fromkeys(_DATES),
            "on_sale": bool(self.sale_price),
            "status": self.status,
            "purchasable": bool(self.price),
            **self._common(),
            "tax_status": "taxable",
            "tax_class": self.tax_class,
            **self._stock(),
            "stock_status": self.stock_status,
            **self._orders(),
            "weight": self.weight,
            "dimensions": {"length": "", "width": "", "height": ""},
            "shipping_class": "",
            "shipping_class_id": 0,
            "image": None,
        }
        if to.modern:
            found["gallery_image_ids"] = []
        found |= {
            "attributes": [self._attribute(a, to) for a in self.attributes],
            "menu_order": 0,
            "meta_data": self.meta,
        }
        if to.modern:
            found |= {"name": ", ".join(a["option"] for a in self.attributes), "parent_id": self.parent_id}
        found["_links"] = to.links(f"{path}/variations/{self.id}", f"{path}/variations", path)
        return found

    def _attribute(self, attribute: dict[str, Any], to: Renderer) -> dict[str, Any]:
        shown = {"id": attribute["id"], "name": attribute["name"]}
        if to.modern:
            shown["slug"] = f"pa_{slug(attribute['name'])}"
        if "option" in attribute:
            return {**shown, "option": attribute["option"]}
        return {**shown, "position": 0, "visible": True, "variation": True, "options": attribute["options"]}


@dataclass(slots=True)
class Customer:
    """A user of the shop; most are customers."""

    id: int
    email: str
    first_name: str
    last_name: str
    username: str
    created: int
    modified: int | None
    role: str = "customer"
    billing: dict[str, str] = field(default_factory=lambda: empty_place(email=True))
    shipping: dict[str, str] = field(default_factory=lambda: empty_place(email=False))
    paying: bool = False
    meta: list[dict[str, Any]] = field(default_factory=list)

    def show(self, to: Renderer) -> dict[str, Any]:
        """As GET shows it."""
        face = hashlib.sha256(self.email.encode()).hexdigest()
        return {
            "id": self.id,
            "date_created": to.local(self.created),
            "date_created_gmt": to.gmt(self.created),
            "date_modified": to.local(self.modified),
            "date_modified_gmt": to.gmt(self.modified),
            "email": self.email,
            "first_name": self.first_name,
            "last_name": self.last_name,
            "role": self.role,
            "username": self.username,
            "billing": self.billing,
            "shipping": self.shipping,
            "is_paying_customer": self.paying,
            "avatar_url": f"https://secure.gravatar.com/avatar/{face}?s=96&d=mm&r=g",
            "meta_data": self.meta,
            "_links": to.links(f"/customers/{self.id}", "/customers"),
        }


def starting_products(now: int) -> list[Product]:
    """A small French shop: three tax classes, a product with variations, one virtual, a group, a draft."""
    rows = [
        ("Mug « Atelier » émaillé 35 cl", "MUG-001", "3760123450017", "19.90", "14.90", "", 4000),
        ("Confiture d'abricots 370 g", "CONF-ABR", "3760123450024", "5.275", "", "taux-reduit", 12000),
        ("Carnet de recettes", "CARNET", "", "12.00", "", "", 2500),
        ("Tablier sur commande", "TABLIER", "3760123450048", "35.00", "", "", 800),
        ("Revue « Les Œillets » n° 12", "REVUE-12", "", "7.90", "", "taux-super-reduit", 3000),
        ("Miel de châtaignier 250 g", "MIEL-250", "3760123450062", "8.40", "", "taux-reduit", 6000),
        ("Bougie parfumée à la fleur d'oranger", "BOUGIE", "3760123450079", "24.50", "19.60", "", 1500),
        ("Théière en fonte 0,8 l", "THEIERE", "3760123450086", "49.90", "", "", 700),
    ]
    made = [
        Product(
            10 + n,
            name,
            now,
            now,
            sku=sku,
            gtin=gtin,
            regular_price=price,
            sale_price=sale,
            tax_class=tax,
            manage_stock=True,
            stock=stock,
            weight="0.42",
        )
        for n, (name, sku, gtin, price, sale, tax, stock) in enumerate(rows)
    ]
    made.append(Product(18, "Carte cadeau", now, now, sku="CARTE", regular_price="25", virtual=True))
    made.append(Product(19, "Article sans référence", now, now, regular_price="1"))
    color, size = {"id": 1, "name": "Couleur"}, {"id": 2, "name": "Taille"}
    lists = [{**color, "options": ["Bleu nuit", "Rouge"]}, {**size, "options": ["M", "S"]}]
    shirt = Product(20, "T-shirt col rond", now, now, type="variable", sku="TEE", attributes=lists)
    made.append(shirt)
    wanted = [
        ("Rouge", "S", "24.90"),
        ("Rouge", "M", "24.90"),
        ("Bleu nuit", "S", "26.90"),
        ("Bleu nuit", "M", "26.90"),
    ]
    for n, (tint, width, price) in enumerate(wanted):
        chosen = [{**color, "option": tint}, {**size, "option": width}]
        made.append(
            Product(
                21 + n,
                shirt.name,
                now,
                now,
                type="variation",
                sku=f"TEE-{tint[0]}-{width}",
                gtin=f"37601234501{9 + n:02d}",
                regular_price=price,
                manage_stock=True,
                stock=900,
                parent_id=shirt.id,
                attributes=chosen,
            )
        )
        shirt.variations.append(21 + n)
    made.append(Product(25, "Coffret", now, now, type="grouped", sku="COFFRET", grouped=[10, 11]))
    made.append(Product(26, "Brouillon", now, now, status="draft", regular_price="9.99"))
    for product in made:
        product.recount()
    return made
