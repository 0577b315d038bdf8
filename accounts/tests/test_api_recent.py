from datetime import UTC, datetime, timedelta

import pytest
from rest_framework.request import Request

from accounts.api.authentication import ApiKeyAuthentication, BearerAuthentication
from accounts.api.recent import is_recent
from accounts.api.tokens import refresh_token_for
from accounts.models import User
from accounts.services.api_keys import create_api_key
from accounts.tests.factories import StaffFactory, UserFactory

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.django_db
class TestIsRecent:
    def request(self, rf, authorization: str) -> Request:
        request = Request(
            rf.get("/", HTTP_AUTHORIZATION=authorization),
            authenticators=[BearerAuthentication(), ApiKeyAuthentication()],
        )
        assert isinstance(request.user, User)
        return request

    def test_holds_for_five_minutes_after_the_sign_in(self, rf):
        token = refresh_token_for(UserFactory(), at=AT)
        request = self.request(rf, f"Bearer {token.access_token}")
        assert is_recent(request, AT + timedelta(minutes=5))
        assert not is_recent(request, AT + timedelta(minutes=5, seconds=1))

    def test_believes_no_token_that_does_not_say_when(self, rf):
        token = refresh_token_for(UserFactory(), at=AT)
        del token["auth_time"]
        assert not is_recent(self.request(rf, f"Bearer {token.access_token}"), AT)

    def test_never_holds_for_a_service(self, rf):
        _, secret = create_api_key(
            name="gateway", owner=StaffFactory(), scopes=["credits:read"], actor=None, at=AT
        )
        assert not is_recent(self.request(rf, f"Api-Key {secret}"), AT)
