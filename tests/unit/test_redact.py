"""Personal details in every shape that a log, a setting or a path has them: none gets through, and what helps stays."""

import random
import re
import string
import time

import pytest

from ml_target.diagnostics.redact import COMMON, MASK, Redactor

REDACTOR = Redactor(["nas-of-max.fritz.box", "f3a9c2d41b77"], ["maximilian"], ["/home/maximilian", "/srv/people/max m"])

# ------------------------------------------------------------- what must go

SECRET = "S3cr3t-Zq9"
SHAPES = (
    "MODELS_MIRROR=https://me:{}@files.example/models",
    "https://me:{}@[2001:db8::7]:8080/x",
    "ftp://{}@files.example",
    "https://files.example/x?token={}",
    "https://huggingface.co/a/b/resolve/main/x?X-Amz-Signature={}&y=1",
    "https://huggingface.co/a#{}",
    "git+ssh://git:{}@github.com/x.git",
    "HF_TOKEN={}",
    "export HF_TOKEN='{}'",
    "  HUGGING_FACE_HUB_TOKEN: {}",
    "password={}",
    "Password : {}",
    '"password": "{}"',
    "{{'db_password': '{}', 'x': 1}}",
    "DB_PASSWORD={};next",
    "MY_SECRET_KEY={}",
    "api_key={}",
    "apikey: {}",
    "X-API-Key: {}",
    "Authorization: Bearer {}",
    "authorization=Basic {}",
    "curl -H 'Authorization: token {}'",
    "Cookie: {}",
    "--password {}",
    "--api-key {}",
    'passphrase = "{}"',
    "AWS_SECRET_ACCESS_KEY={}",
    "IMMICH_API_KEY={}",
    "credentials={}",
    "client-secret: {}",
)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("around", ["{}", "2026-11-26 ERROR x: {} failed", "({})", "\t{}\n", "\x1b[31m{}\x1b[0m"])
def test_a_secret_goes_in_every_shape(shape: str, around: str) -> None:
    text = REDACTOR.clean(around.format(shape.format(SECRET)))
    assert SECRET not in text
    assert MASK in text


def test_secrets_of_any_letters_go() -> None:
    """Some hundred random ones; blanks end a value that is not quoted, so they are left out there."""
    rng = random.Random(10)
    letters = string.ascii_letters + string.digits + "!$%^&*()-_=+[]{}|:.<>/?~"
    for _ in range(300):
        secret = "Zq" + "".join(rng.choices(letters, k=rng.randint(6, 40)))
        for shape in (
            "https://me:{}@files.example/x", "HF_TOKEN={}", 'password="{}"', "Authorization: Bearer {}", "--token {}",
        ):  # fmt: skip
            assert secret not in REDACTOR.clean(f"before {shape.format(secret)} after"), (shape, secret)
        assert secret not in REDACTOR.clean(f'"secret": "{secret} with {secret}"')


@pytest.mark.parametrize(
    "token",
    [
        "hf_AbCdEfGhIjKlMnOpQrStUv", "ghp_0123456789abcdefABCDEF", "github_pat_11AAAAAA0_bbbbbbbb",
        "glpat-abcdefghij12", "sk-abcdefghijklmnop", "AKIAIOSFODNN7EXAMPLE", "xoxb-1234567890-abc",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
    ],
)  # fmt: skip
def test_tokens_that_show_what_they_are_go_wherever_they_stand(token: str) -> None:
    assert token not in REDACTOR.clean(f"it said {token}, and went on")


def test_a_private_key_goes_as_a_whole() -> None:
    for end in ("-----END RSA PRIVATE KEY-----\nafter", ""):
        text = REDACTOR.clean(f"before\n-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIB\nAAAA\n{end}")
        assert "MIIEpAIB" not in text
        assert "AAAA" not in text
        assert text.startswith("before\n***")


def test_addresses_go_in_every_shape() -> None:
    rng = random.Random(4)
    for _ in range(40):
        v4 = ".".join(str(rng.randint(1, 254)) for _ in range(4))
        if v4.startswith("127."):
            continue
        v6 = ":".join(f"{rng.randint(1, 65535):x}" for _ in range(8))
        short = re.sub(r"^(\w+:\w+):.*:(\w+)$", r"\1::\2", v6)
        mac = ":".join(f"{rng.randint(0, 255):02x}" for _ in range(6))
        for shape in ("{}", "from {}:", "({})", "[{}]", "'{}'", "x={},", "{}/24", "peer {} gone", "http://{}/"):
            for address in (v4, v6, short, mac, mac.upper().replace(":", "-"), f"{short}%eth0"):
                if address == mac and shape.startswith("http"):
                    continue
                cleaned = REDACTOR.clean(shape.format(address))
                assert address not in cleaned, (shape, address, cleaned)
        assert v4 not in REDACTOR.clean(f"http://{v4}:3003/predict and {v4}:52113 and {v4}.")
        assert short not in REDACTOR.clean(f"http://[{short}]:3003/predict")


def test_one_address_has_one_number() -> None:
    redactor = Redactor()
    text = redactor.clean("10.0.0.7 and 10.0.0.8, then 10.0.0.7 again")
    assert text == "<address 1> and <address 2>, then <address 1> again"
    assert redactor.clean("http://10.0.0.8:3003/") == "http://<address 2>:3003/"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/home/anna/models/x.hef", "~/models/x.hef"),
        ('File "/home/anna/a.py", line 3', 'File "~/a.py", line 3'),
        ("/var/home/anna/x /Users/Anna/x", "~/x ~/x"),
        ("/home/maximilian", "~"),
        ("/srv/people/max m/x", "~/x"),
        ("/root/x and /root", "~/x and ~"),
        ("/rootless/x /srv/root/x", "/rootless/x /srv/root/x"),
        ("C:\\Users\\Anna\\x", "~\\x"),
        ("/run/media/anna/disk", "/run/media/<name>/disk"),
        ("file:///home/anna/x", "file://~/x"),
        ("max.m@example.org wrote", "<mail> wrote"),
        ("scp me:pw@nas x", "scp ***@<host> x"),
        ("at nas-of-max and NAS-of-Max.fritz.box", "at <host> and <host>"),
        ("diskstation.local, other.lan, x.home.arpa", "<host>, <host>, <host>"),
        ("container f3a9c2d41b77 says", "container <host> says"),
        ("user maximilian (uid 1000)", "user <user> (uid 1000)"),
        ("https://files.example:8443/models/a.hef", "https://<host>:8443/models/a.hef"),
        ("Serial Number: HLLWM2A231100001", "Serial Number: ***"),
        ("serial=00000000deadbeef", "serial=***"),
        ("id 6ba7b810-9dad-11d1-80b4-00c04fd430c8", "id <id>"),
        ("machine 0123456789abcdef0123456789abcdef", "machine <id>"),
    ],
)
def test_places_people_and_machines(text: str, cleaned: str) -> None:
    assert REDACTOR.clean(text) == cleaned


def test_long_data_is_no_text() -> None:
    vector = ",".join(f"{n / 7:.6f}" for n in range(512))
    assert REDACTOR.clean(f"clip=[{vector}] end") == f"<{len(vector) + 7} characters> end"
    line = "word " * 1000
    assert len(REDACTOR.clean(line)) < 2100
    assert "more characters>" in REDACTOR.clean(line)


def test_what_cannot_be_seen_goes() -> None:
    assert REDACTOR.clean("a\x1b[1;31mb\x1b]0;title\x07c\x00d\u202ee\u200bf\rg") == "abcdefg"
    # Nothing hides a secret from the rules.
    assert SECRET not in REDACTOR.clean(f"pass\u200bword={SECRET} HF_TO\x1b[0mKEN={SECRET}")


# ------------------------------------------------------------ what must stay


@pytest.mark.parametrize(
    "text",
    [
        "Hailo-8 or 8L at 0000:01:00.0",
        "0000:01:00.0 0001:0a:00.0",
        "8.0 GT/s PCIe x4, 3.9 GB/s",
        "HAILO8, firmware 4.23.0 (release,app)",
        "opencv-python-headless 5.0.0.93, pillow 13.0.0",
        "opencv version 4.11.0.86",
        "decoders       libjpeg_turbo 3.1.4.1, jpg_2000 2.5.4",
        "listening on [::] port 3003",
        "127.0.0.1:3003 and ::1 and 0.0.0.0",
        "http://127.0.0.1:3003/predict",
        "https://huggingface.co/timm/ViT-B-16-SigLIP/resolve/main/x.bin",
        "hailort::Device::identify std::bad_alloc",
        "2026-11-26 18:30:59,293 WARNING ml_target.runtime.assembly: x",
        "sha256=bc24bb349491481c3ca793cf89306723162c280cb284c5a5e49df3760bf5c2ce",
        "python3 -m ml_target models fetch --engine cpu",
        "network=paddle_ocr_v5_mobile_detection stage=detection tokens=77 tokenizer=clip",
        "keep_alive_s=30 KEEP_ALIVE_S=30 monkey=1 keyboard: 2",
        "MAX_PIXELS=178956970 MAX_FACES=500",
        "/app/models/scrfd_2.5g.hef /dev/hailo0 /sys/class/hailo_chardev/hailo0",
        "MODELS_DIR=/mnt/user/appdata/immich-ml/models",
        "/home/hailo/x",
        "  -> Install HailoRT 4.23.0 here, or the driver 4.22.0 on the host",
        "outcome=200 tasks=ocr picture=1440x1920 lines=24 total_ms=1683.4",
        'Container: --group-add 44. Host: SUBSYSTEM=="hailo_chardev", MODE="0666"',
    ],
)
def test_what_tells_machines_apart_stays(text: str) -> None:
    assert REDACTOR.clean(text) == text


def test_names_that_everybody_has_stay() -> None:
    redactor = Redactor(sorted(COMMON), sorted(COMMON), ["/", "/tmp", "/app", ""])
    text = "immich-ml-hailo on a raspberrypi: root runs python in docker, /tmp/x, /app/models, a"
    assert redactor.clean(text) == text


def test_cleaning_twice_changes_nothing() -> None:
    text = "\n".join(shape.format(SECRET) for shape in SHAPES) + "\n/home/anna 10.1.2.3 a@b.de nas.lan"
    once = REDACTOR.clean(text)
    assert REDACTOR.clean(once) == once


@pytest.mark.parametrize(
    "piece", ["a:", "key=", "://", "@", "1.", "::", "-----BEGIN A-----", "\x1b]", '"\\', "token ", "/home/"]
)
def test_no_text_takes_for_ever(piece: str) -> None:
    """In proportion to its length it is a tenth of a second of this thread's own; with its square, several."""
    started = time.thread_time()
    REDACTOR.clean(piece * 10_000)
    REDACTOR.clean("\n".join([piece * 30] * 500))
    assert time.thread_time() - started < 2
