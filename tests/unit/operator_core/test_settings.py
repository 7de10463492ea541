"""What the environment may say, and what is answered to nonsense."""

import pytest

from faultlab_operator.core import Settings
from faultlab_operator.errors import BadSetting
from faultlab_operator.main import main


def test_the_bounds_of_the_store_are_read_with_their_units() -> None:
    settings = Settings.from_environment(
        {"FAULTLAB_KEEP_RUNS": "7", "FAULTLAB_KEEP_BYTES": "1.5Gi", "FAULTLAB_KEEP_AGE": "720h"}
    )
    assert (settings.keep_runs, settings.keep_bytes, settings.keep_age_s) == (7, 3 * 2**29, 30 * 86400)
    assert Settings.from_environment({"FAULTLAB_KEEP_AGE": "1.5d"}).keep_age_s == 129_600
    assert Settings.from_environment({"FAULTLAB_KEEP_BYTES": "20000000"}).keep_bytes == 20_000_000


def test_what_is_not_set_or_empty_has_a_default() -> None:
    empty = dict.fromkeys(("FAULTLAB_KEEP_RUNS", "FAULTLAB_KEEP_BYTES", "FAULTLAB_LOCUST_PORT"), "")
    settings = Settings.from_environment(empty)
    assert (settings.keep_runs, settings.keep_bytes, settings.keep_age_s) == (100, 2 * 2**30, 30 * 86400)
    assert (settings.http_port, settings.locust_port) == (8080, 8089)
    assert (settings.pages_url, settings.locust_url) == ("", "")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("FAULTLAB_KEEP_RUNS", ["0", "-1", "x", "1.5", "9" * 30, "1e3", "٣", " 5"]),
        ("FAULTLAB_KEEP_BYTES", ["0", "-1Gi", "x", "2GB", "1Ki", "100m", "9" * 40, "nan", "2 Gi"]),
        ("FAULTLAB_KEEP_AGE", ["30", "0d", "-1d", "1w", "x", "30 d", "10s", "1d12h", "9" * 20 + "d"]),
        ("FAULTLAB_HTTP_PORT", ["0", "65536", "http", "-1"]),
        ("FAULTLAB_LOCUST_PORT", ["0", "x"]),
        ("FAULTLAB_PAGES_URL", ["localhost:8080", "ftp://x", "http://", "http://x:y", "http://a b", "//x"]),
        ("FAULTLAB_LOCUST_URL", ["x", "http://[", "javascript:alert(1)", "http://x\ny"]),
    ],
)  # fmt: skip
def test_nonsense_is_refused_with_the_variables_name_and_what_to_write(name: str, values: list[str]) -> None:
    for value in values:
        with pytest.raises(BadSetting, match=rf"{name} is .*: write "):
            Settings.from_environment({name: value})


def test_the_operator_ends_with_one_line_about_a_setting_that_it_cannot_use(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAULTLAB_KEEP_RUNS", "many")
    assert main([]) == 2
    said = capsys.readouterr().err
    assert "FAULTLAB_KEEP_RUNS is 'many': write a whole number" in said
    assert "Traceback" not in said
