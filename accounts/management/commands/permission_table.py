"""Print the table of permissions for people."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand

from accounts.choices import StaffGroup
from accounts.permissions import API, COMMANDS, PAGES, PERMISSIONS, RECENT, SITE, Door

INTRODUCTION = """\
# Who may do what

Written by `manage.py permission_table` from `accounts/permissions.py`, which every door reads; a
test keeps this page current. What is not listed is open to nobody, superusers included. Staff may
do what their groups may; ⏱ takes a sign-in of the last five minutes as well. Nobody changes a
wallet that they own or share, nor the rights of their own account, whatever stands here.
"""
GROUPS = [StaffGroup.SUPPORT, StaffGroup.FINANCE, StaffGroup.AUDITOR, StaffGroup.ADMIN]


class Command(BaseCommand):
    help = "Print who may do what, as Markdown: docs/permissions.md is its output."

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write("\n".join(lines()))


def lines() -> Iterator[str]:
    yield INTRODUCTION
    yield "## Staff pages\n"
    yield from table(["page", "act", *GROUPS, "permission"], page_rows())
    yield "\n## Operations of the API\n"
    yield "Users see and use what is theirs alone. Of staff doors a key passes that has"
    yield "`credits:admin`, if its owner's group may.\n"
    yield from table(["operation", "open to", "service key"], api_rows())
    yield "\n## Other pages\n"
    yield from table(["page", "open to"], ((f"`{path}`", door.who) for path, door in SITE.items()))
    yield "\n## Commands\n"
    yield "For whoever has a shell on the server; the record calls them the system.\n"
    commands = ((f"`{name}`", does) for name, does in sorted(COMMANDS.items()))
    yield from table(["command", "does"], commands)


def table(head: list[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def page_rows() -> Iterator[list[str]]:
    for label, page in PAGES.items():
        name = str(apps.get_model(label)._meta.verbose_name_plural).capitalize()
        standard = {"look": page.view, "add": page.add, "change": page.change}
        for act, permission in [*standard.items(), *page.acts.items()]:
            if permission:
                ticks = ["✓" if permission in PERMISSIONS[group] else "" for group in GROUPS]
                words = act.replace("-", " ").replace("_", " ")
                yield [name, words, *ticks, f"`{permission}`{' ⏱' * (permission in RECENT)}"]
                name = ""


def api_rows() -> Iterator[list[str]]:
    for path, doors in API.items():
        for method, door in doors.items():
            yield [f"{method} `{path}`", open_to(door), f"`{door.scope}`" if door.scope else "–"]


def open_to(door: Door) -> str:
    if not door.permission:
        return door.who
    groups = [group for group in GROUPS if door.permission in PERMISSIONS[group]]
    return f"{', '.join(groups)} (`{door.permission}`){' ⏱' * (door.permission in RECENT)}"
