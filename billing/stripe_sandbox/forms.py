"""Bodies and queries as Stripe's SDKs write them: ``items[0][price]=price_1``."""

import re
from typing import Any
from urllib.parse import parse_qsl

from billing.stripe_sandbox.errors import StripeError

KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def decode(text: str) -> dict[str, Any]:
    """Return the nested values of a form; lists stay dictionaries of their indexes."""
    form: dict[str, Any] = {}
    for key, value in parse_qsl(text, keep_blank_values=True, max_num_fields=5_000):
        put(form, path_of(key), value)
    return form


def path_of(key: str) -> list[str]:
    if not (match := KEY.fullmatch(key)):
        raise StripeError(f"Invalid parameter name: {key}")
    return [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]


def put(form: dict[str, Any], path: list[str], value: str) -> None:
    *outer, last = path
    for name in outer:
        form = form.setdefault(name or str(len(form)), {})
        if not isinstance(form, dict):
            raise StripeError(f"Invalid parameter: {path[0]} is given twice.", param=path[0])
    form[last or str(len(form))] = value


def show(path: list[str]) -> str:
    """Return ``["items", "0", "price"]`` as ``items[0][price]``."""
    return path[0] + "".join(f"[{name}]" for name in path[1:])
