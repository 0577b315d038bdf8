"""
Hostile values in every page: addresses, parameters, filters, searches, and every field of a form.

None ends as a 5xx or leads to another site. What a form's field accepts is what was sent, or as
docs/security.md says that it is normalised.
"""

import re
import unicodedata
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from django import forms
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import transaction
from django.test import Client

from accounts.models import User
from accounts.tests.factories import TeamFactory
from accounts.tests.sign_in import with_factor, with_recovery_codes
from creditsite.testing.hostile import TEXTS, seed, some
from creditsite.testing.people import StaffClient, sign_in_now
from creditsite.tests.addresses import addresses, paths
from creditsite.text import one_line

SHORT = [text for text in TEXTS if len(text) < 3_000]  # gunicorn takes no longer address
RIGHT = {"reason": "For a test of what comes in.", "amount": "5", "name": "A name"}
OF_AN_ADMIN_PAGE = ["_popup", "_to_field", "_changelist_filters"]
OF_A_LIST = ["e", "q", "o", "p", "all", "action", "pk__gt", "password__startswith", "id__in"]
OF_A_SEARCH = ["term", "app_label", "model_name", "field_name", "s", "model", "page"]


@dataclass(frozen=True)
class Page:
    """A page as it comes when ``path`` is asked for, or when ``data`` is sent to it."""

    path: str
    data: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Case:
    page: Page
    is_staff: bool
    place: str
    name: str
    value: str
    form: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.page.path}, {self.name} in {self.place} = {self.value[:80]!a}"


@pytest.fixture
def site(db: None, settings: Any) -> "Site":
    settings.SIGN_IN_LIMITS = dict.fromkeys(settings.SIGN_IN_LIMITS, 10**9)
    settings.ACCOUNT_RATE_LIMITS = settings.MFA_RATE_LIMITS = False
    call_command("seed_demo", verbosity=0)
    return Site()


class Site:
    """The demo, with somebody who may do everything in it and somebody who is nobody."""

    def __init__(self) -> None:
        self.admin = User.objects.get(email="admin@example.com")
        with_factor(self.admin)
        with_recovery_codes(self.admin)
        TeamFactory(owner=None)
        self.clients = {True: StaffClient(), False: Client()}
        self.clients[True].force_login(self.admin)
        sign_in_now(self.clients[True], self.admin)
        for client in self.clients.values():
            client.raise_request_exception = False
        self.forms: dict[str, forms.BaseForm] = {}

    def get(self, page: Page, *, is_staff: bool, query: str = "", data: Any = None) -> Any:
        """Ask for ``page``, or send ``data`` to it; whatever that does is undone."""
        client, sent = self.clients[is_staff], data or dict(page.data)
        cookies = deepcopy(client.cookies)
        with transaction.atomic():
            ask = client.post if sent else client.get
            answer = ask(
                page.path + (query if "?" in page.path else query.replace("&", "?", 1)),
                *([sent] if sent else []),
            )
            transaction.set_rollback(True)
        client.cookies = cookies
        return answer

    def pages(self) -> list[Page]:
        return [Page(address) for address in addresses()]

    def cases_of_paths(self) -> list[Case]:
        """Return every hostile value in every part of an address that stands for something."""
        return [
            Case(Page(path), True, "the path", name, value)
            for path in paths()
            for name in re.findall(r"{(\w+)}", path)
            for value in SHORT
        ]

    def cases(self, page: Page) -> Iterator[Case]:
        """Yield every hostile value in every place of ``page``, and of the acts of a list."""
        for is_staff in [True, False]:
            answer = self.get(page, is_staff=is_staff)
            assert answer.status_code < 500, page
            if answer.status_code != 200:
                continue
            yield from self.cases_of(page, answer, is_staff)
            for found in parts(answer.context):
                if isinstance(found, ChangeList) and (row := found.queryset.first()):
                    for action in found.model_admin.actions or []:
                        chosen = {"action": action, "_selected_action": str(row.pk), "index": "0"}
                        yield from self.cases(Page(page.path, (*chosen.items(),)))

    def cases_of(self, page: Page, answer: Any, is_staff: bool) -> Iterator[Case]:
        names = {*OF_AN_ADMIN_PAGE} if page.path.startswith("/admin/") else {"next"}
        for part in parts(answer.context):
            if isinstance(part, ChangeList):
                names |= {*OF_A_LIST}
                for spec in part.filter_specs:
                    names |= {str(each) for each in spec.expected_parameters()}
                for said in part.list_filter:
                    if isinstance(said, str):
                        names |= {said, f"{said}__exact", f"{said}__isnull", f"{said}__in"}
                    elif isinstance(said, tuple):
                        names |= {f"{said[0]}{end}" for end in ["_from", "_to", "__id__exact"]}
                if not page.data:
                    for value in SHORT:
                        yield Case(page, is_staff, "the names of the query", value, "1")
            elif isinstance(part, forms.BaseForm):
                yield from self.cases_of_form(page, part, is_staff)
        if "?" in page.path:
            names |= {*OF_A_SEARCH}
        if not page.data:
            # A third of the values each, and every value somewhere: there are very many parameters.
            for number, name in enumerate(sorted(names)):
                for value in SHORT[number % 3 :: 3]:
                    yield Case(page, is_staff, "the query", name, value)

    def cases_of_form(self, page: Page, form: forms.BaseForm, is_staff: bool) -> Iterator[Case]:
        right = dict(page.data) | {"confirmed": "yes"}
        for name, field in form.fields.items():
            value = RIGHT.get(name, form[name].value())
            if name == "confirmation":
                value = form.phrase
            if not value and getattr(field, "choices", None):
                value = next((key for key, _ in field.choices if key), "")
            right[form.add_prefix(name)] = "" if value is None else value
        if not form.prefix:  # The rows of another model on a page are only shown.
            self.forms.setdefault(f"{type(form).__module__}.{type(form).__qualname__}", form)
        for name in form.fields:
            sent = {k: str(v) for k, v in right.items() if not isinstance(v, bool | list)}
            for value in TEXTS:
                yield Case(
                    page, is_staff, "the form", form.add_prefix(name), value, (*sent.items(),)
                )

    def try_out(self, case: Case) -> str | None:
        """Send ``case``; return what is wrong with the answer."""
        query, data, page = "", None, case.page
        value = case.value.encode("utf-8", "surrogatepass")
        joint = "&" if "?" in page.path else "?"
        if case.place == "the path":
            page = Page(re.sub(r"{(\w+)}", quote(value, safe=""), page.path))
        elif case.place == "the query":
            query = f"{joint}{case.name}={quote(value)}"
        elif case.place == "the names of the query":
            query = f"{joint}{quote(case.name.encode('utf-8', 'surrogatepass'))}=1"
        else:
            text = case.value.encode("utf-8", "replace").decode()
            data = dict(case.form) | {case.name: text}
        answer = self.get(page, is_staff=case.is_staff, query=query, data=data)
        if answer.status_code >= 500:
            return f"{answer.status_code}: {answer.exc_info[1] if answer.exc_info else ''!r}"
        to = answer.headers.get("Location", "")
        if to.startswith(("//", "/\\", "\\")) or urlsplit(to).netloc not in {"", "testserver"}:
            return f"leads to {to}"
        if urlsplit(to).scheme not in {"", "http", "https"}:
            return f"leads to {to}"
        return None


def parts(context: Any) -> Iterator[Any]:
    """Yield the forms and lists that a page was made of."""
    seen: set[int] = set()
    for layer in context or []:
        for values in getattr(layer, "dicts", [layer]):
            for value in (values or {}).values():
                if isinstance(value, AdminForm):
                    value = value.form
                if isinstance(value, forms.BaseForm | ChangeList) and id(value) not in seen:
                    seen.add(id(value))
                    yield value


def says_the_same(field: forms.Field, sent: str, taken: Any) -> bool:
    """Say whether ``taken`` is what was ``sent``, as docs/security.md has it."""
    if taken in (None, "", []) or isinstance(field, forms.BooleanField | forms.JSONField):
        return True  # Nothing was taken; a box is ticked or not; a passkey's answer is read.
    if isinstance(taken, list):
        return taken == [sent]
    if hasattr(taken, "pk"):
        return str(taken.pk) == sent
    if isinstance(field, forms.DateField | forms.DateTimeField):
        return taken.isoformat().startswith(sent)
    if isinstance(field, forms.UUIDField):
        return taken.hex == re.sub(r"urn:uuid:|[{}-]", "", sent)
    text = unicodedata.normalize("NFC", one_line(sent)).strip()
    folded = unicodedata.normalize("NFKC", text).lower()
    return str(taken) in {
        sent,
        text,
        *({folded} if "email" in type(field).__name__.lower() else ()),
    }


@pytest.mark.once
def test_hostile_values(site: Site) -> None:
    cases = [case for page in some(site.pages(), usually=15) for case in site.cases(page)]
    cases = some(cases, usually=90) + some(site.cases_of_paths(), usually=20)
    wrong = [f"{case}: {problem}" for case in cases if (problem := site.try_out(case))]
    for name, form in site.forms.items():
        for label, field in form.fields.items():
            wrong += [f"{name}.{label} {problem}" for problem in misread(field)]
    assert not wrong, f"{len(wrong)} wrong, HOSTILE_SEED={seed()}:\n" + "\n".join(wrong[:80])


def misread(field: forms.Field) -> Iterator[str]:
    for value in TEXTS:
        try:
            taken = field.clean(value)
        except ValidationError:
            continue
        except Exception as error:
            yield f"ends in {error!r} for {value[:80]!a}"
            continue
        if not says_the_same(field, value, taken):
            yield f"takes {value[:80]!a} for {str(taken)[:80]!a}"
