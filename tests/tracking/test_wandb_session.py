"""What W&B finds around a run: which mode it comes to, and where a key is found."""

from __future__ import annotations

import contextlib
import itertools
import os

import pytest

from air.errors import ConfigError
from air.tracking.wandb_session import (
    find_mode,
    key_is_configured,
    resolve_mode,
    wandb_environment,
)

KEY = "0123456789" * 4

pytestmark = pytest.mark.usefixtures("wandb_home")

CONFIGURED = ("auto", "online", "offline", "disabled")
ENVIRONMENT = (None, "", "online", "offline", "disabled", "run", "dryrun")
SAVED = ("online", "offline", "disabled", "dryrun")
OLDER = {"run": "online", "dryrun": "offline"}


@pytest.mark.parametrize(
    ("configured", "environment", "saved", "key"),
    list(itertools.product(CONFIGURED, ENVIRONMENT, SAVED, (False, True))),
)
def test_modes(configured, environment, saved, key):
    variables = {} if environment is None else {"WANDB_MODE": environment}
    asked_for = configured if configured != "auto" else environment
    asked_for = asked_for or (saved if saved != "online" else None)
    asked_for = OLDER.get(asked_for, asked_for)
    if asked_for == "online" and not key:
        source = "tracking.mode" if configured == "online" else "WANDB_MODE"
        with pytest.raises(ConfigError) as caught:
            resolve_mode(configured, variables, lambda: saved, lambda: key)
        assert str(caught.value).startswith(f"{source}: online needs an API key")
        for way_out in ("wandb login", "WANDB_API_KEY", "tracking.mode=offline"):
            assert way_out in str(caught.value)
        assert "\n" not in str(caught.value)
    else:
        expected = asked_for or ("online" if key else "offline")
        assert resolve_mode(configured, variables, lambda: saved, lambda: key) == expected


@pytest.mark.parametrize("configured", ["offline", "disabled"])
def test_nothing_is_looked_for_where_it_is_not_needed(configured):
    def fail():
        raise AssertionError

    assert resolve_mode(configured, {"WANDB_MODE": "online"}, fail, fail) == configured
    assert resolve_mode("auto", {"WANDB_MODE": configured}, fail, fail) == configured
    assert resolve_mode("auto", {}, lambda: configured, fail) == configured


@pytest.mark.parametrize(
    ("environment", "saved", "source"),
    [("onlin", "online", "WANDB_MODE"), ("shared", "online", "WANDB_MODE"),
     (None, "shared", "mode in W&B's settings")],
)  # fmt: skip
def test_unknown_modes(environment, saved, source):
    variables = {} if environment is None else {"WANDB_MODE": environment}
    message = f"{source}: must be one of online, offline, disabled, run, dryrun, got "
    with pytest.raises(ConfigError, match=f"^{message}'(onlin|shared)'$"):
        resolve_mode("auto", variables, lambda: saved, lambda: True)


@pytest.mark.parametrize("folder", ["home/.config/wandb", "elsewhere", "wandb"])
@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_what_wandb_was_told_before(tmp_path, monkeypatch, capfd, mode, folder):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    if folder == "elsewhere":
        monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / folder))
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "settings").write_text(f"[default]\nmode = {mode}\n")
    assert find_mode("auto") == mode
    assert find_mode("online") == "online"
    monkeypatch.setenv("WANDB_MODE", "run")
    assert find_mode("auto") == "online"
    assert capfd.readouterr() == ("", "")


def test_a_variable_that_says_nothing_here_changes_nothing(monkeypatch):
    monkeypatch.setenv("WANDB_DISABLED", "true")  # W&B itself heeds it no longer
    monkeypatch.setenv("WANDB_MODE", "")
    assert find_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert find_mode("auto") == "online"


# --- where a key is found ------------------------------------------------------------------------


def netrc(machine):
    return f"machine {machine}\n login user\n password {KEY}\n"


IN_SETTINGS = f"[default]\napi_key = {KEY}\n"
KEYS = {
    "nowhere": (None, "", False),
    "netrc": ("home/.netrc", netrc("api.wandb.ai"), True),
    "netrc of another server": ("home/.netrc", netrc("example.org"), False),
    "settings": ("home/.config/wandb/settings", IN_SETTINGS, True),
    "settings elsewhere": ("elsewhere/settings", IN_SETTINGS, True),
}


@pytest.mark.parametrize(("file", "text", "found"), KEYS.values(), ids=KEYS)
def test_where_a_key_is_found(tmp_path, monkeypatch, file, text, found):
    if file:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
        if file.startswith("elsewhere"):
            monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "elsewhere"))
    assert key_is_configured() == found


def test_key_in_the_environment(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert key_is_configured()


def test_malformed_key_is_one_line(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    with pytest.raises(ConfigError, match=r"^tracking\.mode: W&B cannot log in: .*WANDB_API_KEY"):
        find_mode("online")


# --- what it sees of the environment -------------------------------------------------------------


def test_the_environment_is_as_before_afterwards(tmp_path, monkeypatch):
    given = {"WANDB_DATA_DIR": "mine", "WANDB_PROJECT": "a", "WANDB_TAGS": "", "WANDB_API_KEY": KEY}
    for name, text in given.items():
        monkeypatch.setenv(name, text)
    before = dict(os.environ)
    with contextlib.suppress(KeyboardInterrupt), wandb_environment(tmp_path):
        seen = {name: text for name, text in os.environ.items() if name.startswith("WANDB_")}
        raise KeyboardInterrupt
    assert os.environ == before
    kept = {"WANDB_DATA_DIR": "mine", "WANDB_CACHE_DIR": str(tmp_path / "cache")}
    assert seen == {**kept, "WANDB_API_KEY": KEY, "WANDB_SILENT": "true"}
