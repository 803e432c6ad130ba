"""Korean and English: which is chosen, that nothing is missing, and that sentences come out right."""

import re
from string import Formatter

import pytest
from babel.messages.pofile import read_po

from dojang.authority.withdrawn import refuse_withdrawn
from dojang.cli import language
from dojang.cli.commands import ROOT
from dojang.cli.frame import Entry, Section
from dojang.cli.korean import settle_particles
from dojang.errors import AuthorityRefused, InvalidSetting, NotFound, Phrase
from dojang.settings import LANGUAGES, load

HANGUL = re.compile("[가-힣]")
# Texts that are the same in every language: names, and templates without words.
WITHOUT_WORDS = re.compile(r"^(\W|\{[^}]*\}|PIN|SO|dojang|ed25519|ID|Id)*$")


@pytest.fixture(scope="module")
def korean() -> dict[str, str]:
    """The Korean catalogue as it stands in the sources."""
    path = language.LOCALE_DIR / "ko" / "LC_MESSAGES" / "dojang.po"
    with path.open("rb") as file:
        catalogue = read_po(file, locale="ko")
    entries = {}
    for message in catalogue:
        if isinstance(message.id, str):
            entries[message.id] = message.string
        else:  # Korean has one form for every number
            entries[message.id[-1]] = message.string[0]
    return entries


@pytest.fixture
def speak_korean():
    language.speak("ko")
    yield
    language.speak("en")


def placeholders(template: str) -> list[tuple[str, str | None, str | None]]:
    return sorted((name, form, turn) for _text, name, form, turn in Formatter().parse(template) if name is not None)


def test_every_text_has_korean(texts: dict[str, str], korean: dict[str, str]) -> None:
    """Each text of the sources, of the error tree and of the facts of errors is in the catalogue."""
    missing = [f"{where}: {text!r}" for text, where in texts.items() if not korean.get(text)]
    assert missing == []


def test_korean_is_korean(korean: dict[str, str]) -> None:
    """A translation has Korean letters unless there is no word in it."""
    english = [
        text for text, said in korean.items() if text and not HANGUL.search(said) and not WITHOUT_WORDS.match(said)
    ]
    assert english == []


def test_placeholders_agree(korean: dict[str, str]) -> None:
    """A translation shows exactly the facts of the original, in the same form."""
    differing = [text for text, said in korean.items() if text and placeholders(text) != placeholders(said)]
    assert differing == []


def test_moments_are_said_as_they_come(texts: dict[str, str]) -> None:
    """No text formats a moment: it has become words by then."""
    assert [text for text in texts if any("%" in (form or "") for _name, form, _turn in placeholders(text))] == []


def test_nothing_is_left_over(texts: dict[str, str], click_texts: set[str], korean: dict[str, str]) -> None:
    """The catalogue holds no text that is no longer said."""
    assert sorted(text for text in korean if text and text not in texts and text not in click_texts) == []


def test_commands_in_texts_exist(texts: dict[str, str], korean: dict[str, str]) -> None:
    """Every command that a text advises, in either language, is in the table."""
    wrong = []
    for text in [*texts, *korean.values()]:
        for named in re.findall(r"(?:'|: )dojang ((?:[a-z]+ ?)+)", text):
            if not leads_somewhere(named.split()):
                wrong.append(text)
    assert wrong == []


def leads_somewhere(words: list[str]) -> bool:
    found: Entry | Section | None = ROOT
    for word in words:
        if isinstance(found, Entry):
            return True
        found = found.entries.get(word) if found else None
    return found is not None


@pytest.mark.parametrize(
    ("asked", "environment", "chosen"),
    [
        (None, {}, "en"),
        (None, {"LANG": "ko_KR.UTF-8"}, "ko"),
        (None, {"LANG": "ko_KR.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, "en"),
        (None, {"LANG": "en_US.UTF-8", "LC_ALL": "ko"}, "ko"),
        (None, {"LC_MESSAGES": "ko_KR", "LC_ALL": "C"}, "en"),
        ("en", {"LC_ALL": "ko_KR.UTF-8"}, "en"),
        ("ko", {"LC_ALL": "C"}, "ko"),
        (None, {"LANG": "kok_IN"}, "en"),
    ],
)
def test_which_language(asked: str | None, environment: dict[str, str], chosen: str) -> None:
    """What was asked for wins, then LC_ALL, LC_MESSAGES, LANG; everything but Korean is English."""
    assert language.choose(asked, environment) == chosen


@pytest.mark.parametrize(
    ("text", "settled"),
    [
        ("토큰 홍을(를)", "토큰 홍을"),
        ("토큰 하나을(를)", "토큰 하나를"),
        ("파일(으)로", "파일로"),
        ("도장(으)로", "도장으로"),
        ("'Hong'이(가)", "'Hong'이"),
        ("'a.txt'은(는)", "'a.txt'는"),
        ("3과(와)", "3과"),
        ("2과(와)", "2와"),
        ("1(으)로", "1로"),
        ("'x'(이)라는", "'x'라는"),
        ("키 (sign)을(를)", "키 (sign)을"),
    ],
)
def test_particles(text: str, settled: str) -> None:
    """A particle fits the sound of the word before it, through quotes and brackets."""
    assert settle_particles(text) == settled


def test_a_sentence_with_facts(speak_korean) -> None:
    """An error is said in Korean with its facts in place, phrases among them."""
    error = NotFound(what=Phrase("Key {label}", label="서명"), where="pkcs11:token=a", command="dojang key list")
    assert language.message_of(error) == "pkcs11:token=a에서 키 서명을 찾지 못했습니다."


@pytest.mark.parametrize(("state", "said"), [("revoked", "폐기됨"), ("suspended", "효력정지")])
def test_a_state_in_a_refusal(speak_korean, state: str, said: str) -> None:
    """Words that a program wrote are said in Korean, too."""
    with pytest.raises(AuthorityRefused) as refused:
        refuse_withdrawn("office", state)
    assert f"이전 인증서가 '{said}' 상태입니다." in language.message_of(refused.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('lang = "fr"', "'lang'의 값을 쓸 수 없습니다(ko, en 중 하나여야 합니다)"),
        ("renewal-window-days = true", "(날수여야 합니다)"),
        ("[notices.webhook]\nurl = 'https://x'", "(webhook: secret-source가 없습니다)"),
        ("[renew]\njobs = 0", "(jobs: 1에서 64까지의 숫자여야 합니다)"),
    ],
)
def test_what_is_wrong_with_a_setting(speak_korean, tmp_path, text: str, said: str) -> None:
    """To the last word, however deep in its table it lies."""
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(InvalidSetting) as caught:
        load(environment={"DOJANG_HOME": str(tmp_path)})
    assert said in language.message_of(caught.value)


def test_names_of_things_are_not_translated(speak_korean) -> None:
    """A token whose label happens to be a word of ours keeps its label."""
    assert "password" in language.say("Token: {label}", label="password")


def test_roles_in_english() -> None:
    """The SO PIN is called by its name."""
    assert language.say("The {role} PIN of token {token} is locked.", role="so", token="so").startswith("The SO PIN")
    assert language.say("The {role} PIN of token {token} is locked.", role="so", token="so").endswith("so is locked.")


@pytest.mark.parametrize(
    "words",
    [
        "",
        "nope",
        "--nope",
        "token init",
        "token pni",
        "token list x",
        "token list --module",
        "key generate a --algorithm dsa",
        "--timeout x token list",
    ],
)
def test_usage_errors_in_korean(run_dojang, words: str) -> None:
    """click's own complaints are said in Korean too."""
    done = run_dojang("--lang", "ko", *words.split())
    assert done.returncode == 2
    line = next(line for line in done.stderr.splitlines() if line.startswith("오류: "))
    assert HANGUL.search(line.removeprefix("오류: "))


def test_help_in_korean(run_dojang) -> None:
    """Help is said in Korean, wherever the flag stands."""
    for words in (["--lang", "ko", "token", "init", "--help"], ["token", "init", "--help", "--lang=ko"]):
        shown = run_dojang(*words).stdout
        assert "빈 슬롯을 초기화합니다" in shown
        assert not re.search(r"Usage|Options|Examples", shown)


def test_the_setting_and_the_environment(run_dojang, home) -> None:
    """The configuration chooses before the environment."""
    korean_terminal = {"LC_ALL": "ko_KR.UTF-8"}
    assert "명령" in run_dojang("--help", env=korean_terminal).stdout
    (home / "config.toml").write_text('lang = "en"')
    assert "Commands" in run_dojang("--help", env=korean_terminal).stdout


def test_languages_agree_with_the_settings() -> None:
    """Every language but English has a catalogue."""
    assert {path.parent.parent.name for path in language.LOCALE_DIR.rglob("*.po")} | {"en"} == set(LANGUAGES)
