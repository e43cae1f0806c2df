"""Configuration: what wins over what, what is refused and in which words, and that config.toml tells the truth."""

from __future__ import annotations

import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from harvester.config import Config, credentials, is_loopback, load
from harvester.config.wording import line_numbers
from harvester.errors import ConfigError
from harvester.model import VodType

CONFIG_TOML = Path(__file__).parents[2] / "config.toml"

LOOPBACK = {
    "helix": "http://127.0.0.1:8080/helix/",
    "auth": "http://127.0.0.1:8080/oauth2/",
    "gql": "http://127.0.0.1:8080/gql",
    "usher": "http://127.0.0.1:8080",
}


@pytest.fixture
def write(tmp_path: Path):
    def write_file(text: str) -> Path:
        file = tmp_path / "config.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write_file


def refusal(path: Path | None = None, **sources: object) -> str:
    """The one line that a bad configuration gives."""
    with pytest.raises(ConfigError) as caught:
        load(path, cwd=Path("/nonexistent"), **sources)
    line = str(caught.value)
    assert line.isprintable()
    assert caught.value.exit_code == 2
    return line


# --- config.toml ------------------------------------------------------------------------------------------------


def test_config_toml_equals_the_built_in_defaults():
    written = tomllib.loads(CONFIG_TOML.read_text(encoding="utf-8"))
    assert Config.model_validate(written).model_dump() == Config().model_dump()
    assert load(CONFIG_TOML).config == Config()


def test_config_toml_has_every_key_of_every_section_and_no_other():
    written = tomllib.loads(CONFIG_TOML.read_text(encoding="utf-8"))
    assert {section: list(keys) for section, keys in written.items()} == {
        section: list(keys) for section, keys in Config().model_dump().items()
    }


def test_every_key_of_config_toml_tells_what_it_does_its_unit_range_and_default():
    blocks = re.findall(
        r"((?:^#.*\n)+)^(\w+) = (.*)$", CONFIG_TOML.read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert len(blocks) == sum(len(section) for section in Config().model_dump().values())
    for comment, key, value in blocks:
        facts = re.fullmatch(r"# unit: (.+) · range: (.+) · default: (.+)", comment.strip().splitlines()[-1])
        assert facts, f"{key}: no line of unit, range and default"
        assert facts[3] in (value, "see the line"), f"{key}: the comment gives another default"
        assert len(comment.strip().splitlines()) >= 2, f"{key}: nothing says what it does"


# --- precedence -------------------------------------------------------------------------------------------------


def test_flags_win_over_environment_over_file_over_defaults(write):
    file = write("[dedupe]\nradius = 1\n[dataset]\njpeg_quality = 71\nshort_side = 360\n")
    environ = {"HARVESTER_DEDUPE_RADIUS": "2", "HARVESTER_DATASET_JPEG_QUALITY": "72"}
    loaded = load(file, environ=environ, flags={("dedupe", "radius"): 3, ("dataset", "short_side"): None})
    assert loaded.path == file
    assert loaded.config.dedupe.radius == 3
    assert loaded.config.dataset.jpeg_quality == 72
    assert loaded.config.dataset.short_side == 360
    assert loaded.config.sample.min_height == 720


def test_the_file_of_the_working_directory_is_read_if_there_is_one(write, tmp_path):
    assert load(cwd=tmp_path).path is None
    file = write("[dedupe]\nradius = 5\n")
    assert load(cwd=tmp_path).path == file
    assert load(cwd=tmp_path).config.dedupe.radius == 5


def test_a_named_file_keeps_the_working_directory_out(write, tmp_path):
    write("[dedupe]\nradius = 5\n")
    other = tmp_path / "other.toml"
    other.write_bytes(
        b"\xef\xbb\xbf[dataset]\r\njpeg_quality = 50\r\n"
    )  # byte order mark, as Windows editors write
    loaded = load(other, cwd=tmp_path)
    assert (loaded.config.dedupe.radius, loaded.config.dataset.jpeg_quality) == (6, 50)


def test_other_variables_are_none_of_our_business():
    assert (
        load(environ={"HARVEST": "1", "PATH": "x", "TWITCH_CLIENT_ID": "y"}, cwd=Path("/nonexistent")).config
        == Config()
    )


# --- values from the environment ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("DEDUPE_RADIUS", "4", 4),
        ("RUN_FAILED_SHARE", "0.5", 0.5),
        ("DISCOVER_LANGUAGES", '["en", "de"]', ("en", "de")),
        ("DISCOVER_CATEGORIES", '[509658, "Hades II"]', ("509658", "Hades II")),
        ("DISCOVER_VOD_TYPES", '["upload"]', (VodType.UPLOAD,)),
        ("RIGHTS_BASIS", "my own channel", "my own channel"),  # no TOML value: as it stands
        ("RIGHTS_BASIS", '"quoted"', "quoted"),
        ("RIGHTS_BASIS", 'half "quoted', 'half "quoted'),
        ("RIGHTS_BASIS", "", ""),
        ("SAMPLE_SEED", "007", "007"),  # a key that holds text keeps the text
        ("SAMPLE_SEED", "42", "42"),
        ("SAMPLE_SEED", "1e3", "1e3"),
        ("SAMPLE_SEED", "true", "true"),
        ("SAMPLE_SEED", '1\n[run]\nnow = "x"', '1\n[run]\nnow = "x"'),  # more than a value is no value
        ("SAMPLE_SEED", "[" * 5000, "[" * 5000),
        ("RUN_NOW", "2026-11-01T03:00:00Z", "2026-11-01T03:00:00Z"),
        ("RUN_NOW", "2026-11-01", "2026-11-01"),
    ],
)
def test_environment_values_are_toml_else_text(name, text, value):
    config = load(environ={f"HARVESTER_{name}": text}, cwd=Path("/nonexistent")).config
    section, _, key = name.lower().partition("_")
    assert getattr(getattr(config, section), key) == value


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_of_a_variable_loads_or_is_refused_in_one_line(text):
    environ = {"HARVESTER_DISCOVER_CATEGORIES": text, "HARVESTER_SAMPLE_SEED": text}
    try:
        load(environ=environ, cwd=Path("/nonexistent"))
    except ConfigError as error:
        assert str(error).isprintable()
        assert str(error).startswith("HARVESTER_")


# --- unknown names --------------------------------------------------------------------------------------------------


def test_an_unknown_key_names_its_line_and_the_nearest_key(write):
    file = write("# settings\n\n[dedupe]\n# how alike\nradios = 3\n")
    assert refusal(file) == f"{file}:5: unknown key 'radios' in [dedupe]; did you mean 'radius'?"


def test_an_unknown_section_names_its_line_and_the_nearest_section(write):
    file = write("[run]\n\n[discovery]\ntop = 3\n")
    assert refusal(file) == f"{file}:3: unknown section [discovery]; did you mean 'discover'?"


def test_a_key_of_another_section_is_shown_its_place(write):
    assert refusal(write("[run]\nradius = 3\n")).endswith(
        "unknown key 'radius' in [run]; did you mean [dedupe] radius?"
    )
    assert refusal(write("radius = 3\n")).endswith(
        ":1: key 'radius' stands outside its section; did you mean [dedupe] radius?"
    )


def test_a_name_like_nothing_gets_the_list_of_names(write):
    assert refusal(write("[dedupe]\nqqq = 3\n")).endswith("unknown key 'qqq' in [dedupe]; known: radius")
    assert "known: endpoints, rights, run" in refusal(write("[qqq]\n"))


def test_unknown_variables_are_refused_by_name():
    assert refusal(environ={"HARVESTER_DEDUPE_RADIOS": "3"}) == (
        "HARVESTER_DEDUPE_RADIOS: unknown key 'radios' in [dedupe]; did you mean 'radius'?"
    )
    assert refusal(environ={"HARVESTER_DEDUP_RADIUS": "3"}) == (
        "HARVESTER_DEDUP_RADIUS: unknown section [dedup]; did you mean 'dedupe'?"
    )
    assert refusal(environ={"HARVESTER_DEDUPE": "3"}) == (
        "HARVESTER_DEDUPE names a section without a key: write HARVESTER_DEDUPE_<KEY>; known: radius"
    )
    assert refusal(environ={"HARVESTER_": "3"}).startswith("HARVESTER_: unknown section []")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("dedupe.radios = 3", 1),
        ("\n\ndedupe = { radios = 3 }\n", 3),
        ('["dedupe"]\n\n"radios" = 3', 3),
        ("[ dedupe ]\n\n  radios=3", 3),
        ('[rights]\nbasis = """\n[dedupe]\nradios = 3\n"""\n[dedupe]\nradius = 1\nradios = 3', 8),
        ("[discover]\ncategories = [\n'one',\n'radios = 3',\n]\n[dedupe]\nradios = [\n3]\n", 7),
    ],
)
def test_the_line_is_found_in_every_form_toml_allows(write, text, line):
    file = write(text)
    assert refusal(file).startswith(f"{file}:{line}: unknown key 'radios'")


def test_a_list_with_a_line_for_each_entry_is_read_once_not_once_a_line(monkeypatch):
    text = "[discover]\ncategories = [\n" + '"x",\n' * 3000 + "]\ntop = 1\n"
    parses = []
    monkeypatch.setattr("harvester.config.wording.tomllib.loads", lambda t: parses.append(t) or tomllib_loads(t))
    assert line_numbers(text)[("discover", "top")] == 3004
    assert len(parses) < 10


tomllib_loads = tomllib.loads


# --- bad values -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[dedupe]\nradius = 8", 2, "[dedupe] radius = 8: Input should be less than or equal to 7"),
        ("[dedupe]\nradius = -1", 2, "[dedupe] radius = -1: Input should be greater than or equal to 0"),
        ("[dedupe]\nradius = 2.5", 2, "fractional"),
        ("[dedupe]\nradius = true", 2, "must not be true or false"),
        ("[run]\nfailed_share = nan", 2, "finite"),
        ("[run]\nmax_time_s = inf", 2, "finite"),
        ("[run]\n\nnow = 'yesterday'", 3, "[run] now = 'yesterday': must be an ISO 8601 time"),
        ("[run]\nnow = '0001-01-01T00:00:00+05:00'", 2, "must be an ISO 8601 time"),
        ("[run]\nnow = 03:00:00", 2, "must be a text in quotes"),
        ("[sample]\nguard_share = 0.5", 2, "less than 0.5"),
        ("[discover]\nlanguages = 'en'", 2, 'must be a list, such as ["one", "two"]'),
        ("[discover]\nperiod = 'year'", 2, "'all', 'day', 'week' or 'month'"),
        ("[discover]\nvod_types = ['archive', 'premiere']", 2, "'archive', 'highlight' or 'upload'"),
        ("[decode]\nbackend = 'gpu'", 2, "'auto', 'nvdec', 'nvdec-av' or 'cpu'"),
        ("[fetch]\nhosts = ['']", 2, "is no host name"),
        ("[fetch]\nhosts = ['net']", 2, "is no host name"),
        ("[fetch]\nhosts = ['https://twitch.tv']", 2, "is no host name"),
        ("[fetch]\nhosts = ['127.0.0.1']", 2, "is no host name"),
        ("run = 3", 1, "[run] must be a table of keys"),
        ("[[run]]\nnow = ''", 1, "[run] must be a table of keys"),
        ("[discover]\nsince = 2026-01-02\nuntil = 2026-01-01", 2, "since must lie before until"),
    ],
)
def test_a_bad_value_names_its_line_and_why(write, text, line, message):
    file = write(text)
    refused = refusal(file)
    assert refused.startswith(f"{file}:{line}")
    assert message in refused


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("[decode]\nbackend = 'NVDEC'", "; did you mean 'nvdec'?"),
        ("[decode]\nbackend = 'nvdec_av'", "; did you mean 'nvdec-av'?"),
        ("[discover]\nvod_types = ['archive', 'uploads']", "; did you mean 'upload'?"),
        ("[decode]\nbackend = 'gpu'", "or 'cpu'"),  # near to cpu, and not meant
        ("[decode]\nbackend = 3", "or 'cpu'"),
        ("[run]\nnow = 'auto'", "2026-11-01T03:00:00Z"),
    ],
)
def test_a_value_that_is_none_of_a_few_is_shown_the_nearest(write, text, meant):
    assert refusal(write(text)).endswith(meant)


def test_a_bad_value_names_its_variable_or_the_command_line():
    assert refusal(environ={"HARVESTER_DEDUPE_RADIUS": "much"}).startswith(
        "HARVESTER_DEDUPE_RADIUS: [dedupe] radius = 'much': "
    )
    assert refusal(flags={("dedupe", "radius"): 9}).startswith("the command line: [dedupe] radius = 9: ")


def test_more_than_a_value_is_no_value():
    assert "unable to parse" in refusal(environ={"HARVESTER_DEDUPE_RADIUS": "3\n[run]"})


def test_since_is_before_until_and_not_the_same(write):
    window = {("discover", "since"): "2026-01-01T00:00:00Z", ("discover", "until"): "2026-01-01T01:00:00+01:00"}
    assert "since must lie before until" in refusal(flags=window)
    load(flags={**window, ("discover", "until"): "2026-01-01T00:00:01Z"})


def test_a_bad_value_that_a_flag_replaces_hurts_nobody(write):
    file = write("[dedupe]\nradius = 99\n")
    assert load(file, flags={("dedupe", "radius"): 2}).config.dedupe.radius == 2


def test_files_that_cannot_be_read_say_why(tmp_path):
    assert refusal(tmp_path / "none.toml").endswith("No such file or directory")
    assert "Is a directory" in refusal(tmp_path)
    bad = tmp_path / "bad.toml"
    for content in (b"[run\n", b"\xff\xfe", b"a = 1\na = 2\n", b"x = " + b"[" * 10_000, b"x = " + b"9" * 10_000):
        bad.write_bytes(content)
        assert refusal(bad).startswith(f"{bad} is no valid TOML: ")


def test_names_and_values_cannot_move_the_cursor(write):
    assert "\x1b" not in refusal(write('["\\u001b[2J"]\n'))
    assert "\x1b" not in refusal(write('[run]\n"\\u001b[2J" = 1\n'))
    assert "\x1b" not in refusal(write('[run]\nnow = "\\u001b[2J"\n'))
    assert "\x1b" not in refusal(environ={"HARVESTER_\x1b[2J": "1"})


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_file_loads_or_is_refused_in_one_line(tmp_path_factory, text):
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(text, encoding="utf-8")
    try:
        load(file)
    except ConfigError as error:
        assert str(error).isprintable()
        assert str(error).startswith(str(file))


# --- endpoints: one world ---------------------------------------------------------------------------------------------


def test_the_defaults_are_the_real_world():
    assert not Config().endpoints.loopback


def test_four_loopback_endpoints_are_a_loopback_world():
    assert Config().replace("endpoints", **LOOPBACK).endpoints.loopback
    for host in ("localhost", "127.3.2.1", "[::1]", "LOCALHOST", "[::ffff:127.0.0.1]"):
        urls = {name: url.replace("127.0.0.1", host) for name, url in LOOPBACK.items()}
        assert Config().replace("endpoints", **urls).endpoints.loopback


@pytest.mark.parametrize("name", list(LOOPBACK))
def test_worlds_do_not_mix(name, write):
    file = write(f"[endpoints]\n{name} = '{LOOPBACK[name]}'\n")
    refused = refusal(file)
    assert refused.startswith(f"{file}:2: [endpoints]: either all four endpoints are loopback or none is")
    assert refused.endswith(f"loopback: {name}")


def test_a_mixture_over_several_places_names_them_all(write):
    file = write(f"[endpoints]\nhelix = '{LOOPBACK['helix']}'\n")
    assert refusal(file, environ={"HARVESTER_ENDPOINTS_GQL": LOOPBACK["gql"]}).startswith(
        f"{file}:2, HARVESTER_ENDPOINTS_GQL: [endpoints]: "
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://api.twitch.tv/helix/",
        "http://127.0.0.1.example.com/",
        "http://localhost.example.com/",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
        "http://[::2]/",
        "ftp://127.0.0.1/",
        "127.0.0.1:8080",
        "http://",
        "",
        "http://[::1",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1:0/",
        "http://127.0.0.1/a b",
        "http://127.0.0.1/\x1b[2J",
        "http://127.0.0.1/?token=secretsecret",
        "http://user:secretsecret@127.0.0.1/",
    ],
)
def test_what_is_no_endpoint_is_refused_and_no_secret_quoted(url):
    refused = refusal(flags={("endpoints", key): value for key, value in {**LOOPBACK, "helix": url}.items()})
    assert refused.startswith("the command line: [endpoints] helix = ")
    assert "secretsecret" not in refused


def test_folders_end_with_a_slash_and_files_do_not():
    bare = {name: url.rstrip("/") for name, url in LOOPBACK.items()}
    slashed = {name: f"{url}/" for name, url in bare.items()}
    assert Config().replace("endpoints", **bare) == Config().replace("endpoints", **slashed)
    assert Config().replace("endpoints", **bare).endpoints.model_dump() == LOOPBACK


@given(st.text())
def test_loopback_is_asked_about_anything(url):
    assert is_loopback(f"http://{url}/") in (True, False)
    assert not is_loopback(f"http://x{url}.example.com/") or set(url) & set("/?#@\\[]")


# --- times, copies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["2026-11-01T03:00:00Z", "2026-11-01T03:00:00", "2026-11-01T05:00:00+02:00", "2026-10-31T22:00-05:00"]
)
def test_now_is_an_aware_utc_time(text):
    start = Config().replace("run", now=text).run.start
    assert start == datetime(2026, 11, 1, 3, tzinfo=UTC)
    assert start.tzinfo is UTC


def test_now_may_be_a_toml_date_and_is_the_clock_when_empty(write):
    assert load(write("[run]\nnow = 2026-11-01T03:00:00Z\n")).config.run.start == datetime(
        2026, 11, 1, 3, tzinfo=UTC
    )
    assert load(write("[run]\nnow = 2026-11-01\n")).config.run.start == datetime(2026, 11, 1, tzinfo=UTC)
    assert Config().run.start is None


def test_replace_gives_a_checked_copy():
    config = Config()
    changed = config.replace("dedupe", radius=3)
    assert (config.dedupe.radius, changed.dedupe.radius) == (6, 3)
    assert changed.replace("dedupe", radius=6) == config
    for section, values in [("dedupe", {"radius": 8}), ("dedupe", {"radios": 3}), ("dedup", {"radius": 3})]:
        with pytest.raises(ConfigError):
            config.replace(section, **values)


def test_a_configuration_is_frozen():
    config = Config()
    with pytest.raises(ValidationError):
        config.dedupe.radius = 3
    with pytest.raises(ValidationError):
        config.dedupe = config.dedupe


# --- credentials ------------------------------------------------------------------------------------------------------


def test_credentials_come_from_the_environment_or_from_files(tmp_path):
    file = tmp_path / "secret"
    file.write_text("  s3cret\n")
    both = credentials({"TWITCH_CLIENT_ID": " abc ", "TWITCH_CLIENT_SECRET_FILE": str(file)})
    assert (both.client_id, both.client_secret) == ("abc", "s3cret")
    assert "abc" not in repr(both)
    assert "s3cret" not in repr(both)


def test_the_variable_wins_over_its_file():
    environ = {"TWITCH_CLIENT_ID": "a", "TWITCH_CLIENT_SECRET": "b", "TWITCH_CLIENT_SECRET_FILE": "/nonexistent"}
    assert credentials(environ).client_secret == "b"


def test_what_is_missing_or_unusable_is_named_and_never_quoted(tmp_path):
    empty, binary = tmp_path / "empty", tmp_path / "binary"
    empty.write_text("\n")
    binary.write_bytes(b"\xff\xfe")
    cases = {
        "TWITCH_CLIENT_SECRET is not set": {},
        "which cannot be read: No such file": {"TWITCH_CLIENT_SECRET_FILE": str(tmp_path / "none")},
        "which cannot be read: Is a directory": {"TWITCH_CLIENT_SECRET_FILE": str(tmp_path)},
        "which is empty": {"TWITCH_CLIENT_SECRET_FILE": str(empty)},
        "which cannot be read: it is not text": {"TWITCH_CLIENT_SECRET_FILE": str(binary)},
        "holds characters": {"TWITCH_CLIENT_SECRET": "s3cret\x1b[2J"},
        "TWITCH_CLIENT_SECRET holds": {"TWITCH_CLIENT_SECRET": "s3cret s3cret"},
    }
    for message, environ in cases.items():
        with pytest.raises(ConfigError) as caught:
            credentials({"TWITCH_CLIENT_ID": "abc", **environ})
        assert message in str(caught.value)
        assert "s3cret" not in str(caught.value)
        assert (caught.value.reason, caught.value.exit_code) == ("no-credentials", 2)
