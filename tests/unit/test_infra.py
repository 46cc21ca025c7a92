import os
import socket
from pathlib import Path

import pytest

from infra import doctor
from infra.cli import main
from infra.errors import LabError
from infra.home import Home, home_from, ports_from
from infra.process import Process
from infra.service import answers_http, answers_http2
from marketplace.reports import pdf


def test_the_gateway_port_follows_the_port():
    assert ports_from(None, None) == (8000, 15002)
    assert ports_from(8100, None) == (8100, 15102)
    assert ports_from(60999, None) == (60999, 53997)
    assert ports_from(8100, 7000) == (8100, 7000)


def test_settings_name_ports_unless_the_command_does(monkeypatch):
    monkeypatch.setenv("LAB_PORT", "8200")
    monkeypatch.setenv("LAB_GATEWAY_PORT", "9000")

    assert ports_from(None, None) == (8200, 9000)
    assert ports_from(8300, 9100) == (8300, 9100)


@pytest.mark.parametrize("text", ["0", "-1", "65536", "http", "80 00"])
def test_a_setting_that_is_no_port_is_refused(monkeypatch, text):
    monkeypatch.setenv("LAB_PORT", text)

    with pytest.raises(LabError, match="LAB_PORT"):
        ports_from(None, None)


def test_the_home_is_named_by_the_command_then_the_setting_then_the_default(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert home_from(None).root == tmp_path / ".lab"
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "set"))
    assert home_from(None).root == tmp_path / "set"
    assert home_from("given").root == tmp_path / "given"


def test_a_pid_that_was_used_again_is_not_our_process(tmp_path):
    file = tmp_path / "gateway.pid"
    own = Process.of(os.getpid())
    own.write(file)
    assert Process.read(file) == own

    Process(own.pid, "another start").write(file)

    assert Process.read(file) is None


@pytest.mark.parametrize("text", ["", "x y", "1", "999999999 never", "1 2 3"])
def test_a_broken_pid_file_names_no_process(tmp_path, text):
    file = tmp_path / "gateway.pid"
    file.write_text(text)

    assert Process.read(file) is None


def test_a_listener_that_says_nothing_of_the_protocol_is_not_ready(monkeypatch):
    monkeypatch.setattr("infra.service.PROBE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]

        assert not answers_http2(port)
        assert not answers_http(port)


def test_a_home_can_be_read_by_its_owner_only(tmp_path):
    home = Home(tmp_path / "home")

    home.create()

    assert home.root.stat().st_mode & 0o077 == 0


def test_a_token_is_given_for_a_seeded_user_only(tmp_path, capsys):
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    (tokens / "analyst").write_text("secret\n")

    assert main(["token", "--home", str(tmp_path), "analyst"]) == 0
    assert capsys.readouterr().out == "secret\n"
    assert main(["token", "--home", str(tmp_path), "../identity.json"]) == 1
    assert "only: analyst" in capsys.readouterr().err


def test_status_of_a_lab_that_does_not_run_is_not_zero(tmp_path, capsys):
    assert main(["status", "--home", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("not running") == 2


def test_commands_of_a_later_version_say_so(capsys):
    assert main(["bench", "score"]) == 2
    assert "later version" in capsys.readouterr().err


def make_home(path: Path) -> None:
    for name in ("run", "logs", "lake"):
        (path / name).mkdir(parents=True)
    (path / "marketplace.db").write_bytes(b"ledger")
    (path / "run" / "x.cache").write_bytes(b"rows")
    (path / "lake" / "t.parquet").write_bytes(b"cipher")


def test_a_running_lab_is_not_copied(tmp_path, capsys):
    home = tmp_path / "home"
    make_home(home)
    Process.of(os.getpid()).write(home / "run" / "marketplace.pid")

    assert main(["backup", "--home", str(home), str(tmp_path / "copy")]) == 1
    assert "lab down" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def test_the_demo_empties_no_home_that_it_did_not_make(tmp_path, capsys, monkeypatch):
    home = tmp_path / "home"
    make_home(home)

    assert main(["demo", "--home", str(home)]) == 1
    assert (home / "marketplace.db").exists()


def test_doctor_looks_for_the_fonts_that_reports_use(tmp_path: Path) -> None:
    assert tuple(name for name, _ in pdf.FONTS) == doctor.FONTS
    assert (
        doctor.FONT_FOLDERS,
        doctor.font((tmp_path,)).mend,
    ) == (pdf.FOLDERS, "apt-get install fonts-noto-cjk")
    (tmp_path / "deep").mkdir()
    assert not doctor.font((tmp_path, tmp_path / "none")).ok
    (tmp_path / "deep" / "wqy-zenhei.ttc").touch()
    assert doctor.font((tmp_path,)).ok
