import pytest
from django.test import RequestFactory
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from creditsite.apikit.fields import CreditsField, QueryInteger, QuerySerializer, StrictSerializer
from creditsite.apikit.views import ApiView, body_of, document_of

requests = APIRequestFactory()


class Body(StrictSerializer):
    amount = CreditsField(required=False)


class Query(QuerySerializer):
    size = QueryInteger(default=50)


class EchoView(ApiView):
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = []
    query_class = Query

    def get(self, request):
        return Response(self.query)

    delete = get

    def post(self, request):
        return Response(body_of(request, Body))


class ShutView(EchoView):
    def check_permissions(self, request):
        self.permission_denied(request)


def answer(request, view=EchoView):
    return view.as_view()(request).render()


class TestApiView:
    @pytest.mark.parametrize("method", ["get", "delete"])
    def test_reads_the_query(self, method):
        assert answer(getattr(requests, method)("/?size=5")).data == {"size": 5}

    def test_refuses_query_parameters_it_does_not_know(self):
        response = answer(requests.get("/?format=json"))
        assert (response.status_code, response.data["errors"]) == (
            400,
            {"format": ["Unknown field."]},
        )

    def test_takes_no_query_parameters_with_a_body(self):
        response = answer(requests.post("/?size=5", {}))
        assert (response.status_code, response.data["errors"]) == (
            400,
            {"size": ["Unknown field."]},
        )

    def test_looks_at_the_door_before_the_shape(self):
        assert answer(requests.get("/?size=x"), ShutView).status_code == 403

    def test_reads_a_json_body(self):
        assert answer(requests.post("/", {"amount": 5})).data == {"amount": 5}

    def test_refuses_a_body_that_is_not_valid(self):
        response = answer(requests.post("/", {"amount": "5"}))
        assert (response.status_code, list(response.data["errors"])) == (400, ["amount"])

    def test_takes_a_missing_body_for_an_empty_one(self):
        assert answer(RequestFactory().post("/", content_type="application/json")).data == {}

    def test_refuses_a_body_without_a_length(self):
        request = RequestFactory().post(
            "/", HTTP_TRANSFER_ENCODING="chunked", content_type="application/json"
        )
        request.META.pop("CONTENT_LENGTH", None)
        response = answer(request)
        assert (response.status_code, response.data["detail"]) == (
            400,
            "Send the body with a Content-Length.",
        )

    @pytest.mark.parametrize(
        "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"]
    )
    def test_refuses_bodies_that_are_not_json(self, kind):
        response = answer(RequestFactory().post("/", b"amount=5", content_type=kind))
        assert (response.status_code, response.data["code"]) == (415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "body", [b"[" * 20_000, b"[]", b'{"amount": NaN}', b"\xff", b'{"amount": 5, "amount": 6}']
    )
    def test_refuses_bodies_that_mean_nothing(self, body):
        response = answer(RequestFactory().post("/", body, content_type="application/json"))
        assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
        assert response.data["code"] == "invalid_request"

    @pytest.mark.parametrize("method", ["put", "patch", "options"])
    @pytest.mark.parametrize("path", ["/", "/?unknown=1"])
    def test_refuses_methods_it_does_not_have(self, method, path):
        response = answer(getattr(requests, method)(path))
        assert (response.status_code, response.data["code"]) == (405, "method_not_allowed")
        assert response["Allow"] == "GET, POST, DELETE, HEAD, OPTIONS"


class TestDocumentOf:
    def test_makes_the_document_anew_each_time(self):
        assert document_of(Body, {"amount": 5}) == {"amount": 5}
        assert document_of(Body, {"amount": 6}) == {"amount": 6}
