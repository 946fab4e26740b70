"""A study that is killed, starved, doubled and put back in time ends as one that was left alone: `make chaos`.

Nobody helps: each new start is a plain `snakemake`.
"""

import logging
import os
import random
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pytest

from chaos.hindered import (
    KILLS,
    answers,
    leftovers,
    new_study,
    nothing_is_to_be_done,
    orphans,
    processes_of,
    run_to_the_end,
    start,
    start_anew,
    told,
)

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3000)]
SEED = int(os.environ.get("CHAOS_SEED", 0))
KILLS_IN_ALL = int(os.environ.get("CHAOS_KILLS", 20))
# A head needs some 5 seconds to begin its first job.
SECONDS_TO_A_KILL = (2.0, 25.0)
HOUR_S = 3600
log = logging.getLogger(__name__)
COMPILER = shutil.which("cc")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The same study, left alone."""
    folder = new_study(tmp_path_factory.mktemp("undisturbed"))
    run_to_the_end(folder)
    return folder


@pytest.fixture
def study(tmp_path):
    return new_study(tmp_path / "study")


def must_be_whole(study, undisturbed):
    """The study has the answers of the undisturbed one, and nothing is left or to be done."""
    assert answers(study) == answers(undisturbed)
    assert nothing_is_to_be_done(study)
    assert orphans(study) == []
    assert leftovers(study) == []


def test_twenty_kills_at_random_change_nothing(study, undisturbed):
    generator, killed = random.Random(SEED), Counter()
    while killed.total() < KILLS_IN_ALL:
        head, how = start(study), generator.choice(list(KILLS))
        try:
            status = head.wait(timeout=generator.uniform(*SECONDS_TO_A_KILL))
        except subprocess.TimeoutExpired:
            at = sorted({script for script in processes_of(study).values() if script}) or ["between jobs"]
            killed[how, " + ".join(at)] += 1
            KILLS[how](head, study, generator)
            head.wait()
            if generator.random() < 0.5:
                assert orphans(study) == []
        else:
            assert status == 0, told(study)[-4000:]
            must_be_whole(study, undisturbed)
            start_anew(study)
    run_to_the_end(study)
    must_be_whole(study, undisturbed)
    for (how, at), count in sorted(killed.items()):
        log.info("seed %d: %d x %s during %s", SEED, count, how, at)


def test_the_second_of_two_runs_in_a_folder_is_refused_and_the_first_goes_on(study, undisturbed):
    first = start(study)
    while not (study / "results/.run.lock").exists():
        assert first.poll() is None, told(study)
        time.sleep(0.05)
    second = subprocess.run(
        [*first.args], cwd=study, env=os.environ | {"PYTHONPATH": str(study / "src")}, capture_output=True, text=True
    )
    assert second.returncode != 0
    assert "another run is under way in this folder" in second.stderr
    assert first.wait() == 0, told(study)[-4000:]
    must_be_whole(study, undisturbed)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
def test_a_full_disk_is_told_and_with_more_room_the_run_goes_on(tmp_path, undisturbed, share):
    disk = tmp_path / "disk"
    disk.mkdir()
    needed = sum(path.stat().st_size for path in undisturbed.rglob("*") if path.is_file())
    mount = ["mount", "-t", "tmpfs", "-o", f"size={4 * needed}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a disk")
    try:
        study = new_study(disk / "study")
        product = shutil.disk_usage(disk).used
        resize(disk, product + int(share * (needed - product)))
        assert start(study).wait() != 0
        assert "No space left on device': it needs more than the" in told(study), told(study)[-4000:]
        assert "nobody foresaw" not in told(study)
        resize(disk, 4 * needed)
        run_to_the_end(study)
        must_be_whole(study, undisturbed)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def resize(disk, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler, cc")
@pytest.mark.parametrize("hours", [-3, 3])
def test_a_clock_that_jumps_during_a_run_changes_nothing(study, undisturbed, hours):
    clock, library = study / "clock", study.with_name("clock.so")
    clock.write_text("0")
    source = Path(__file__).with_name("clock.c")
    subprocess.run([COMPILER, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    # The clock of the system jumps, the monotonic one does not; dates of files are moved below.
    faked = {"LD_PRELOAD": str(library), "CLOCK_OFFSET": str(clock)}
    head = start(study, **faked)
    while not (study / "results/prepare/phantom/patches.parquet").exists():
        assert head.poll() is None, told(study)[-4000:]
        time.sleep(0.1)
    clock.write_text(str(hours * HOUR_S))
    move_dates(study, by_s=-hours * HOUR_S)
    # Set back, it makes every new file older than those that it is made of, which Snakemake refuses.
    assert (head.wait() == 0) is (hours > 0), told(study)[-4000:]
    assert ("clock skew" in told(study)) is (hours < 0)
    run_to_the_end(study)
    must_be_whole(study, undisturbed)


def move_dates(folder, *, by_s):
    """Give the files of before the jump the dates that they have for the clock after it."""
    for path in [*(folder / "results").rglob("*"), *(folder / "data").rglob("*")]:
        dates = path.stat()
        os.utime(path, (dates.st_atime + by_s, dates.st_mtime + by_s))
