"""Behind Caddy with the very lines of docs/exposure.md: TLS, a path that nobody guesses, and what a browser sends."""

import json
import re
import subprocess
from collections.abc import Iterator

import httpx
import pytest
from debian import program
from hailo_worker import wait_until
from pictures import picture
from project import PROJECT
from serving import FakeTasks, fake_services, live
from wire import CLIP, ask
from worker_process import free_port

NAME, PATH = "ml.example.org", "/3f1c9e-make-your-own"
HTML = {"Accept": "text/html"}
OURS, FOREIGN = {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "cross-site"}


@pytest.fixture(scope="module")
def lines() -> str:
    found = re.search(
        rf"\n```\n({re.escape(NAME)} {{\n.+?\n}})\n```\n", (PROJECT / "docs/exposure.md").read_text(), re.DOTALL
    )
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def proxy(lines: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A client that finds the proxy under the documented name."""
    caddy, folder, port = program("caddy", "caddy", folder="/usr/bin"), tmp_path_factory.mktemp("caddy"), free_port()
    with live(lambda _: fake_services(FakeTasks())) as (client, worker):
        wait_until(lambda: worker.state != "loading")
        site = lines.replace(f"{NAME} {{", f"https://{NAME}:{port} {{\n\ttls internal")
        site = site.replace("127.0.0.1:3003", client.base_url.netloc.decode())
        general = "{\n\tadmin off\n\tskip_install_trust\n\tauto_https disable_redirects\n}\n"
        (folder / "Caddyfile").write_text(general + site)
        command = [caddy, "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
        with (folder / "log").open("wb") as log:
            run = subprocess.Popen(command, cwd=folder, env={"HOME": str(folder)}, stdout=log, stderr=log)
        try:
            headers, sni = {"Host": f"{NAME}:{port}"}, {"sni_hostname": NAME}
            hooks = {"request": [lambda request: request.extensions.update(sni)]}
            url = f"https://127.0.0.1:{port}{PATH}"
            with httpx.Client(
                base_url=url, headers=headers, event_hooks=hooks, verify=False, trust_env=False
            ) as outside:
                wait_until(lambda: run.poll() is not None or answers(outside), 60)
                assert run.poll() is None, (folder / "log").read_text()
                yield outside
        finally:
            run.terminate()
            run.wait(20)


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("ping").status_code == 200
    except httpx.TransportError:
        return False


def test_the_page_opens_below_the_path(proxy: httpx.Client) -> None:
    to = proxy.get("/", headers=HTML)
    assert (to.status_code, to.headers["location"]) == (302, "status"), "relative, so that the path stays"
    assert "<title>Immich ML worker</title>" in proxy.get("status", headers=HTML).text
    assert proxy.get("status/page").json()["try_it"] is True


def test_elsewhere_there_is_nothing(proxy: httpx.Client) -> None:
    root = proxy.base_url.copy_with(path="/")
    for path in ("", "ping", "status", PATH[1:], f"{PATH[1:]}x/ping"):
        assert proxy.get(root.join(path)).status_code == 404


def test_immich_is_answered_and_so_is_the_page_but_no_other_site(proxy: httpx.Client) -> None:
    assert ask(proxy, CLIP).status_code == 200
    origin = {"Origin": f"https://{proxy.headers['host']}"}
    foreign = {"Origin": "https://other.example"}
    for headers, status in (
        (origin | OURS, 200),
        (origin, 200),
        (foreign | FOREIGN, 403),
        (foreign, 403),
        (FOREIGN, 403),
    ):
        form = {"entries": json.dumps(CLIP)}
        answer = proxy.post("try", data=form, files={"image": picture()}, headers=headers)
        assert answer.status_code == status, (headers, answer.text)
