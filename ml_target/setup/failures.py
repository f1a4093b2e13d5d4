"""What Docker said when it failed, as a refusal with its remedy: builds, downloads of an image, a start."""

import re
from pathlib import Path

from ml_target.setup.steps import Refusal
from ml_target.system.cards import NODE, NODES

NETWORK = (
    "emporary failure",
    "failed to resolve",
    "no such host",
    "dial tcp",
    "i/o timeout",
    "ould not resolve",
    "etwork is unreachable",
    "onnection refused",
    "TLS handshake timeout",
    "Unable to fetch",
)
FULL = ("no space left", "No space left")
ABSENT = ("pull access denied", "manifest unknown", ": not found", "denied: ", "unauthorized")
AGAIN = "Its output is above."
ON_UNRAID = "On Unraid, Docker's own image can be enlarged: Settings, Docker, with Docker stopped."
CHECK = (
    "Check the network and the name server (docker run --rm ubuntu:24.04 cat /etc/resolv.conf), and the",
    "proxy (HTTPS_PROXY) if there is one. Then run this again: it goes on where it stopped.",
)


def _has(words: str, *texts: str) -> bool:
    return any(text in words for text in texts)


def _full(what: str, commands: str) -> Refusal:
    return Refusal(
        f"{what}: Docker has no space left.", f"{AGAIN} Free some: {commands}.", ON_UNRAID, "Then run this again."
    )


def build_refusal(dockerfile: str, words: str, project: Path, base: str) -> Refusal:
    """`base`: the image of ours that this one begins with, "" where it begins with another."""
    what = f"building from {dockerfile} failed"
    if _has(words, *FULL):
        return _full(what, "docker system df, docker builder prune")
    if _has(words, "HailoRT cannot be put into the image"):
        return Refusal(
            f"{what}: HailoRT's files are not what they should be.",
            "The lines above, below 'HailoRT cannot be put into the image', say which file and why. Usually a "
            "download was",
            f"cut short: delete that file in {project}/hailo-rt-4, download it again, then run this again.",
        )
    if _has(words, "requires BuildKit", "buildx component is missing", "buildx plugin"):
        return Refusal(
            f"{what}: this Docker's BuildKit is not complete.",
            "Debian, Ubuntu: sudo apt-get install docker-buildx (with Docker's own packages: docker-buildx-plugin)",
            "With Docker 20 to 22: DOCKER_BUILDKIT=1 ./setup.sh",
        )
    if _has(words, "toomanyrequests", "pull rate limit"):
        return Refusal(
            f"{what}: Docker Hub lets this address fetch no more images for now.",
            "Wait an hour, or docker login; or name a mirror's image: BASE_IMAGE=mirror.lan/ubuntu:24.04 ./setup.sh",
        )
    if _has(words, "pull access denied", "manifest unknown"):
        if base:
            return Refusal(
                f"{what}: the builder does not see the image {base} that was built before.",
                "It keeps images of its own; take the one that does not: docker buildx use default. Then run this "
                "again.",
            )
        return Refusal(
            f"{what}: the image that it begins with cannot be had.",
            f"{AGAIN} Leave BASE_IMAGE out for ubuntu:24.04, or name one that there is (docker login, where it wants "
            "that).",
        )
    if _has(words, *NETWORK):
        return Refusal(f"{what}: something could not be downloaded.", f"{AGAIN} {CHECK[0]}", CHECK[1])
    return Refusal(f"{what}.", f"{AGAIN} Run this again; if it stays, report it with them.")


def pull_refusal(image: str, words: str) -> Refusal:
    """For an image that was named and cannot be had."""
    what = f"the image {image} could not be fetched"
    if _has(words, *FULL):
        return _full(what, "docker system df")
    if _has(words, "toomanyrequests", "pull rate limit"):
        return Refusal(
            f"{what}: its registry lets this address fetch no more for now.", "Wait an hour, or docker login."
        )
    if _has(words, "no matching manifest", "no match for platform"):
        return Refusal(f"{what}: it is not there for this machine.", "Build one here: IMAGE= ./setup.sh")
    if _has(words, *ABSENT):
        return Refusal(
            f"{what}: there is none of that name, or it is not public.",
            f"{AGAIN} Correct the name (docker login, where it wants that), or build one here: IMAGE= ./setup.sh",
        )
    if _has(words, *NETWORK):
        return Refusal(f"{what}: its registry cannot be reached.", f"{AGAIN} {CHECK[0]}", CHECK[1])
    return Refusal(f"{what}.", f"{AGAIN} Run this again, or build one here: IMAGE= ./setup.sh")


def run_refusal(words: str, port: int) -> Refusal:
    """For a container that could not be started."""
    if _has(words, "port is already allocated", "address already in use"):
        return Refusal(
            f"port {port} is taken.",
            "Stop what has it (docker ps; ss -ltnp), or take another one: IMMICH_PORT=3004 ./setup.sh",
        )
    if node := re.search(f"/dev/{NODE.pattern}", words):
        last = words.rpartition(": ")[2]
        return Refusal(
            f"Docker could not hand {node[0]} to the container: {last}",
            f"Look at: ls -l {NODES}; dmesg | grep hailo",
        )
    return Refusal(f"the container could not be started: {words}", "Fix what Docker reports, then run this again.")
