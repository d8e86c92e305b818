"""The `comptoir.toml` of the demo's merchant."""

from __future__ import annotations

from typing import Final

__all__ = ["CONFIG", "PATIENCE_HOURS"]

#: Working hours after which a file that nobody imports is told: 18 seconds.
PATIENCE_HOURS: Final = 0.005

CONFIG: Final = """\
# The merchant of Comptoir's demo. No secret belongs here: the keys of the shops are in the environment
# (AIRFLOW_CONN_BOUTIQUE, AIRFLOW_CONN_ATELIER). A real shop would be polled every quarter of an hour: webhooks bring
# what happens, and the schedule what a lost one did not say.

[company]
name = "Maison Exemple"
country = "FR"
currency = "EUR"
siren = "303265045"

[gateway]                       # where the shops reach `comptoir gateway`; their webhooks are made and kept standing
url = "{gateway}"

[connections.boutique]          # WooCommerce 11.0; its sales are numbered and booked by the back office
connector = "woocommerce"
cutover = "{cutover}"          # earlier orders are kept and matched, never delivered or posted
invoicing = "gesco"

[connections.atelier]           # WooCommerce 7.9, prices without tax; its sales are booked by the hub
connector = "woocommerce"
cutover = "{cutover}"
invoicing = "self"

[connections.kiosque]           # a small shop whose sales Sage numbers and books
connector = "woocommerce"
cutover = "{cutover}"
invoicing = "sage"

[connections.marche]            # and one whose sales Ciel does
connector = "woocommerce"
cutover = "{cutover}"
invoicing = "ciel"

[connections.gesco]             # EBP Gestion Commerciale: takes orders; prices, stock and addresses come from it
connector = "ebp"
folder = "exchange/gesco"
item_identity = "Article - Identifiant unique"

[connections.compta]            # EBP Comptabilité
connector = "ebp"
folder = "exchange/compta"

[connections.sage]              # Sage 100 Gestion commerciale: all web orders on one card
connector = "sage"
folder = "exchange/sage"
gescom_from = "sage_gescom.txt"  # any file that this Sage exported in its own format
depot = "DEPOT PRINCIPAL"
customers = "default"
default_customer = "WEBDIVERS"
payment_modes = {{ card = "3" }}

[connections.ciel]              # Ciel Gestion commerciale: makes the customers that it does not know
connector = "ciel"
folder = "exchange/ciel"

[alerts]                        # `comptoir todo`: a real merchant waits for a working day, this one has no time
after_working_hours = {patience}
days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
begins = 00:00:00
ends = 23:59:59
holidays = false

[routes.orders]                 # with their refunds, and with their buyers
entity = "order"
from = "boutique"
to = ["gesco"]
schedule = "* * * * *"
triggers = ["webhook"]

[routes.items]                  # prices, codes and barcodes; what a shop does not have waits: comptoir match list
entity = "item"
from = "gesco"
to = ["boutique", "atelier"]
schedule = "* * * * *"
triggers = ["webhook"]

[routes.stock]                  # what may be offered: counted, less what EBP has promised, less open orders
entity = "stock"
from = "gesco"
to = ["boutique", "atelier"]
schedule = "* * * * *"
triggers = ["webhook"]

[routes.customers]
entity = "customer"
from = "boutique"
to = ["gesco"]
schedule = "* * * * *"
triggers = ["webhook"]

[routes.customers_back]         # the other way: only what somebody changed in EBP
entity = "customer"
from = "gesco"
to = ["boutique"]
schedule = "* * * * *"

[routes.books]
entity = "journal_entry"
from = "hub"
to = ["compta"]
schedule = "* * * * *"
triggers = ["webhook"]

[routes.kiosque_orders]         # Sage's operator imports them and exports his list of documents
entity = "order"
from = "kiosque"
to = ["sage"]
schedule = "*/2 * * * *"
triggers = ["webhook"]

[routes.kiosque_stock]          # what Sage counts, less what it has reserved
entity = "stock"
from = "sage"
to = ["kiosque"]
schedule = "*/2 * * * *"

[routes.marche_orders]          # Ciel renames a file that was imported to .BAK
entity = "order"
from = "marche"
to = ["ciel"]
schedule = "*/2 * * * *"
triggers = ["webhook"]

[routes.marche_stock]           # Ciel has no open database: what a person exports says it
entity = "stock"
from = "ciel"
to = ["marche"]
schedule = "*/2 * * * *"
"""
