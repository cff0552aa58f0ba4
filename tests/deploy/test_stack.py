"""What the stack is made of: only what no setting points to, on free ports, with passwords nobody else reads."""

import json
import socket
from io import StringIO
from pathlib import Path

import bcrypt
import pytest
from dotenv import dotenv_values

from contracts.permissions import USERS
from contracts.topology import SERVICES
from deploy.embedded.configuration import configuration
from deploy.embedded.given import BadSetting, given_settings, var_folder
from deploy.embedded.passwords import passwords
from deploy.embedded.servers import HOST, Process
from deploy.embedded.stack import Stack, embedded_stack, environment_file

OWN = {
    "LOOPLINE_NATS_URL": "nats://someone:hush@nats.plant.example:4222",
    "LOOPLINE_MLFLOW_URL": "https://mlflow.plant.example",
    "LOOPLINE_LABEL_STUDIO_URL": "https://labels.plant.example",
    "LOOPLINE_LABEL_STUDIO_TOKEN": "hush",
    "LOOPLINE_TRITON_NODES": "a=gpu1:8001,b=gpu2:8001",
}


def names(processes: tuple[Process, ...]) -> list[str]:
    return [process.name for process in processes]


@pytest.mark.parametrize(
    ("setting", "server"),
    [
        ("LOOPLINE_NATS_URL", "nats"),
        ("LOOPLINE_MLFLOW_URL", "mlflow"),
        ("LOOPLINE_LABEL_STUDIO_URL", "label-studio"),
        ("LOOPLINE_TRITON_NODES", "triton"),
    ],
)
def test_only_what_no_setting_points_to_is_started(tmp_path: Path, setting: str, server: str) -> None:
    ours = embedded_stack({}, tmp_path)
    assert names(ours.servers) == ["nats", "mlflow", "label-studio", "triton"]
    theirs = embedded_stack({setting: OWN[setting], "LOOPLINE_LABEL_STUDIO_TOKEN": "hush"}, tmp_path)
    assert names(theirs.servers) == [name for name in names(ours.servers) if name != server]
    assert theirs.settings[setting] == OWN[setting]
    assert all(process.env[setting] == OWN[setting] for process in theirs.services)


def test_nothing_of_a_companys_own_is_told_in_public(tmp_path: Path) -> None:
    stack = embedded_stack(OWN, tmp_path)
    assert stack.servers == ()
    assert "hush" not in str(stack.places)
    assert "LOOPLINE_NATS_USER" not in stack.settings
    assert not (tmp_path / "secrets.env").exists()


def test_ones_own_label_studio_needs_its_token(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="LOOPLINE_LABEL_STUDIO_TOKEN"):
        embedded_stack({"LOOPLINE_LABEL_STUDIO_URL": "http://labels"}, tmp_path)


def test_every_service_runs_and_the_operator_view(tmp_path: Path) -> None:
    stack = embedded_stack({}, tmp_path)
    assert names(stack.services) == [*SERVICES, "webapp"]
    assert len({process.url for process in stack.services}) == 7


def test_another_port_is_used_when_the_usual_one_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((HOST, 5000))
            taken.listen()
        except OSError:
            pass  # someone has it already: as good
        settings = embedded_stack({}, tmp_path).settings
    assert settings["LOOPLINE_MLFLOW_URL"] != f"http://{HOST}:5000"


def test_passwords_are_made_once_and_kept_for_their_owner(tmp_path: Path) -> None:
    first, second = embedded_stack({}, tmp_path), embedded_stack({}, tmp_path)
    assert first.settings["LOOPLINE_NATS_PASSWORD"] == second.settings["LOOPLINE_NATS_PASSWORD"]
    assert (tmp_path / "secrets.env").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "nats" / "nats.json").stat().st_mode & 0o777 == 0o600
    for process in first.processes:
        assert not any(first.settings["LOOPLINE_NATS_PASSWORD"] in word for word in process.command)
    assert (
        embedded_stack({}, tmp_path / "other").settings["LOOPLINE_NATS_PASSWORD"]
        != first.settings["LOOPLINE_NATS_PASSWORD"]
    )


def test_each_process_is_given_its_own_user_of_nats_and_no_other(tmp_path: Path) -> None:
    stack = embedded_stack({"LOOPLINE_NATS_USER": "of-a-person", "LOOPLINE_NATS_PASSWORD": "hush"}, tmp_path)
    made = passwords(tmp_path).nats
    for process in (*stack.services, *stack.once):
        assert process.env["LOOPLINE_NATS_USER"] == process.name
        held = {user for user, password in made.items() if password in process.env.values()}
        assert held == {process.name}
    ours = embedded_stack({}, tmp_path).settings
    assert (ours["LOOPLINE_NATS_USER"], ours["LOOPLINE_NATS_PASSWORD"]) == ("cli", made["cli"])


def test_the_server_is_told_hashes_of_passwords_only(tmp_path: Path) -> None:
    embedded_stack({}, tmp_path)
    told = (tmp_path / "nats" / "nats.json").read_text()
    users = {entry["user"]: entry for entry in json.loads(told)["authorization"]["users"]}
    for user, password in passwords(tmp_path).nats.items():
        assert password not in told
        assert bcrypt.checkpw(password.encode(), users[user]["password"].encode())
        assert users[user]["permissions"]["publish"]["allow"]


def test_a_stack_from_before_there_were_users_keeps_what_it_had_and_gets_them(tmp_path: Path) -> None:
    (tmp_path / "label-studio").mkdir()
    (tmp_path / "label-studio" / "label_studio.sqlite3").touch()
    old = {"NATS_USER": "loopline", "NATS_PASSWORD": "old", "LABEL_STUDIO_PASSWORD": "p", "LABEL_STUDIO_TOKEN": "t"}
    (tmp_path / "secrets.env").write_text("".join(f"{name}={value}\n" for name, value in old.items()))
    first = passwords(tmp_path)
    assert (first.label_studio, first.label_studio_token) == ("p", "t")
    assert set(first.nats) == {user.name for user in USERS}
    assert "old" not in (tmp_path / "secrets.env").read_text()
    assert passwords(tmp_path) == first
    assert "hush" not in repr(first)
    assert all(password not in repr(first) for password in (*first.nats.values(), first.label_studio))


def test_mlflows_login_goes_to_who_talks_to_it_and_not_into_its_url(tmp_path: Path) -> None:
    login = {"MLFLOW_TRACKING_USERNAME": "ines", "MLFLOW_TRACKING_PASSWORD": "hush"}
    stack = embedded_stack({**login, "LOOPLINE_MLFLOW_URL": "https://mlflow.plant.example"}, tmp_path)
    told = [process.name for process in stack.services if process.env.get("MLFLOW_TRACKING_PASSWORD") == "hush"]
    assert told == ["trainer", "registry"]
    assert "hush" not in environment_file(stack.settings)
    with pytest.raises(BadSetting, match="MLFLOW_TRACKING_USERNAME") as refused:
        embedded_stack({"LOOPLINE_MLFLOW_URL": "https://ines:hush@mlflow.plant.example"}, tmp_path)
    assert "hush" not in str(refused.value)


def test_lost_passwords_are_an_error_once_users_were_made_with_them(tmp_path: Path) -> None:
    (tmp_path / "label-studio").mkdir()
    (tmp_path / "label-studio" / "label_studio.sqlite3").touch()
    with pytest.raises(BadSetting, match="restore it"):
        embedded_stack({}, tmp_path)


def test_label_studio_does_not_serve_the_passwords(tmp_path: Path) -> None:
    settings = embedded_stack({}, tmp_path).settings
    served = Path(settings["LOOPLINE_LABEL_STUDIO_FILES_ROOT"])
    assert served in Path(settings["LOOPLINE_BLOBS_ROOT"]).parents
    assert served not in (tmp_path, *tmp_path.parents)


def test_the_environment_wins_over_the_env_file_and_empty_counts_as_not_set(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LOOPLINE_NATS_URL=nats://file\nLOOPLINE_MLFLOW_URL=http://file\nOTHER=1\n")
    given = given_settings({"LOOPLINE_NATS_URL": "nats://env", "LOOPLINE_TRITON_NODES": "", "HOME": "/"}, tmp_path)
    assert given == {"LOOPLINE_NATS_URL": "nats://env", "LOOPLINE_MLFLOW_URL": "http://file"}
    assert var_folder({}, tmp_path) == tmp_path / "var"
    assert var_folder({"LOOPLINE_VAR": "elsewhere"}, tmp_path) == tmp_path / "elsewhere"


@pytest.mark.parametrize("value", ["a 'b' \"c\" \\d", "# no comment", "${HOME}", '{"a": "b:1"}', "  spaces "])
def test_settings_come_back_from_their_file_as_they_were(value: str) -> None:
    assert dotenv_values(stream=StringIO(environment_file({"X": value, "Y": "1"})), interpolate=False)["X"] == value


def test_a_setting_that_supervisord_would_cut_short_is_refused(tmp_path: Path) -> None:
    cut = Process("trainer", ("true",), {"LOOPLINE_BLOBS_ROOT": "/data/line #4"}, lambda: True, 1)
    with pytest.raises(BadSetting, match="environment of program:trainer"):
        configuration(Stack({}, (), (), (cut,), ()), tmp_path, tmp_path, tmp_path / "socket")


def test_only_the_registry_is_told_where_the_signing_key_is_and_only_the_deployer_which_keys_are_trusted(
    tmp_path: Path,
) -> None:
    stack = embedded_stack({}, tmp_path)
    told = {
        name: [process.name for process in stack.processes if name in process.env]
        for name in ("LOOPLINE_SIGNING_KEY_FILE", "LOOPLINE_TRUSTED_KEYS_FILE")
    }
    assert told == {"LOOPLINE_SIGNING_KEY_FILE": ["registry"], "LOOPLINE_TRUSTED_KEYS_FILE": ["deployer"]}
    assert not set(told) & set(stack.settings)


def test_of_ones_own_keys_both_are_needed(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"set both .* python -m deploy\.signing makes them"):
        embedded_stack({"LOOPLINE_SIGNING_KEY_FILE": "mine.key"}, tmp_path)
    own = {"LOOPLINE_SIGNING_KEY_FILE": "mine.key", "LOOPLINE_TRUSTED_KEYS_FILE": "mine.pem"}
    embedded_stack(own, tmp_path)
    assert not (tmp_path / "signing").exists()
