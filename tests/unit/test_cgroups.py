"""Limits of containers and services, as both versions of the kernel's control groups keep them."""

from pathlib import Path

import pytest

from ml_target.diagnostics.tasks import memory_check
from ml_target.system.cgroups import available_cores, cpu_quota, memory_left

V1_LIMITLESS = 9223372036854771712
DOCKER = "docker/4f0c"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


def write(root: Path, files: dict[str, object]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")


def mount(kind: str, point: str, top: str = "/", options: str = "rw") -> str:
    return f"33 32 0:30 {top} {point} ro,nosuid - {kind} {kind} {options}"


def test_no_groups_no_limits(root: Path) -> None:
    assert cpu_quota(root) is None
    assert memory_left(root) is None


def test_version_2_in_a_container(root: Path) -> None:
    write(
        root,
        {
            "proc/self/cgroup": "0::/",
            "proc/self/mountinfo": mount("cgroup2", "/sys/fs/cgroup"),
            "sys/fs/cgroup/cpu.max": "150000 100000",
            "sys/fs/cgroup/memory.max": 3000,
            "sys/fs/cgroup/memory.current": 1000,
        },
    )
    assert (cpu_quota(root), memory_left(root)) == (1.5, 2000)


def test_version_2_without_limits(root: Path) -> None:
    write(root, {"sys/fs/cgroup/cpu.max": "max 100000", "sys/fs/cgroup/memory.max": "max"})
    assert (cpu_quota(root), memory_left(root)) == (None, None)


def test_a_service_is_limited_by_its_own_group_and_by_those_above(root: Path) -> None:
    """systemd: CPUQuota of the unit, and a tighter one of the slice that holds it."""
    service = "sys/fs/cgroup/system.slice/immich-ml-hailo.service"
    write(
        root,
        {
            "proc/self/cgroup": "0::/system.slice/immich-ml-hailo.service",
            "proc/self/mountinfo": mount("cgroup2", "/sys/fs/cgroup"),
            f"{service}/cpu.max": "400000 100000",
            f"{service}/memory.max": 9000,
            f"{service}/memory.current": 1000,
        },
    )
    assert (cpu_quota(root), memory_left(root)) == (4, 8000)
    write(
        root,
        {
            "sys/fs/cgroup/system.slice/cpu.max": "200000 100000",
            "sys/fs/cgroup/system.slice/memory.max": 5000,
            "sys/fs/cgroup/system.slice/memory.current": 4000,
        },
    )
    assert (cpu_quota(root), memory_left(root)) == (2, 1000)


@pytest.mark.parametrize("folder", ["cpu", "cpu,cpuacct"])
def test_version_1_without_a_word_from_proc(root: Path, folder: str) -> None:
    write(
        root,
        {
            f"sys/fs/cgroup/{folder}/cpu.cfs_quota_us": 200000,
            f"sys/fs/cgroup/{folder}/cpu.cfs_period_us": 100000,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 4000,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": 500,
        },
    )
    assert (cpu_quota(root), memory_left(root)) == (2, 3500)


def test_version_1_without_limits(root: Path) -> None:
    write(
        root,
        {
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": -1,
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": 100000,
            "sys/fs/cgroup/memory/memory.limit_in_bytes": V1_LIMITLESS,
        },
    )
    assert (cpu_quota(root), memory_left(root)) == (None, None)


@pytest.mark.parametrize("top", ["/", f"/{DOCKER}"])
def test_version_1_in_a_container(root: Path, top: str) -> None:
    """Docker mounts the container's own group; without a name space of its own the path still begins at the host's."""
    cpu, memory = "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/memory"
    own = f"/{DOCKER}" if top == "/" else ""
    write(
        root,
        {
            "proc/self/cgroup": f"9:memory:/{DOCKER}\n4:cpu,cpuacct:/{DOCKER}\n1:name=systemd:/{DOCKER}\n0::/",
            "proc/self/mountinfo": "\n".join(
                [
                    mount("cgroup", f"/{cpu}", top, "rw,cpu,cpuacct"),
                    mount("cgroup", f"/{memory}", top, "rw,memory"),
                    mount("tmpfs", "/tmp"),
                    "cut short",
                ]
            ),
            f"{cpu}{own}/cpu.cfs_quota_us": 300000,
            f"{cpu}{own}/cpu.cfs_period_us": 100000,
            f"{memory}{own}/memory.limit_in_bytes": 1 << 30,
            f"{memory}{own}/memory.usage_in_bytes": 1 << 29,
            f"{memory}/memory.stat": "",
        },
    )
    assert (cpu_quota(root), memory_left(root)) == (3, 1 << 29)


def test_a_group_outside_of_what_is_mounted_is_the_mounted_one(root: Path) -> None:
    write(
        root,
        {
            "proc/self/cgroup": "0::/../../elsewhere",
            "proc/self/mountinfo": mount("cgroup2", "/sys/fs/cgroup", "/kubepods/pod1"),
            "sys/fs/cgroup/cpu.max": "50000 100000",
        },
    )
    assert cpu_quota(root) == 0.5


def test_the_cores_of_this_process_follow_the_quota(monkeypatch: pytest.MonkeyPatch) -> None:
    for quota, cores in ((None, 8), (0.5, 1), (1.9, 1), (2.0, 2), (64.0, 8)):
        monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
        monkeypatch.setattr("ml_target.system.cgroups.cpu_quota", lambda quota=quota: quota)
        assert available_cores() == cores


def test_weights_that_exceed_a_limit_of_version_1_are_told(root: Path) -> None:
    write(
        root,
        {
            "proc/meminfo": "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": 2 << 30,
            "sys/fs/cgroup/memory/memory.usage_in_bytes": 1 << 30,
        },
    )
    finding = memory_check(2 << 30, root)
    assert (finding.ok, finding.detail) == (
        False,
        "2.00 GiB for weights, 1.0 GiB free within the container's limit",
    )
