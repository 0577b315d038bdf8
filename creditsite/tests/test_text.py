import pytest

from creditsite.errors import InvalidRequest
from creditsite.text import BIDI_CONTROLS, REPLACEMENT, clean_text, one_line


class TestCleanText:
    def test_normalises_and_strips(self):
        assert clean_text("  cafe\u0301 ", 5) == "café"

    @pytest.mark.parametrize("text", ["", "José 李 👩‍👩‍👧", "a" * 20])
    def test_keeps_what_people_write(self, text):
        assert clean_text(text, 20) == text

    @pytest.mark.parametrize(
        "character",
        [*"\0\n\x1b\x7f\x85\ud800\u2028\u2029", REPLACEMENT, *sorted(BIDI_CONTROLS)],
    )
    def test_refuses_what_hides_or_reorders(self, character):
        with pytest.raises(InvalidRequest, match=f"U\\+{ord(character):04X}"):
            clean_text(f"a{character}b", 20)

    def test_refuses_one_character_too_many(self):
        with pytest.raises(InvalidRequest, match="At most 3"):
            clean_text("abcd", 3)


class TestOneLine:
    def test_joins_lines(self):
        assert one_line("a\r\n b\t\tc") == "a b c"

    def test_leaves_other_control_characters_to_be_refused(self):
        assert one_line("a\x1f\x85b") == "a\x1f\x85b"
