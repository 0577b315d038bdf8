from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import (
    TOTP,
    format_hotp_value,
    generate_totp_secret,
    hotp_value,
)
from django.contrib.auth.hashers import MD5PasswordHasher
from django.core.cache import caches
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.api import throttles
from accounts.api.tokens import refresh_token_for, token_pair
from accounts.models import Role, Team, TeamMembership, User
from accounts.services.second_factor import use_code
from accounts.services.users import register_user
from audit.models import AuditEvent
from creditsite.apikit.throttles import Throttle
from creditsite.testing.races import race

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
PASSWORD = "correct horse battery staple"
HIDDEN = ["a\x00b", "a\nb", "a\u202eb", "a\u2028b"]


@pytest.fixture(autouse=True)
def fast_hashes(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def fresh_throttles(monkeypatch):
    monkeypatch.setattr(throttles, "CALLS", {scope: Throttle(scope) for scope in throttles.CALLS})


@pytest.fixture
def user(db) -> User:
    return register_user(email="ada@example.com", password=PASSWORD, name="Ada", at=timezone.now())


def post(path: str, body: object = None, **headers: str):
    return APIClient().post(f"/api/auth/{path}", body, **headers)


def me(access: str):
    return APIClient().get("/api/auth/me", HTTP_AUTHORIZATION=f"Bearer {access}")


def said_by(token: str) -> dict[str, Any]:
    return jwt.decode(token, options={"verify_signature": False})


def give_app(user: User) -> Callable[[datetime], str]:
    """Give ``user`` an authenticator app; return what shows its code at a time."""
    secret = generate_totp_secret()
    TOTP.activate(user, secret)
    return lambda at: format_hotp_value(hotp_value(secret, int(at.timestamp()) // 30))


def refused(response) -> tuple[int, str, list[str]]:
    assert response["Content-Type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == response.status_code
    return response.status_code, document["code"], sorted(document.get("errors", {}))


@pytest.mark.django_db
class TestRegister:
    def test_makes_an_account_and_signs_in(self):
        response = post(
            "register", {"email": " New@Example.com", "password": PASSWORD, "name": "Neu"}
        )
        assert response.status_code == 201
        user = User.objects.get(email="new@example.com")
        answer = response.json()
        assert answer.keys() == {"user", "access", "refresh"}
        assert answer["user"] == {
            "id": user.pk,
            "email": "new@example.com",
            "name": "Neu",
            "role": "member",
            "is_partner": False,
            "is_agent": False,
            "referral_code": user.referral_code,
            "teams": [],
            "features": [],
        }
        assert me(answer["access"]).json() == answer["user"]

    def test_needs_no_name(self):
        assert (
            post("register", {"email": "new@example.com", "password": PASSWORD}).status_code == 201
        )
        body = {"email": "new2@example.com", "password": PASSWORD, "name": ""}
        assert post("register", body).status_code == 201

    def test_keeps_who_referred_them(self, user):
        body = {
            "email": "new@example.com",
            "password": PASSWORD,
            "referral_code": user.referral_code,
        }
        assert post("register", body).status_code == 201
        assert User.objects.get(email="new@example.com").referrer == user

    def test_refuses_an_address_that_is_taken_however_it_is_written(self, user):
        response = post("register", {"email": "ADA@example.com", "password": PASSWORD})
        assert refused(response) == (400, "invalid_request", ["email"])
        assert User.objects.count() == 1

    def test_refuses_an_unknown_referral_code(self):
        body = {"email": "new@example.com", "password": PASSWORD, "referral_code": "NOBODY"}
        assert refused(post("register", body)) == (400, "invalid_request", ["referral_code"])

    def test_names_every_field_that_is_missing(self):
        assert refused(post("register", {})) == (400, "invalid_request", ["email", "password"])

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *[
                ("email", value)
                for value in [
                    "",
                    "ada",
                    "a@b",
                    "a b@c.de",
                    5,
                    None,
                    True,
                    [],
                    {},
                    "a@" + "b" * 260 + ".de",
                ]
            ],
            *[("password", value) for value in ["", "short", 12345678901, None, [], {}, "x" * 129]],
            *[("name", value) for value in ["x" * 151, 5, None, [], {}]],
            *[("referral_code", value) for value in ["", "x" * 17, 5, None]],
            ("role", "super_admin"),
            ("is_staff", True),
        ],
    )
    def test_refuses_each_field_that_will_not_do(self, field, value):
        body = {"email": "new@example.com", "password": PASSWORD, field: value}
        assert refused(post("register", body)) == (400, "invalid_request", [field])
        assert not User.objects.exists()

    @pytest.mark.parametrize("field", ["email", "password", "name", "referral_code"])
    @pytest.mark.parametrize("hidden", HIDDEN)
    def test_refuses_hidden_characters_in_any_field(self, field, hidden):
        body = {"email": "new@example.com", "password": PASSWORD, field: hidden}
        assert refused(post("register", body))[:2] == (400, "invalid_request")

    def test_is_throttled_by_address(self, settings):
        settings.API_THROTTLES = {**settings.API_THROTTLES, "register": (2, 3600)}
        statuses = [post("register", {}).status_code for _ in range(3)]
        assert statuses == [400, 400, 429]


@pytest.mark.django_db
class TestToken:
    def test_signs_in(self, user):
        response = post("token", {"email": "Ada@Example.com", "password": PASSWORD})
        assert (response.status_code, response.json().keys()) == (200, {"access", "refresh"})
        assert me(response.json()["access"]).json()["id"] == user.pk

    def test_needs_no_code_of_who_has_no_second_factor(self, user):
        body = {"email": "ada@example.com", "password": PASSWORD, "otp": "123456"}
        assert post("token", body).status_code == 200

    def test_says_when_and_how_the_user_signed_in(self, user):
        before = int(timezone.now().timestamp())
        tokens = post("token", {"email": "ada@example.com", "password": PASSWORD}).json()
        for text in tokens.values():
            said = said_by(text)
            assert before <= said["auth_time"] <= before + 5
            assert said["amr"] == ["pwd"]

    def test_minds_no_stale_header(self, user):
        body = {"email": "ada@example.com", "password": PASSWORD}
        assert post("token", body, HTTP_AUTHORIZATION="Bearer stale").status_code == 200

    def test_answers_the_same_to_every_wrong_sign_in(self, user):
        User.objects.create_user("shut@example.com", PASSWORD, is_active=False)
        User.objects.create_user("service@example.com", None)
        give_app(User.objects.create_user("safe@example.com", PASSWORD))
        answers = [
            post("token", {"email": email, "password": password, "otp": "000000"})
            for email, password in [
                ("ada@example.com", "wrong"),
                ("nobody@example.com", PASSWORD),
                ("shut@example.com", PASSWORD),
                ("service@example.com", PASSWORD),
                ("safe@example.com", "wrong"),
                ("safe@example.com", PASSWORD),
            ]
        ]
        assert {answer.content for answer in answers} == {answers[0].content}
        assert refused(answers[0]) == (401, "not_authenticated", [])
        assert answers[0]["WWW-Authenticate"].startswith("Bearer")

    def test_hashes_once_whoever_tries(self, user, monkeypatch):
        User.objects.create_user("shut@example.com", PASSWORD, is_active=False)
        User.objects.create_user("service@example.com", None)
        give_app(User.objects.create_user("safe@example.com", PASSWORD))
        hashed = []
        encode = MD5PasswordHasher.encode
        monkeypatch.setattr(
            MD5PasswordHasher, "encode", lambda self, *args: hashed.append(1) or encode(self, *args)
        )
        counts = {}
        for name in ("ada", "nobody", "shut", "service", "safe"):
            for password in ("wrong", PASSWORD):
                hashed.clear()
                post("token", {"email": f"{name}@example.com", "password": password})
                counts[name, password] = len(hashed)
        assert set(counts.values()) == {1}

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            *[("email", value) for value in ["", "ada", 5, None, [], {}]],
            *[("password", value) for value in ["", 5, None, [], "x" * 129]],
            *[("otp", value) for value in ["", 123456, None, "1" * 17]],
            ("username", "ada"),
        ],
    )
    def test_refuses_each_field_that_will_not_do(self, field, value):
        body = {"email": "ada@example.com", "password": PASSWORD, field: value}
        assert refused(post("token", body)) == (400, "invalid_request", [field])

    @pytest.mark.parametrize(
        "body", ["[]", '"x"', "[" * 20_000, '{"email": NaN}', '{"email": "\\ud800"}']
    )
    def test_refuses_bodies_that_mean_nothing(self, body):
        response = APIClient().post("/api/auth/token", body, content_type="application/json")
        assert refused(response) == (400, "invalid_request", [])

    def test_refuses_forms(self):
        response = APIClient().post(
            "/api/auth/token", "email=a", content_type="application/x-www-form-urlencoded"
        )
        assert refused(response) == (415, "unsupported_media_type", [])


@pytest.mark.django_db
class TestSecondFactor:
    def sign_in(self, otp: str | None = None, password: str = PASSWORD):
        body = {"email": "ada@example.com", "password": password}
        return post("token", body if otp is None else {**body, "otp": otp})

    @pytest.fixture
    def noon(self):
        with time_machine.travel(NOON, tick=False) as clock:
            yield clock

    def test_is_asked_for_after_the_right_password_only(self, user):
        give_app(user)
        assert refused(self.sign_in()) == (401, "second_factor_required", [])
        assert refused(self.sign_in(password="wrong")) == (401, "not_authenticated", [])

    def test_lets_a_code_sign_in_and_says_so_in_the_token(self, user, noon):
        app = give_app(user)
        answer = self.sign_in(app(NOON))
        assert answer.status_code == 200
        assert said_by(answer.json()["access"])["amr"] == ["pwd", "otp"]
        assert Authenticator.objects.get(user=user, type="totp").last_used_at == NOON

    def test_lets_a_code_sign_in_once_whatever_the_cache(self, user, noon):
        app = give_app(user)
        assert self.sign_in(app(NOON)).status_code == 200
        caches["default"].clear()
        assert refused(self.sign_in(app(NOON))) == (401, "not_authenticated", [])
        noon.shift(30)
        assert self.sign_in(app(NOON)).status_code == 401
        assert self.sign_in(app(NOON + timedelta(seconds=30))).status_code == 200

    def test_lets_a_code_sign_in_one_of_many_at_once(self, ledger_db, noon):
        user = register_user(email="ada@example.com", password=PASSWORD, at=NOON)
        code = give_app(user)(NOON)
        outcomes = race(*[lambda: use_code(user=user, code=code, at=NOON)] * 6)
        assert (outcomes.count("Authenticator"), outcomes.count("NoneType")) == (1, 5)

    def test_lets_a_recovery_code_sign_in_once(self, user):
        give_app(user)
        codes = RecoveryCodes.activate(user).generate_codes()
        assert [self.sign_in(code).status_code for code in (codes[3], codes[3], codes[0])] == [
            200,
            401,
            200,
        ]

    def test_takes_no_code_of_somebody_else(self, user, noon):
        give_app(user)
        other = give_app(User.objects.create_user("bob@example.com", PASSWORD))
        assert self.sign_in(other(NOON)).status_code == 401

    def test_counts_wrong_codes_as_wrong_passwords(self, user, noon):
        app = give_app(user)
        assert [self.sign_in("000000").status_code for _ in range(6)] == [401] * 5 + [429]
        assert self.sign_in(app(NOON)).status_code == 429
        assert self.sign_in().status_code == 429

    def test_is_not_forgiven_wrong_codes_for_the_password_alone(self, user):
        give_app(user)
        for _ in range(4):
            self.sign_in("000000")
            assert self.sign_in().json()["code"] == "second_factor_required"
        assert [self.sign_in("000000").status_code for _ in range(2)] == [401, 429]

    def test_must_be_there_for_staff_outside_the_demo(self, user, settings, noon):
        User.objects.filter(pk=user.pk).update(is_staff=True)
        assert self.sign_in().status_code == 200
        settings.STAFF_NEED_SECOND_FACTOR = True
        for otp in (None, "123456"):
            assert refused(self.sign_in(otp)) == (401, "second_factor_required", [])
        assert self.sign_in(give_app(user)(NOON)).status_code == 200

    def test_is_recorded_when_staff_sign_in(self, user, noon):
        User.objects.filter(pk=user.pk).update(is_staff=True)
        self.sign_in(give_app(user)(NOON))
        event = AuditEvent.objects.get(action="accounts.staff.signed_in")
        assert (event.actor_id, event.at) == (user.pk, NOON)


@pytest.mark.django_db
class TestLockout:
    def tries(
        self, times: int, password: str = "wrong", email: str = "ada@example.com", **meta: str
    ) -> list[int]:
        body = {"email": email, "password": password}
        return [post("token", body, **meta).status_code for _ in range(times)]

    def test_ends_guessing(self, user):
        assert self.tries(6) == [401] * 5 + [429]
        response = post("token", {"email": "ADA@example.com", "password": PASSWORD})
        assert refused(response) == (429, "throttled", [])
        assert 890 <= int(response["Retry-After"]) <= 900

    def test_answers_no_more_of_thirty_at_once_than_the_limit(self, ledger_db):
        register_user(email="ada@example.com", password=PASSWORD, at=timezone.now())
        statuses = []
        race(*[lambda: statuses.extend(self.tries(1))] * 30)
        assert (statuses.count(401), statuses.count(429)) == (5, 25)

    def test_is_the_same_for_an_address_that_nobody_has(self, user):
        bodies = [
            [post("token", {"email": email, "password": "wrong"}).json() for _ in range(6)]
            for email in ("ada@example.com", "nobody@example.com")
        ]
        assert bodies[0] == bodies[1]

    def test_never_refuses_who_knows_the_password(self, user):
        assert self.tries(10, PASSWORD) == [200] * 10
        assert (
            self.tries(4) + self.tries(1, PASSWORD) + self.tries(4) == [401] * 4 + [200] + [401] * 4
        )

    def test_leaves_other_accounts_and_addresses_alone(self, user):
        assert self.tries(6)[-1] == 429
        assert self.tries(1, email="bob@example.com") == [401]
        assert self.tries(1, PASSWORD, REMOTE_ADDR="10.9.8.7") == [200]

    def test_counts_no_body_that_is_not_valid(self, user):
        for body in ({"email": "ada@example.com"}, {"email": "ada@example.com", "password": ""}):
            assert [post("token", body).status_code for _ in range(6)] == [400] * 6
        assert self.tries(1, PASSWORD) == [200]

    def test_believes_no_forwarded_address_without_a_proxy(self, user):
        statuses = [self.tries(1, HTTP_X_FORWARDED_FOR=f"10.0.0.{n}")[0] for n in range(6)]
        assert statuses == [401] * 5 + [429]

    def test_believes_as_many_proxies_as_there_are(self, user, settings):
        settings.REST_FRAMEWORK = {**settings.REST_FRAMEWORK, "NUM_PROXIES": 1}
        assert self.tries(6, HTTP_X_FORWARDED_FOR="6.6.6.6, 10.0.0.1")[-1] == 429
        assert self.tries(1, HTTP_X_FORWARDED_FOR="7.7.7.7, 10.0.0.1") == [429]
        assert self.tries(1, HTTP_X_FORWARDED_FOR="6.6.6.6, 10.0.0.2") == [401]

    def test_needs_no_redis(self, user, settings):
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.redis.RedisCache",
                "LOCATION": "redis://127.0.0.1:1/0",
            }
        }
        settings.API_THROTTLE_CACHE = "default"
        assert self.tries(6) == [401] * 5 + [429]

    def test_stands_beside_a_limit_of_all_sign_ins_of_an_address(self, user, settings):
        settings.API_THROTTLES = {**settings.API_THROTTLES, "sign_in": (5, 60)}
        assert self.tries(6, PASSWORD) == [200] * 5 + [429]


@pytest.mark.django_db
class TestRefresh:
    def test_changes_a_token_for_a_new_pair(self, user):
        old = token_pair(user)
        response = post("token/refresh", {"refresh": old["refresh"]})
        assert response.status_code == 200
        new = response.json()
        assert new["refresh"] != old["refresh"]
        assert me(new["access"]).json()["id"] == user.pk
        assert post("token/refresh", {"refresh": new["refresh"]}).status_code == 200

    def test_revokes_the_old_one(self, user):
        refresh = token_pair(user)["refresh"]
        assert post("token/refresh", {"refresh": refresh}).status_code == 200
        response = post("token/refresh", {"refresh": refresh})
        assert refused(response) == (401, "not_authenticated", [])

    def test_ends_the_session_of_a_token_that_is_used_twice(self, user):
        old, other = token_pair(user), token_pair(user)
        new = post("token/refresh", {"refresh": old["refresh"]}).json()
        assert me(new["access"]).status_code == 200
        assert post("token/refresh", {"refresh": old["refresh"]}).status_code == 401
        assert [me(access).status_code for access in (new["access"], old["access"])] == [401, 401]
        assert post("token/refresh", {"refresh": new["refresh"]}).status_code == 401
        assert me(other["access"]).status_code == 200
        assert post("token/refresh", {"refresh": other["refresh"]}).status_code == 200
        events = AuditEvent.objects.filter(action="accounts.token.reused")
        assert [(event.actor_id, event.target_id) for event in events] == [(None, str(user.pk))]

    def test_leaves_no_token_alive_when_two_use_one_at_once(self, ledger_db):
        user = register_user(email="ada@example.com", password=PASSWORD, at=timezone.now())
        refresh, answers = token_pair(user)["refresh"], []
        race(*[lambda: answers.append(post("token/refresh", {"refresh": refresh}))] * 6)
        (won,) = [answer.json() for answer in answers if answer.status_code == 200]
        assert me(won["access"]).status_code == 401
        assert post("token/refresh", {"refresh": won["refresh"]}).status_code == 401
        assert AuditEvent.objects.filter(action="accounts.token.reused").count() == 1

    def test_keeps_when_and_how_the_user_signed_in(self, user):
        with time_machine.travel(NOON + timedelta(minutes=10)):
            refresh = str(refresh_token_for(user, methods=["pwd", "otp"], at=NOON))
            said = said_by(post("token/refresh", {"refresh": refresh}).json()["access"])
        assert (said["auth_time"], said["amr"]) == (int(NOON.timestamp()), ["pwd", "otp"])

    @pytest.mark.parametrize(("is_staff", "idle", "absolute"), [(True, 5, 20), (False, 30, 90)])
    def test_ends_with_the_limits_of_sessions(self, user, settings, is_staff, idle, absolute):
        settings.SESSION_MINUTES = {"staff": (5, 20), "user": (30, 90)}
        User.objects.filter(pk=user.pk).update(is_staff=is_staff)

        def refreshed(*, made: float, at: float) -> int:
            with time_machine.travel(NOON + timedelta(minutes=made), tick=False):
                refresh = str(refresh_token_for(user, at=NOON))
            with time_machine.travel(NOON + timedelta(minutes=at), tick=False):
                return post("token/refresh", {"refresh": refresh}).status_code

        assert refreshed(made=0, at=idle) == 200
        assert refreshed(made=0, at=idle + 1) == 401
        assert refreshed(made=absolute - 1, at=absolute) == 200
        assert refreshed(made=absolute - 1, at=absolute + 1) == 401

    def test_refuses_a_token_of_an_older_release(self, user):
        token = refresh_token_for(user)
        del token["sid"]
        assert post("token/refresh", {"refresh": str(token)}).status_code == 401

    def test_refuses_who_was_shut_out_or_signed_out_everywhere(self, user):
        refresh = token_pair(user)["refresh"]
        User.objects.filter(pk=user.pk).update(token_version=1)
        assert post("token/refresh", {"refresh": refresh}).status_code == 401
        User.objects.filter(pk=user.pk).update(token_version=0, is_active=False)
        assert post("token/refresh", {"refresh": refresh}).status_code == 401
        User.objects.filter(pk=user.pk).update(is_active=True)
        assert post("token/refresh", {"refresh": refresh}).status_code == 200

    def test_refuses_an_access_token_and_nonsense(self, user):
        for text in (token_pair(user)["access"], "x", "a.b.c", "é"):
            assert post("token/refresh", {"refresh": text}).status_code == 401

    @pytest.mark.parametrize(
        "body", [{}, {"refresh": ""}, {"refresh": None}, {"refresh": 5}, {"refresh": "x" * 2001}]
    )
    def test_refuses_a_body_without_a_token(self, body):
        assert refused(post("token/refresh", body)) == (400, "invalid_request", ["refresh"])


@pytest.mark.django_db
class TestLogout:
    def test_ends_every_token_of_the_session(self, user):
        old = token_pair(user)
        new = post("token/refresh", {"refresh": old["refresh"]}).json()
        assert post("logout", {"refresh": new["refresh"]}).status_code == 204
        assert [me(pair["access"]).status_code for pair in (old, new)] == [401, 401]

    def test_revokes_the_token(self, user):
        refresh = token_pair(user)["refresh"]
        response = post("logout", {"refresh": refresh})
        assert (response.status_code, response.content) == (204, b"")
        assert post("token/refresh", {"refresh": refresh}).status_code == 401

    def test_refuses_a_token_that_is_revoked_or_none(self, user):
        refresh = token_pair(user)["refresh"]
        post("logout", {"refresh": refresh})
        assert refused(post("logout", {"refresh": refresh})) == (401, "not_authenticated", [])
        assert refused(post("logout", {"refresh": "x"})) == (401, "not_authenticated", [])
        assert refused(post("logout", {})) == (400, "invalid_request", ["refresh"])


@pytest.mark.django_db
class TestMe:
    def test_lists_the_own_team_and_the_seats(self, user):
        other = User.objects.create_user("bob@example.com", None)
        own = Team.objects.create(name="Own", owner=user)
        seats = [Team.objects.create(name="Bob's", owner=other), Team.objects.create(name="Org")]
        for team in seats:
            TeamMembership.objects.create(team=team, user=user)
        assert me(token_pair(user)["access"]).json()["teams"] == [
            {"id": str(own.public_id), "name": "Own", "is_owner": True},
            {"id": str(seats[0].public_id), "name": "Bob's", "is_owner": False},
            {"id": str(seats[1].public_id), "name": "Org", "is_owner": False},
        ]

    def test_names_the_role_and_the_flags(self, user):
        User.objects.filter(pk=user.pk).update(
            role=Role.objects.get(code="recruitpro"), is_partner=True, is_agent=True
        )
        document = me(token_pair(user)["access"]).json()
        assert (document["role"], document["is_partner"], document["is_agent"]) == (
            "recruitpro",
            True,
            True,
        )

    def test_has_no_role_for_staff(self, user):
        User.objects.filter(pk=user.pk).update(role=None)
        assert me(token_pair(user)["access"]).json()["role"] is None

    @pytest.mark.parametrize("teams", [1, 3])
    def test_takes_as_many_queries_for_many_teams_as_for_one(
        self, user, teams, django_assert_num_queries
    ):
        for number in range(teams):
            TeamMembership.objects.create(team=Team.objects.create(name=str(number)), user=user)
        access = token_pair(user)["access"]
        # The user, role, seats, own team; the wallet, its subscription and tier.
        with django_assert_num_queries(7):
            me(access)

    def test_is_for_users_only(self):
        assert refused(APIClient().get("/api/auth/me")) == (401, "not_authenticated", [])


@pytest.mark.django_db
class TestDoors:
    def test_answer_problem_documents_where_there_is_none(self):
        assert refused(APIClient().get("/api/nowhere")) == (404, "not_found", [])
        assert refused(APIClient().get("/api/auth/me/")) == (404, "not_found", [])
        assert refused(APIClient().get("/api/auth/token")) == (405, "method_not_allowed", [])

    def test_answer_a_problem_document_for_what_nobody_expected(self, user, monkeypatch):
        def fail(*args, **kwargs):
            raise ZeroDivisionError("secret 42")

        monkeypatch.setattr("accounts.api.views.token_pair", fail)
        client = APIClient(raise_request_exception=False)
        response = client.post(
            "/api/auth/token", {"email": "ada@example.com", "password": PASSWORD}
        )
        assert refused(response) == (500, "internal_error", [])
        assert b"42" not in response.content
