"""
The whole table of permissions against real requests: every URL, every kind of caller.

What is expected comes from ``accounts.permissions`` alone, what is observed from the answers. A
short list written by hand guards the table itself.
"""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID

import pytest
from django.conf import settings
from django.contrib import admin
from django.contrib.auth.hashers import make_password
from django.contrib.sessions.backends.cache import KEY_PREFIX
from django.core.cache import cache
from django.core.management import call_command, get_commands
from django.db import transaction
from django.template.response import TemplateResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from django.utils import timezone
from drf_spectacular.views import SpectacularAPIView
from rest_framework.response import Response
from rest_framework.test import APIClient

from accounts.api.tokens import token_pair
from accounts.choices import ApiScope, StaffGroup
from accounts.models import ApiKey, Job, Role, User
from accounts.permissions import (
    API,
    COMMANDS,
    NOBODY,
    PAGES,
    PERMISSIONS,
    PUBLIC,
    RECENT,
    SITE,
    STAFF,
    Door,
    door_of_page,
    path_of,
)
from accounts.services.api_keys import create_api_key
from accounts.tests.factories import StaffFactory, TeamFactory, UserFactory
from audit.models import AuditEvent
from billing.models import CreditRate
from billing.tests.sale import package, promotion, reserved
from creditsite.adminkit import ConfirmationForm
from creditsite.testing.people import sign_in_now
from ledger.models import CreditTransaction, Grant
from ledger.tests.batches import planned
from ledger.tests.factories import (
    asked_credits,
    open_hold,
    priced_feature,
    set_credit_settings,
    spend,
    wallet_with_credits,
)

METHODS = ["GET", "POST", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"]
METHODS_OF_PAGES = ["GET", "HEAD", "POST"]
# Of the methods that hardly a door has, each caller tries one at each URL, another at the next.
WHOLE = os.environ.get("MATRIX") == "whole"
turns = count()
PASSWORD = "correct horse battery staple"


def patterns(resolver: URLResolver, before: str = "") -> Iterator[tuple[str, Any]]:
    for each in resolver.url_patterns:
        route = before + str(each.pattern)
        if isinstance(each, URLPattern):
            yield path_of(route), each.callback
        else:
            yield from patterns(each, route)


def routes() -> list[tuple[str, Any]]:
    """Return the path and the view of everything that the URL resolver knows."""
    return list(dict(reversed(list(patterns(get_resolver())))).items())


def is_listed(path: str) -> bool:
    return path in API or door_of_page(path, "GET") is not None


class TestTable:
    def test_lists_every_url(self):
        assert [path for path, _ in routes() if not is_listed(path)] == []

    def test_lists_no_url_that_is_not_there(self):
        there = {path for path, _ in routes()} | {"/static/{path}"}
        assert [path for path in [*API, *SITE] if path not in there] == []

    def test_lists_every_operation_and_no_other(self):
        made = {
            path: {name.upper() for name in view.view_class().allowed_methods} - {"OPTIONS", "HEAD"}
            for path, view in routes()
            if path in API
        }
        assert made == {path: set(doors) for path, doors in API.items()}

    def test_lists_every_page_of_the_admin_and_each_of_its_acts(self):
        paths = {path for path, _ in routes()}
        for model, page in admin.site._registry.items():
            label = model._meta.label_lower
            assert label in PAGES
            start = f"/admin/{label.replace('.', '/')}/"
            addresses = {path.removeprefix(start) for path in paths if path.startswith(start)}
            there = {
                address.removeprefix("{object_id}/").removesuffix("/") for address in addresses
            } | {str(action) for action in page.actions or []}
            ours = there - {"", "history", "change", "{object_id}"}
            ours -= {
                name for name in ("add", "delete") if f"{{object_id}}/{name}/" not in addresses
            }
            ours -= {"delete"} - PAGES[label].acts.keys()
            assert ours == set(PAGES[label].acts)

    def test_lists_every_command_of_ours(self):
        apps = Path(settings.BASE_DIR)
        ours = {
            name
            for name, app in get_commands().items()
            if (apps / str(app).replace(".", "/") / "management/commands" / f"{name}.py").is_file()
        }
        assert ours == set(COMMANDS)

    def test_names_no_permission_that_nobody_has(self):
        pages = PAGES.values()
        named = {door.permission for doors in API.values() for door in doors.values()}
        named |= {permission for page in pages for permission in page.acts.values()}
        named |= {permission for page in pages for permission in (page.view, page.add, page.change)}
        assert (named | RECENT) - {None} <= frozenset().union(*PERMISSIONS.values())

    def test_is_what_people_read(self, capsys):
        call_command("permission_table")
        page = Path(settings.BASE_DIR, "docs/permissions.md").read_text()
        assert capsys.readouterr().out == page


@dataclass(kw_only=True)
class Caller:
    """Somebody with what they would call by: a session on pages, credentials at the API."""

    group: StaffGroup | None = None
    is_user: bool = False
    is_staff: bool = False
    scopes: frozenset[str] | None = None
    is_recent: bool = True
    has_factor: bool = True
    session: str = ""
    data: dict[str, Any] = field(default_factory=dict)
    authorization: str = ""

    def holds(self, permission: str) -> bool:
        return self.group is not None and permission in PERMISSIONS[self.group]

    def expected_at_api(self, path: str, method: str) -> str:
        doors = API[path]
        door = doors.get("GET" if method == "HEAD" else method)
        if door is None and PUBLIC in doors.values():
            return "405"
        if door == PUBLIC:
            return "open"
        if not (self.is_user and self.authorization) and self.scopes is None:
            return "401"
        if door is None:
            return "405"
        if self.scopes is not None and door.scope not in self.scopes:
            return "403"
        if door.is_for_services and self.scopes is None:
            return "403"
        if door.permission is None:
            return "open"
        if not self.holds(door.permission):
            return "403"
        return "again" if door.permission in RECENT and not self.is_recent else "open"

    def expected_at_page(self, path: str, method: str) -> str:
        door = door_of_page(path, method)
        if door != PUBLIC and not self.is_user:
            return "login"
        if not self.passes(door):
            return "403"
        if method not in METHODS_OF_PAGES:
            return "405"
        if not self.has_factor and path.startswith("/admin/") and path not in FREE_OF_FACTOR:
            return "factor"
        # Who may change what a page shows is asked before it is shown; a POST shows the page again.
        to_change = door_of_page(path, "POST").permission
        used = to_change if to_change and self.holds(to_change) else door.permission
        return "again" if used in RECENT and not self.is_recent and method == "GET" else "open"

    def passes(self, door: Door) -> bool:
        if door.permission:
            return self.holds(door.permission)
        return door != NOBODY and (door != STAFF or self.is_staff)


# What staff reach who have yet to set up a second factor.
FREE_OF_FACTOR = {"/admin/login/", "/admin/logout/", "/admin/password_change/"}


# What a door says; what an act behind it refuses has other codes.
CODES = {"not_permitted": "403", "missing_scope": "403", "recent_sign_in_required": "again"}


def observed_at_api(response: Any) -> str:
    if response.status_code == 403:
        return CODES.get(response.data["code"], "open")
    return str(response.status_code) if response.status_code in (401, 405) else "open"


def observed_at_page(response: Any, address: str) -> str:
    if response.status_code == 405:  # of the view, where the door lets the method through
        return "open" if response.request["REQUEST_METHOD"] in METHODS_OF_PAGES else "405"
    if response.status_code == 403:
        return "403"
    leads_to = response.headers.get("Location", "")
    if leads_to == f"/accounts/login/?next={quote(address)}":
        return "login"
    if address.startswith("/accounts/"):  # What a page of one's own asks for is its own affair.
        return "open"
    if leads_to == f"/accounts/reauthenticate/?{urlencode({'next': address})}":
        return "again"
    return "factor" if leads_to == "/accounts/factors/" else "open"


def service(owner: User, *scopes: ApiScope) -> tuple[ApiKey, str]:
    return create_api_key(
        name="A service", owner=owner, scopes=scopes, actor=None, at=timezone.now()
    )


# What a page is asked, if it answers nothing without.
QUERIES = {"/admin/autocomplete/": "?app_label=accounts&model_name=team&field_name=owner"}


class World:
    """Objects of user A, and an address for every URL that names one of them."""

    def __init__(self) -> None:
        hashed = make_password(PASSWORD)
        self.a = UserFactory(email="a@example.com", password=hashed)
        self.b = UserFactory(email="b@example.com", password=hashed)
        wallet = wallet_with_credits(self.a, award=100, at=timezone.now())
        spend(wallet, 5, at=timezone.now())
        hold_id = open_hold(wallet, 10, at=timezone.now())
        approval = asked_credits(wallet, at=timezone.now())
        named = {
            "accounts.approval": approval.pk,
            "accounts.apikey": service(StaffFactory(), ApiScope.CREDITS_READ)[0].pk,
            "accounts.job": Job.objects.create(kind="backfill", params={}).pk,
            "accounts.role": Role.objects.create(code="unused", name="Unused").pk,
            "accounts.team": TeamFactory().pk,
            "accounts.user": self.a.pk,
            "audit.auditevent": AuditEvent.objects.order_by("pk").first().pk,
            "auth.group": 1,
            "billing.creditrate": CreditRate.objects.create(
                currency="eur", price_per_credit=1, changed_at=timezone.now()
            ).pk,
            "billing.offer": package().pk,
            "billing.promotion": promotion().pk,
            "billing.redemption": reserved(promotion(code="OTHER")).pk,
            "ledger.batch": planned(amount=5, at=timezone.now()).pk,
            "ledger.creditsettings": set_credit_settings().pk,
            "ledger.credittransaction": CreditTransaction.objects.order_by("number").last().pk,
            "ledger.feature": priced_feature("report", 3).pk,
            "ledger.grant": Grant.objects.filter(wallet=wallet).first().pk,
            "ledger.hold": hold_id,
            "ledger.report": "balances",
            "ledger.wallet": wallet.pk,
        }
        self.objects = {label.replace(".", "/"): pk for label, pk in named.items()}
        self.values = {
            "user_id": self.a.pk,
            "transaction_id": named["ledger.credittransaction"],
            "hold_id": hold_id,
            "approval_id": approval.public_id,
            "app_label": "ledger",
            "uidb36": "1",
        }

    def address(self, path: str) -> str:
        """Return an address that resolves to ``path``."""
        model = "/".join(path.split("/")[2:4])
        values = {"object_id": self.objects.get(model, 1)} | self.values
        address = path
        for part in [part.split("}")[0] for part in path.split("{")[1:]]:
            unknown = UUID(int=1) if part.endswith("_id") else 1
            address = address.replace(f"{{{part}}}", str(values.get(part, unknown)))
        assert path_of(resolve(address).route) == path
        return address + QUERIES.get(path, "")


@pytest.fixture
def world(db: None, settings: Any) -> World:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    # It serves static files before any door, and reads all their names for each client.
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "whitenoise" not in name]
    return World()


def signed_in(user: User, **more: Any) -> Caller:
    client = Client()
    client.force_login(user)
    sign_in_now(client, user)
    session = client.cookies[settings.SESSION_COOKIE_NAME].value
    group = user.groups.first()
    return Caller(
        group=StaffGroup(group.name) if group else None,
        is_user=True,
        is_staff=user.is_staff,
        session=session,
        data=dict(client.session),
        authorization=f"Bearer {token_of(user, timezone.now())}",
        **more,
    )


def staff_of(group: str) -> User:
    return StaffFactory(groups=group, password=make_password(PASSWORD))


def superuser() -> User:
    return User.objects.create_superuser("root@example.com", PASSWORD)


def token_of(user: User, at: datetime) -> str:
    return token_pair(user, methods=["pwd"], at=at)["access"]


def tried(*methods: str) -> list[str]:
    """Return ``methods`` and one of the others, or all of them."""
    others = [method for method in METHODS if method not in methods]
    return METHODS if WHOLE else [*methods, others[next(turns) % len(others)]]


def walk_api(world: World, caller: Caller) -> list[str]:
    """Return each cell that is not as the table says, of all operations and methods."""
    wrong = []
    client = APIClient(HTTP_AUTHORIZATION=caller.authorization)
    for path in API:
        address = world.address(path)
        for method in tried(*API[path]):
            expected = caller.expected_at_api(path, method)
            send = undone if (expected, method) == ("open", "POST") else sent
            response = send(client.generic, method, address, "{}", "application/json")
            if observed_at_api(response) != expected or response.status_code >= 500:
                wrong.append(f"{method} {path}: {response.status_code}, not {expected}")
    return wrong


def walk_pages(world: World, caller: Caller) -> list[str]:
    """Return each cell that is not as the table says, of all pages and methods."""
    wrong = []
    client = Client()
    for path in [path for path, _ in routes() if path not in API]:
        address = world.address(path)
        for method in tried("GET", "POST"):
            client.cookies[settings.SESSION_COOKIE_NAME] = caller.session
            expected = caller.expected_at_page(path, method)
            send = undone if (expected, method) == ("open", "POST") else sent
            response = send(client.generic, method, address)
            cache.set(KEY_PREFIX + caller.session, caller.data)
            is_not_possible = response.headers.get("Location") == back_from(address)
            if expected == "again" and (is_not_possible or response.status_code == 404):
                continue  # Nobody is asked about an act that cannot be done.
            if observed_at_page(response, address) != expected or response.status_code >= 500:
                wrong.append(f"{method} {path}: {response.status_code}, not {expected}")
    return wrong


def back_from(address: str) -> str:
    return f"{address.rstrip('/').rpartition('/')[0]}/change/"


def walk(world: World, caller: Caller) -> list[str]:
    return walk_api(world, caller) + walk_pages(world, caller)


def sent(request: Callable[..., Any], *how: Any, **more: Any) -> Any:
    return request(*how, **more)


def undone(request: Callable[..., Any], *how: Any, **more: Any) -> Any:
    """Return the answer to ``request``, and undo what it did."""
    with transaction.atomic():
        response = request(*how, **more)
        transaction.set_rollback(True)
    return response


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes long and is the same behind every door: templates, schema, log."""
    monkeypatch.setattr(TemplateResponse, "rendered_content", "")
    monkeypatch.setattr(admin.site, "each_context", lambda request: {})
    monkeypatch.setattr(admin.site, "get_app_list", lambda request, app_label=None: [{"name": "x"}])
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    monkeypatch.setattr(
        SpectacularAPIView, "_get_schema_response", lambda self, request: Response({})
    )


@pytest.mark.once
@pytest.mark.usefixtures("bare")
class TestMatrix:
    def test_of_nobody(self, world):
        assert "\n".join(walk(world, Caller())) == ""

    def test_of_user_a(self, world):
        assert "\n".join(walk(world, signed_in(world.a))) == ""

    def test_of_user_b(self, world):
        caller = signed_in(world.b)
        assert "\n".join(walk_api(world, caller)) == ""
        assert "\n".join(walk_pages(world, caller)) == ""

    @pytest.mark.parametrize("group", StaffGroup)
    def test_of_staff(self, world, group):
        assert "\n".join(walk(world, signed_in(staff_of(group)))) == ""

    def test_of_a_superuser_without_a_group(self, world):
        assert "\n".join(walk(world, signed_in(superuser()))) == ""

    def test_of_an_admin_who_signed_in_a_while_ago(self, world):
        user = staff_of("Admin")
        caller = signed_in(user, is_recent=False)
        for record in caller.data["account_authentication_methods"]:
            record["at"] -= 600
        cache.set(KEY_PREFIX + caller.session, caller.data)
        ago = timezone.now() - timedelta(minutes=6)
        caller = replace(caller, authorization=f"Bearer {token_of(user, ago)}")
        assert "\n".join(walk_api(world, caller)) == ""
        assert "\n".join(walk_pages(world, caller)) == ""

    @pytest.mark.parametrize("scope", ApiScope)
    def test_of_a_service_key(self, world, scope):
        _, secret = service(StaffFactory(groups="Finance"), scope)
        caller = Caller(
            group=StaffGroup.FINANCE,
            scopes=frozenset({scope}),
            is_recent=False,
            authorization=f"Api-Key {secret}",
        )
        assert "\n".join(walk_api(world, caller)) == ""

    @pytest.mark.parametrize("is_staff", [True, False])
    def test_of_somebody_deactivated(self, world, is_staff):
        user = StaffFactory() if is_staff else UserFactory()
        was = signed_in(user)
        User.objects.filter(pk=user.pk).update(is_active=False)
        now = Caller(session=was.session, data=was.data, authorization=was.authorization)
        assert "\n".join(walk_api(world, now)) == ""
        assert "\n".join(walk_pages(world, now)) == ""

    def test_of_staff_without_a_factor_where_they_need_one(self, world, settings):
        settings.STAFF_NEED_SECOND_FACTOR = True
        user = staff_of("Admin")
        answer = APIClient().post("/api/auth/token", {"email": user.email, "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (401, "second_factor_required")
        caller = signed_in(user, has_factor=False)
        # There is no token for them, so at the API they are nobody.
        assert "\n".join(walk_api(world, replace(caller, authorization=""))) == ""
        assert "\n".join(walk_pages(world, caller)) == ""

    def test_of_credentials_brought_to_the_wrong_door(self, world):
        admin = signed_in(StaffFactory())
        client = Client()
        client.cookies[settings.SESSION_COOKIE_NAME] = admin.session
        assert client.get("/api/auth/me").status_code == 401
        client = Client(HTTP_AUTHORIZATION=admin.authorization)
        assert observed_at_page(client.get("/admin/"), "/admin/") == "login"


class TestActions:
    """What lists offer for a selection has no address of its own."""

    @pytest.mark.parametrize("group", [*StaffGroup, None])
    def test_are_open_to_whom_the_table_says(self, world, group):
        caller = signed_in(StaffFactory(groups=group) if group else superuser())
        client = Client()
        client.cookies[settings.SESSION_COOKIE_NAME] = caller.session
        for model, page in admin.site._registry.items():
            label = model._meta.label_lower
            address = f"/admin/{label.replace('.', '/')}/"
            for action in [*(page.actions or []), "delete_selected"]:
                selected = [world.objects.get(label.replace(".", "/"), 1)]
                data = {"action": action, "_selected_action": selected}
                answer = undone(client.post, address, data, follow=True)
                asked = isinstance((answer.context or {}).get("form"), ConfirmationForm)
                permission = PAGES[label].acts.get(action)
                assert asked == (permission is not None and caller.holds(permission)), action


# Who gets where, by hand: of "group method address" to what is seen.
TWENTY_CELLS = """
    -        GET   /admin/                                       login
    user     GET   /admin/                                       403
    user     GET   /admin/ledger/wallet/                         403
    user     POST  /api/admin/credits/add                        403
    root     GET   /admin/ledger/wallet/                         403
    root     POST  /api/admin/credits/add                        403
    Support  GET   /admin/ledger/wallet/                         open
    Support  GET   /admin/ledger/wallet/{wallet}/add/            403
    Support  POST  /admin/ledger/wallet/{wallet}/set/            403
    Support  POST  /api/admin/credits/remove                     403
    Support  GET   /admin/audit/auditevent/                      403
    Auditor  GET   /admin/audit/auditevent/                      open
    Auditor  POST  /admin/ledger/wallet/{wallet}/add/            403
    Auditor  POST  /admin/accounts/user/{user}/change/           403
    Finance  GET   /admin/ledger/wallet/{wallet}/set/            open
    Finance  POST  /api/admin/credits/add                        open
    Finance  POST  /admin/accounts/user/{user}/staff/            403
    Finance  GET   /admin/accounts/apikey/                       403
    Admin    GET   /admin/accounts/user/{user}/staff/            open
    Admin    POST  /admin/accounts/user/{user}/delete/           403
    Admin    POST  /admin/ledger/credittransaction/{transaction}/delete/ 403
    Admin    POST  /admin/audit/auditevent/{event}/change/       403
"""


class TestTwentyCells:
    @pytest.mark.parametrize("cell", TWENTY_CELLS.strip().splitlines(), ids=str.split)
    def test_are_as_written_here(self, world, cell):
        who, method, address, expected = cell.split()
        address = address.format(
            wallet=world.objects["ledger/wallet"],
            user=world.a.pk,
            transaction=world.values["transaction_id"],
            event=world.objects["audit/auditevent"],
        )
        if who == "-":
            caller = Caller()
        elif who == "user":
            caller = signed_in(world.b)
        elif who == "root":
            caller = signed_in(superuser())
        else:
            caller = signed_in(StaffFactory(groups=who))
        if address.startswith("/api/"):
            client = APIClient(HTTP_AUTHORIZATION=caller.authorization)
            response = client.generic(method, address, "{}", "application/json")
            assert observed_at_api(response) == expected
        else:
            client = Client()
            client.cookies[settings.SESSION_COOKIE_NAME] = caller.session
            assert observed_at_page(client.generic(method, address), address) == expected

    @pytest.mark.parametrize(
        "address",
        [
            "/api/credits/transactions/{transaction_id}",
            "/api/credits/holds/{hold_id}",
            "/api/credits/balance?user_id={user_id}",
            "/api/credits/transactions?user_id={user_id}",
        ],
    )
    def test_and_what_is_of_user_a_is_not_there_for_user_b(self, world, address):
        address = address.format(**world.values)
        for user, status in [(world.a, 200), (world.b, 404)]:
            client = APIClient(HTTP_AUTHORIZATION=signed_in(user).authorization)
            assert client.get(address).status_code == status
