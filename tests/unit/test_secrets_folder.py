"""The folder of secrets: whose word counts, what is taken off, and what is refused without being shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scripts.launcher.plan import LauncherSettings
from service.config import load, load_settings
from service.errors import SettingsError
from service.variables import LARGEST_FILE, OURS, find

KEY = "hunter2-key"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    made = tmp_path / "secrets"
    made.mkdir()
    monkeypatch.setenv("VOCERO_SECRETS_FOLDER", str(made))
    return made


def _key() -> str | None:
    key = load_settings().elevenlabs_api_key
    return None if key is None else key.get_secret_value()


def test_a_file_is_read_like_a_variable_of_its_name(folder: Path) -> None:
    (folder / "ELEVENLABS_API_KEY").write_text(KEY)
    (folder / "VOCERO_PORT").write_text("8123\n")
    assert _key() == KEY
    assert load_settings().port == 8123


def test_every_kind_of_settings_reads_it(folder: Path) -> None:
    (folder / "VOCERO_SANDBOX_PORT").write_text("8222")
    assert load(LauncherSettings).sandbox_port == 8222


def test_a_variable_of_the_environment_wins_unless_it_is_empty(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "ELEVENLABS_API_KEY").write_text("of the file")
    monkeypatch.setenv("ELEVENLABS_API_KEY", KEY)
    assert _key() == KEY
    monkeypatch.setenv("ELEVENLABS_API_KEY", "")
    assert _key() == "of the file"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_the_line_break_at_the_end_is_taken_off_and_blanks_are_not(folder: Path, end: str) -> None:
    (folder / "ELEVENLABS_API_KEY").write_bytes(f" {KEY} {end}".encode())
    assert _key() == f" {KEY} "


def test_an_empty_file_is_no_value(folder: Path) -> None:
    (folder / "ELEVENLABS_API_KEY").write_text("\n")
    assert _key() is None


def test_a_name_in_another_case_is_another_file(folder: Path) -> None:
    (folder / "elevenlabs_api_key").write_text(KEY)
    assert _key() is None


def test_kubernetes_links_to_its_files_are_followed(folder: Path) -> None:
    data = folder / "..2026_11_29"
    data.mkdir()
    (data / "ELEVENLABS_API_KEY").write_text(KEY)
    (folder / "..data").symlink_to(data.name)
    (folder / "ELEVENLABS_API_KEY").symlink_to("..data/ELEVENLABS_API_KEY")
    assert _key() == KEY


def test_a_file_is_read_anew_at_each_start(folder: Path) -> None:
    (folder / "ELEVENLABS_API_KEY").write_text("before")
    assert _key() == "before"
    (folder / "ELEVENLABS_API_KEY").write_text(KEY)
    assert _key() == KEY


def test_a_file_of_64_kib_is_read_and_a_larger_one_is_not(folder: Path) -> None:
    file = folder / "VOCERO_OPENAI_API_KEY"
    file.write_bytes(b"x" * LARGEST_FILE)
    assert load_settings().openai_api_key is not None
    file.write_bytes(b"x" * (LARGEST_FILE + 1))
    assert _refusal() == f"VOCERO_OPENAI_API_KEY: the file {file} has more than 64 KiB."


@pytest.mark.parametrize(
    ("content", "words"), [(b"hunter2\xff", "is no text in UTF-8"), (b"hunter2\x00", "has a NUL byte")]
)
def test_what_cannot_be_a_variable_is_refused(folder: Path, content: bytes, words: str) -> None:
    (folder / "VAULT_TOKEN").write_bytes(content)
    assert words in _refusal()


def test_a_folder_a_pipe_and_a_link_to_nowhere_are_no_files(folder: Path) -> None:
    file = folder / "VAULT_TOKEN"
    file.mkdir()
    assert _refusal() == f"VAULT_TOKEN: the file {file} is no file."
    file.rmdir()
    os.mkfifo(file)  # opening it would wait for somebody who writes
    assert _refusal() == f"VAULT_TOKEN: the file {file} is no file."
    file.unlink()
    file.symlink_to("nowhere")
    assert _refusal() == f"VAULT_TOKEN: the file {file} cannot be read (No such file or directory)."


def test_a_file_that_fails_while_it_is_read_is_named(folder: Path) -> None:
    file = folder / "VAULT_TOKEN"
    file.symlink_to("/proc/self/mem")  # its first byte is nobody's, not even root's
    assert _refusal() == f"VAULT_TOKEN: the file {file} cannot be read (Input/output error)."


def test_a_folder_that_is_missing_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCERO_SECRETS_FOLDER", str(folder / "nothing"))
    assert _refusal() == (
        f"VOCERO_SECRETS_FOLDER: the folder {folder}/nothing cannot be read (No such file or directory)."
    )


def test_a_wrong_value_of_a_file_says_so_and_shows_nothing_of_it(folder: Path) -> None:
    (folder / "VOCERO_PORT").write_text("hunter2")
    assert _refusal() == (
        "VOCERO_PORT: must be a whole number from 1 to 65535, and is text of 7 characters (from its file)."
    )


def test_what_was_found_does_not_show_itself(folder: Path) -> None:
    (folder / "VAULT_TOKEN").write_text(KEY)
    assert KEY not in repr(find("VAULT_TOKEN"))


def test_a_field_s_bare_name_is_no_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del folder
    monkeypatch.setenv("PORT", "1234")
    monkeypatch.setenv("port", "1234")
    monkeypatch.setenv("vocero_port", "1234")
    assert load_settings().port == 8000


def _refusal() -> str:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    message = str(caught.value)
    assert "hunter2" not in message
    assert "\n" not in message
    assert caught.value.__cause__ is None
    return message
