import os
import subprocess
import sys
import types

import psutil
import pytest

from shattering.data.loader import default_workers
from shattering.errors import InputError
from shattering.runs.workers import execute
from shattering.system import machine
from shattering.system.machine import available_memory, in_bytes, own_cores, require_memory


def test_a_process_of_several_takes_its_part_of_the_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(machine, "_cores", None)
    monkeypatch.setattr(machine, "usable_cores", lambda: 8)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert (own_cores(), default_workers()) == (8, 8)
    execute({"dataset": "nowhere"}, str(tmp_path), 3, (), None, lambda _: None)  # a worker of a sweep, whose threads are 3
    assert (own_cores(), default_workers()) == (3, 3)
    for together, expected in (("2", 1), ("16", 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", together)
        assert own_cores() == expected
    for wrong in ("0", "abc"):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", wrong)
        with pytest.raises(InputError, match=f"LOCAL_WORLD_SIZE is '{wrong}', expected a whole number of at least 1"):
            own_cores()


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """A machine without control groups, to which tests add some: (mountinfo, cgroup, {folder: {file: text}})."""
    monkeypatch.setattr(machine, "_PROC", tmp_path / "proc")

    def make(mounts, groups, folders):
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/mountinfo").write_text("".join(f"31 23 0:28 {m.format(tmp_path)}\n" for m in mounts))
        (tmp_path / "proc/cgroup").write_text("".join(f"{line}\n" for line in groups))
        for folder, files in folders.items():
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
            for name, text in files.items():
                (tmp_path / folder / name).write_text(text)

    return make


V2 = "/ {}/fs rw,nosuid - cgroup2 cgroup2 rw"
V1 = "/ {}/fs rw - cgroup cgroup rw,memory"


def test_a_group_of_version_2_counts_less_what_it_has_taken(proc):
    used = {"memory.current": "70000000\n", "memory.stat": "anon 1\ninactive_file 20000000\nactive_file 3\n"}
    proc([V2], ["0::/job/step"], {"fs/job/step": {"memory.max": "100000000\n", **used}})
    assert available_memory() == 50_000_000


def test_the_groups_above_count_and_the_lowest_is_the_limit(proc):
    folders = {
        "fs": {"memory.max": "max\n", "memory.current": "1\n"},
        "fs/job": {"memory.max": "90000000\n", "memory.current": "60000000\n"},
        "fs/job/step": {"memory.max": "max\n", "memory.high": "80000000\n", "memory.current": "10000000\n"},
    }
    proc([V2], ["0::/job/step"], folders)
    assert available_memory() == 30_000_000


def test_a_container_sees_its_own_group_at_the_top(proc):
    """With and without a namespace of its own for groups."""
    top = {"fs": {"memory.max": "80000000\n", "memory.current": "60000000\n"}}
    proc(["/docker/abc {}/fs rw - cgroup2 cgroup2 rw"], ["0::/docker/abc"], top)
    assert available_memory() == 20_000_000


def test_a_path_outside_of_the_mount_is_looked_for_at_its_top(proc):
    proc([V2.replace("/ ", "/docker/abc ")], ["0::/"], {"fs": {"memory.max": "80000000\n", "memory.current": "70000000\n"}})
    assert available_memory() == 10_000_000


def test_a_group_of_version_1_counts_beside_an_empty_one_of_version_2(proc):
    files = {"memory.limit_in_bytes": "100000000\n", "memory.usage_in_bytes": "40000000\n", "memory.stat": "total_inactive_file 5000000\n"}
    proc([V1, "/ {}/unified rw - cgroup2 cgroup2 rw"], ["4:memory:/job", "1:cpu:/other", "0::/"], {"fs/job": files})
    assert available_memory() == 65_000_000


def test_more_taken_than_allowed_leaves_nothing(proc):
    proc([V2], ["0::/"], {"fs": {"memory.max": "10\n", "memory.current": "20\n"}})
    assert available_memory() == 0


@pytest.mark.parametrize("missing", ["proc", "files"])
def test_without_groups_it_is_what_the_machine_has(proc, missing):
    if missing == "files":
        proc([V1], ["4:memory:/job"], {})
    assert available_memory() == pytest.approx(psutil.virtual_memory().available, rel=0.1)


def test_shattering_memory_is_all_that_the_process_takes(proc, monkeypatch):
    used = psutil.Process().memory_info().rss
    monkeypatch.setenv("SHATTERING_MEMORY", str((used + 2e8) / 1e9))
    assert available_memory() == pytest.approx(2e8, abs=5e7)
    monkeypatch.setenv("SHATTERING_MEMORY", "0.001")
    assert available_memory() == 0


@pytest.mark.parametrize("given", ["much", "nan", "inf", "-1", "0"])
def test_shattering_memory_that_is_no_number_is_refused(monkeypatch, given):
    monkeypatch.setenv("SHATTERING_MEMORY", given)
    with pytest.raises(InputError, match=rf"SHATTERING_MEMORY is '{given}', expected a number of GB above 0"):
        available_memory()


def test_a_limit_only_lowers(proc):
    assert available_memory(limit=1000) == 1000
    assert available_memory(limit=10**15) < 10**15


def test_processes_that_share_take_a_part_each(proc, monkeypatch):
    monkeypatch.setattr(machine, "_of_siblings", lambda me, used: used)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: types.SimpleNamespace(available=10**10))
    used = psutil.Process().memory_info().rss
    monkeypatch.setattr(machine, "_sharers", 4)
    assert available_memory() == pytest.approx((10**10 + used) / 4 - used, abs=2e7)
    monkeypatch.setenv("SHATTERING_MEMORY", str(4 * (used + 1e8) / 1e9))
    assert available_memory() == pytest.approx(1e8, abs=2e7)


def test_what_siblings_have_is_counted(proc):
    me = psutil.Process(os.getppid()).children()
    total = machine._of_siblings(psutil.Process(), 5)
    assert total >= 5
    assert total <= 5 + sum(p.memory_info().rss for p in me if p.is_running())


def test_the_limits_of_the_system_count_less_what_is_taken():
    code = (
        "import resource, psutil\n"
        "from shattering.system.machine import available_memory\n"
        "taken = psutil.Process().memory_info().vms\n"
        "resource.setrlimit(resource.RLIMIT_AS, (taken + 300_000_000, resource.RLIM_INFINITY))\n"
        "print(available_memory())\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 250_000_000 <= int(out) <= 300_000_000


def test_a_refusal_is_one_sentence_with_the_remedy(proc):
    require_memory(10, "the matrix", "take fewer points", limit=10)
    with pytest.raises(InputError) as found:
        require_memory(2_340_000_000, "the matrix", "take fewer points", limit=150_000)
    assert str(found.value) == "the matrix needs about 2.3 GB of memory, and 150 kB are available: take fewer points"


@pytest.mark.parametrize(
    ("memory", "text"), [(12, "12 bytes"), (1234, "1.2 kB"), (99_900_000, "100 MB"), (1.4e10, "14 GB"), (3e12, "3000 GB")]
)
def test_bytes_are_written_with_two_digits(memory, text):
    assert in_bytes(memory) == text


@pytest.mark.parametrize("found", ["x", "", "1.5", "-1", "nan"])
def test_what_torchrun_does_not_say_is_refused(monkeypatch, found):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", found)
    with pytest.raises(InputError, match=f"LOCAL_WORLD_SIZE is {found!r}, expected a whole number of at least 1"):
        own_cores()
