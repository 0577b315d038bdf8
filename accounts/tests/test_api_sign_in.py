import pytest
from django.contrib.auth.hashers import MD5PasswordHasher
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.api import throttles
from accounts.api.tokens import UserRefreshToken, token_pair
from accounts.models import Role, Team, TeamMembership, User
from accounts.services.users import register_user
from creditsite.apikit.throttles import Throttle

PASSWORD = "correct horse battery staple"
HIDDEN = ["a\x00b", "a\nb", "a\u202eb", "a\u2028b"]


@pytest.fixture(autouse=True)
def fast_hashes(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def fresh_throttles(monkeypatch):
    monkeypatch.setattr(throttles, "CALLS", {scope: Throttle(scope) for scope in throttles.CALLS})
    monkeypatch.setattr(throttles, "SIGN_INS", Throttle("sign_in"))
    monkeypatch.setattr(throttles, "SIGN_INS_OF_ADDRESS", Throttle("sign_in_address"))


@pytest.fixture
def user(db) -> User:
    return register_user(email="ada@example.com", password=PASSWORD, name="Ada", at=timezone.now())


def post(path: str, body: object = None, **headers: str):
    return APIClient().post(f"/api/auth/{path}", body, **headers)


def me(access: str):
    return APIClient().get("/api/auth/me", HTTP_AUTHORIZATION=f"Bearer {access}")


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

    def test_takes_a_code_of_a_second_factor(self, user):
        body = {"email": "ada@example.com", "password": PASSWORD, "otp": "123456"}
        assert post("token", body).status_code == 200

    def test_minds_no_stale_header(self, user):
        body = {"email": "ada@example.com", "password": PASSWORD}
        assert post("token", body, HTTP_AUTHORIZATION="Bearer stale").status_code == 200

    def test_answers_the_same_to_every_wrong_sign_in(self, user):
        User.objects.create_user("shut@example.com", PASSWORD, is_active=False)
        User.objects.create_user("service@example.com", None)
        answers = [
            post("token", {"email": email, "password": password})
            for email, password in [
                ("ada@example.com", "wrong"),
                ("nobody@example.com", PASSWORD),
                ("shut@example.com", PASSWORD),
                ("service@example.com", PASSWORD),
            ]
        ]
        assert {answer.content for answer in answers} == {answers[0].content}
        assert refused(answers[0]) == (401, "not_authenticated", [])
        assert answers[0]["WWW-Authenticate"].startswith("Bearer")

    def test_hashes_once_for_known_and_unknown_addresses(self, user, monkeypatch):
        hashed = []
        encode = MD5PasswordHasher.encode
        monkeypatch.setattr(
            MD5PasswordHasher, "encode", lambda self, *args: hashed.append(1) or encode(self, *args)
        )
        counts = []
        for email in ("ada@example.com", "nobody@example.com"):
            hashed.clear()
            post("token", {"email": email, "password": "wrong"})
            counts.append(len(hashed))
        assert counts == [1, 1]

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
class TestSignInThrottle:
    @pytest.fixture(autouse=True)
    def three_tries(self, settings):
        settings.API_THROTTLES = {**settings.API_THROTTLES, "sign_in": (3, 60)}

    def tries(
        self, times: int, password: str = "wrong", email: str = "ada@example.com", **meta: str
    ) -> list[int]:
        body = {"email": email, "password": password}
        return [post("token", body, **meta).status_code for _ in range(times)]

    def test_ends_guessing(self, user):
        assert self.tries(4) == [401, 401, 401, 429]
        response = post("token", {"email": "ADA@example.com", "password": PASSWORD})
        assert refused(response) == (429, "throttled", [])
        assert 1 <= int(response["Retry-After"]) <= 60

    def test_never_refuses_who_knows_the_password(self, user):
        assert self.tries(10, PASSWORD) == [200] * 10
        assert self.tries(2) + self.tries(1, PASSWORD) + self.tries(2) == [401, 401, 200, 401, 401]

    def test_leaves_other_accounts_and_addresses_alone(self, user):
        assert self.tries(4)[-1] == 429
        assert self.tries(1, email="bob@example.com") == [401]
        assert self.tries(1, REMOTE_ADDR="10.9.8.7") == [401]

    def test_believes_no_forwarded_address_without_a_proxy(self, user):
        statuses = [self.tries(1, HTTP_X_FORWARDED_FOR=f"10.0.0.{n}")[0] for n in range(4)]
        assert statuses == [401, 401, 401, 429]

    def test_ends_trying_many_accounts_from_one_address(self, user, settings):
        settings.API_THROTTLES = {**settings.API_THROTTLES, "sign_in_address": (5, 60)}
        statuses = [self.tries(1, email=f"user{n}@example.com")[0] for n in range(6)]
        assert statuses == [401] * 5 + [429]


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

    def test_lets_one_of_two_that_read_it_at_once_pass(self, user, monkeypatch):
        refresh = token_pair(user)["refresh"]
        post("token/refresh", {"refresh": refresh})
        # The second one looked before the first one revoked it.
        monkeypatch.setattr(UserRefreshToken, "check_blacklist", lambda self: None)
        assert post("token/refresh", {"refresh": refresh}).status_code == 401

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
        with django_assert_num_queries(4):  # user, role, seats, own team
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
