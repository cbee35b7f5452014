"""Where requests may go: a table of addresses, told apart without asking any network."""

import pytest

from upm_cli.errors import RefusedError, UsageError
from upm_cli.safehttp.addresses import Allowed, check
from upm_cli.safehttp.urls import parse

NOTHING = Allowed()

# url → None (it is the public internet or this machine), or where the refusal comes from
LITERALS: dict[str, str | None] = {
    "https://8.8.8.8": None,
    "https://[2606:4700:4700::1111]:8765/base": None,
    "http://127.0.0.1:8765": None,
    "http://127.8.9.10": None,
    "http://[::1]:8765": None,
    "HTTPS://9.9.9.9:443/": None,
    # without TLS
    "http://8.8.8.8": "address",
    "http://[2606:4700:4700::1111]": "address",
    # private networks
    "https://10.0.0.1": "address",
    "https://172.16.0.1": "address",
    "https://172.31.255.255": "address",
    "https://192.168.1.1": "address",
    "https://100.64.0.1": "address",
    "https://[fc00::1]": "address",
    "https://[fd12:3456::1]": "address",
    # link-local and metadata services
    "https://169.254.169.254/latest/meta-data/": "address",
    "http://169.254.169.254": "address",
    "https://169.254.1.1": "address",
    "https://169.254.170.2": "address",
    "https://168.63.129.16": "address",
    "https://100.100.100.200": "address",
    "https://[fe80::1]": "address",
    "https://[fd00:ec2::254]": "address",
    # not one machine
    "https://0.0.0.0": "address",
    "http://0.0.0.0:8765": "address",
    "https://0.1.2.3": "address",
    "https://224.0.0.1": "address",
    "https://239.255.255.250": "address",
    "https://240.0.0.1": "address",
    "https://255.255.255.255": "address",
    "https://[::]": "address",
    "https://[ff02::1]": "address",
    "https://[100::1]": "address",
    # documentation, benchmarks, protocol assignments
    "https://192.0.2.1": "address",
    "https://198.51.100.1": "address",
    "https://203.0.113.1": "address",
    "https://198.18.0.1": "address",
    "https://192.0.0.8": "address",
    "https://[2001:db8::1]": "address",
    "https://[2001:10::1]": "address",
    "https://[4000::1]": "address",
    # an address inside an address
    "https://[::ffff:127.0.0.1]": "address",
    "https://[::ffff:7f00:1]": "address",
    "https://[::ffff:169.254.169.254]": "address",
    "https://[::ffff:8.8.8.8]": "address",
    "https://[::127.0.0.1]": "address",
    "https://[64:ff9b::a9fe:a9fe]": "address",
    "https://[64:ff9b:1::1]": "address",
    "https://[2002:7f00:1::]": "address",
    "https://[2001::1]": "address",
    # IPv4 in notations that some programs understand
    "http://2130706433": "url",
    "http://017700000001": "url",
    "http://0x7f000001": "url",
    "http://0x7f.0.0.1": "url",
    "http://127.1": "url",
    "http://127.0.1": "url",
    "http://0177.0.0.1": "url",
    "http://127.0.0.01": "url",
    "http://127.0.0.1.": "url",
    "https://10.0.0.0x1": "url",
    "https://256.1.1.1": "url",
    "https://1.2.3.4.5": "url",
    "https://①②⑦.⓪.⓪.①": "url",
    # what parsers disagree about
    "https://user:secret@agent.example": "url",
    "https://8.8.8.8@169.254.169.254": "url",
    "https://8.8.8.8\\@169.254.169.254": "url",
    "https://8.8.8.8#@169.254.169.254": "url",
    "https://8.8.8.8%2f@169.254.169.254": "url",
    "https://agent%2eexample": "url",
    "https://agent.example:0": "url",
    "https://agent.example:65536": "url",
    "https://agent.example:": "url",
    "https://agent.example:8765:1": "url",
    "https://agent.example:٨": "url",
    "https://agent .example": "url",
    "https://agent.example\r\nX-Injected: 1": "url",
    "https://agent.example/\x00": "url",
    "https://агент.example": "url",
    "https://ＡＧＥＮＴ.example": "url",
    "https://agent..example": "url",
    "https://agent.example.": "url",
    "https://-agent.example": "url",
    "https://[fe80::1%25eth0]": "url",
    "https://[::1": "url",
    "https://": "url",
    "https:///path": "url",
    "//agent.example": "url",
    "agent.example:8765": "url",
    "ftp://agent.example": "url",
    "file:///etc/passwd": "url",
    "gopher://127.0.0.1:6379/_": "url",
    "javascript:alert(1)": "url",
    "": "url",
    f"https://agent.example/{'x' * 3000}": "url",
}


def refusal(text: str, allowed: Allowed = NOTHING, *addresses: str) -> str | None:
    try:
        url = parse(text)
    except UsageError as exc:
        assert exc.code == "UPM-E142"
        return "url"
    try:
        check(url, addresses or [url.host], allowed)
    except RefusedError as exc:
        assert exc.code == "UPM-E141"
        return "address"
    return None


@pytest.mark.parametrize("text", LITERALS, ids=lambda text: ascii(text)[:60])
def test_an_address_is_sent_to_only_if_it_is_public_or_this_machine(text: str) -> None:
    assert refusal(text) == LITERALS[text]


def test_the_table_is_long_enough_to_mean_something() -> None:
    assert len(LITERALS) >= 60


@pytest.mark.parametrize(
    ("text", "entry", "is_allowed"),
    [
        ("https://10.1.2.3", "10.1.0.0/16", True),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://10.2.2.3", "10.1.0.0/16", False),
        ("http://10.1.2.3", "10.1.0.0/16", True),
        ("http://8.8.8.8", "8.8.8.0/24", True),
        ("https://[fd12::1]", "fd12::/48", True),
        ("https://169.254.1.1", "169.254.0.0/16", True),
        ("https://192.0.2.1", "192.0.2.0/24", True),
        # never, whatever is listed
        ("https://169.254.169.254", "169.254.0.0/16", False),
        ("https://169.254.169.254", "169.254.169.254", False),
        ("https://100.100.100.200", "100.64.0.0/10", False),
        ("https://[fd00:ec2::254]", "fc00::/7", False),
        ("https://0.0.0.0", "0.0.0.0/0", False),
        ("https://[::ffff:10.1.2.3]", "10.1.0.0/16", False),
        ("https://[::ffff:10.1.2.3]", "::/0", False),
        ("https://[64:ff9b::a01:203]", "::/0", False),
        ("https://224.0.0.1", "0.0.0.0/0", False),
    ],
)
def test_a_listed_network_may_be_sent_to_but_some_addresses_never(text: str, entry: str, is_allowed: bool) -> None:
    assert (refusal(text, Allowed.of([entry])) is None) is is_allowed


@pytest.mark.parametrize(
    ("addresses", "names", "is_allowed"),
    [
        (["8.8.8.8"], [], True),
        (["8.8.8.8", "10.0.0.1"], [], False),
        (["127.0.0.1"], [], False),
        (["::1"], [], False),
        (["10.0.0.1"], ["agent.example"], True),
        (["10.0.0.1"], ["Agent.Example"], True),
        (["10.0.0.1"], ["other.example"], False),
        (["127.0.0.1"], ["agent.example"], True),
        (["169.254.1.1"], ["agent.example"], False),
        (["169.254.169.254"], ["agent.example"], False),
        (["10.0.0.1", "169.254.169.254"], ["agent.example"], False),
        (["::ffff:10.0.0.1"], ["agent.example"], False),
        (["0.0.0.0"], ["agent.example"], False),
    ],
)
def test_a_name_is_judged_by_every_address_it_leads_to(
    addresses: list[str], names: list[str], is_allowed: bool
) -> None:
    assert (refusal("https://agent.example", Allowed.of(names), *addresses) is None) is is_allowed


def test_http_is_for_this_machine_and_for_what_is_listed() -> None:
    assert refusal("http://agent.example", NOTHING, "8.8.8.8") == "address"
    assert refusal("http://agent.example", Allowed.of(["agent.example"]), "8.8.8.8") is None
    assert refusal("http://localhost", NOTHING, "127.0.0.1", "::1") is None
    assert refusal("http://localhost", NOTHING, "10.0.0.1") == "address"


@pytest.mark.parametrize("entry", ["", "10.0.0.1/8", "http://x", "a b", "*", "x:80", "10.0.0.0/33", "a/b", "user@x"])
def test_what_is_allowed_is_a_name_or_a_network(entry: str) -> None:
    with pytest.raises(UsageError, match="neither a host name nor a network"):
        Allowed.of([entry])


def test_an_address_is_written_as_the_host_header_wants_it() -> None:
    assert parse("https://Agent.Example:443/base").authority == "agent.example"
    assert parse("http://[0:0::1]:8765").authority == "[::1]:8765"
    assert str(parse("http://agent.example:443/a?b=c")) == "http://agent.example:443/a?b=c"
