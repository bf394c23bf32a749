"""A pasted command is diagnosed as the program would run it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tbdiag.errors import UsageError
from tbdiag.model import Secret, Transport
from tbdiag.targets.pasted import Pasted, parse_pasted

TOKEN = "A1SECRETTOKEN"
DOWNLOAD = "https://tb.example/api/device-connectivity/mqtts/certificate/download"
DOCUMENTATION = (
    'mosquitto_pub --cafile ca-root.pem -d -q 1 -h "localhost" -p "8884" '
    f'-t "v1/devices/me/telemetry" -u "{TOKEN}" -m {{"temperature":25}}'
)
CHECK_CONNECTIVITY = (
    f"curl -f -S -o ca-root.pem {DOWNLOAD}\n"
    "mosquitto_pub -d -q 1 --cafile ca-root.pem -h tb.example -p 8883 "
    f'-t v1/devices/me/telemetry -u "{TOKEN}" -m "{{temperature:25}}"'
)


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sent(pasted: Pasted) -> tuple[str, object, object]:
    return (
        f"{pasted.target.transport}://{pasted.target.address}",
        pasted.options.get("topic"),
        pasted.options.get("payload"),
    )


def notes(text: str) -> str:
    return "\n".join(parse_pasted(text).target.notes)


def test_the_documentation_s_command() -> None:
    """Host, port, CA, topic and token; the payload as the shell leaves it."""
    pasted = parse_pasted(DOCUMENTATION)
    topic = "v1/devices/me/telemetry"
    assert sent(pasted) == ("mqtts://localhost:8884", topic, b"{temperature:25}")
    assert pasted.target.cafile == ("ca-root.pem",)
    assert pasted.target.credentials.token == Secret(TOKEN)
    assert pasted.target.credentials.token_source == "config"
    assert (pasted.options["qos"], pasted.target.notes) == (1, ())


def test_a_check_connectivity_block() -> None:
    """The curl line gives the CA's URL and the HTTP base."""
    target = parse_pasted(CHECK_CONNECTIVITY).target
    assert target.cafile == (DOWNLOAD,)
    assert target.http_url == "https://tb.example"


def test_a_ca_file_that_is_there_is_used(empty_folder: Path) -> None:
    """Somebody ran the curl line already."""
    (empty_folder / "ca-root.pem").touch()
    assert parse_pasted(CHECK_CONNECTIVITY).target.cafile == ("ca-root.pem",)


@pytest.mark.parametrize(
    "wrapped",
    [
        'docker run --rm -it thingsboard/mosquitto-clients /bin/sh -c "{one} && {two}"',
        "{one} ; {two}",
        "$ {one}\n$ {two}",
        "sudo -E {one} && timeout 5 /usr/bin/{two}",
        "{one}\n{two} \\\n   --repeat 2",
        "wget -O ca-root.pem {url}\n{two}",
        "curl -fsSLo ca-root.pem {url}\n{two}",
        "curl {url} > ca-root.pem; {two}",
    ],
)
def test_the_ways_a_block_is_wrapped(wrapped: str) -> None:
    """Docker, prompts, sudo, one line or two: the same target."""
    one, two = CHECK_CONNECTIVITY.split("\n")
    target = parse_pasted(wrapped.format(one=one, two=two, url=DOWNLOAD)).target
    assert (target.address, target.http_url) == ("tb.example:8883", "https://tb.example")
    assert target.cafile in ((DOWNLOAD,), ("ca-root.pem",))
    assert target.credentials.token == Secret(TOKEN)


@pytest.mark.parametrize(
    ("options", "address", "cafile"),
    [
        ("-h h", "mqtt://h:1883", ("auto",)),
        ("", "mqtt://localhost:1883", ("auto",)),
        ("-h h --cafile ca.pem", "mqtts://h:8883", ("ca.pem",)),
        ("-h h --cafile ca.pem -p 1883", "mqtts://h:1883", ("ca.pem",)),
        ("-h h -p 8883", "mqtts://h:8883", ("public",)),
        ("-h h --capath /etc/ssl/certs/", "mqtts://h:8883", ("public",)),
        ("-h h --tls-use-os-certs", "mqtts://h:1883", ("public",)),
        ("-h h --tls-use-os-certs --cafile x", "mqtts://h:8883", ("x", "public")),
        ("-L mqtt://h/t", "mqtt://h:1883", ("auto",)),
        ("-L mqtts://h/t", "mqtts://h:8883", ("public",)),
        ("-L mqtts://u:p@[::1]:8884/t --cafile x", "mqtts://[::1]:8884", ("x", "public")),
        ("-h ::1", "mqtt://[::1]:1883", ("auto",)),
        ("-h h --psk 00 --psk-identity i", "mqtts://h:8883", ("auto",)),
        ("-h h --insecure", "mqtt://h:1883", ("auto",)),
        ("-h mqtt.thingsboard.cloud -p 8883", "mqtts://mqtt.thingsboard.cloud:8883", ("public",)),
    ],
)
def test_when_mosquitto_speaks_tls(options: str, address: str, cafile: tuple[str, ...]) -> None:
    """Port and trust are the ones that mosquitto_pub itself takes."""
    target = parse_pasted(f"mosquitto_pub {options} -t t -m m").target
    assert (f"{target.transport}://{target.address}", target.cafile) == (address, cafile)


def test_a_folder_of_authorities_is_its_files(empty_folder: Path) -> None:
    """--capath of an own folder means the files in it; a missing one is named."""
    (empty_folder / "cas").mkdir()
    for name in ("b.pem", "a.crt", "1234abcd.0", "readme.txt"):
        (empty_folder / "cas" / name).touch()
    target = parse_pasted("mosquitto_pub --capath cas -t t -m m").target
    assert target.cafile == ("cas/1234abcd.0", "cas/a.crt", "cas/b.pem")
    assert parse_pasted("mosquitto_pub --capath absent -m m").target.cafile == ("absent",)


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ("-V 5", "mqtt_version", "5"),
        ("-V mqttv5", "mqtt_version", "5"),
        ("--protocol-version 311", "mqtt_version", "3.1.1"),
        ("-V mqttv311", "mqtt_version", "3.1.1"),
        ("-q 0", "qos", 0),
        ("--qos 2", "qos", 1),
        ("--insecure", "insecure", True),
        ("--tls-alpn mqtt", "alpn", ("mqtt",)),
        ("--proxy socks5h://p:1080", "proxy", "socks5://p:1080"),
        ("-n", "payload", b""),
        ("-m @x", "payload", b"@x"),
        ("-m -", "payload", b"-"),
        ("-m ''", "payload", b""),
        ("-D publish user-property k v -m x", "payload", b"x"),
        ("-D connect session-expiry-interval 5 -m x", "payload", b"x"),
        ("-L mqtt://h/a/b", "topic", "a/b"),
        ("--topic a", "topic", "a"),
    ],
)
def test_options_that_change_the_diagnosis(options: str, field: str, value: object) -> None:
    """Each means what mosquitto_pub takes it for."""
    assert parse_pasted(f"mosquitto_pub -h h {options}").options[field] == value


@pytest.mark.parametrize(
    ("options", "token", "username", "password", "client_id"),
    [
        (f"-u {TOKEN}", TOKEN, None, None, None),
        (f"-u {TOKEN} -P ''", TOKEN, None, None, None),
        (f"--username {TOKEN} --id dev", TOKEN, None, None, "dev"),
        ("-u user -P secret -i dev", None, "user", "secret", "dev"),
        ("-u user --pw secret", None, "user", "secret", None),
        (f"-L mqtt://{TOKEN}@h/t", TOKEN, None, None, None),
        ("-L mqtt://user:se:c@h/t", None, "user", "se:c", None),
        ("-i dev", None, None, None, "dev"),
    ],
)
def test_credentials(
    options: str,
    token: str | None,
    username: str | None,
    password: str | None,
    client_id: str | None,
) -> None:
    """A user name alone is the access token; with a password it is MQTT Basic."""
    held = parse_pasted(f"mosquitto_pub {options} -m m").target.credentials
    expected = tuple(Secret(t) if t else None for t in (token, password))
    assert (held.token, held.password) == expected
    assert (held.username, held.client_id) == (username, client_id)


def test_a_device_certificate() -> None:
    """--cert and --key go to the handshake."""
    text = "mosquitto_pub --cafile ca --cert c.pem --key k.pem -m m"
    held = parse_pasted(text).target.credentials
    assert (held.certfile, held.keyfile) == ("c.pem", "k.pem")


def test_where_the_payload_comes_from(empty_folder: Path) -> None:
    """-f, a pipe and a redirection are followed; a text with blanks and no quotes is mended."""
    (empty_folder / "p.json").write_bytes(b"[1]")
    texts = {
        "mosquitto_pub -h h -f p.json": b"[1]",
        "cat p.json | mosquitto_pub -h h -s": b"[1]",
        "mosquitto_pub -h h -l < p.json": b"[1]",
        "echo -n '{\"a\": 1}' | mosquitto_pub -h h -s": b'{"a": 1}',
        'mosquitto_pub -h h -m {"a": 1, "b": 2} -t t': b"{a: 1, b: 2}",
    }
    assert [parse_pasted(text).options["payload"] for text in texts] == list(texts.values())


def test_mosquitto_sub_publishes_nothing() -> None:
    """Its topic is a filter, and the test publish is left out."""
    options = parse_pasted("mosquitto_sub -h h -u t -t 'v1/devices/me/#' -q 2 -C 1 -W 5 -v").options
    assert options == {"publish": False, "qos": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("mosquitto_pub -h h -m m --zzz", "no option --zzz"),
        (f"mosquitto_pub -h h -m m -u{TOKEN}", "stuck"),
        ("mosquitto_pub -h h -m m stray", "belongs to no option"),
        ("mosquitto_pub --host=h -m m", "--host=value"),
        ("mosquitto_pub -h h", "no message"),
        ("mosquitto_pub -m m", "localhost"),
        ("mosquitto_pub -h h -m m -q 2", "PUBREC"),
        ("mosquitto_pub -h h -m m -r", "retain"),
        ("mosquitto_pub -h h -m m --insecure", "host name only"),
        ("mosquitto_pub -h h -m m --tls-version tlsv1.1", "TLS 1.2"),
        ("mosquitto_pub -h h -p 8883 -m m", "no CA file"),
        ("mosquitto_pub -h h -m {a:1,b:2}", "splits"),
        ('mosquitto_pub -h h -m {"a": 1}', "no quotes"),
        ("mosquitto_pub -h h -m m -u $ACCESS_TOKEN", "$ACCESS_TOKEN"),
        ("mosquitto_pub -h h -m m -o options", "-o"),
        ("mosquitto_pub -h h -m m -A 10.0.0.1", "-A"),
        ("mosquitto_pub -h h -m m --cert c", "--key"),
        ("mosquitto_pub -h h -m m -P x", "-P without -u"),
        ("mosquitto_pub -h host.docker.internal -m m", "containers"),
        ("mosquitto_pub -h h -m m\nmosquitto_pub -h i -m m", "2 device commands"),
        ("mosquitto_pub -h \u201ch\u201d -m m", "typographic"),
        ("curl https://h/api/v1/$ACCESS_TOKEN/telemetry -d 1", "shell variable"),
    ],
)
def test_what_is_remarked(text: str, words: str) -> None:
    """What cannot be followed, or does not mean what it seems, becomes a remark."""
    assert words in notes(text)
    assert TOKEN not in notes(text)


@pytest.mark.parametrize(
    "text",
    [
        DOCUMENTATION,
        "mosquitto_pub -h h -u $TBDIAG_TOKEN -t t -m m --cafile x",
        "mosquitto_pub -h h -t t -m m -d -k 30 --quiet --repeat 2 -x 5 --ciphers X -M 1 --nodelay",
    ],
)
def test_what_is_not_remarked(text: str) -> None:
    """Options without a meaning for the diagnosis, and our own variable, are silent."""
    assert notes(text) == ""


@pytest.mark.parametrize(
    ("text", "transport", "address", "http_url", "payload"),
    [
        (
            f"curl -v -X POST http://h:8080/api/v1/{TOKEN}/telemetry "
            "--header Content-Type:application/json --data '{temperature:25}'",
            "http",
            "h:8080",
            "http://h:8080",
            b"{temperature:25}",
        ),
        (
            f"curl -sSXPOST https://h/tb/api/v1/{TOKEN}/attributes -d[1]",
            "https",
            "h:443",
            "https://h/tb",
            b"[1]",
        ),
        (f"curl h:8080/api/v1/{TOKEN}/attributes", "http", "h:8080", "http://h:8080", None),
        (
            "docker run --rm -it thingsboard/coap-clients coap-client -v 6 -m POST "
            f'-t "application/json" -e "{{a:1}}" coap://h:5683/api/v1/{TOKEN}/telemetry',
            "coap",
            "h:5683",
            None,
            b"{a:1}",
        ),
        (
            f"echo -n '{{}}' | coap post coaps://[::1]/api/v1/{TOKEN}/telemetry",
            "coaps",
            "[::1]:5684",
            None,
            b"{}",
        ),
    ],
)
def test_http_and_coap_devices(
    text: str, transport: str, address: str, http_url: str | None, payload: bytes | None
) -> None:
    """The token of a curl or coap-client line is part of its URL."""
    pasted = parse_pasted(text)
    target = pasted.target
    assert (target.transport, target.address, target.http_url) == (transport, address, http_url)
    assert target.credentials.token == Secret(TOKEN)
    assert pasted.options.get("payload") == payload


def test_trust_of_curl_and_coap_client() -> None:
    """-k, --cacert and -R; curl without any uses the public roots."""
    api = f"/api/v1/{TOKEN}/telemetry -d 1"
    assert parse_pasted(f"curl -k https://h{api}").options["insecure"] is True
    assert parse_pasted(f"curl -sk https://h{api}").options["insecure"] is True
    assert parse_pasted(f"curl https://h{api}").target.cafile == ("public",)
    assert parse_pasted(f"curl --cacert x https://h{api}").target.cafile == ("x",)
    assert parse_pasted(f"curl -x p:3128 https://h{api}").options["proxy"] == "http://p:3128"
    block = f"curl -o r.pem {DOWNLOAD}\ncoap-client-openssl -m POST -R r.pem coaps://h{api}"
    assert parse_pasted(block).target.cafile == (DOWNLOAD,)
    x509 = "coap-client-openssl -c c.pem -j k.pem coaps://h/api/v1/telemetry"
    target = parse_pasted(x509).target
    assert (target.credentials.token, target.credentials.certfile) == (None, "c.pem")
    assert target.transport is Transport.COAPS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        f"echo {TOKEN}",
        f"curl -o x {DOWNLOAD}",
        "mosquitto_pub -h",
        f"mosquitto_pub -u {TOKEN} -h",
        f"mosquitto_pub -u {TOKEN} -h $HOST",
        f"mosquitto_pub -u {TOKEN} -h <host>",
        f"mosquitto_pub -u {TOKEN} -h h -p $PORT",
        f"mosquitto_pub -u {TOKEN} -h h -p 99999",
        f"mosquitto_pub -u {TOKEN} -h h -V 6",
        f"mosquitto_pub -u {TOKEN} -h h -q 3",
        f"mosquitto_pub -u {TOKEN} -h h -t a/# -m m",
        f"mosquitto_pub -u {TOKEN} --unix /x",
        f"mosquitto_pub -u {TOKEN} -h h --ws",
        f"mosquitto_pub -L http://{TOKEN}@h/t",
        f"mosquitto_pub -L mqtt://{TOKEN}@h",
        f"mosquitto_pub -L mqtt://{TOKEN}@/t",
        f"mosquitto_pub -h h -u '{TOKEN}",
        f"mosquitto_pub -h h -u {TOKEN} -f absent.json",
        f"curl https://h:x/api/v1/{TOKEN}/telemetry",
        f"curl https://$HOST/api/v1/{TOKEN}/telemetry",
        f"curl ftp://h/api/v1/{TOKEN}/telemetry",
        f"coap-client http://h/api/v1/{TOKEN}/telemetry",
        "coap-client -m POST",
    ],
)
def test_what_cannot_be_diagnosed_is_one_sentence(text: str) -> None:
    """The sentence says what is missing and never shows the token."""
    with pytest.raises(UsageError) as caught:
        parse_pasted(text)
    assert str(caught.value).isprintable()
    assert TOKEN not in str(caught.value)


WORDS = (
    "mosquitto_pub mosquitto_sub curl coap-client docker run sh -c -h -p -u -P -i -t -m -q -L -V "
    "--cafile --capath --proxy --insecure -D --host=x h 8883 $X < > | && ' \" \\ \n "
    "mqtts://u:p@h/t https://h/api/v1/T/telemetry -d @- -k -R -fsSo {a:1} \u201cx\u201d -- -"
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(WORDS.split(" ")), max_size=14).map(" ".join))
def test_any_command_is_a_target_or_a_sentence(text: str) -> None:
    """No combination makes a traceback, and no remark holds a control character."""
    said: tuple[str, ...] = ()
    try:
        target = parse_pasted(text).target
        said = (target.host, *target.notes)
    except UsageError as error:
        said = (str(error),)
    assert all(sentence and sentence.isprintable() for sentence in said)
