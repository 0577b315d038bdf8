import json

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.db import OperationalError
from django.http import Http404
from django.test import RequestFactory
from rest_framework import exceptions

from creditsite.apikit import problems
from creditsite.apikit.problems import flat_errors, problem_response
from creditsite.errors import Conflict, InvalidRequest, NotFound, NotPermitted, Unavailable


class TooFew(Conflict):
    code = "too_few"
    status = 402

    def __init__(self):
        self.numbers = {"needed": 5, "available": 3, "status": "hidden"}
        super().__init__("5 are needed; 3 are there.")


class TestProblemResponse:
    @pytest.mark.parametrize(
        ("family", "status", "code"),
        [
            (InvalidRequest, 400, "invalid_request"),
            (NotPermitted, 403, "not_permitted"),
            (NotFound, 404, "not_found"),
            (Conflict, 409, "conflict"),
            (Unavailable, 503, "unavailable"),
        ],
    )
    def test_answers_each_family_with_its_status(self, family, status, code):
        response = problem_response(family("Why not."), {})
        assert response.status_code == status
        assert response.content_type == "application/problem+json"
        assert response.data == {
            "type": f"urn:creditsite:problem:{code}",
            "title": code.replace("_", " ").capitalize(),
            "status": status,
            "detail": "Why not.",
            "code": code,
        }

    def test_lets_a_leaf_have_a_status_and_numbers_of_its_own(self):
        response = problem_response(TooFew(), {})
        assert response.status_code == 402
        assert response.data == {
            "type": "urn:creditsite:problem:too_few",
            "title": "Too few",
            "status": 402,
            "detail": "5 are needed; 3 are there.",
            "code": "too_few",
            "needed": 5,
            "available": 3,
        }

    def test_says_when_to_come_back(self):
        assert problem_response(Unavailable("Down."), {}).headers["Retry-After"] == "5"
        assert problem_response(exceptions.Throttled(wait=17), {}).headers["Retry-After"] == "17"
        assert "Retry-After" not in problem_response(Conflict("No."), {}).headers

    @pytest.mark.parametrize(
        ("exc", "status", "code"),
        [
            (exceptions.ParseError(), 400, "invalid_request"),
            (exceptions.NotAuthenticated(), 401, "not_authenticated"),
            (exceptions.AuthenticationFailed(), 401, "not_authenticated"),
            (exceptions.PermissionDenied(), 403, "not_permitted"),
            (PermissionDenied(), 403, "not_permitted"),
            (exceptions.NotFound(), 404, "not_found"),
            (exceptions.MethodNotAllowed("PUT"), 405, "method_not_allowed"),
            (exceptions.NotAcceptable(), 406, "not_acceptable"),
            (exceptions.UnsupportedMediaType("text/plain"), 415, "unsupported_media_type"),
            (exceptions.Throttled(), 429, "throttled"),
        ],
    )
    def test_answers_refusals_of_the_framework(self, exc, status, code):
        response = problem_response(exc, {})
        assert (response.status_code, response.data["status"], response.data["code"]) == (
            status,
            status,
            code,
        )
        assert response.content_type == "application/problem+json"

    def test_names_no_model_when_one_is_not_found(self):
        response = problem_response(Http404("No Wallet matches the given query."), {})
        assert response.data["detail"] == "It does not exist, or is somebody else's."

    def test_lists_validation_errors_by_field(self):
        response = problem_response(exceptions.ValidationError({"amount": ["Too much."]}), {})
        assert response.data["code"] == "invalid_request"
        assert response.data["errors"] == {"amount": ["Too much."]}

    def test_asks_to_try_again_when_the_database_is_away_and_logs_it(self, caplog):
        response = problem_response(OperationalError("connection refused on 10.0.0.5"), {})
        assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
        assert "10.0.0.5" not in response.data["detail"]
        assert "10.0.0.5" in caplog.text

    def test_leaves_what_nobody_expected(self):
        assert problem_response(ZeroDivisionError(), {}) is None


class TestFlatErrors:
    def test_joins_the_path_to_each_field(self):
        nested = {
            "events": [{}, {"amount": ["No."], "inner": {"name": ["Blank.", "Short."]}}],
            "note": ["Long."],
        }
        assert flat_errors(nested) == {
            "events.1.amount": ["No."],
            "events.1.inner.name": ["Blank.", "Short."],
            "note": ["Long."],
        }

    def test_names_the_body_where_there_is_no_field(self):
        assert flat_errors(["Wrong."]) == {"body": ["Wrong."]}


class TestPages:
    @pytest.mark.parametrize(
        ("page", "args", "status", "code"),
        [
            (problems.bad_request, [SuspiciousOperation()], 400, "invalid_request"),
            (problems.permission_denied, [PermissionDenied()], 403, "not_permitted"),
            (problems.page_not_found, [Http404()], 404, "not_found"),
            (problems.server_error, [], 500, "internal_error"),
        ],
    )
    def test_answer_problem_documents_under_api_only(self, page, args, status, code):
        response = page(RequestFactory().get("/api/nowhere"), *args)
        assert (response.status_code, response["Content-Type"]) == (
            status,
            "application/problem+json",
        )
        assert json.loads(response.content)["code"] == code

        elsewhere = page(RequestFactory().get("/nowhere"), *args)
        assert elsewhere.status_code == status
        assert elsewhere["Content-Type"].startswith("text/html")
