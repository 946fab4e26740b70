"""Files from the future."""

import os
import time

from diffufuse.files.dates import date_back


def test_what_is_from_the_future_is_from_now_and_all_else_keeps_its_date(tmp_path):
    now, told = time.time(), []
    dates = {"results/a/old": now - 1e6, "results/a/late": now + 7200, "results/later": now + 9000, "data/x": now - 5}
    for name, date in dates.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (date, date))
    os.utime(tmp_path / "results/a", (now + 7200, now + 7200))
    (tmp_path / "results/link").symlink_to("nowhere")
    date_back(tmp_path / "data", tmp_path / "results", tmp_path / "absent", tell=told.append)
    ages = {name: time.time() - (tmp_path / name).stat().st_mtime for name in [*dates, "results/a"]}
    assert all(0 <= ages[name] < 60 for name in ("results/a/late", "results/later", "results/a"))
    assert abs(ages["results/a/late"] - ages["results/later"]) < 1
    assert ages["results/a/old"] > 9e5
    [sentence] = told
    assert sentence.startswith("3 files of ")
    date_back(tmp_path / "data", tmp_path / "results", tell=told.append)
    assert len(told) == 1
