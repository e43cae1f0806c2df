import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harvester.errors import ConfigError
from harvester.sandbox.footage import PACKAGE_INDEX, read_index
from tests.unit.sandbox.conftest import decoded, entry

CAP_BYTES = 13_000_000


def test_the_package_has_five_games_with_two_sessions_in_two_sizes():
    sessions = read_index(PACKAGE_INDEX)
    played = [session for session in sessions if session.game]
    games = {session.game for session in played}
    assert len(games) == 5
    assert all(sum(s.game == game for s in played) == 2 for game in games)
    assert all([file.height for file in session.files] == [720, 360] for session in sessions)
    assert len({session.channel for session in played}) == 10
    assert sum(session.seconds for session in sessions if session.game is None) == 12


def test_the_package_is_small_and_its_index_true():
    folder = PACKAGE_INDEX.parent
    assert sum(file.stat().st_size for file in folder.iterdir()) <= CAP_BYTES
    for session in read_index(PACKAGE_INDEX):
        assert all(file.path.stat().st_size == file.size_bytes for file in session.files)
    listed = {file.path.name for session in read_index(PACKAGE_INDEX) for file in session.files}
    assert listed == {file.name for file in folder.glob("*.mp4")}


def test_every_game_is_credited():
    text = (PACKAGE_INDEX.parent / "CREDITS.md").read_text()
    for session in read_index(PACKAGE_INDEX):
        assert session.files[0].path.name.removesuffix("-720p.mp4") in text
        assert session.licence.split("|")[0].strip() in text


def test_a_file_of_the_package_is_what_the_index_says():
    session = next(s for s in read_index(PACKAGE_INDEX) if s.game is None)
    for file in session.files:
        pictures = decoded(file.path)
        assert pictures[0][1].shape == (file.height, file.width)
        assert len(pictures) == session.seconds * session.fps


def test_reads_an_index(tiny_index):
    first, *_, lost = read_index(tiny_index)
    assert (first.name, first.game, first.slug, first.channel, first.seconds) == (
        "alpha",
        "First Game",
        "first-game",
        "ann",
        12,
    )
    assert first.file(72) is first.file(999) is first.files[0]
    assert lost.game is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "no footage index"),
        ("{}", "must be a list"),
        ("[]", "no session of a game"),
        ('[{"file": "x.mp4"}]', "session 0 has no field"),
        (json.dumps([entry("nowhere", "Game", "ann")]), "is not there"),
        (json.dumps([entry("nowhere", "Game", "ann", seconds=0)]), "no length"),
        (json.dumps([entry("nowhere", "Game", "ann", width="wide")]), "session 0"),
        (json.dumps([7]), "session 0"),
    ],
)
def test_a_bad_index_is_one_clear_error(tmp_path, text, says):
    index = tmp_path / "index.json"
    index.write_text(text)
    with pytest.raises(ConfigError, match=says) as caught:
        read_index(index)
    assert str(index) in str(caught.value)


def test_an_absent_index_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_index(tmp_path / "none.json")


keys = ("file", "game", "slug", "session", "channel", "seconds", "width", "height", "fps", "bytes", "file_360p")
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


@settings(max_examples=150)
@given(st.lists(st.dictionaries(st.sampled_from(keys), scalars) | scalars, max_size=3) | scalars)
def test_whatever_the_index_holds_only_config_errors_come(tmp_path_factory, document):
    index = tmp_path_factory.mktemp("fuzz") / "index.json"
    index.write_text(json.dumps(document))
    with pytest.raises(ConfigError):
        read_index(index)
