#!/usr/bin/env bash
# A study whose runs are too large for one node: torchrun on the allocation, every training shared by all its GPUs.
#   sbatch examples/slurm_torchrun.sh STUDY.toml /shared/out/study
#SBATCH --job-name=onset-large
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue

set -eu
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# --nnodes 1:N would let the run go on with the nodes that are left when one is lost.
srun torchrun --nnodes="1:$SLURM_JOB_NUM_NODES" --nproc-per-node="${SLURM_GPUS_ON_NODE:-8}" --max-restarts=3 \
  --rdzv-backend=c10d --rdzv-endpoint="$head:29400" --rdzv-id="$SLURM_JOB_ID" \
  -m onset.work.engines.torchrun "$1" --out "$2"
onset analyze "$2" --out "$2"
