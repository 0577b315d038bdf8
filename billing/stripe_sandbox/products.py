"""Products and prices."""

import stripe

from billing.stripe_sandbox.errors import StripeError, unexpected_state, unknown_here
from billing.stripe_sandbox.events import emit
from billing.stripe_sandbox.money import check_currency, check_price
from billing.stripe_sandbox.routes import Params, listing, retrieve, route
from billing.stripe_sandbox.sandbox import Sandbox, merged
from billing.stripe_sandbox.store import Object


@route(
    "POST", "/v1/products", "ProductCreateParams", "id name description metadata active tax_code"
)
def create_product(sandbox: Sandbox, params: Params) -> Object:
    if sandbox.store.get(params.get("id", "")):
        raise unexpected_state("Product already exists.", "resource_already_exists", param="id")
    given = {"active": True, "metadata": {}, "images": [], "marketing_features": []}
    now = sandbox.clock.now()
    product = sandbox.add(stripe.Product, "prod", type="service", updated=now, **given | params)
    emit(sandbox, "product.created", product)
    return product


@route("POST", "/v1/products/{id}", "ProductUpdateParams", "name description metadata active")
def update_product(sandbox: Sandbox, params: Params, id: str) -> Object:
    product = sandbox.get("product", id)
    if "metadata" in params:
        params["metadata"] = merged(product["metadata"], params["metadata"])
    sandbox.update(product, **params, updated=sandbox.clock.now())
    emit(sandbox, "product.updated", product)
    return product


@route(
    "POST",
    "/v1/prices",
    "PriceCreateParams",
    "currency unit_amount product product_data.name product_data.metadata recurring.interval "
    "recurring.interval_count metadata active nickname lookup_key transfer_lookup_key tax_behavior",
)
def create_price(sandbox: Sandbox, params: Params) -> Object:
    price = new_price(sandbox, params)
    emit(sandbox, "price.created", price)
    return price


def new_price(sandbox: Sandbox, given: Params) -> Object:
    """Keep a price, given as itself or in a line; its product is named or described."""
    if ("product" in given) == ("product_data" in given):
        raise StripeError("You must provide one of `product` or `product_data`.", param="product")
    product = (
        sandbox.get("product", given["product"], param="product")
        if "product" in given
        else create_product(sandbox, given["product_data"])
    )
    if "unit_amount" not in given:
        raise StripeError("Missing required param: unit_amount.", code="parameter_missing")
    if given.get("tax_behavior") == "inclusive":
        raise unknown_here("prices that include tax", "tax_behavior")
    currency = check_currency(given["currency"])
    recurring = given.get("recurring")
    key = given.get("lookup_key")
    if key and (holder := sandbox.first("price", lookup_key=key)):
        if not given.get("transfer_lookup_key"):
            raise StripeError(f"A price already uses the lookup key `{key}`.", param="lookup_key")
        sandbox.update(holder, lookup_key=None)
    return sandbox.add(
        stripe.Price,
        "price",
        active=given.get("active", True),
        billing_scheme="per_unit",
        currency=currency,
        metadata=given.get("metadata", {}),
        nickname=given.get("nickname"),
        lookup_key=key,
        product=product["id"],
        recurring=recurring and whole_recurring(recurring),
        tax_behavior=given.get("tax_behavior", "unspecified"),
        type="recurring" if recurring else "one_time",
        unit_amount=check_price(given["unit_amount"], currency),
        unit_amount_decimal=str(given["unit_amount"]),
    )


def whole_recurring(given: Params) -> Object:
    return {
        "interval": given["interval"],
        "interval_count": given.get("interval_count", 1),
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }


@route("POST", "/v1/prices/{id}", "PriceUpdateParams", "active nickname metadata")
def update_price(sandbox: Sandbox, params: Params, id: str) -> Object:
    price = sandbox.get("price", id)
    if "metadata" in params:
        params["metadata"] = merged(price["metadata"], params["metadata"])
    sandbox.update(price, **params)
    emit(sandbox, "price.updated", price)
    return price


def price_of_line(sandbox: Sandbox, line: Params) -> Object:
    """Return the price that a line of a checkout or subscription names, or describes."""
    if "price_data" in line:
        return new_price(sandbox, line["price_data"])
    if "price" not in line:
        raise StripeError("You must specify either `price` or `price_data`.", param="price")
    price = sandbox.get("price", line["price"], param="price")
    if not price["active"]:
        raise StripeError(f"The price specified is inactive: {price['id']}.", param="price")
    return price


retrieve("product", "/v1/products", "ProductRetrieveParams")
listing("product", "/v1/products", "ProductListParams", "active")
retrieve("price", "/v1/prices", "PriceRetrieveParams")
listing("price", "/v1/prices", "PriceListParams", "active product currency type lookup_keys")
