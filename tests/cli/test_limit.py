"""`gradwire limit` changes a server's limits."""

import pytest

from gradwire.commands.limit import change_limits
from gradwire_common.errors import ConfigError, UsageError
from running import running_server
from worker.toys import server_config


def test_limits_are_changed_and_printed(tmp_path, capsys):
    with running_server(server_config(tmp_path, rate_up="1 Mbit/s")) as server:
        change_limits(server.address, None, {"rate_up": "20 Mbit/s", "burst": "1 MiB", "shared_down": None}, 5.0)
    expected = "rate_up 20 Mbit/s, rate_down none, burst 1 MiB, shared_up none, shared_down none"
    assert capsys.readouterr().out.startswith(expected)


def test_what_is_no_change_is_refused():
    with pytest.raises(UsageError, match="got nothing to change, want one of --rate-up, --burst"):
        change_limits("127.0.0.1:1", None, {"rate_up": None, "burst": None}, 5.0)
    with pytest.raises(ConfigError, match="got 'fast', want a rate"):
        change_limits("127.0.0.1:1", None, {"rate_up": "fast"}, 5.0)
