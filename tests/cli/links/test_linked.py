"""A local cluster whose workers are behind links."""

import pytest

from gradwire.links.profile import linked, parse_link
from gradwire_common.settings.config import Config


def test_a_link_sets_the_limits_that_the_settings_leave_open():
    config = linked(Config(rate_down="8 Mbit/s"), parse_link("satellite"))
    assert (config.rate_up, config.rate_down, config.lookahead) == (625_000, 1_000_000, 3_750_000)
    assert linked(Config(burst="1 MiB"), parse_link("4g")).burst == 1 << 20
    assert linked(Config(), parse_link("1 Mbit/s, 20 ms")).lookahead == Config().lookahead


@pytest.mark.parametrize("link", ["400 kbit/s, 5 ms"])
def test_training_over_a_link_spends_its_budgets(run, link):
    flags = ("--rounds", 4, "--evaluate-every", 0, "--name", "t", "--bits", "auto", "--transfer-seconds", 0.1)
    ended = run("train", *flags, "--link", link)
    assert ended.code == 0, ended.err
    assert "every worker behind a link of 400 kbit/s, 5 ms" in ended.out
    assert "budget " in ended.out


def test_a_link_that_is_none_is_refused(run):
    assert (
        "link: got 'slow', want a rate such as '20 Mbit/s' or '3 MB/s'; in 'slow', want rates"
        in run("train", "--link", "slow").error
    )
