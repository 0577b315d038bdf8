import re

import pytest
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.messages import get_messages
from django.contrib.messages.storage.fallback import FallbackStorage
from django.contrib.sessions.backends.signed_cookies import SessionStore
from django.http import Http404
from django.test import RequestFactory

from creditsite.adminkit import ConfirmationForm, ReadOnlyAdmin, confirm, confirm_one, styled
from creditsite.errors import Conflict
from creditsite.testing.people import as_role

REASON = "because it is time"


class RenameGroupsForm(ConfirmationForm):
    title = "Rename groups"
    suffix = forms.CharField()

    @property
    def phrase(self):
        return f"RENAME {len(self.objects)}"

    def apply(self, *, actor, at):
        for group in self.objects:
            group.name += self.cleaned_data["suffix"]
            group.save()
            if group.name.startswith("refused"):
                raise Conflict("That one is refused.")
        return f"Renamed {len(self.objects)} groups by {actor}, key {self.idempotency_key}."


class PlainForm(ConfirmationForm):
    title = "Do it"

    def apply(self, *, actor, at):
        return "Did it."


def request_of(data=None):
    request = RequestFactory().post("/admin/auth/group/?q=x", data or {})
    request.user = as_role("Admin").user
    request.session = SessionStore()
    request._messages = FallbackStorage(request)
    return request


def page_of(response):
    return response.render().content.decode()


def said(request):
    return [str(message) for message in get_messages(request)]


@pytest.fixture
def groups(db):
    Group.objects.bulk_create(Group(name=name) for name in ["a", "b"])
    return Group.objects.filter(name__in=["a", "b"])


@pytest.fixture
def group_admin():
    return ReadOnlyAdmin(Group, admin.site)


def answer(groups, **changes):
    pks = [group.pk for group in groups]
    return {
        "action": "rename",
        "_selected_action": pks,
        "confirmed": "yes",
        "suffix": "!",
        "reason": REASON,
        "confirmation": "RENAME 2",
        "request_id": "01890a5d-ac96-774b-bcce-b302099a8057",
    } | changes


class TestConfirm:
    def test_asks_first_and_lists_what_will_change(self, group_admin, groups):
        request = request_of(
            {"action": "rename", "_selected_action": [group.pk for group in groups]}
        )
        page = page_of(confirm(group_admin, request, groups, RenameGroupsForm))
        assert "<li>a</li><li>b</li>" in page
        assert "Type exactly: RENAME 2" in page
        assert [f'value="{group.pk}"' in page for group in groups] == [True, True]
        assert re.search(r'name="request_id" value="[0-9a-f-]{36}"', page)
        assert set(groups.values_list("name", flat=True)) == {"a", "b"}

    def test_does_it_once_it_is_confirmed(self, group_admin, groups):
        request = request_of(answer(groups))
        assert confirm(group_admin, request, groups, RenameGroupsForm) is None
        assert set(Group.objects.filter(name__endswith="!").values_list("name", flat=True)) == {
            "a!",
            "b!",
        }
        assert said(request) == [
            "Renamed 2 groups by admin@staff.example.com,"
            " key admin:01890a5d-ac96-774b-bcce-b302099a8057."
        ]

    @pytest.mark.parametrize(
        ("wrong", "shown"),
        [
            ({"confirmation": "rename 2"}, "not what is to be typed"),
            ({"confirmation": " RENAME 2"}, "not what is to be typed"),
            ({"confirmation": "RENAME 3"}, "not what is to be typed"),
            ({"confirmation": ""}, "This field is required."),
            ({"reason": "too short"}, "at least 10 characters"),
            ({"reason": REASON + "\u202e"}, "U+202E is not allowed"),
            ({"request_id": "1"}, "Enter a valid UUID."),
            ({"request_id": ""}, "This field is required."),
        ],
    )
    def test_changes_nothing_on_a_wrong_answer(self, group_admin, groups, wrong, shown):
        request = request_of(answer(groups, **wrong))
        assert shown in page_of(confirm(group_admin, request, groups, RenameGroupsForm))
        assert set(groups.values_list("name", flat=True)) == {"a", "b"}
        assert said(request) == []

    def test_shows_a_refusal_and_undoes_the_rest(self, group_admin, groups):
        Group.objects.create(name="refused")
        selected = Group.objects.filter(name__in=["a", "refused"])
        request = request_of(answer(selected))
        assert "That one is refused." in page_of(
            confirm(group_admin, request, selected, RenameGroupsForm)
        )
        assert set(selected.values_list("name", flat=True)) == {"a", "refused"}

    def test_keeps_the_request_id_of_the_page_when_it_asks_again(self, group_admin, groups):
        data = answer(groups, reason="")
        page = page_of(confirm(group_admin, request_of(data), groups, RenameGroupsForm))
        assert f'name="request_id" value="{data["request_id"]}"' in page

    def test_takes_what_the_page_listed_whatever_the_filters_show_now(self, group_admin, groups):
        request = request_of(answer(groups))
        assert confirm(group_admin, request, Group.objects.none(), RenameGroupsForm) is None
        assert Group.objects.filter(name__endswith="!").count() == 2

    def test_does_nothing_when_something_has_gone(self, group_admin, groups):
        data = answer(groups)
        groups.filter(name="b").delete()
        request = request_of(data)
        assert confirm(group_admin, request, groups, RenameGroupsForm) is None
        assert said(request) == [
            "Some of what was selected is no longer there. Nothing was changed."
        ]
        assert groups.get().name == "a"

    def test_refuses_a_selection_too_long_to_read(self, group_admin, db):
        Group.objects.bulk_create(Group(name=f"g{number}") for number in range(501))
        request = request_of({"action": "rename"})
        assert confirm(group_admin, request, Group.objects.all(), PlainForm) is None
        assert said(request) == ["Select at most 500 at a time."]

    def test_escapes_what_it_lists(self, group_admin, db):
        Group.objects.create(name="<script>x</script>")
        listed = Group.objects.filter(name__startswith="<")
        page = page_of(confirm(group_admin, request_of(), listed, PlainForm))
        assert "<li>&lt;script&gt;x&lt;/script&gt;</li>" in page

    def test_asks_for_no_phrase_where_none_is_set(self, group_admin, groups):
        assert 'name="confirmation"' not in page_of(
            confirm(group_admin, request_of(), groups, PlainForm)
        )


class TestConfirmOne:
    def test_returns_to_the_page_of_the_object(self, group_admin, groups):
        group = groups[0]
        request = request_of(
            {"confirmed": "yes", "reason": REASON, "request_id": answer([])["request_id"]}
        )
        response = confirm_one(group_admin, request, str(group.pk), PlainForm, act="ask")
        assert response.url == f"/admin/auth/group/{group.pk}/change/"
        assert said(request) == ["Did it."]

    def test_is_about_the_object_in_its_address_whatever_is_posted(self, group_admin, groups):
        first, second = groups.order_by("pk")
        data = answer([second], confirmation="RENAME 1")
        confirm_one(group_admin, request_of(data), str(first.pk), RenameGroupsForm, act="ask")
        assert set(Group.objects.filter(name__endswith="!")) == {first}

    @pytest.mark.parametrize("object_id", ["0", "x", "1_000"])
    def test_finds_no_stranger(self, group_admin, db, object_id):
        with pytest.raises(Http404):
            confirm_one(group_admin, request_of(), object_id, PlainForm, act="ask")


class TestReadOnlyAdmin:
    @pytest.mark.parametrize(("group", "may_look"), [("Admin", True), ("", False)])
    def test_offers_to_look_and_no_more_and_a_superuser_nothing(
        self, group_admin, db, group, may_look
    ):
        request = RequestFactory().get("/")
        request.user = as_role(group, is_superuser=True).user
        assert group_admin.get_model_perms(request) == {
            "add": False,
            "change": False,
            "delete": False,
            "view": may_look,
        }
        assert group_admin.get_actions(request) == {}


class TestStyled:
    def test_dresses_the_plain_widgets_and_leaves_the_others(self):
        form = PlainForm(objects=[])
        form.fields["dressed"] = forms.CharField(widget=forms.TextInput({"class": "mine"}))
        styled(form)
        assert "rounded-default" in form.fields["reason"].widget.attrs["class"]
        assert form.fields["dressed"].widget.attrs["class"] == "mine"
        assert "class" not in form.fields["request_id"].widget.attrs


@pytest.mark.django_db
class TestForms:
    """What Django's own fields would make something else of, or break on."""

    def test_take_what_was_sent_and_nothing_like_it(self):
        client = as_role("Admin")
        path = "/admin/accounts/role/add/"
        right = {"code": "tester", "name": "A tester", "allotment": "7", "pool_seats": "0"}
        for name, typed in [("name", "a\u202eb"), ("allotment", "7.000"), ("allotment", "１２")]:
            answer = client.post(path, right | {name: typed, "reason": REASON})
            assert set(answer.context["adminform"].form.errors) == {name}
        assert client.post(path, right | {"reason": REASON}).status_code == 302

    def test_are_shown_again_with_an_autocomplete_that_names_nobody(self):
        form = {"name": "A team", "owner": "//evil.example/", "reason": REASON}
        answer = as_role("Admin").post("/admin/accounts/team/add/", form)
        assert set(answer.context["adminform"].form.errors) == {"owner"}

    def test_take_no_field_for_the_key(self):
        group = Group.objects.first()
        page = f"/admin/auth/group/{group.pk}/change/?_to_field="
        assert as_role("Admin").get(page).status_code == 200
