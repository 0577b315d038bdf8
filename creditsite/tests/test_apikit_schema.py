import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import Client
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from rest_framework import serializers

from accounts.choices import ApiScope
from accounts.permissions import API, USER, key
from creditsite.apikit.fields import CreditsField, QuantityField, StrictSerializer
from creditsite.apikit.openapi import operation
from creditsite.apikit.pagination import ListQuery, page_of
from creditsite.apikit.views import ApiView
from creditsite.errors import Conflict


class TooFew(Conflict):
    code = "too_few"
    status = 402


class ThingRequest(StrictSerializer):
    rules = {"minProperties": 1}
    amount = CreditsField()
    quantity = QuantityField(required=False)


class ThingDocument(serializers.Serializer):
    id = serializers.UUIDField()


class ThingsView(ApiView):
    query_class = ListQuery

    @operation("listThings", answers={200: page_of(ThingDocument)})
    def get(self, request):
        """List things."""

    @operation(
        "makeThing",
        body=ThingRequest,
        answers={201: ThingDocument},
        refusals=[TooFew, Conflict],
        takes_key=True,
    )
    def post(self, request):
        """Make a thing."""


class ThingView(ApiView):
    @operation("getThing", answers={200: ThingDocument})
    def get(self, request, pk):
        """Show a thing."""


@pytest.fixture(scope="module")
def schema() -> dict:
    urls = [
        path("api/things", ThingsView.as_view()),
        path("api/things/<uuid:pk>", ThingView.as_view()),
    ]
    things = {"GET": key(ApiScope.CREDITS_READ), "POST": key(ApiScope.CREDITS_HOLD)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(API, "/api/things", things)
        patch.setitem(API, "/api/things/{id}", {"GET": USER})
        return SchemaGenerator(patterns=urls).get_schema(request=None, public=True)


def refusals_of(operation: dict) -> dict[str, str]:
    return {
        status: response["description"]
        for status, response in operation["responses"].items()
        if "application/problem+json" in response.get("content", {})
    }


class TestSchema:
    def test_names_the_scope_of_each_operation(self, schema):
        things = schema["paths"]["/api/things"]
        assert things["get"]["security"] == [{"user": []}, {"service": ["credits:read"]}]
        assert things["post"]["security"] == [{"user": []}, {"service": ["credits:hold"]}]

    def test_names_no_service_where_only_users_may(self, schema):
        assert schema["paths"]["/api/things/{id}"]["get"]["security"] == [{"user": []}]

    def test_lists_every_refusal(self, schema):
        assert refusals_of(schema["paths"]["/api/things"]["post"]) == {
            "400": "`invalid_request`",
            "401": "`not_authenticated`",
            "402": "`too_few`",
            "403": "`not_permitted`, `missing_scope`",
            "409": "`conflict`",
            "429": "`throttled`",
            "503": "`unavailable`",
            "default": "Any other problem.",
        }
        thing = refusals_of(schema["paths"]["/api/things/{id}"]["get"])
        assert (thing["403"], thing["404"]) == ("`not_permitted`", "`not_found`")

    def test_asks_for_the_key_where_it_is_taken(self, schema):
        things = schema["paths"]["/api/things"]
        assert [(p["name"], p["in"]) for p in things["post"]["parameters"]] == [
            ("Idempotency-Key", "header")
        ]

    def test_lists_query_parameters_with_their_bounds(self, schema):
        parameters = {p["name"]: p for p in schema["paths"]["/api/things"]["get"]["parameters"]}
        assert parameters.keys() == {"cursor", "page_size"}
        assert parameters["page_size"]["schema"] == {
            "type": "integer",
            "maximum": 200,
            "minimum": 1,
            "default": 50,
        }

    def test_describes_pages_without_the_nullable_of_openapi_3_0(self, schema):
        page = schema["components"]["schemas"]["ThingPage"]
        assert page["required"] == ["next", "previous", "results"]
        assert page["properties"]["next"]["type"] == ["string", "null"]
        assert "nullable" not in str(schema)

    def test_says_that_unknown_members_are_refused_and_what_members_must_be_together(self, schema):
        body = schema["components"]["schemas"]["ThingRequest"]
        assert body["additionalProperties"] is False
        assert body["minProperties"] == 1
        assert body["properties"]["amount"] == {
            "type": "integer",
            "maximum": 1_000_000_000,
            "minimum": 1,
        }
        assert body["properties"]["quantity"]["type"] == "number"
        assert "description" not in body

    def test_is_committed_as_it_is(self, tmp_path):
        # After a change of the API: manage.py spectacular --file docs/openapi.yaml
        made = tmp_path / "openapi.yaml"
        call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(made))
        assert Path(settings.BASE_DIR, "docs/openapi.yaml").read_text() == made.read_text()


class TestSchemaPage:
    def test_serves_the_document_to_everybody(self):
        response = Client().get("/api/schema", HTTP_ACCEPT="application/vnd.oai.openapi+json")
        assert response.json()["openapi"] == "3.1.1"
        assert set(response.json()["components"]["securitySchemes"]) == {"user", "service"}


class TestDocsPage:
    def test_loads_nothing_from_elsewhere_and_runs_no_inline_script(self):
        page = Client().get("/api/docs").content.decode()
        sources = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(sources) >= 3
        assert [
            source for source in sources if not source.startswith(("/static/", "/api/docs?"))
        ] == []
        assert re.findall(r"<script>|<script [^>]*>\s*\S+\s*</script>", page) == []
