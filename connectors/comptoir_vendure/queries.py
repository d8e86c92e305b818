"""The GraphQL documents that are sent to a Vendure shop: each names what it reads, and nothing else comes.

Amounts are whole numbers of the shop's smallest unit, or now and then a fraction of it (`shippingLines.price`:
491.6666666666667 was seen); `moneyStrategyPrecision` says how many decimals they stand for.
"""

from __future__ import annotations

from comptoir_vendure.config import VendureConfig

__all__ = ["CHANGED_PRODUCTS", "FACTS", "LOCATIONS", "LOGIN", "SET_VARIANTS", "customers", "orders", "variants"]

LOGIN = """mutation Login($username: String!, $password: String!) {
  login(username: $username, password: $password) {
    __typename
    ... on CurrentUser { id }
    ... on ErrorResult { errorCode message }
  }
}"""

FACTS = """query Facts {
  activeChannel { id code token defaultCurrencyCode defaultLanguageCode pricesIncludeTax }
  globalSettings { outOfStockThreshold trackInventory serverConfig { moneyStrategyPrecision } }
}"""

LOCATIONS = """query Locations {
  stockLocations(options: { take: 100, sort: { id: ASC } }) { totalItems items { id name } }
}"""

CHANGED_PRODUCTS = """query ChangedProducts($options: ProductListOptions!) {
  products(options: $options) { totalItems items { id } }
}"""

_ADDRESS = "fullName company streetLine1 streetLine2 city province postalCode countryCode phoneNumber"
_DISCOUNT = "adjustmentSource type description amount amountWithTax"
_TAX = "description taxRate"

_ORDER = """
      id type code state active createdAt updatedAt orderPlacedAt currencyCode couponCodes
      customer { id firstName lastName emailAddress phoneNumber user { id } CUSTOM }
      shippingAddress { ADDRESS }
      billingAddress { ADDRESS }
      lines {
        id quantity orderPlacedQuantity productVariant { id sku name }
        unitPrice unitPriceWithTax linePrice linePriceWithTax
        proratedUnitPrice proratedUnitPriceWithTax proratedLinePrice proratedLinePriceWithTax
        taxLines { TAX }
      }
      surcharges { id description sku price priceWithTax taxLines { TAX } }
      discounts { DISCOUNT }
      shippingLines {
        id shippingMethod { code name } price priceWithTax discountedPrice discountedPriceWithTax
      }
      subTotal subTotalWithTax shipping shippingWithTax total totalWithTax
      taxSummary { description taxRate taxBase taxTotal }
      payments {
        id createdAt method state amount transactionId
        refunds {
          id createdAt state items shipping adjustment total method reason transactionId
          lines { orderLineId quantity }
        }
      }
      fulfillments { id createdAt state method trackingCode lines { orderLineId quantity } }"""

_CUSTOMER = """
      id createdAt updatedAt title firstName lastName emailAddress phoneNumber CUSTOM
      user { id verified }
      groups { name }
      addresses {
        id fullName company streetLine1 streetLine2 city province postalCode country { code } phoneNumber
        defaultShippingAddress defaultBillingAddress
      }"""

_VARIANT = """
      id createdAt updatedAt sku name enabled trackInventory currencyCode CUSTOM
      prices { currencyCode price }
      taxCategory { name }
      taxRateApplied { name value }
      options { name group { name } }
      stockLevels { id stockOnHand stockAllocated stockLocation { id name } }
      product { id name enabled }"""

SET_VARIANTS = """mutation SetVariants($input: [UpdateProductVariantInput!]!) {
  updateProductVariants(input: $input) {
    id sku name prices { currencyCode price } product { id name }
    stockLevels { stockOnHand stockAllocated stockLocation { id name } }
  }
}"""


def _list(name: str, field: str, options: str, body: str) -> str:
    head = f"query {name}($options: {options}!) {{\n  {field}(options: $options) {{\n    totalItems\n"
    return f"{head}    items {{{body}\n    }}\n  }}\n}}"


def _custom(field: str | None) -> str:
    """The selection of one custom field; its name was checked to be one when the settings were read."""
    return f"customFields {{ {field} }}" if field else ""


def orders(config: VendureConfig) -> str:
    """Orders with lines, payments, refunds and what has left."""
    body = _ORDER.replace("CUSTOM", _custom(config.vat_field)).replace("ADDRESS", _ADDRESS)
    return _list("Orders", "orders", "OrderListOptions", body.replace("DISCOUNT", _DISCOUNT).replace("TAX", _TAX))


def customers(config: VendureConfig) -> str:
    """Customers with their addresses."""
    return _list(
        "Customers", "customers", "CustomerListOptions", _CUSTOMER.replace("CUSTOM", _custom(config.vat_field))
    )


def variants(config: VendureConfig) -> str:
    """What can be sold, with price and stock."""
    body = _VARIANT.replace("CUSTOM", _custom(config.gtin_field))
    return _list("Variants", "productVariants", "ProductVariantListOptions", body)
