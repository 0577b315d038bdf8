"""What is given of disputes to whom they are about, and what goes when they are erased."""

import json

import pytest

from accounts.services.data_export import document_of
from accounts.services.erasure import preview_erasure
from accounts.tests.erasing import erased
from disputes.models import Attachment, Decision, DisputeEvent
from disputes.services.attachments import attach_file
from disputes.services.messages import add_note, write_to_staff, write_to_user
from disputes.tests.factories import disputed, now, resolve, review, support
from ledger.tests.factories import AT, CustomerFactory, wallet_with_credits

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def list_of_its_own(settings, tmp_path):
    settings.ERASURE_LIST_FILE = tmp_path / "erasures.jsonl"


def told_dispute():
    """Return a dispute in which everybody wrote something."""
    user = CustomerFactory(email="zoe@example.com", name="Zoe Canary")
    dispute = review(disputed(wallet=wallet_with_credits(user, award=100)))
    add_note(dispute=dispute, text="A canary of staff.", actor=support(), at=AT)
    write_to_user(dispute=dispute, text="Which job was it?", actor=support(), at=AT)
    write_to_staff(dispute=dispute, text="Job 7.", actor=user, at=AT)
    attach_file(dispute=dispute, name="zoe.txt", content=b"Zoe", actor=user, at=AT)
    return dispute


def test_what_is_open_stands_in_the_way():
    dispute = told_dispute()
    user = dispute.opened_by
    assert preview_erasure(user=user, at=AT).obstacles == [
        "They have open disputes (1): decide them first."
    ]
    resolve(dispute, "rejected")
    preview = preview_erasure(user=user, at=AT)
    assert preview.obstacles == []
    assert preview.erases["disputes, in their words"] == preview.erases["files of disputes"] == 1
    assert any("1 disputes with their credits" in line for line in preview.keeps)


def test_texts_and_files_go_and_figures_stay():
    dispute = told_dispute()
    other = disputed()
    resolve(dispute, "partial_refund", 5)
    erased(dispute.opened_by)
    row = now(dispute)
    assert (row.description, row.charged, row.status) == ("", 40, "resolved")
    assert row.erased_at is not None
    assert set(DisputeEvent.objects.filter(dispute=dispute).values_list("text", flat=True)) == {""}
    assert Decision.objects.values_list("notes", "refunded").get() == ("", 5)
    assert Attachment.objects.values_list("name", "size").get() == ("", 3)
    assert Attachment.objects.get().content is None
    assert now(other).description != ""


def test_who_disputed_is_given_what_they_may_see():
    dispute = told_dispute()
    resolve(dispute, "partial_refund", 5)
    document = json.loads("".join(document_of(dispute.opened_by, AT)))
    [told] = document["disputes"]
    assert (told["id"], told["description"]) == (str(dispute.pk), dispute.description)
    texts = [event["text"] for event in told["timeline"] if event["text"]]
    assert texts == ["Which job was it?", "Job 7."]
    assert told["decisions"][0]["refunded"] == 5
    assert told["files"][0]["name"] == "zoe.txt"
    assert "A canary of staff" not in json.dumps(document)
