#!/usr/bin/env bash
# A SLURM cluster of one node on this machine, with accounting and a device that stands in for a GPU, for the tests of this
# folder. Needs root, and Debian's packages slurm-wlm, slurmdbd, munge and mariadb-server; nothing else may run SLURM here.
# usage: cluster.sh up|down
set -euo pipefail
host=$(hostname -s)
state=/var/lib/diffufuse-slurm
socket=$state/mysql.sock

configure() {
  local memory_mb=$(($(awk '/MemTotal/ { print $2 }' /proc/meminfo) / 1024 - 512))
  cat > /etc/slurm/slurm.conf <<EOF
ClusterName=tests
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation=$state/controller
SlurmdSpoolDir=$state/node
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
SchedulerParameters=batch_sched_delay=1,sched_interval=2
OverTimeLimit=0
KillWait=30
JobRequeue=1
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStorageTRES=gres/gpu
NodeName=$host NodeAddr=127.0.0.1 SocketsPerBoard=1 CoresPerSocket=$(nproc) RealMemory=$memory_mb Gres=gpu:1
PartitionName=cpu Nodes=$host Default=YES MaxTime=24:00:00
PartitionName=gpu Nodes=$host MaxTime=24:00:00
PartitionName=short Nodes=$host MaxTime=1
EOF
  echo "NodeName=$host Name=gpu File=/dev/null" > /etc/slurm/gres.conf
  # SLURM 22.05 loads a plug-in for control groups whatever it is told to use.
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    printf 'CgroupPlugin=cgroup/v2\nIgnoreSystemd=yes\n'
  else
    echo 'CgroupPlugin=cgroup/v1'
  fi > /etc/slurm/cgroup.conf
  cat > /etc/slurm/slurmdbd.conf <<EOF
AuthType=auth/munge
DbdHost=$host
DbdAddr=127.0.0.1
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_tests
LogFile=$state/slurmdbd.log
PidFile=$state/slurmdbd.pid
EOF
  chmod 600 /etc/slurm/slurmdbd.conf
}

until_it_works() {
  for _ in $(seq 120); do "$@" > /dev/null 2>&1 && return; sleep 0.5; done
  echo "cluster.sh: expected \`$*\` to work within a minute; see the logs in $state." >&2
  exit 1
}

up() {
  mkdir -p $state/{controller,node,mysql} /run/munge /var/log/munge /etc/slurm
  chown munge:munge /run/munge /var/log/munge
  chown mysql:mysql $state $state/mysql
  chmod 755 /run/munge
  [ -s /etc/munge/munge.key ] || mungekey --create
  pgrep -x munged > /dev/null || runuser -u munge -- /usr/sbin/munged
  [ -d $state/mysql/mysql ] || mariadb-install-db --user=mysql --datadir=$state/mysql > /dev/null
  mariadbd --no-defaults --user=mysql --datadir=$state/mysql --socket=$socket --skip-networking \
    --pid-file=$state/mysql/mariadb.pid > $state/mysql/log 2>&1 &
  until_it_works mariadb -S $socket -e 'select 1'
  mariadb -S $socket -e "create database if not exists slurm_tests;
    create user if not exists slurm@localhost identified by 'slurm'; grant all on slurm_tests.* to slurm@localhost"
  mkdir -p /run/mysqld && ln -sf $socket /run/mysqld/mysqld.sock
  configure
  slurmdbd
  until_it_works sacctmgr -n show cluster
  sacctmgr -i add cluster tests > /dev/null || true
  sacctmgr -i add account med Description=med Organization=med > /dev/null || true
  sacctmgr -i add user root Account=med > /dev/null || true
  slurmctld
  slurmd
  until_it_works sh -c "sinfo --noheader --format=%T | grep -qE 'idle|mixed|allocated'"
}

down() {
  for name in slurmd slurmctld slurmdbd; do pkill -x $name || true; done
  pkill -F $state/mysql/mariadb.pid 2> /dev/null || true
  pkill -x munged || true
  sleep 2
  rm -rf $state
}

"$1"
