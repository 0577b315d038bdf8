import pytest

from creditsite.testing.people import as_role

GROUPS = ["Admin", "Finance", "Support", "Auditor"]


def entries(client):
    """Return the titles and addresses that the start page offers."""
    menu = client.get("/admin/").context["sidebar_navigation"]
    return {item["title"]: item["link"] for group in menu for item in group["items"]}


@pytest.mark.django_db
class TestMenu:
    @pytest.mark.parametrize("group", GROUPS)
    def test_offers_what_one_may_open_and_nothing_else(self, group):
        client = as_role(group)
        offered = entries(client)
        everything = entries(as_role("Admin", email="all@example.com"))
        opened = {
            title for title, link in everything.items() if client.get(link).status_code == 200
        }
        assert offered.keys() == opened

    def test_leads_support_to_balances_but_not_to_the_record(self):
        offered = entries(as_role("Support"))
        assert offered["Users & balances"] == "/admin/ledger/wallet/"
        assert "Audit record" not in offered

    def test_tells_staff_without_a_group_what_to_do(self):
        page = as_role("").get("/admin/").content.decode()
        assert "an administrator puts staff into a group" in page


@pytest.mark.django_db
class TestSearch:
    def test_finds_entries_of_the_menu(self):
        assert "Features" in as_role("Admin").get("/admin/search/?s=feat").content.decode()

    @pytest.mark.parametrize("page", ["-1", "0", "x", "²", "2"])
    def test_has_no_page_that_is_none(self, page):
        answer = as_role("Admin").get("/admin/search/", {"s": "feat", "extended": 1, "page": page})
        assert answer.status_code == 404

    def test_is_for_staff(self, client):
        assert client.get("/admin/search/?s=feat").status_code == 302
