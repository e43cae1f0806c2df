"""What a command is given may be wrong: one clear line, the exit code of the contract, and nothing is spoilt."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest

from harvester.sandbox import Fault, SandboxServer, default_world
from harvester.sandbox.world import Game
from tests.integration.commands import Commands
from tests.integration.refusals import check_refused, small, tree

#: Two categories of one name, as Twitch has them.
TWINS = (Game("777001", "Twin", "twin-one"), Game("777002", "Twin", "twin-two"))

Obedient = Callable[[], AbstractContextManager[None]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxServer]:
    sandbox = SandboxServer(default_world(extra_games=TWINS), cache_dir=tmp_path_factory.mktemp("media"))
    with sandbox.running():
        yield sandbox


@pytest.fixture
def harvester(server: SandboxServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Commands:
    server.faults.clear()
    server.log.clear()
    return Commands(server, tmp_path, capsys)


# -- credentials, categories, flags: nothing is made, nothing is asked of Twitch without need ----------------------


def test_no_credentials(harvester: Commands, tmp_path: Path) -> None:
    out, config = tmp_path / "new", str(harvester.config)
    ended = harvester.bare("run", "--config", config, *small(out))
    check_refused(ended, 2, "TWITCH_CLIENT_ID is not set", "dev.twitch.tv")
    assert not out.exists()
    empty = tmp_path / "empty"
    empty.touch()
    ended = harvester(*("run", *small(out)), TWITCH_CLIENT_SECRET="", TWITCH_CLIENT_SECRET_FILE=str(empty))
    check_refused(ended, 2, "TWITCH_CLIENT_SECRET_FILE", "empty")
    assert not harvester.server.log.entries()


@pytest.mark.parametrize("name", ["TWITCH_CLIENT_ID", "TWITCH_CLIENT_SECRET"])
def test_wrong_credentials_are_named_and_never_shown(harvester: Commands, tmp_path: Path, name: str) -> None:
    out = tmp_path / "new"
    ended = harvester("run", *small(out), "-v", **{name: "wrong0wrong0wrong0wrong0wrong"})
    check_refused(ended, 3, name)
    assert not out.exists()
    for secret in ("wrong0wrong0", harvester.server.environ["TWITCH_CLIENT_SECRET"]):
        assert secret not in ended.out + ended.err


def test_wrong_credentials_leave_a_dataset_alone(harvester: Commands, dataset: Path) -> None:
    before = tree(dataset)
    ended = harvester("run", *small(dataset, 4), TWITCH_CLIENT_SECRET="wrong0wrong0wrong0wrong0wrong")
    report = check_refused(ended, 3)
    assert report["dataset"] == str(dataset)
    assert tree(dataset) == before
    runs = harvester("status", "--out", dataset, "--json").json["runs"]
    assert runs[0]["report"]["exit_code"] == 3
    assert b"wrong0" not in b"".join(path.read_bytes() for path in dataset.rglob("*") if path.is_file())


def test_an_unknown_category_lists_near_matches(harvester: Commands, tmp_path: Path) -> None:
    out = tmp_path / "new"
    ended = harvester("run", "--category", "Freedom", "--out", out, "--json")
    check_refused(ended, 2, "no category is named 'Freedom'", "'Freedoom' (id:")
    assert not out.exists()
    check_refused(harvester("plan", "--category", "Freedom", "--out", out, "--json"), 2, "'Freedoom' (id:")
    check_refused(harvester("run", "--category", "id:424242", "--out", out, "--json"), 2, "'424242'")


def test_one_unknown_category_of_several_is_partial(harvester: Commands, tmp_path: Path) -> None:
    out = tmp_path / "new"
    ended = harvester("run", "--category", "No Such Game", *small(out))
    report = check_refused(ended, 4, "'No Such Game'")
    (category,) = report["categories"].values()
    assert (category["name"], category["total"]) == ("Teeworlds", 2)
    assert harvester("verify", "--out", out, "--replay").code == 0


def test_two_categories_of_one_name_are_told_by_their_ids(harvester: Commands, tmp_path: Path) -> None:
    out = tmp_path / "new"
    ended = harvester("run", "--category", "Twin", "--out", out, "--json")
    check_refused(ended, 2, "several categories", "id:777001 or id:777002")
    assert not out.exists()
    assert harvester("run", "--category", "777002", "--out", out).code == 0


def test_an_empty_category_is_no_error_and_a_suddenly_empty_one_is(harvester: Commands, dataset: Path) -> None:
    ended = harvester("run", "--category", "Just Chatting", "--frames", "3", "--out", dataset, "--json")
    assert (ended.code, ended.json["status"]) == (0, "done")
    assert ended.json["categories"]["509658"]["note"] == "no sources listed"
    assert harvester("run", "--category", "Teeworlds", "--out", dataset).code == 0  # its listing is worked off
    nothing = Fault(path="/helix/(videos|clips)", body=b'{"data": [], "pagination": {}}', times=0)
    harvester.server.inject(nothing)
    before = tree(dataset)
    check_refused(harvester("run", *small(dataset, 90)), 5, "'Teeworlds'", "lists no sources", "later")
    assert tree(dataset) == before


FLAGS: list[tuple[list[str], str]] = [
    (["--frames", "0"], "--frames"),
    (["--top", "-1"], "--top"),
    (["--since", "yesterday"], "since"),
    (["--since", "2026-02-01", "--until", "2026-01-01"], "since must lie before until"),
    (["--source", "https://example.com/videos/1"], "no VOD or clip"),
    (["--source-type", "film"], "--source-type"),
    (["--max-bytes", "many"], "--max-bytes"),
    (["--no-such-flag"], "--no-such-flag"),
    (["--categories-file", "absent.txt"], "absent.txt"),
]


@pytest.mark.parametrize(("flags", "told"), FLAGS)
def test_bad_flags(harvester: Commands, tmp_path: Path, flags: list[str], told: str) -> None:
    out = tmp_path / "new"
    check_refused(harvester("run", *small(out), *flags), 2, told)
    assert not out.exists()
    assert not harvester.server.log.entries()


def test_nothing_to_harvest_and_nowhere_to_put_it(harvester: Commands, tmp_path: Path) -> None:
    check_refused(harvester("run", "--out", tmp_path / "new", "--json"), 2, "nothing to harvest")
    check_refused(harvester("run", "--category", "Teeworlds", "--json"), 2, "--out")
    check_refused(harvester.bare("no-such-command", "--json"), 2, "no-such-command")
    file = tmp_path / "file"
    file.touch()
    check_refused(harvester("run", *small(file)), 2, "is a file")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00T", b"\x00" * 100, b"Teeworlds\n" * 200_000, b"# none\n\n"])
def test_a_categories_file_that_is_none(harvester: Commands, tmp_path: Path, content: bytes) -> None:
    file, out = tmp_path / "games.txt", tmp_path / "new"
    file.write_bytes(content)
    told = "nothing to harvest" if content.startswith(b"#") else "games.txt"
    check_refused(harvester("run", "--categories-file", file, "--out", out, "--json"), 2, told)
    assert not out.exists()


def test_a_categories_file_as_editors_write_it(harvester: Commands, tmp_path: Path) -> None:
    file, out = tmp_path / "games.txt", tmp_path / "new"
    file.write_bytes("\ufeff# my games\r\nTeeworlds # 2d\r\n\r\n  Freedoom  \r\n".encode())
    ended = harvester("run", "--categories-file", file, "--frames", "1", "--out", out, "--json")
    assert ended.code == 0, ended.err
    assert [entry["name"] for entry in ended.json["categories"].values()] == ["Teeworlds", "Freedoom"]


# -- configuration -------------------------------------------------------------------------------------------------

BAD_SETTINGS = [
    ("[dedupe]\nradios = 3\n", ":2: ", "did you mean 'radius'"),
    ("[dedupe]\n\nradius = 9\n", ":3: ", "less than or equal to 7"),
    ("[dedup]\nradius = 3\n", ":1: ", "did you mean 'dedupe'"),
    ("radius = 3\n", ":1: ", "[dedupe] radius"),
    ("[endpoints]\nhelix = 'http://127.0.0.1:9/helix/'\n", ":2", "either all four endpoints"),
    ("[fetch\n", "no valid TOML", ""),
    ("[rights]\nbasis = '\xff'\n", "no valid TOML", ""),
]


@pytest.mark.parametrize(("text", "place", "told"), BAD_SETTINGS)
def test_a_bad_configuration_file(harvester: Commands, tmp_path: Path, text: str, place: str, told: str) -> None:
    config, out = tmp_path / "bad.toml", tmp_path / "new"
    config.write_bytes(text.encode("latin-1"))
    ended = harvester.bare("run", "--config", str(config), *small(out))
    check_refused(ended, 2, "bad.toml", place, told)
    assert not out.exists()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("HARVESTER_DEDUPE_RADIOS", "3", "did you mean 'radius'"),
        ("HARVESTER_DEDUPE_RADIUS", "9", "less than or equal to 7"),
        ("HARVESTER_DEDUPE", "9", "without a key"),
        ("HARVESTER_ENDPOINTS_GQL", "http://user:hunter2@127.0.0.1/gql", "scheme, host, port and path"),
        ("HARVESTER_FETCH_HOSTS", '["com"]', "no host name"),
    ],
)
def test_a_bad_variable(harvester: Commands, tmp_path: Path, name: str, value: str, told: str) -> None:
    ended = harvester("run", *small(tmp_path / "new"), **{name: value})
    check_refused(ended, 2, name, told)
    assert "hunter2" not in ended.out + ended.err
    assert not (tmp_path / "new").exists()


def test_a_configuration_file_that_cannot_be_read(harvester: Commands, tmp_path: Path, obedient: Obedient) -> None:
    check_refused(harvester.bare("run", "--config", str(tmp_path / "none.toml"), *small(tmp_path)), 2, "none.toml")
    check_refused(harvester.bare("run", "--config", str(tmp_path), *small(tmp_path)), 2, "is a directory")
    harvester.config.chmod(0)
    with obedient():
        ended = harvester("run", *small(tmp_path / "new"))
    check_refused(ended, 2, "cannot read the configuration", "Permission denied")


def test_real_twitch_is_not_touched_without_rights(harvester: Commands, tmp_path: Path) -> None:
    ended = harvester.bare("run", *small(tmp_path / "new"), **harvester.server.environ)
    check_refused(ended, 2, "[rights] basis")
    assert not (tmp_path / "new").exists()


# -- network -------------------------------------------------------------------------------------------------------


def dead_endpoints() -> dict[str, str]:
    """Endpoints on a port of loopback where nobody listens."""
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{sock.getsockname()[1]}"
    paths = {"HELIX": "/helix/", "AUTH": "/oauth2/", "GQL": "/gql", "USHER": ""}
    return {f"HARVESTER_ENDPOINTS_{name}": origin + path for name, path in paths.items()}


def test_no_network(harvester: Commands, dataset: Path, tmp_path: Path) -> None:
    dead = dead_endpoints()
    report = check_refused(harvester("run", *small(tmp_path / "new"), **dead), 5, "cannot be asked", "network")
    assert not report["requests"]
    assert not (tmp_path / "new").exists()
    before = tree(dataset)
    check_refused(harvester("run", *small(dataset, 9), **dead), 5, "network")
    assert tree(dataset) == before
    assert harvester("doctor", "--out", dataset, **dead).code == 5


def test_a_network_that_goes_away_after_the_listing(harvester: Commands, dataset: Path) -> None:
    harvester.server.inject(Fault(path="^/(gql|vod|cdn)", reset=True, times=0))
    ended = harvester("run", *small(dataset, 9))
    assert (ended.code, ended.json["status"]) == (5, "failed"), ended.err
    assert set(ended.json["failed"]) == {"unavailable"}
    harvester.server.faults.clear()
    assert harvester("run", *small(dataset, 4)).code == 0
    assert harvester("verify", "--out", dataset, "--replay").code == 0
