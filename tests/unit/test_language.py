"""Which language is spoken, and what stands in it."""

import pytest

from harness.errors import HarnessError
from harness.language import CATALOGUES, LANGUAGES, TAGS, _, language, ngettext, speaking, spoken


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, "en"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LANG": "POSIX"}, "en"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "en_GB.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "de_DE.UTF-8", "LANGUAGE": "fr:zh_CN:en"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LANGUAGE": "en"}, "en"),
        ({"LANG": "C.UTF-8", "LANGUAGE": "zh"}, "en"),
        ({"LC_ALL": "POSIX", "LANGUAGE": "zh"}, "en"),
    ],
)
def test_the_locale_decides(environment: dict[str, str], expected: str) -> None:
    """In gettext's order; a locale without a catalogue is told in English, and C is English."""
    assert language(None, environment) == expected


def test_what_is_asked_for_goes_before_the_locale() -> None:
    assert language("en", {"LANG": "zh_CN.UTF-8"}) == "en"
    assert language("zh", {"LC_ALL": "C"}) == "zh"
    with pytest.raises(HarnessError, match=r"^--lang fr\?: known are en, zh$"):
        language("fr\a", {})


def test_speaking_ends_with_its_block() -> None:
    """Also within another, and when the block fails."""
    assert spoken() == "en"
    with speaking("zh"):
        assert _("passed") == "通过"
        with speaking("en"):
            assert _("passed") == "passed"
        assert spoken() == "zh"
    with pytest.raises(KeyError), speaking("zh"):
        raise KeyError
    assert (spoken(), _("passed"), _("")) == ("en", "passed", "")


def test_numbers_of_things() -> None:
    """English has two forms, Chinese has one."""
    said = [ngettext("{count} frame", "{count} frames", count).format(count=count) for count in (0, 1, 2)]
    assert said == ["0 frames", "1 frame", "2 frames"]
    with speaking("zh"):
        said = [ngettext("{count} frame", "{count} frames", count).format(count=count) for count in (1, 2)]
    assert said == ["1 帧", "2 帧"]


def test_each_language_is_whole() -> None:
    """A catalogue, and a name for pages."""
    assert set(TAGS) == set(LANGUAGES) == {"en", *CATALOGUES}
    assert all(path.is_file() for path in CATALOGUES.values())
