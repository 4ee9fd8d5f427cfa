"""The daemon as a process: one line at the start, a clean end, one daemon per home and port."""

import http.client
import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from daemon_process import DaemonProcess, gone

Serve = Callable[..., DaemonProcess]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    started: list[DaemonProcess] = []

    def serve(*arguments: str, home: str = "home", host: str = "127.0.0.1:0", **variables: str) -> DaemonProcess:
        started.append(DaemonProcess(tmp_path / home, *arguments, host=host, **variables))
        return started[-1]

    yield serve
    for daemon in started:
        if daemon.process.poll() is None:
            daemon.process.kill()
        daemon.end()


@contextmanager
def ask(url: str, body: object) -> Iterator[http.client.HTTPResponse]:
    with closing(http.client.HTTPConnection(urlsplit(url).netloc)) as connection:
        connection.request("POST", "/api/generate", json.dumps(body))
        yield connection.getresponse()


NONSENSE = {"model": "demo", "prompt": "a", "raw": True, "options": {"temperature": 100, "top_k": 0, "top_p": 1}}
"""Even odds for every token, so that the end comes after some thousand tokens."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_where_it_is_and_ends_cleanly(serve: Serve, tmp_path: Path, number: signal.Signals) -> None:
    daemon = serve()
    url = daemon.url()
    assert daemon.line.startswith("ktd ")
    assert str(tmp_path / "home") in daemon.line
    with ask(url, {"model": "demo"}) as reply:
        assert json.load(reply)["done_reason"] == "load"
    workers = daemon.workers()
    assert len(workers) == 1
    daemon.process.send_signal(number)
    assert daemon.end() == (0, "", "")
    assert gone(workers)


def test_running_answers_are_told_that_it_stops(serve: Serve) -> None:
    daemon = serve()
    with ask(daemon.url(), NONSENSE) as reply:
        assert "response" in json.loads(reply.readline())
        children = list(daemon.children())
        daemon.process.terminate()
        *_, last = [json.loads(line) for line in reply]
    assert last == {"error": "the server is shutting down"}
    assert daemon.end() == (0, "", "")
    assert gone(children)


def test_it_ends_with_its_parents_pipe(serve: Serve) -> None:
    daemon = serve("until-stdin-closes")
    daemon.url()
    assert daemon.process.poll() is None
    assert daemon.end() == (0, "", "")


def test_a_port_in_use_is_one_clear_line(serve: Serve) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status, out, err = serve(host=f"127.0.0.1:{port}").end()
    assert (status, out) == (1, "")
    assert err.startswith(f"ktd: cannot listen on 127.0.0.1 port {port}: ")
    assert err.count("\n") == 1


def test_one_daemon_per_home(serve: Serve) -> None:
    first = serve()
    first.url()
    status, out, err = serve().end()
    assert (status, out) == (1, "")
    assert f"in use by another ktd daemon (pid {first.process.pid})" in err
    assert err.count("\n") == 1
    first.process.kill()
    first.end()
    assert serve().url()


def test_an_open_door_is_warned_about(serve: Serve) -> None:
    daemon = serve(host="0.0.0.0:0")
    daemon.url()
    daemon.process.terminate()
    status, _, err = daemon.end()
    assert status == 0
    assert err.startswith("warning: whoever reaches 0.0.0.0 port 0 can use this daemon")


def test_a_home_that_cannot_be_used(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    status, _, err = serve(home="file/home").end()
    assert status == 1
    assert err.startswith("ktd: ") and err.count("\n") == 1


def test_kill_leaves_no_worker_behind(serve: Serve) -> None:
    daemon = serve()
    with ask(daemon.url(), NONSENSE) as reply:
        reply.readline()
        children = list(daemon.children())
        daemon.process.kill()
        daemon.end()
        assert len(children) == 1
        assert gone(children)
