import base64
import json
from datetime import timedelta

import jwt
import pytest
import time_machine
from django.conf import settings
from django.utils import timezone
from rest_framework.test import APIClient
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken

from accounts.api.authentication import ApiKeyAuthentication, BearerAuthentication
from accounts.api.tokens import refresh_token_for, token_pair
from accounts.choices import ApiScope, StaffGroup
from accounts.models import User
from accounts.services.api_keys import create_api_key, revoke_api_key
from accounts.services.users import create_staff

ME = "/api/auth/me"


@pytest.fixture
def user(db) -> User:
    return User.objects.create_user("ada@example.com")


def claims(user: User, **changes) -> dict:
    """What an access token of ``user`` says, with ``changes``; ``None`` takes a claim away."""
    now = int(timezone.now().timestamp())
    said = {
        "token_type": "access",
        "iat": now,
        "exp": now + 900,
        "jti": "1",
        "user_id": str(user.pk),
        "token_version": user.token_version,
        "aud": "creditsite-api",
        "iss": "creditsite",
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


def signed(payload: dict, *, key: str | None = None, algorithm: str = "HS256") -> str:
    return jwt.encode(
        payload, settings.JWT_SIGNING_KEY if key is None else key, algorithm=algorithm
    )


def me(authorization: str):
    return APIClient().get(ME, HTTP_AUTHORIZATION=authorization)


class TestBearerAuthentication:
    def test_lets_a_user_in(self, user):
        assert me(f"Bearer {token_pair(user)['access']}").json()["id"] == user.pk

    def test_takes_the_scheme_in_any_case(self, user):
        assert me(f"bearer {token_pair(user)['access']}").status_code == 200

    def test_loads_the_user_in_one_query(self, user, rf, django_assert_num_queries):
        request = rf.get(ME, HTTP_AUTHORIZATION=f"Bearer {token_pair(user)['access']}")
        with django_assert_num_queries(1):
            assert BearerAuthentication().authenticate(request)[0] == user

    def test_says_who_and_when_in_a_token_and_nothing_about_rights(self, user):
        for token in token_pair(user).values():
            said = jwt.decode(token, options={"verify_signature": False})
            assert said.keys() == {
                "token_type", "exp", "iat", "jti", "aud", "iss",
                "user_id", "token_version", "sid", "auth_time", "amr",
            }  # fmt: skip

    def test_ends_at_once_with_its_session(self, user):
        pair, other = token_pair(user), token_pair(user)
        assert APIClient().post("/api/auth/logout", {"refresh": pair["refresh"]}).status_code == 204
        assert me(f"Bearer {pair['access']}").status_code == 401
        assert me(f"Bearer {other['access']}").status_code == 200

    def test_accepts_what_the_key_of_before_has_signed(self, user, settings):
        token = token_pair(user)["access"]
        settings.JWT_SIGNING_KEY, settings.JWT_SIGNING_KEY_OLD = "n" * 50, settings.JWT_SIGNING_KEY
        assert me(f"Bearer {token}").status_code == 200
        newer = token_pair(user)["access"]
        assert me(f"Bearer {newer}").status_code == 200
        settings.JWT_SIGNING_KEY_OLD = ""
        assert [me(f"Bearer {each}").status_code for each in (token, newer)] == [401, 200]

    @pytest.mark.parametrize("kid", ["", "unknown", None, 5, ["a"]])
    def test_refuses_a_key_that_is_named_but_not_ours(self, user, kid):
        text = jwt.encode(claims(user), "k" * 50, algorithm="HS256")
        head = {"alg": "HS256", "typ": "JWT", "kid": kid}
        encoded = base64.urlsafe_b64encode(json.dumps(head).encode()).rstrip(b"=").decode()
        forged = ".".join([encoded, *text.split(".")[1:]])
        assert me(f"Bearer {forged}").status_code == 401

    def test_accepts_the_claims_that_the_refusals_below_change(self, user):
        assert me(f"Bearer {signed(claims(user))}").status_code == 200

    @pytest.mark.parametrize(
        "changes",
        [
            {"aud": "other"},
            {"aud": None},
            {"iss": "other"},
            {"iss": None},
            {"exp": None},
            {"exp": 1},
            {"jti": None},
            {"token_type": "refresh"},
            {"token_type": None},
            {"user_id": None},
            {"user_id": "0"},
            {"token_version": 1},
            {"token_version": None},
        ],
    )
    def test_refuses_a_token_that_says_otherwise(self, user, changes):
        assert me(f"Bearer {signed(claims(user, **changes))}").status_code == 401

    def test_refuses_other_keys_and_algorithms(self, user):
        assert (
            me(f"Bearer {signed(claims(user), key='another key of 32 bytes or more!')}").status_code
            == 401
        )
        assert me(f"Bearer {signed(claims(user), algorithm='HS384')}").status_code == 401
        assert me(f"Bearer {signed(claims(user), key='', algorithm='none')}").status_code == 401

    @pytest.mark.parametrize("value", ["", "x", "a.b.c", "a b", "é", "." * 5000, "\x00"])
    def test_refuses_what_is_no_token(self, db, value):
        response = me(f"Bearer {value}")
        assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")
        assert response["WWW-Authenticate"] == 'Bearer realm="api", Api-Key realm="api"'

    @pytest.mark.parametrize("header", ["", "Basic YTpi", "Token x", "Bearer"])
    def test_refuses_other_headers(self, db, header):
        assert me(header).status_code == 401

    def test_ends_after_15_minutes(self, user):
        token = token_pair(user)["access"]
        with time_machine.travel(timezone.now() + timedelta(minutes=14, seconds=58)):
            assert me(f"Bearer {token}").status_code == 200
        with time_machine.travel(timezone.now() + timedelta(minutes=15, seconds=1)):
            assert me(f"Bearer {token}").status_code == 401

    def test_ends_at_once_when_the_user_is_shut_out(self, user):
        token = token_pair(user)["access"]
        User.objects.filter(pk=user.pk).update(is_active=False)
        assert me(f"Bearer {token}").status_code == 401

    def test_ends_at_once_when_the_version_is_raised(self, user):
        token = token_pair(user)["access"]
        User.objects.filter(pk=user.pk).update(token_version=1)
        assert me(f"Bearer {token}").status_code == 401


class TestApiKeyAuthentication:
    @pytest.fixture
    def owner(self, db) -> User:
        return create_staff(
            email="owner@example.com",
            password="correct horse battery staple",
            groups=[StaffGroup.FINANCE],
            actor=None,
            at=timezone.now(),
            reason="Test",
        )

    @pytest.fixture
    def key(self, owner):
        return create_api_key(
            name="Service",
            owner=owner,
            scopes=[ApiScope.CREDITS_READ],
            actor=None,
            at=timezone.now(),
        )

    def test_names_the_owner_and_the_key(self, owner, key, rf, django_assert_num_queries):
        request = rf.get(ME, HTTP_AUTHORIZATION=f"Api-Key {key[1]}")
        ApiKeyAuthentication().authenticate(request)  # which writes down that it was used
        with django_assert_num_queries(1):
            assert ApiKeyAuthentication().authenticate(request) == (owner, key[0])

    def test_is_shut_out_of_doors_for_users(self, key):
        response = me(f"Api-Key {key[1]}")
        assert (response.status_code, response.json()["code"]) == (403, "not_permitted")

    @pytest.mark.parametrize("value", ["", "x", "ck_live_", "é", "\x00", "x" * 5000])
    def test_refuses_what_is_no_key(self, db, value):
        response = me(f"Api-Key {value}")
        assert (response.status_code, response.json()["code"]) == (401, "not_authenticated")

    def test_refuses_a_revoked_key(self, owner, key):
        revoke_api_key(key=key[0], actor=None, reason="Test", at=timezone.now())
        assert me(f"Api-Key {key[1]}").status_code == 401

    def test_refuses_the_key_of_an_owner_who_was_shut_out(self, owner, key):
        User.objects.filter(pk=owner.pk).update(is_active=False)
        assert me(f"Api-Key {key[1]}").status_code == 401


class TestUserRefreshToken:
    def test_is_revoked_once(self, user):
        token = refresh_token_for(user)
        assert (token.revoke(), token.revoke()) == (True, False)

    def test_is_stored_nowhere_in_full(self, user):
        token = refresh_token_for(user)
        assert not OutstandingToken.objects.exists()
        token.revoke()
        assert [kept.token for kept in OutstandingToken.objects.all()] == [""]
