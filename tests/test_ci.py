"""The tokens for CI systems: their files are read as those systems read them, and their lines are run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parent.parent / "softhsm"
ACTION = yaml.safe_load((FOLDER / "action.yml").read_text())
GITLAB = yaml.safe_load((FOLDER / "gitlab.yml").read_text())
README = (FOLDER.parent / "README.md").read_text()
USE = 'pkcs11-tool --module "$DOJANG_MODULE" --token-label "$1" --login --pin "env:PIN" -O'


def run(lines: str, folder: Path, **environment: object) -> "subprocess.CompletedProcess[str]":
    """Run shell lines as a CI job does: in a clean environment, ending at the first failure."""
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    job = clean | {name: str(value) for name, value in environment.items()}
    done = subprocess.run(["sh", "-e", "-c", lines], cwd=folder, env=job, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def log_in(folder: Path, label: str, environment: dict[str, str]) -> None:
    """Use a token as a later step would, with the PIN that lies in the folder."""
    pin = (Path(environment["SOFTHSM_DIRECTORY"]) / f"{label}.pin").read_text()
    run(f"set -- '{label}'; {USE}", folder, PIN=pin, **environment)


@pytest.fixture
def job(softhsm_dir, request) -> Path:
    """The working folder of a job, with our folder copied into it, on tmpfs."""
    folder = softhsm_dir / f"job {request.node.name}"
    shutil.copytree(FOLDER, folder / "softhsm")
    return folder


def github(job: Path, **inputs: str) -> tuple[dict[str, str], dict[str, str]]:
    """The environment and the outputs that our action leaves for the steps that follow."""
    given = {name: inputs.get(name, about["default"]) for name, about in ACTION["inputs"].items()}
    files = {"GITHUB_ENV": job / "env", "GITHUB_OUTPUT": job / "output"}
    for step in ACTION["runs"]["steps"]:
        own = {name: given[re.fullmatch(r"\$\{\{ inputs\.(\w+) }}", text)[1]] for name, text in step["env"].items()}
        assert step["shell"] == "sh"
        run(step["run"], job, GITHUB_ACTION_PATH=job / "softhsm", **files, **own)
    read = [dict(line.split("=", 1) for line in path.read_text().splitlines()) for path in files.values()]
    wanted = {name: about["value"] for name, about in ACTION["outputs"].items()}
    (step_id,) = {step["id"] for step in ACTION["runs"]["steps"]}
    outputs = {}
    for name, text in wanted.items():
        told_by, key = re.fullmatch(r"\$\{\{ steps\.(\w+)\.outputs\.(\w+) }}", text).groups()
        assert told_by == step_id
        outputs[name] = read[1][key]
    return read[0], outputs


def test_the_github_action(job):
    """The steps after the action have the tokens in their environment, in memory; the outputs say the same."""
    environment, outputs = github(job, labels="Hong Kim\nAuthority\n")
    try:
        for label in ("Hong Kim", "Authority"):
            log_in(job, label, environment)
        assert outputs == {
            "module": environment["DOJANG_MODULE"],
            "directory": environment["SOFTHSM_DIRECTORY"],
            "configuration": environment["SOFTHSM2_CONF"],
        }
        assert outputs["directory"].startswith("/dev/shm/")
    finally:
        shutil.rmtree(outputs["directory"])


def test_the_github_action_in_a_folder_of_ones_own(job):
    """With a directory given, the tokens lie there, and asking twice keeps them."""
    first, _ = github(job, directory=str(job / "it's mine"))
    tokens = sorted((job / "it's mine/tokens").iterdir())
    (job / "env").unlink()
    second, _ = github(job, directory=str(job / "it's mine"))
    assert first == second
    assert len(tokens) == 1
    assert sorted((job / "it's mine/tokens").iterdir()) == tokens
    log_in(job, "test", second)


def test_the_example_of_the_readme(job):
    """The steps that the README shows run one after the other: the action, and a command that uses its token."""
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    action, command = yaml.safe_load(shown)
    assert action["uses"] == "./softhsm"
    environment, _ = github(job, directory=str(job / "tokens"), **action["with"])
    scripts = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run(command["run"], job, PATH=scripts, DOJANG_HOME=job / "home", **environment)
    assert "stamp" in run(f"set -- Hong; {USE}", job, PIN=(job / "tokens/Hong.pin").read_text(), **environment).stdout


def test_the_action_is_complete():
    """GitHub refuses an action that lacks one of these."""
    assert ACTION["name"]
    assert ACTION["description"]
    assert ACTION["runs"]["using"] == "composite"
    assert all(about["description"] for kind in ("inputs", "outputs") for about in ACTION[kind].values())


def test_the_gitlab_template(job):
    """A job that extends the template finds the token in the environment of its script."""
    template = GITLAB[".softhsm"]
    script = [*template["before_script"], f'PIN=$(cat "$SOFTHSM_DIRECTORY/test.pin"); export PIN; set -- test; {USE}']
    directory = job / "tokens here"
    run("\n".join(script), job, SOFTHSM_DIRECTORY=directory, **template["variables"])
    assert (directory / "test.so-pin").stat().st_mode & 0o777 == 0o600


def test_the_gitlab_template_in_its_comment(job):
    """What the template shows as an example of its use is YAML, and names the template."""
    comment = (FOLDER / "gitlab.yml").read_text().partition("\n.softhsm")[0]
    shown = "\n".join(line[6:] for line in comment.splitlines() if line.startswith("#     "))
    example = yaml.safe_load(shown)
    assert example["include"] == [{"local": "softhsm/gitlab.yml"}]
    assert example["test"]["extends"] in GITLAB


def test_a_machine_without_softhsm_installs_it(job, tmp_path):
    """What is missing is installed with apt-get; where that fails the job ends there."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "id", "dirname", "mktemp"):
        (programs / name).symlink_to(shutil.which(name))
    (programs / "apt-get").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/asked\n[ "$1" = update ]\n')
    (programs / "apt-get").chmod(0o755)
    (programs / "sudo").write_text('#!/bin/sh\nexec "$@"\n')
    (programs / "sudo").chmod(0o755)
    done = subprocess.run([job / "softhsm/ci"], env={"PATH": str(programs)}, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stdout == ""
    assert (tmp_path / "asked").read_text().splitlines()[-1].endswith("softhsm2 opensc")
