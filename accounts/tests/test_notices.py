"""Who hears by e-mail of what staff may do, and how such e-mails look."""

from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from django.core import mail

from accounts.choices import StaffGroup
from accounts.models import Email
from accounts.services import users
from accounts.services.notices import admins, tell
from accounts.tests.factories import StaffFactory, UserFactory
from creditsite.errors import Conflict

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
BY = {"reason": "because it is asked", "at": AT}


@pytest.fixture
def mails(settings):
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    return mail.outbox


def readers(mails):
    return sorted(address for message in mails for address in message.to)


class Words(HTMLParser):
    """The text that a page shows, and the tags it is made of."""

    def __init__(self, html):
        super().__init__()
        self.words, self.tags = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        if self.tags and self.tags[-1] != "style" and data.strip():
            self.words.append(data.strip())


@pytest.mark.django_db
class TestTell:
    def test_says_the_same_as_text_and_as_html(self, mails):
        reader = UserFactory()
        tell([reader], subject="News", lines=["One & all.", "Two."], facts=[("Users", "3 < 4")])
        message = mails[0]
        assert (message.to, message.subject) == ([reader.email], "News")
        assert message.body == "One & all.\n\nTwo.\n\nUsers: 3 < 4\n\n\n--\ncreditsite"
        html, kind = message.alternatives[0]
        assert kind == "text/html"
        shown = Words(html)
        assert shown.words == ["News", "News", "One & all.", "Two.", "Users", "3 < 4", "creditsite"]
        assert not {"script", "img", "link", "a"} & {*shown.tags}

    def test_lets_nobody_write_html(self, mails):
        tell([UserFactory()], subject="<b>x</b>", lines=["<script>x</script>"], facts=[])
        assert "<script>" not in mails[0].alternatives[0][0]
        assert "<b>" not in mails[0].alternatives[0][0]
        assert "<script>x</script>" in mails[0].body

    def test_writes_once_to_each_and_keeps_it_in_the_outbox(self, settings):
        settings.EMAIL_BACKEND = "accounts.services.outbox.OutboxBackend"
        one, other = UserFactory.create_batch(2)
        tell([one, other, one], subject="News", lines=["One."])
        rows = Email.objects.order_by("pk").values_list("recipient", "html")
        assert [recipient for recipient, _ in rows] == [one.email, other.email]
        assert all("<h1>News</h1>" in html for _, html in rows)


@pytest.mark.django_db
class TestAdmins:
    def test_are_active_staff_of_that_group(self):
        admin = StaffFactory()
        StaffFactory(is_active=False)
        StaffFactory(is_staff=False)
        StaffFactory(groups="Finance")
        assert admins() == [admin]


@pytest.mark.django_db
class TestStaffChanged:
    def test_is_told_to_the_other_admins_and_to_the_person(self, mails):
        actor, admin, user = StaffFactory(), StaffFactory(), StaffFactory(groups="Support")
        StaffFactory(groups="Finance")
        groups = [StaffGroup.FINANCE, StaffGroup.AUDITOR]
        users.set_staff_groups(user=user, is_staff=True, groups=groups, actor=actor, **BY)
        assert readers(mails) == sorted([admin.email, user.email])
        for said in [
            f"{actor} has changed what {user} may do as staff.",
            "Before: staff, in Support\nNow: staff, in Auditor, Finance",
            "Reason: because it is asked",
        ]:
            assert said in mails[0].body
        assert user.email not in mails[0].subject

    def test_is_told_of_an_admin_who_is_made_and_of_one_who_is_ended(self, mails):
        actor, user = StaffFactory(), UserFactory()
        users.set_staff_groups(
            user=user, is_staff=True, groups=[StaffGroup.ADMIN], actor=actor, **BY
        )
        assert readers(mails) == [user.email]
        assert "Before: no staff\nNow: staff, in Admin" in mails[0].body
        mails.clear()
        users.set_staff_groups(user=user, is_staff=False, groups=[], actor=actor, **BY)
        assert readers(mails) == [user.email]
        assert "Before: staff, in Admin\nNow: no staff" in mails[0].body

    def test_is_told_of_a_new_member_of_staff(self, mails):
        admin = StaffFactory()
        new = users.create_staff(
            email="new@example.com",
            password="correct horse battery",
            groups=[StaffGroup.SUPPORT],
            actor=None,
            **BY,
        )
        assert readers(mails) == sorted([admin.email, new.email])
        assert "The system has changed" in mails[0].body
        assert "Before: no staff\nNow: staff, in Support" in mails[0].body

    def test_is_told_of_staff_who_are_shut_out_and_let_in_again(self, mails):
        actor, user = StaffFactory(), StaffFactory(groups="Finance")
        users.deactivate_user(user=user, actor=actor, **BY)
        users.activate_user(user=user, actor=actor, **BY)
        assert [message.to for message in mails] == [[user.email], [user.email]]
        assert "Before: staff, in Finance\nNow: shut out" in mails[0].body
        assert "Before: shut out\nNow: staff, in Finance" in mails[1].body

    def test_is_told_of_nobody_who_is_no_staff(self, mails):
        actor, user = StaffFactory(), UserFactory()
        users.deactivate_user(user=user, actor=actor, **BY)
        users.activate_user(user=user, actor=actor, **BY)
        assert mails == []

    def test_is_not_told_if_nothing_changed(self, mails):
        actor, user = StaffFactory(), StaffFactory()
        groups = [StaffGroup.ADMIN]
        with pytest.raises(Conflict):
            users.set_staff_groups(user=user, is_staff=True, groups=groups, actor=actor, **BY)
        assert mails == []
