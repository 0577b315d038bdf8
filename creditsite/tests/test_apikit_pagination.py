import pytest
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from rest_framework import serializers
from rest_framework.permissions import AllowAny
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from creditsite.apikit.pagination import ListQuery, page_of, page_response
from creditsite.apikit.views import ApiView

requests = APIRequestFactory()


class RowDocument(serializers.Serializer):
    id = serializers.IntegerField()


class RowsView(ApiView):
    authentication_classes = []
    permission_classes = [AllowAny]
    throttle_classes = []
    query_class = ListQuery

    def get(self, request) -> Response:
        rows = Permission.objects.filter(content_type__app_label="paged")
        return page_response(request, rows, by=self.by, query=self.query, document=RowDocument)


class RowsByNameView(RowsView):
    by = ("name", "id")


class RowsByIdView(RowsView):
    by = ("id",)


def get(view, url="/rows"):
    return view.as_view()(requests.get(url)).render()


def add_row(name: str) -> int:
    content_type, _ = ContentType.objects.get_or_create(app_label="paged", model="row")
    codename = str(Permission.objects.count())
    return Permission.objects.create(content_type=content_type, codename=codename, name=name).pk


def ids(response) -> list[int]:
    return [row["id"] for row in response.data["results"]]


@pytest.mark.django_db
class TestPageResponse:
    @pytest.fixture
    def rows(self):
        """The ids of five rows, oldest first; the three in the middle share a name."""
        return [add_row(name) for name in ("a", "b", "b", "b", "c")]

    @pytest.mark.parametrize("view", [RowsByIdView, RowsByNameView])
    def test_walks_there_and_back(self, rows, view):
        newest_first = rows[::-1]
        first = get(view, "/rows?page_size=2")
        assert (ids(first), first.data["previous"]) == (newest_first[:2], None)
        second = get(view, first.data["next"])
        assert ids(second) == newest_first[2:4]
        last = get(view, second.data["next"])
        assert (ids(last), last.data["next"]) == (newest_first[4:], None)

        back = get(view, last.data["previous"])
        assert (ids(back), back.data["next"]) == (ids(second), second.data["next"])
        start = get(view, back.data["previous"])
        assert (ids(start), start.data["previous"], start.data["next"]) == (
            ids(first),
            None,
            first.data["next"],
        )

    def test_ends_with_a_page_that_is_just_full(self, rows):
        response = get(RowsByIdView, "/rows?page_size=5")
        assert (len(ids(response)), response.data["next"]) == (5, None)

    def test_answers_an_empty_list(self):
        assert get(RowsByIdView).data == {"next": None, "previous": None, "results": []}

    def test_does_not_shift_when_a_newer_row_comes(self, rows):
        first = get(RowsByIdView, "/rows?page_size=2")
        add_row("newer")
        assert ids(get(RowsByIdView, first.data["next"])) == rows[::-1][2:4]

    def test_keeps_the_other_parameters_in_its_links(self, rows):
        link = get(RowsByIdView, "/rows?page_size=2").data["next"]
        assert link.startswith("http://testserver/rows?")
        assert "page_size=2" in link

    @pytest.mark.parametrize("count", [1, 3])
    def test_takes_one_query(self, count, django_assert_num_queries):
        for number in range(count):
            add_row(str(number))
        with django_assert_num_queries(1):
            get(RowsByIdView)

    @pytest.mark.parametrize(
        "cursor", ["x", "%00", "-1", "WyJvbGRlciIsMV0:abc:def", "é", "z" * 501]
    )
    def test_refuses_a_bad_cursor(self, cursor):
        response = get(RowsByIdView, f"/rows?cursor={cursor}")
        assert (response.status_code, list(response.data["errors"])) == (400, ["cursor"])

    def test_refuses_the_cursor_of_another_list(self, rows):
        link = get(RowsByIdView, "/rows?page_size=2").data["next"]
        assert get(RowsByNameView, link).status_code == 400
        assert get(RowsByIdView, link.replace("/rows", "/other")).status_code == 400

    @pytest.mark.parametrize("size", ["0", "201", "-1", "x", "999999999999999999999"])
    def test_refuses_a_bad_page_size(self, size):
        response = get(RowsByIdView, f"/rows?page_size={size}")
        assert (response.status_code, list(response.data["errors"])) == (400, ["page_size"])


class TestPageOf:
    def test_describes_the_three_members_under_a_name_of_its_own(self):
        page = page_of(RowDocument)
        assert page.__name__ == "RowPage"
        assert list(page().fields) == ["next", "previous", "results"]

    def test_is_one_class_for_one_document(self):
        assert page_of(RowDocument) is page_of(RowDocument)
