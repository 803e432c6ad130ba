"""A daemon that is stopped and a disk that answers nothing keep nobody waiting who asks where the certificates are."""

import pytest

GOOD = ["CN=on a disk", "CN=on the token"]
ENDING = 5.0  # seconds for a process to start and end around what it waits for, on a busy machine


@pytest.fixture(scope="module")
def story(tell_story):
    return tell_story("slow_places", mounts=True)


def test_a_stopped_daemon_is_named_and_the_rest_is_found(story):
    """The module, by an address; within the time given, although nothing can interrupt it."""
    assert story["before"]["unreachable"] == {}
    stopped = story["stopped"]
    assert stopped["found"] == GOOD
    assert stopped["unreachable"] == {f"pkcs11:?module-path={story['module']}": "module-unloadable"}
    assert stopped["seconds"] < story["wait"] + ENDING


def test_a_stopped_daemon_keeps_no_renewal_waiting(story):
    """What is due elsewhere is listed and tried; here nobody knows the authority, so that is all that can be done."""
    assert story["due"][0] == GOOD
    assert story["run"][0] == ["not-renewable"] * len(GOOD)
    assert story["listed"][0] == GOOD
    for verb in ("due", "run"):
        assert story[verb][1] < story["wait"] + ENDING


def test_a_disk_that_hangs_is_named_and_the_rest_is_found(story):
    """Both at once cost no more time than one, and the process ends."""
    hanging, module = story["hanging"], f"pkcs11:?module-path={story['module']}"
    assert hanging["found"] == GOOD
    assert hanging["unreachable"] == {f"npki:{story['folder']}": "location-silent", module: "module-unloadable"}
    assert hanging["seconds"] < story["wait"] + ENDING


def test_a_kind_that_is_not_asked_for_is_not_waited_for(story):
    """With --kind disk the modules are left alone."""
    only_disks = story["only_disks"]
    assert only_disks["found"] == ["CN=on a disk"]
    assert only_disks["unreachable"] == {f"npki:{story['folder']}": "location-silent"}


def test_nobody_waits_when_all_answer(story):
    """As soon as the last place has answered."""
    assert story["before"]["seconds"] < story["wait"]
    assert story["before"]["found"] == GOOD
