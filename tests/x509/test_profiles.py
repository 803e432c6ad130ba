"""Certificate profiles as data."""

from pathlib import Path

import pytest

from dojang.errors import InvalidSetting, NotFound
from dojang.x509.profiles import Fee, profile, profiles

GOOD = """
title = { en = "Test", ko = "시험" }
validity-days = 10
renewal-window-days = 5
algorithms = ["ec-p256"]
key-usage = ["digital-signature"]
"""


def test_the_shipped_profiles_are_there_and_complete() -> None:
    """At least these, each with titles in both languages, algorithms and a window shorter than its life."""
    found = {one.name: one for one in profiles()}
    assert {
        "root",
        "issuing",
        "personal",
        "business",
        "tls-server",
        "tls-client",
        "email",
        "code-signing",
    } <= found.keys()
    for one in found.values():
        assert one.titles["en"]
        assert one.titles["ko"]
        assert one.algorithms
        assert one.renewal_window_days < one.validity_days
        assert one.is_ca == (one.name in ("root", "issuing"))
    assert found["personal"].key_usage == ("digital-signature", "non-repudiation")
    assert not found["personal"].keep_key_allowed
    assert found["personal"].renewal_window_days == 30


def test_an_unknown_profile_is_not_found() -> None:
    """The error names the command that lists them."""
    with pytest.raises(NotFound) as caught:
        profile("x" * 10_000_000)
    assert caught.value.facts["command"] == "dojang ca profiles"
    assert len(str(caught.value)) < 500


def test_a_folder_adds_and_replaces(tmp_path: Path) -> None:
    """One's own file wins over ours, and the window is 30 days unless said."""
    (tmp_path / "mine.toml").write_text(GOOD)
    (tmp_path / "personal.toml").write_text(GOOD.replace("renewal-window-days = 5\n", "").replace("10", "100"))
    found = {one.name: one for one in profiles(tmp_path)}
    assert found["mine"].validity_days == 10
    assert found["personal"].validity_days == 100
    assert found["personal"].renewal_window_days == 30
    assert "business" in found


@pytest.mark.parametrize(
    "text",
    [
        "this is not TOML",
        "a = [" * 5000,
        "\x00",
        "",
        GOOD.replace('ko = "시험"', 'ko = ""'),
        GOOD.replace('{ en = "Test", ko = "시험" }', '"Test"'),
        GOOD.replace("10", "0"),
        GOOD.replace("10", "true"),
        GOOD.replace("10", "99999999999"),
        GOOD.replace("= 5", "= 10"),
        GOOD.replace("ec-p256", "rsa-1024"),
        GOOD.replace('["ec-p256"]', "[]"),
        GOOD.replace('["ec-p256"]', '["ec-p256", "ec-p256"]'),
        GOOD.replace('["ec-p256"]', "[1]"),
        GOOD.replace("digital-signature", "digitalSignature"),
        GOOD.replace("digital-signature", "key-cert-sign"),
        GOOD + "authority = true",
        GOOD + "path-length = 1",
        GOOD + 'several = true\nvid = "required"',
        GOOD + 'several = true\nsigner = "cmp"',
        GOOD + "keep-key = 1",
        GOOD + "unknown = 1",
        GOOD + 'extended-key-usage = ["everything"]',
        GOOD + 'policies = ["1"]',
        GOOD + "[subject]\nunknown = 1",
        GOOD + 'subject = "x"',
        GOOD + '[alternative-names]\nallowed = ["smoke"]',
        GOOD + "[alternative-names]\nrequired = true",
        GOOD + "validity-years = [1]",
        GOOD.replace("validity-days = 10", "validity-years = []"),
        GOOD.replace("validity-days = 10", "validity-years = [3, 1]"),
        GOOD.replace("validity-days = 10", "validity-years = [0]"),
        GOOD + 'may-change = ["everything"]',
        GOOD + "may-change = []",
        GOOD + 'vid = "perhaps"',
        GOOD + "vid = 1",
        GOOD + 'signer = "root"',
        GOOD + 'signer = "ocsp"',
        GOOD + 'extended-key-usage = ["ocsp-signing"]',
        GOOD + "ocsp-no-check = true",
        GOOD + 'notice = "for nothing"',
        GOOD + f'policies = ["1.2.3"]\nnotice = "{"x" * 201}"',
        GOOD + 'policies = ["1.2.3"]\ncps = "not an address"',
        GOOD + 'identity-checks = ["a look"]',
        GOOD + "[fee]\namount = 1",
        GOOD + '[fee]\ncurrency = "won"\namount = 1',
        GOOD + '[fee]\ncurrency = "KRW"\namount = -1',
        GOOD + '[addresses]\ncrl = "crl/{nobody}.crl"',
        GOOD + '[addresses]\ncrl = "crl/{signer.crl"',
        GOOD + '[addresses]\ncrl = "ldap://x/"',
        GOOD + "[addresses]\ncrl = true",
        GOOD + '[addresses]\nweb = "x"',
        GOOD + '[subject]\nrequired = ["Common Name"]',
        GOOD + '[subject]\nrequired = ["CN"]\nallowed = ["C"]',
        GOOD + '[subject.Cn]\nvalues = ["x"]',
        GOOD + '[subject]\nallowed = ["CN"]\nC = { values = ["KR"] }',
        GOOD + '[subject.CN]\npattern = "("',
        GOOD + "[subject.CN]\nlongest = 0",
        GOOD + "[subject.CN]\nlength = 5",
        GOOD + '[alternative-names.dns]\npattern = "x"',
        GOOD + "like = 1",
        GOOD + 'like = "../personal"',
        GOOD + 'like = "nobody"',
    ],
)
def test_a_bad_file_is_an_invalid_setting_that_names_it(tmp_path: Path, text: str) -> None:
    """Whatever is wrong with it, the file is named, and where to see one, and nothing else is raised."""
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(InvalidSetting) as caught:
        profiles(tmp_path)
    assert caught.value.facts["path"] == tmp_path / "bad.toml"
    assert "dojang ca profiles" in caught.value.advice()


def test_the_sentence_names_the_setting(tmp_path: Path) -> None:
    """With the table it stands in."""
    for text, said in (
        (GOOD + "[fee]\ncurrency = 'KRW'\namount = -1", "'fee.amount' must be a whole number from 0"),
        (GOOD + "[subject.CN]\nlongest = 'x'", "'subject.CN.longest' must be a whole number from 1 to 1024"),
        (GOOD + "[subject.CN]\nlength = 5", "'subject.CN.length' is not a setting"),
        (GOOD + "[subject]\nCn = { longest = 5 }", "'subject.Cn' is not a setting"),
        (GOOD + "[addresses]\ncrl = 'a b'", "'addresses.crl' must be an address"),
        (GOOD.replace('ko = "시험"', "ko = 5"), "'title.ko' is missing or has an unusable value"),
    ):
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(InvalidSetting, match=said.replace("'", ".")):
            profiles(tmp_path)


def test_like_another(tmp_path: Path) -> None:
    """Everything but what is said; tables are merged; years take the place of days; beside it before ours."""
    (tmp_path / "mine.toml").write_text('like = "tls-server"\nvalidity-years = [1]\n[subject]\nallowed = ["CN", "O"]')
    mine, theirs = profile("mine", tmp_path), profile("tls-server")
    assert (mine.validity_years, mine.validity_days, mine.titles) == ((1,), 365, theirs.titles)
    assert (mine.subject_required, mine.subject_allowed) == (("CN",), ("CN", "O"))
    assert mine.alternative_names_required
    (tmp_path / "tls-server.toml").write_text('like = "tls-server"\nvalidity-days = 47')
    assert profile("tls-server", tmp_path).validity_days == 47
    assert profile("tls-server", tmp_path).alternative_names_allowed == theirs.alternative_names_allowed
    (tmp_path / "short.toml").write_text('like = "tls-server"\nrenewal-window-days = 7')
    assert profile("short", tmp_path).validity_days == 47


def test_like_itself_in_the_end(tmp_path: Path) -> None:
    """Two that are like each other are refused, and the file is named."""
    for one, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{one}.toml").write_text(f'like = "{other}"')
    with pytest.raises(InvalidSetting, match="like itself"):
        profiles(tmp_path)


def test_a_changed_file_is_seen(tmp_path: Path) -> None:
    """Files are kept in memory as long as they do not change, and no longer."""
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    assert profile("mine", tmp_path) is profile("mine", tmp_path)
    path.write_text(GOOD.replace("validity-days = 10", "validity-days = 100"))
    assert profile("mine", tmp_path).validity_days == 100
    path.unlink()
    with pytest.raises(NotFound):
        profile("mine", tmp_path)


def test_the_kinds_of_the_korean_certificates_are_there() -> None:
    """Personal and business, for all purposes and for some, and financial certificates; none under a Korean arc."""
    found = {one.name: one for one in profiles()}
    general, limited = ("personal-general", "business-general"), ("bank", "card", "securities")
    for name in (*general, *(f"{who}-{use}" for who in ("personal", "business") for use in limited), "business-tax"):
        assert found[name].korean_days
        assert found[name].renewal_window_days == 30
        assert not any((found[name].keep_key_allowed, found[name].key_reuse_allowed, found[name].early_renewal_allowed))
        assert found[name].identity_checks
    assert found["personal-general"].fee == Fee("KRW", 4400)
    assert (found["business-general"].validity_years, found["financial-personal"].validity_years) == ((1, 2, 3), (3,))
    policies = [policy for one in found.values() for policy in one.policies]
    assert len(policies) == len(set(policies))
    assert not any(policy.startswith("1.2.410.") for policy in policies)


def test_a_file_in_another_encoding_is_an_invalid_setting(tmp_path: Path) -> None:
    """TOML is UTF-8."""
    (tmp_path / "bad.toml").write_bytes("# 한글\n".encode("cp949"))
    with pytest.raises(InvalidSetting):
        profiles(tmp_path)
