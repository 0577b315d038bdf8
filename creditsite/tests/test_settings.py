import json
import subprocess
import sys

import pytest

from creditsite.running.environment import ROOT

PRODUCTION = {
    "SECRET_KEY": "a" * 25 + "bcdefghijklmnopqrstuvwxyz" * 2,
    "IDENTITY_KEY": "i" * 50,
    "JWT_SIGNING_KEY": "j" * 50,
    "API_KEY_HASH_KEY": "k" * 50,
    "ALLOWED_HOSTS": "credits.example.com",
    "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "EMAIL_URL": "smtp+tls://user:password@127.0.0.1:1",
    "EMAIL_FROM": "credits@example.com",
    "ERASURE_LIST_FILE": "/elsewhere/erasures.jsonl",
    "AUDIT_SIGNING_KEY_FILE": "/run/secrets/signing_key.pem",
    "AUDIT_CHECKPOINT_FILE": "/elsewhere/checkpoints.jsonl",
    "SITE_URL": "https://credits.example.com",
    "STRIPE_SECRET_KEY": "sk_live_of_nobody",
    "STRIPE_WEBHOOK_SECRETS": "whsec_of_nobody",
    "SELLER_NAME": "Seller Ltd",
}

READ_SETTINGS = """
import json
from django.conf import settings as s
print(json.dumps([s.SECRET_KEY, s.JWT_SIGNING_KEY, s.DATABASES["default"]["NAME"], s.REDIS_URL]))
"""


READ_COOKIES = """
import json
from django.conf import settings as s
names = ["NAME", "SECURE", "HTTPONLY", "SAMESITE", "PATH", "DOMAIN"]
kinds = ["SESSION_COOKIE_", "CSRF_COOKIE_"]
print(json.dumps([[getattr(s, kind + name) for name in names] for kind in kinds]))
"""


def manage(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run manage.py with nothing in the environment but ``variables``."""
    command = [sys.executable, "manage.py", *arguments]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)


class TestProduction:
    def test_is_clean(self):
        checked = manage("check", "--deploy", "--fail-level", "WARNING", **PRODUCTION)
        assert (checked.returncode, checked.stderr) == (0, "")

    @pytest.mark.parametrize(
        "name",
        ["SECRET_KEY", "IDENTITY_KEY", "JWT_SIGNING_KEY", "API_KEY_HASH_KEY", "ALLOWED_HOSTS"],
    )
    def test_does_not_start_without(self, name):
        given = {key: value for key, value in PRODUCTION.items() if key != name}
        checked = manage("check", **given)
        assert checked.returncode != 0
        assert f"Not set: {name}. " in checked.stderr

    def test_does_not_start_without_a_database(self):
        checked = manage("check", DEMO="0", **{**PRODUCTION, "DATABASE_URL": ""})
        assert "Not set: DATABASE_URL. " in checked.stderr

    def test_redirects_to_https_but_for_probes(self, client, settings):
        settings.SECURE_SSL_REDIRECT = True
        assert client.get("/admin/").status_code == 301
        assert client.get("/healthz").status_code == 200

    def test_binds_cookies_to_the_host_and_keeps_scripts_off_them(self):
        shown = manage("shell", "--no-imports", "--command", READ_COOKIES, **PRODUCTION)
        assert json.loads(shown.stdout) == [
            ["__Host-session", True, True, "Lax", "/", None],
            ["__Host-csrf", True, True, "Lax", "/", None],
        ]

    def test_takes_secrets_from_files(self, tmp_path):
        given = dict(PRODUCTION)
        for name in ["SECRET_KEY", "IDENTITY_KEY", "JWT_SIGNING_KEY", "DATABASE_URL", "REDIS_URL"]:
            (tmp_path / name).write_text(given.pop(name) + "\n")
            given[f"{name}_FILE"] = str(tmp_path / name)
        shown = manage("shell", "--no-imports", "--command", READ_SETTINGS, **given)
        assert json.loads(shown.stdout) == [
            PRODUCTION["SECRET_KEY"],
            PRODUCTION["JWT_SIGNING_KEY"],
            "none",
            PRODUCTION["REDIS_URL"],
        ]

    def test_does_not_start_without_the_file_it_is_told_of(self):
        given = {**PRODUCTION, "SECRET_KEY_FILE": "/run/secrets/nothing-here"}
        checked = manage("check", **given)
        assert checked.returncode != 0
        assert "No such file or directory: '/run/secrets/nothing-here'" in checked.stderr
