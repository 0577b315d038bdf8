from creditsite.tests.test_settings import PRODUCTION, manage


def test_production_does_not_send_its_key_in_the_clear():
    checked = manage("check", **PRODUCTION, STRIPE_API_BASE="http://127.0.0.1:8012")
    assert checked.returncode != 0
    assert "STRIPE_API_BASE is not https://" in checked.stderr
