"""The OpenAPI document: what every operation has in common, added to what each says of itself."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import Direction

from accounts.permissions import API, PUBLIC
from creditsite.apikit.openapi import REFUSALS
from creditsite.apikit.problems import PROBLEM_JSON
from creditsite.apikit.views import ApiView

PROBLEM = {
    "type": "object",
    "description": "A problem document (RFC 9457). Further members are the numbers of the case.",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "For people."},
        "code": {"type": "string", "description": "For programs; stable."},
        "errors": {
            "type": "object",
            "description": "Of a body or query that is not valid: messages by field.",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
    "required": ["type", "title", "status", "detail", "code"],
    "additionalProperties": True,
}


class BearerScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.api.authentication.BearerAuthentication"
    name = "user"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "The access token of a signed-in user.",
        }


class ApiKeyScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.api.authentication.ApiKeyAuthentication"
    name = "service"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {
            "type": "apiKey",
            "in": "header",
            "name": "Authorization",
            "description": "`Api-Key <key>`, the key of a service. The roles named are its scopes.",
        }


class StrictSerializerExtension(OpenApiSerializerExtension):
    """Says that unknown members of a body are refused."""

    target_class = "creditsite.apikit.fields.StrictSerializer"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Direction) -> dict[str, Any]:
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        if type(self.target).__doc__ is None:  # else it is described by what it inherits from
            schema.pop("description", None)
        return {**schema, **self.target.rules, "additionalProperties": False}


class ApiSchema(AutoSchema):
    """Reads query parameters and scopes off our views."""

    def get_override_parameters(self) -> list[Any]:
        if not isinstance(self.view, ApiView) or self.method not in ("GET", "DELETE"):
            return []
        return [self.view.query_class] if self.view.query_class().fields else []

    def get_auth(self) -> list[dict[str, list[str]]]:
        """Return who may call, as the table of permissions has it."""
        door = API[self.path][self.method]
        if door == PUBLIC:
            return [{}]
        callers = [caller for caller in super().get_auth() if door.scope or "service" not in caller]
        return [
            {"service": [str(door.scope)]} if "service" in caller else caller for caller in callers
        ]


def add_problems(result: dict[str, Any], generator: Any, **kwargs: Any) -> dict[str, Any]:
    """Add to every operation the refusals it may answer with, as problem documents."""
    result["components"].setdefault("schemas", {})["Problem"] = PROBLEM
    for path, operations in result["paths"].items():
        for operation in operations.values():
            codes = common_codes(path, operation.get("security", []))
            for status, own in operation.pop(REFUSALS, {}).items():
                codes[status] = list(dict.fromkeys([*codes.get(status, []), *own]))
            for status in sorted(codes):
                named = ", ".join(f"`{code}`" for code in codes[status])
                operation["responses"][status] = problem(named)
            operation["responses"]["default"] = problem("Any other problem.")
    return result


def common_codes(path: str, security: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Return the codes that an operation may refuse with because of where it stands, by status."""
    codes = {"400": ["invalid_request"], "429": ["throttled"], "503": ["unavailable"]}
    if "{" in path:
        codes["404"] = ["not_found"]
    if {} not in security:
        codes |= {"401": ["not_authenticated"], "403": ["not_permitted"]}
    if any("service" in callers for callers in security):
        codes["403"].append("missing_scope")
    return codes


def problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {PROBLEM_JSON: {"schema": schema}}}
