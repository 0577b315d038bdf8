from django.db import migrations

# code, name, allotment in whole credits, members who may share the wallet
ROLES = [
    ("member", "Member", 350, 0),
    ("admin", "Admin", 1_000, 0),
    ("team_admin", "Team admin", 5_000, 4),
    ("recruitpro", "RecruitPro", 1_000, 0),
    ("super_admin", "Super admin", 10_000, 0),
]
STAFF_GROUPS = ["Admin", "Finance", "Support", "Auditor"]


def make_roles_and_groups(apps, schema_editor):
    Role = apps.get_model("accounts", "Role")
    for code, name, allotment, pool_seats in ROLES:
        Role.objects.get_or_create(
            code=code, defaults={"name": name, "allotment": allotment, "pool_seats": pool_seats}
        )
    Group = apps.get_model("auth", "Group")
    for name in STAFF_GROUPS:
        Group.objects.get_or_create(name=name)


def drop_unused_roles_and_groups(apps, schema_editor):
    """What somebody is in stays."""
    codes = [code for code, *_ in ROLES]
    apps.get_model("accounts", "Role").objects.filter(code__in=codes, users=None).delete()
    apps.get_model("auth", "Group").objects.filter(name__in=STAFF_GROUPS, user=None).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_people_and_jobs"),
        ("auth", "0012_alter_user_first_name_max_length"),
    ]

    operations = [migrations.RunPython(make_roles_and_groups, drop_unused_roles_and_groups)]
