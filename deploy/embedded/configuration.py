"""supervisord.conf of the embedded stack."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from deploy.embedded import tethered
from deploy.embedded.given import BadSetting
from deploy.embedded.servers import ROOT, Process
from deploy.embedded.stack import Stack

# Services first, then the servers under them; with supervisord's own second or two a stop stays under 15 s.
STOP_S = {"services": 7, "servers": 6}

SERVERS, SERVICES = "servers", "services"


def configuration(stack: Stack, folder: Path, log: Path, socket: Path) -> str:
    """What supervisord is told. It holds passwords.

    Raises:
        BadSetting: a path or setting has characters that supervisord's file cannot hold.
    """
    return "\n".join(
        [
            _section("unix_http_server", {"file": str(socket), "chmod": "0700"}),
            _section(
                "supervisord",
                {
                    "logfile": str(log / "supervisord.log"),
                    "pidfile": str(folder / "supervisord.pid"),
                    "childlogdir": str(log),
                    "directory": str(ROOT),
                    "umask": "077",
                },
            ),
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n",
            # For those who know it: supervisorctl -c var/embedded/supervisord.conf
            _section("supervisorctl", {"serverurl": f"unix://{socket}"}),
            *_group(SERVERS, 1, stack.servers, log),
            *_group(SERVICES, 2, stack.services, log),
        ]
    )


def _group(name: str, priority: int, processes: tuple[Process, ...], log: Path) -> list[str]:
    if not processes:
        return []  # supervisord refuses an empty group
    members = ",".join(process.name for process in processes)
    head = _section(f"group:{name}", {"programs": members, "priority": str(priority)})
    return [head, *(_program(process, STOP_S[name], log) for process in processes)]


def _program(process: Process, stop_s: int, log: Path) -> str:
    return _section(
        f"program:{process.name}",
        {
            "command": shlex.join(tethered.command(process.command, tree=process.tree)),
            "environment": ",".join(f"{name}={_quoted(value)}" for name, value in sorted(process.env.items())),
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "1",
            # Comes back as often as it is killed; a first start that fails is noticed by who waits for it.
            "startretries": "1000000",
            "stopsignal": "TERM",
            "stopwaitsecs": str(stop_s),
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": str(log / f"{process.name}.log"),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": "1",
        },
    )


def _section(name: str, values: Mapping[str, str]) -> str:
    for key, value in values.items():
        # Its parser ends a value there, quoted or not.
        if any(stop in value for stop in ("\n", " ;", " #")):
            raise BadSetting(f"{key} of {name} cannot be told to supervisord: it has a line end, ' ;' or ' #'")
    return f"[{name}]\n" + "".join(f"{key} = {value.replace('%', '%%')}\n" for key, value in values.items())


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
