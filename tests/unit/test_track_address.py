"""Where the MLflow store may be."""

from pathlib import Path

import pytest

from diffufuse.errors import BadInput
from diffufuse.track.address import file_system_of, require_shareable

MOUNTS = r"""/dev/sda1 / ext4 rw 0 0
tmpfs /tmp tmpfs rw 0 0
server:/home /home nfs4 rw,vers=4.2 0 0
/dev/sdb1 /home/me/local xfs rw 0 0
10.0.0.1@tcp:/cluster /cluster lustre rw 0 0
//server/share /mnt/two\040words cifs rw 0 0
beegfs_nodev /beegfs beegfs rw 0 0
gpfs0 /gpfs gpfs rw 0 0
me@server:/ /far fuse.sshfs rw 0 0
"""
ON_THE_NETWORK = ["/home/me/study", "/cluster/study", "/mnt/two words", "/beegfs/study", "/gpfs", "/far/away"]
ON_A_DISK = ["/srv/study", "/tmp/study", "/home/me/local/study", "/homework"]


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    path = tmp_path / "mounts"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize("folder", ON_THE_NETWORK)
def test_a_database_on_a_network_disk_is_refused_for_a_cluster_alone(mounts, folder):
    require_shareable(folder, cluster=False, mounts=mounts)
    with pytest.raises(BadInput, match=rf"^{folder}/mlflow.db: .*`make server`") as refusal:
        require_shareable(folder, cluster=True, mounts=mounts)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("folder", ON_A_DISK)
def test_a_database_on_a_disk_is_taken(mounts, folder):
    require_shareable(folder, cluster=True, mounts=mounts)


def test_a_server_is_taken_wherever_the_folder_is(mounts, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example.org:5000")
    require_shareable("/home/me/study", cluster=True, mounts=mounts)


def test_a_database_of_the_environment_is_checked_where_it_is(mounts, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////cluster/mlflow.db")
    with pytest.raises(BadInput, match=r"^/cluster/mlflow\.db: .*lustre"):
        require_shareable("/srv/study", cluster=True, mounts=mounts)


def test_without_a_list_of_mounts_nothing_is_checked(tmp_path):
    require_shareable("/home/me/study", cluster=True, mounts=tmp_path / "none")


def test_a_later_mount_lies_over_an_earlier_one():
    assert file_system_of(Path("/data/x"), "a /data nfs rw 0 0\nb /data ext4 rw 0 0") == "ext4"
