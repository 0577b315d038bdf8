"""
What the pinned SDK's generated types say of requests and objects.

Requests are read by the ``stripe.params`` of their operation, strictly: the SDK writes enumerations
as ``Literal[...] | str``, and a word that is not in the list is refused here.
"""

import re
import sys
import typing
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from functools import cache
from typing import Any, ForwardRef, Literal, NotRequired, Required, Union, get_args, get_origin

import typing_extensions
from stripe import ListObject, StripeObject
from stripe._request_options import RequestOptions

from billing.stripe_sandbox.errors import StripeError, unknown_here
from billing.stripe_sandbox.forms import show

Path = list[str]
UNIONS = (Union, type(int | str))
WRAPPERS = (NotRequired, Required, typing_extensions.NotRequired, typing_extensions.Required)
OPTIONS = frozenset(RequestOptions.__annotations__)


# --- Requests -------------------------------------------------------------------------------------
def read_params(params: type, form: dict[str, Any], knows: frozenset[str]) -> dict[str, Any]:
    """
    Return ``form`` in the types that ``params`` declares.

    :raises StripeError: something is unknown, missing or of another type; or it is right, but not
        among what the operation ``knows`` (dotted names; one covers all that is under it).
    """
    values = read_fields(params, form, [])
    for name in leaves(values):
        if not covered(name, knows):
            raise unknown_here(f"the parameter {name} in this call", param=name)
    return values


def read_fields(params: Any, form: dict[str, Any], path: Path) -> dict[str, Any]:
    known = fields_of(params)
    if unknown := [name for name in form if name not in known]:
        raise refuse("Received unknown parameter", [*path, unknown[0]], code="parameter_unknown")
    for name in sorted(params.__required_keys__ - OPTIONS):
        if name not in form:
            where = [*path, name]
            raise StripeError(
                f"Missing required param: {show(where)}.",
                code="parameter_missing",
                param=show(where),
            )
    return {name: read(known[name], value, [*path, name]) for name, value in form.items()}


def read(kind: Any, value: Any, path: Path) -> Any:
    arms = arms_of(kind)
    if isinstance(value, dict):
        return read_nested(arms, value, path)
    if value == "" and "" not in literals(arms) and str not in arms:
        raise refuse("You passed an empty string for", path, code="parameter_invalid_empty")
    return read_text(arms, value, path)


def read_nested(arms: list[Any], value: dict[str, Any], path: Path) -> Any:
    for arm in arms:
        if is_typed_dict(arm):
            return read_fields(arm, value, path)
        if get_origin(arm) is list:
            return [read(get_args(arm)[0], one, [*path, i]) for i, one in in_order(value, path)]
        if is_mapping(arm):
            return {name: read(str, one, [*path, name]) for name, one in value.items()}
    raise refuse("Invalid string", path)


def in_order(value: dict[str, Any], path: Path) -> list[tuple[str, Any]]:
    if not all(re.fullmatch(r"[0-9]{1,4}", name) for name in value):
        raise refuse("Invalid array", path)
    return sorted(value.items(), key=lambda item: int(item[0]))


def read_text(arms: list[Any], value: str, path: Path) -> Any:
    words = literals(arms)
    if value in words:
        return value
    for arm in arms:
        if arm in READERS and not (arm is str and words - {""}):
            reader, refusal = READERS[arm]
            try:
                return reader(value)
            except (ValueError, InvalidOperation):
                raise refuse(f"{refusal}: {value}", path) from None
    if words - {""}:
        allowed = ", ".join(sorted(words - {""}))
        raise StripeError(f"Invalid {show(path)}: must be one of {allowed}", param=show(path))
    wants_list = any(get_origin(arm) is list for arm in arms)
    raise refuse("Invalid array" if wants_list else "Invalid object", path)


def whole_number(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def truth(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(text)
    return text == "true"


READERS: dict[Any, tuple[Any, str]] = {
    int: (whole_number, "Invalid integer"),
    bool: (truth, "Invalid boolean"),
    float: (float, "Invalid decimal"),
    Decimal: (Decimal, "Invalid decimal"),
    str: (str, "Invalid string"),
}


def refuse(message: str, path: Path, **more: Any) -> StripeError:
    code = "parameter_invalid_integer" if message.startswith("Invalid integer") else None
    more = {**({"code": code} if code else {}), **more}
    end = "" if ": " in message else f": {show(path)}"
    return StripeError(f"{message}{end}", param=show(path), **more)


def leaves(values: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(values, dict) and (values or not path):
        for name, value in values.items():
            yield from leaves(value, (*path, name))
    elif isinstance(values, list):
        for value in values:
            yield from leaves(value, path)
    else:
        yield ".".join(path)


def covered(name: str, knows: frozenset[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:count]) in knows for count in range(1, len(parts) + 1))


# --- Objects --------------------------------------------------------------------------------------
def complete(kind: type[StripeObject], given: dict[str, Any]) -> dict[str, Any]:
    """
    Return ``given`` with null for every field that objects of ``kind`` have and it does not name.

    Lists inside an object and ``deleted`` are only there when given; so is what begins with ``_``,
    which is ours and never shown.
    """
    fields = object_fields(typing.cast(Any, kind))
    known = {name for name in given if not name.startswith("_")}
    missing = [name for name, kept in fields.items() if kept is ALWAYS and name not in given]
    if unknown := known - fields.keys() or missing:
        raise TypeError(f"{kind.__name__} of the SDK differs in: {', '.join(sorted(unknown))}")
    return {name: None for name, kept in fields.items() if kept is NULL} | given


ALWAYS, NULL, WHEN_GIVEN = "always", "null", "when given"


@cache
def object_fields(kind: Any) -> dict[str, str]:
    hints = {n: h for n, h in kind.__annotations__.items() if get_origin(h) is not typing.ClassVar}
    return {name: kept(name, list(get_args(hint))) for name, hint in hints.items()}


def kept(name: str, arms: list[Any]) -> str:
    if type(None) not in arms:
        return ALWAYS
    return WHEN_GIVEN if name == "deleted" or any(is_list_object(arm) for arm in arms) else NULL


def is_list_object(arm: Any) -> bool:
    return get_origin(arm) is ListObject


# --- Types ----------------------------------------------------------------------------------------
@cache
def fields_of(params: Any) -> dict[str, Any]:
    """Return what a ``TypedDict`` of parameters declares, without the SDK's own options."""
    names = vars(sys.modules[params.__module__])
    hints = {**params.__annotations__}
    return {n: resolved(hint, names) for n, hint in hints.items() if n not in OPTIONS}


def resolved(hint: Any, names: dict[str, Any]) -> Any:
    """Return ``hint`` with the names in it replaced by what they name."""
    if isinstance(hint, str | ForwardRef):
        text = hint if isinstance(hint, str) else hint.__forward_arg__
        return resolved(eval(text, {**vars(typing), **names}), names)  # noqa: S307
    if get_origin(hint) in WRAPPERS:
        return resolved(get_args(hint)[0], names)
    if get_origin(hint) in UNIONS:
        return Union[tuple(resolved(arm, names) for arm in get_args(hint))]  # noqa: UP007
    if get_origin(hint) is list:
        return list[resolved(get_args(hint)[0], names)]  # type: ignore[misc]
    return hint


def arms_of(kind: Any) -> list[Any]:
    return list(get_args(kind)) if get_origin(kind) in UNIONS else [kind]


def literals(arms: list[Any]) -> set[Any]:
    return {word for arm in arms if get_origin(arm) is Literal for word in get_args(arm)}


def is_typed_dict(arm: Any) -> bool:
    return isinstance(arm, type) and hasattr(arm, "__required_keys__")


def is_mapping(arm: Any) -> bool:
    return get_origin(arm) is dict
