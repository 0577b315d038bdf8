"""The doors of disputes: for whom, in which order of checks, and what they answer."""

from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone

from accounts.models import User
from accounts.tests.factories import StaffFactory, UserFactory
from creditsite.errors import Unavailable
from disputes.models import Attachment, Dispute
from disputes.services.review import review_dispute
from disputes.tests.factories import NOTES, WHY
from ledger.models import CreditTransaction, Wallet
from ledger.tests.api import Caller, as_service, as_user, refused, wrong_fields
from ledger.tests.factories import (
    CustomerFactory,
    available,
    finance,
    set_credit_settings,
    spend,
    wallet_with_credits,
)

pytestmark = pytest.mark.django_db
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
UNKNOWN = "00000000-0000-7000-8000-000000000001"


def charge_of(user: User, amount: int = 40) -> CreditTransaction:
    at = timezone.now()
    wallet = wallet_with_credits(user, award=100, at=at)
    posted = spend(wallet, amount, at=at, actor_id=user.pk)
    return CreditTransaction.objects.get(pk=posted.transaction_id)


@pytest.fixture
def user() -> User:
    return CustomerFactory()


@pytest.fixture
def charge(user: User) -> CreditTransaction:
    wallet = wallet_with_credits(user, award=100, at=timezone.now())
    posted = spend(wallet, 40, at=timezone.now(), actor_id=user.pk)
    return CreditTransaction.objects.get(pk=posted.transaction_id)


@pytest.fixture
def dispute(user: User, charge: CreditTransaction) -> Dispute:
    answer = as_user(user).post("disputes/submit", body_for(charge))
    return Dispute.objects.get(pk=answer.json()["id"])


@pytest.fixture
def reviewed(dispute: Dispute) -> Dispute:
    review_dispute(dispute=dispute, notes="mine", actor=finance(), at=timezone.now())
    return dispute


def body_for(charge: CreditTransaction, **more: Any) -> dict[str, Any]:
    return {
        "transaction_id": str(charge.pk),
        "reason": "Poor result",
        "description": WHY,
        "requested_refund": 40,
    } | more


def put(caller: Caller, path: str, body: Any) -> Any:
    return caller.client.put(f"/api/{path}", body)


def upload(caller: Caller, path: str, content: bytes = PNG, name: str = "a.png", **more: Any):
    file = SimpleUploadedFile(name, content)
    return caller.client.post(f"/api/{path}", {"file": file, **more}, format="multipart")


class TestReasons:
    def test_are_those_that_are_listed(self, user):
        answer = as_user(user).get("disputes/reasons").json()
        assert answer["next"] is None
        assert answer["results"] == [
            {"code": "not_delivered", "label": "Service not delivered"},
            {"code": "charged_twice", "label": "Charged twice"},
            {"code": "wrong_amount", "label": "Wrong amount"},
            {"code": "poor_result", "label": "Poor result"},
            {"code": "other", "label": "Other"},
        ]


class TestSubmit:
    def test_answers_with_the_dispute(self, user, charge):
        answer = as_user(user).post("disputes/submit", body_for(charge))
        assert answer.status_code == 201
        told = answer.json()
        assert told["transaction_id"] == str(charge.pk)
        assert (told["status"], told["is_appealed"], told["version"]) == ("pending", False, 1)
        assert (told["charged"], told["requested_refund"]) == (40, 40)
        assert (told["reason_code"], told["reason_label"]) == ("poor_result", "Poor result")
        assert (told["other_reason"], told["description"]) == (None, WHY)
        assert told["decisions"] == told["attachments"] == []
        [event] = told["timeline"]
        assert (event["kind"], event["by_staff"], event["text"]) == ("submitted", False, "")

    def test_repeats_by_its_key(self, user, charge):
        first = as_user(user).post("disputes/submit", body_for(charge), key="k")
        again = as_user(user).post("disputes/submit", body_for(charge), key="k")
        assert (again.status_code, again["Idempotent-Replayed"]) == (201, "true")
        assert again.json() == first.json()
        other = as_user(user).post("disputes/submit", body_for(charge, reason="other"), key="k")
        assert refused(other) == (422, "idempotency_key_reused")

    def test_checks_in_order(self, user, charge):
        caller = as_user(user)
        stranger = as_user(UserFactory())
        wrong = body_for(charge, requested_refund="40", unknown=1)
        assert wrong_fields(stranger.post("disputes/submit", wrong)) == ["unknown"]
        short = body_for(charge, description="short", requested_refund=0)
        assert wrong_fields(stranger.post("disputes/submit", short)) == [
            "description",
            "requested_refund",
        ]
        right = body_for(charge)
        assert refused(stranger.post("disputes/submit", right)) == (404, "not_found")
        missing = body_for(charge, transaction_id=UNKNOWN)
        assert refused(caller.post("disputes/submit", missing)) == (404, "not_found")
        much = body_for(charge, requested_refund=41)
        assert refused(caller.post("disputes/submit", much)) == (409, "exceeds_taken")
        assert caller.post("disputes/submit", right).status_code == 201
        assert refused(caller.post("disputes/submit", right)) == (409, "already_disputed")

    def test_is_for_users_in_person(self, charge):
        answer = as_service().post("disputes/submit", body_for(charge), key="k")
        assert refused(answer) == (403, "not_permitted")


class TestReading:
    def test_lists_ones_own(self, user, dispute):
        assert [d["id"] for d in listed(as_user(user))] == [str(dispute.pk)]
        assert listed(as_user(user), status="resolved") == []
        assert listed(as_user(UserFactory())) == []
        assert [d["id"] for d in listed(as_service(), user_id=user.pk)] == [str(dispute.pk)]

    def test_of_anothers_is_a_404(self, user, dispute):
        path = f"disputes/{dispute.pk}"
        assert as_user(user).get(path).status_code == 200
        assert as_service("credits:read").get(path, {"user_id": user.pk}).status_code == 200
        stranger = as_user(UserFactory())
        posts = {"appeal": {"description": WHY}, "messages": {"text": "Hello"}}
        assert refused(stranger.get(path)) == (404, "not_found")
        for name, body in posts.items():
            assert refused(stranger.post(f"{path}/{name}", body)) == (404, "not_found")
        assert refused(upload(stranger, f"{path}/attachments")) == (404, "not_found")

    def test_shows_the_user_nothing_internal(self, user, reviewed):
        told = as_user(user).get(f"disputes/{reviewed.pk}").json()
        assert [event["kind"] for event in told["timeline"]] == ["submitted", "taken"]
        assert "assignee" not in told

    def test_takes_as_many_queries_for_three_as_for_one(
        self, user, dispute, django_assert_num_queries
    ):
        caller = as_user(user)
        caller.get("disputes/my-disputes")
        with django_assert_num_queries(4):
            caller.get("disputes/my-disputes")
        for _ in range(2):
            caller.post("disputes/submit", body_for(charge_of(user)))
        with django_assert_num_queries(4):
            assert len(listed(caller)) == 3


def listed(caller: Caller, **query: Any) -> list[Any]:
    return caller.get("disputes/my-disputes", query).json()["results"]


class TestAppeal:
    def test_answers_with_the_dispute(self, user, reviewed):
        resolve = as_user(finance()).post(
            f"disputes/admin/{reviewed.pk}/resolve", {"resolution": "rejected", "notes": NOTES}
        )
        assert resolve.json()["dispute"]["status"] == "rejected"
        caller = as_user(user)
        answer = caller.post(f"disputes/{reviewed.pk}/appeal", {"description": WHY})
        assert answer.status_code == 200
        told = answer.json()
        assert (told["status"], told["is_appealed"]) == ("pending", True)
        assert told["decisions"][0]["notes"] == NOTES
        assert (told["appeal"]["description"], told["description"]) == (WHY, WHY)
        again = caller.post(f"disputes/{reviewed.pk}/appeal", {"description": WHY})
        assert refused(again) == (409, "already_appealed")

    def test_of_what_is_open_is_a_409(self, user, dispute):
        answer = as_user(user).post(f"disputes/{dispute.pk}/appeal", {"description": WHY})
        assert refused(answer) == (409, "dispute_not_in_state")
        assert answer.json()["dispute_status"] == "pending"


class TestQueue:
    def test_shows_staff_what_waits(self, user, dispute):
        [told] = as_user(finance()).get("disputes/admin/queue").json()["results"]
        assert (told["id"], told["user"]) == (
            str(dispute.pk),
            {"id": user.pk, "email": user.email},
        )
        assert (told["assignee"], told["is_overdue"], told["approval"]) == (None, False, None)
        assert (told["wallet_user_id"], told["wallet_team_id"]) == (user.pk, None)

    def test_has_filters(self, dispute, reviewed):
        caller = as_user(finance())

        def found(**query: Any) -> int:
            return len(caller.get("disputes/admin/queue", query).json()["results"])

        reviewed.refresh_from_db()
        assert (found(), found(status="pending"), found(status="under_review")) == (1, 0, 1)
        assert (found(overdue="true"), found(overdue="false")) == (0, 1)
        assert (found(assignee=reviewed.assignee_id), found(assignee=caller_id())) == (1, 0)
        for query in ({"overdue": "1"}, {"status": "open"}, {"assignee": "me"}, {"what": "x"}):
            assert wrong_fields(caller.get("disputes/admin/queue", query)) == list(query)

    def test_goes_page_by_page_most_urgent_first(self, user):
        caller, staff = as_user(user), as_user(finance())
        for _ in range(3):
            caller.post("disputes/submit", body_for(charge_of(user)))
        due = list(Dispute.objects.order_by("due_at", "id").values_list("pk", flat=True))
        first = staff.get("disputes/admin/queue", {"page_size": 2}).json()
        assert [d["id"] for d in first["results"]] == [str(pk) for pk in due[:2]]
        second = staff.client.get(first["next"]).json()
        assert ([d["id"] for d in second["results"]], second["next"]) == ([str(due[2])], None)
        back = staff.client.get(second["previous"]).json()
        assert [d["id"] for d in back["results"]] == [str(pk) for pk in due[:2]]
        assert back["previous"] is None


def caller_id() -> int:
    return StaffFactory().pk


class TestReview:
    def test_takes_it(self, dispute):
        actor = finance()
        answer = put(
            as_user(actor), f"disputes/admin/{dispute.pk}/review", {"notes": "mine", "version": 1}
        )
        assert answer.status_code == 200
        told = answer.json()
        assert (told["status"], told["version"]) == ("under_review", 2)
        assert told["assignee"] == {"id": actor.pk, "email": actor.email}
        assert [event["text"] for event in told["timeline"]] == ["", "", "mine"]

    def test_checks_in_order(self, user, dispute):
        path = f"disputes/admin/{dispute.pk}/review"
        body = {"notes": "mine"}
        assert refused(put(Caller(""), path, body)) == (401, "not_authenticated")
        assert refused(put(as_user(user), path, {})) == (403, "not_permitted")
        user.is_staff = True
        user.save()
        support = StaffFactory(groups="Support")
        assert wrong_fields(put(as_user(support), path, {})) == ["notes"]
        missing = f"disputes/admin/{UNKNOWN}/review"
        assert refused(put(as_user(support), missing, body)) == (404, "not_found")
        nobody = {"notes": "mine", "assignee": 2**62}
        assert refused(put(as_user(support), path, nobody)) == (404, "not_found")
        theirs = {"notes": "mine", "assignee": UserFactory().pk}
        assert refused(put(as_user(support), path, theirs)) == (409, "cannot_review")
        stale = {"notes": "mine", "version": 2}
        assert refused(put(as_user(support), path, stale)) == (409, "stale_version")
        assert put(as_user(support), path, body).status_code == 200
        assert refused(put(as_user(support), path, body)) == (409, "dispute_not_in_state")

    def test_is_given_to_a_colleague_or_to_nobody(self, dispute):
        staff, colleague = as_user(StaffFactory(groups="Support")), finance()
        path = f"disputes/admin/{dispute.pk}/assign"
        told = staff.post(path, {"assignee": colleague.pk}).json()
        assert told["assignee"]["id"] == colleague.pk
        assert staff.post(path, {"assignee": None}).json()["assignee"] is None

    def test_of_ones_own_is_refused_and_shows_nothing_internal(self):
        actor = finance()
        charge = charge_of(actor)
        caller = as_user(actor)
        id = caller.post("disputes/submit", body_for(charge)).json()["id"]
        answer = put(caller, f"disputes/admin/{id}/review", {"notes": "mine"})
        assert refused(answer) == (403, "own_wallet")
        colleague = as_user(finance())
        colleague.post(
            f"disputes/admin/{id}/messages", {"text": "Is it true?", "audience": "staff"}
        )
        seen = [e["text"] for e in colleague.get(f"disputes/admin/{id}").json()["timeline"]]
        assert seen == ["", "Is it true?"]
        own = [e["text"] for e in caller.get(f"disputes/admin/{id}").json()["timeline"]]
        assert own == [""]


class TestResolve:
    def test_gives_back(self, user, charge, reviewed):
        answer = as_user(finance()).post(
            f"disputes/admin/{reviewed.pk}/resolve",
            {"resolution": "partial_refund", "refund_amount": 30, "notes": NOTES},
        )
        assert answer.status_code == 200
        told = answer.json()
        assert told["dispute"]["status"] == "resolved"
        assert told["dispute"]["open_credits"] == 10
        decision = told["decision"]
        numbers = ["asked", "refunded", "to_balance", "debt_reduced", "not_restorable"]
        assert [decision[name] for name in numbers] == [30, 30, 30, 0, 0]
        assert available(Wallet.objects.get(user=user), timezone.now()) == 90
        refund = as_user(user).get("credits/transactions", {"type": "refund"}).json()["results"]
        assert [(t["id"], t["amount"], t["reverses"]) for t in refund] == [
            (decision["transaction_id"], 30, str(charge.pk))
        ]

    def test_repeats_by_its_key(self, reviewed):
        caller, path = as_user(finance()), f"disputes/admin/{reviewed.pk}/resolve"
        body = {"resolution": "full_refund", "notes": NOTES}
        first = caller.post(path, body, key="k")
        again = caller.post(path, body, key="k")
        assert again["Idempotent-Replayed"] == "true"
        assert "Idempotent-Replayed" not in first
        assert again.json()["decision"] == first.json()["decision"]
        other = caller.post(path, body | {"resolution": "rejected"}, key="k")
        assert refused(other) == (422, "idempotency_key_reused")

    def test_by_a_service_takes_a_key_and_the_right_of_its_owner(self, reviewed):
        path = f"disputes/admin/{reviewed.pk}/resolve"
        body = {"resolution": "full_refund", "notes": NOTES}
        admin = as_service("credits:admin")
        assert refused(admin.post(path, body)) == (400, "invalid_request")
        reader = as_service("credits:read")
        assert refused(reader.post(path, body, key="k")) == (403, "missing_scope")
        assert admin.post(path, body, key="k").status_code == 200

    @pytest.mark.parametrize(
        "body",
        [
            {"resolution": "partial_refund"},
            {"resolution": "rejected", "refund_amount": 3},
            {"resolution": "full_refund", "notes": ""},
            {"resolution": "some_refund"},
        ],
    )
    def test_refuses_what_does_not_fit(self, reviewed, body):
        answer = as_user(finance()).post(
            f"disputes/admin/{reviewed.pk}/resolve", {"notes": NOTES} | body
        )
        assert refused(answer) == (400, "invalid_request")

    def test_of_many_waits_for_a_second_person(self, user, reviewed):
        set_credit_settings(approval_dispute_above=30)
        maker, path = as_user(finance()), f"disputes/admin/{reviewed.pk}/resolve"
        body = {"resolution": "full_refund", "notes": NOTES}
        answer = maker.post(path, body)
        assert answer.status_code == 202
        approval = answer.json()["approval"]
        assert approval["kind"] == "disputes.resolve_dispute"
        [queued] = maker.get("disputes/admin/queue").json()["results"]
        assert queued["approval"]["id"] == approval["id"]
        assert refused(maker.post(path, body)) == (409, "waits_for_approval")
        decide = f"admin/approvals/{approval['id']}/approve"
        assert as_user(finance()).post(decide, {"note": "yes"}).json()["status"] == "executed"
        assert available(Wallet.objects.get(user=user), timezone.now()) == 100

    @pytest.mark.parametrize("group", ["Support", "Auditor"])
    def test_is_for_admin_and_finance(self, reviewed, group):
        answer = as_user(StaffFactory(groups=group)).post(
            f"disputes/admin/{reviewed.pk}/resolve", {"resolution": "rejected", "notes": NOTES}
        )
        assert refused(answer) == (403, "not_permitted")


class TestMessages:
    def test_go_both_ways(self, user, dispute):
        staff = as_user(StaffFactory(groups="Support"))
        for to in ("user", "staff"):
            told = staff.post(
                f"disputes/admin/{dispute.pk}/messages", {"text": f"To the {to}.", "audience": to}
            )
            assert told.status_code == 200
        told = as_user(user).post(f"disputes/{dispute.pk}/messages", {"text": "Thank you."}).json()
        assert [event["text"] for event in told["timeline"]] == ["", "To the user.", "Thank you."]


class TestFiles:
    def test_are_downloads_for_those_who_see_the_dispute(self, user, dispute):
        caller = as_user(user)
        kept = upload(caller, f"disputes/{dispute.pk}/attachments", name="../Wie groß.PNG")
        assert kept.status_code == 201
        told = kept.json()
        assert (told["name"], told["content_type"], told["size"]) == (
            "Wie groß.PNG",
            "image/png",
            len(PNG),
        )
        path = f"/api/disputes/{dispute.pk}/attachments/{told['id']}"
        file = caller.client.get(path, HTTP_ACCEPT="image/png")
        assert (file.status_code, file.content) == (200, PNG)
        assert file["Content-Type"] == "image/png"
        assert file["Content-Disposition"].startswith("attachment; filename*=utf-8''Wie%20gro")
        assert file["X-Content-Type-Options"] == "nosniff"
        assert file["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert file["Cache-Control"] == "no-store"
        assert as_user(UserFactory()).client.get(path).status_code == 404
        staff = as_user(StaffFactory(groups="Auditor"))
        of_staff = path.replace("/disputes/", "/disputes/admin/", 1)
        assert staff.client.get(of_staff).content == PNG
        assert staff.client.get(path).status_code == 404

    def test_of_staff_may_be_for_staff_only(self, user, dispute):
        staff = as_user(StaffFactory(groups="Support"))
        kept = upload(
            staff, f"disputes/admin/{dispute.pk}/attachments", b"log\n", "log.txt", for_staff="true"
        ).json()
        assert (kept["is_internal"], kept["content_type"]) == (True, "text/plain")
        path = f"disputes/{dispute.pk}/attachments/{kept['id']}"
        assert refused(as_user(user).get(path)) == (404, "not_found")
        assert as_user(user).get(f"disputes/{dispute.pk}").json()["attachments"] == []
        of_staff = staff.client.get(f"/api/disputes/admin/{path.removeprefix('disputes/')}")
        assert of_staff.content == b"log\n"

    @pytest.mark.parametrize(
        ("content", "name"),
        [
            (b"MZ\x90\0", "a.png"),
            (b"<svg>\0</svg>", "a.svg"),
            ("x\u202ey".encode(), "a.txt"),
            (b"\xff\xfeh\0", "a.txt"),
            (b"PK\x03\x04", "a.docx"),
        ],
    )
    def test_of_other_types_are_refused_whatever_they_are_called(
        self, user, dispute, content, name
    ):
        answer = upload(as_user(user), f"disputes/{dispute.pk}/attachments", content, name)
        assert refused(answer) == (400, "invalid_file")
        assert Attachment.objects.count() == 0

    @pytest.mark.parametrize(
        ("content", "name", "kept"),
        [
            (b"<script>alert(1)</script>", "a.html", "a.html.txt"),
            (b"%PDF-1.7", "report", "report.pdf"),
            (b"\xff\xd8\xff\xe0", "a.JPEG", "a.JPEG"),
            (PNG, "evil.exe", "evil.exe.png"),
        ],
    )
    def test_are_called_what_they_are(self, user, dispute, content, name, kept):
        answer = upload(as_user(user), f"disputes/{dispute.pk}/attachments", content, name)
        assert answer.json()["name"] == kept

    def test_are_so_large_and_so_many(self, user, dispute, settings):
        settings.DISPUTE_FILE_BYTES, settings.DISPUTE_FILES = 30, 1
        caller, path = as_user(user), f"disputes/{dispute.pk}/attachments"
        assert refused(upload(caller, path, PNG + b"\0" * 3)) == (400, "invalid_file")
        assert wrong_fields(upload(caller, path, b"")) == ["file"]
        assert upload(caller, path).status_code == 201
        assert refused(upload(caller, path)) == (409, "too_many_files")

    def test_are_what_forms_send_and_nothing_else(self, user, dispute):
        caller, path = as_user(user), f"disputes/{dispute.pk}/attachments"
        assert caller.post(path, {"file": "x"}).status_code == 415
        assert wrong_fields(upload(caller, path, other="x")) == ["other"]
        empty = caller.client.post(f"/api/{path}", {}, format="multipart")
        assert wrong_fields(empty) == ["file"]

    @pytest.mark.parametrize(
        ("scanner", "said"),
        [
            ("refuse_all", (400, "file_refused")),
            ("do_not_answer", (503, "unavailable")),
        ],
    )
    def test_are_scanned_if_the_installation_says_so(self, user, dispute, settings, scanner, said):
        settings.DISPUTE_FILE_SCANNER = f"disputes.tests.test_api.{scanner}"
        answer = upload(as_user(user), f"disputes/{dispute.pk}/attachments")
        assert refused(answer) == said
        assert Attachment.objects.count() == 0

    def test_that_the_scanner_lets_pass_are_kept(self, user, dispute, settings):
        settings.DISPUTE_FILE_SCANNER = "disputes.tests.test_api.let_pictures_pass"
        caller, path = as_user(user), f"disputes/{dispute.pk}/attachments"
        assert upload(caller, path).status_code == 201
        assert refused(upload(caller, path, b"text")) == (400, "file_refused")


def refuse_all(content: bytes, kind: str) -> bool:
    return False


def do_not_answer(content: bytes, kind: str) -> bool:
    raise Unavailable("The scanner does not answer. Try again later.")


def let_pictures_pass(content: bytes, kind: str) -> bool:
    return kind.startswith("image/")


class TestStatistics:
    def test_are_for_who_reads_reports(self, dispute):
        assert as_user(StaffFactory(groups="Auditor")).get("disputes/admin/statistics")
        answer = as_user(StaffFactory(groups="Support")).get("disputes/admin/statistics")
        assert refused(answer) == (403, "not_permitted")

    def test_tell_how_disputes_go(self, user, reviewed):
        actor = finance()
        as_user(actor).post(
            f"disputes/admin/{reviewed.pk}/resolve",
            {"resolution": "full_refund", "notes": NOTES},
        )
        told = as_user(actor).get("disputes/admin/statistics").json()
        assert (told["submitted"], told["requested"]) == (1, 40)
        assert (told["pending"], told["under_review"], told["overdue"]) == (0, 0, 0)
        assert (told["decided"], told["refunded"], told["appeals_decided"]) == (1, 40, 0)
        assert told["resolutions"] == [{"resolution": "full_refund", "decided": 1, "refunded": 40}]
        assert told["reasons"] == [
            {"code": "poor_result", "label": "Poor result", "submitted": 1, "refunded": 40}
        ]
        assert told["features"] == [
            {"feature": None, "submitted": 1, "charged": 40, "upheld": 1, "refunded": 40}
        ]
        [reviewer] = told["reviewers"]
        assert (reviewer["user_id"], reviewer["email"]) == (actor.pk, actor.email)
        assert (reviewer["decided"], reviewer["upheld"], reviewer["refunded"]) == (1, 1, 40)
