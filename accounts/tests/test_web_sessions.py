"""How long sessions last, and the list of them."""

import pytest
from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone

from accounts.services.sign_in import forget_expired
from accounts.services.users import deactivate_user, set_staff_groups
from accounts.tests.factories import StaffFactory
from accounts.tests.sign_in import is_in, member, signed_in, staff

SESSIONS = "/accounts/sessions/"
pytestmark = pytest.mark.django_db


class TestLimits:
    @pytest.fixture(autouse=True)
    def _begin(self, time_machine):
        self.time_machine = time_machine
        self.time_machine.move_to("2026-11-01 08:00Z", tick=False)

    def at(self, client: Client, time: str) -> bool:
        """Say whether ``client`` is still signed in at ``time``, using the session."""
        self.time_machine.move_to(f"2026-{time}Z", tick=False)
        return is_in(client)

    def test_end_the_session_of_idle_staff_after_half_an_hour(self):
        client = signed_in(staff())
        assert self.at(client, "11-01 08:29")
        assert self.at(client, "11-01 08:58")
        assert not self.at(client, "11-01 09:29")
        assert not self.at(client, "11-01 09:29")

    def test_take_what_a_page_asks_for_by_itself_for_nobody(self):
        client = signed_in(staff())
        assert self.at(client, "11-01 08:01")
        for minute in (10, 20, 30):
            self.time_machine.move_to(f"2026-11-01 08:{minute}Z", tick=False)
            assert client.get("/accounts/", headers={"X-By-Itself": "yes"}).status_code == 200
        assert not self.at(client, "11-01 08:32")

    def test_end_the_session_of_busy_staff_after_eight_hours(self):
        client = signed_in(staff())
        times = [f"11-01 {hour:02}:{minute}" for hour in range(8, 16) for minute in ("00", 25, 50)]
        assert all(self.at(client, time) for time in [*times, "11-01 16:00"])
        assert not self.at(client, "11-01 16:01")

    def test_leave_users_two_weeks_and_thirty_days(self):
        idle, busy = signed_in(member()), signed_in(member())
        assert all(self.at(busy, f"11-{day} 08:00") for day in ["10", "20", "30"])
        assert not self.at(idle, "11-30 08:00")
        assert self.at(busy, "12-01 08:00")
        assert not self.at(busy, "12-01 08:01")

    def test_say_so(self):
        client = signed_in(staff())
        self.time_machine.move_to("2026-11-01 09:00Z", tick=False)
        page = client.get("/admin/", follow=True).content.decode()
        assert "You were signed out to be on the safe side." in page

    def test_write_a_session_that_is_used_once_a_minute(self, django_assert_num_queries):
        client = signed_in(member())
        self.time_machine.move_to("2026-11-01 08:02Z", tick=False)
        client.get("/accounts/confirmed/")
        seen = UserSession.objects.get().last_seen_at
        self.time_machine.move_to("2026-11-01 08:02:50Z", tick=False)
        with django_assert_num_queries(2):  # the session and its user
            client.get("/accounts/confirmed/")
        assert UserSession.objects.get().last_seen_at == seen


class TestList:
    def test_names_each_and_marks_this_one(self):
        user = member()
        there = Client(HTTP_USER_AGENT="Lynx", REMOTE_ADDR="198.51.100.7")
        there.post("/accounts/login/", {"login": user.email, "password": "correct horse battery"})
        here = signed_in(user)
        signed_in(member())
        page = here.get(SESSIONS).content.decode()
        assert page.count("<section>") == 2
        assert "Lynx" in page
        assert "198.51.100.7" in page
        assert page.count(">here<") == 1

    def test_ends_one(self):
        user = member()
        here, there, third = signed_in(user), signed_in(user), signed_in(user)
        session = UserSession.objects.get(session_key=there.session.session_key)
        path = f"{SESSIONS}{session.pk}/end/"
        here.get(path)
        assert is_in(there)
        here.post(path)
        assert (is_in(here), is_in(there), is_in(third)) == (True, False, True)

    def test_ends_all_but_this_one(self):
        user = member()
        here, there, third = signed_in(user), signed_in(user), signed_in(user)
        here.post(SESSIONS)
        assert (is_in(here), is_in(there), is_in(third)) == (True, False, False)

    def test_ends_none_of_somebody_else(self):
        there, other = signed_in(member()), signed_in(member())
        session = UserSession.objects.get(session_key=there.session.session_key)
        assert other.post(f"{SESSIONS}{session.pk}/end/").status_code == 404
        assert is_in(there)


class TestForgetExpired:
    def test_deletes_what_is_past_its_limits_and_no_more(self, time_machine):
        time_machine.move_to("2026-11-01 08:00Z", tick=False)
        idle, live, users = signed_in(staff()), signed_in(staff()), signed_in(member())
        time_machine.move_to("2026-11-01 08:20Z", tick=False)
        assert is_in(live)
        time_machine.move_to("2026-11-01 08:31Z", tick=False)
        assert forget_expired(at=timezone.now()) == 1
        assert not Session.objects.filter(pk=idle.session.session_key).exists()
        assert (is_in(live), is_in(users)) == (True, True)
        time_machine.move_to("2026-12-02 08:00Z", tick=False)
        assert forget_expired(at=timezone.now()) == 2
        assert not UserSession.objects.exists()


class TestAccess:
    """What staff decide about somebody ends their sessions, and a later decision revives none."""

    def record(self):
        return {"actor": StaffFactory(), "reason": "as agreed", "at": "2026-11-20T12:00Z"}

    def test_ends_with_deactivation_for_good(self):
        user = member()
        client = signed_in(user)
        deactivate_user(user=user, **self.record())
        assert not is_in(client)
        type(user).objects.update(is_active=True)
        assert not is_in(client)

    def test_ends_with_a_change_of_staff_groups(self):
        user = member()
        client = signed_in(user)
        set_staff_groups(user=user, is_staff=True, groups=[], **self.record())
        assert not is_in(client)
