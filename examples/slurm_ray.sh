#!/usr/bin/env bash
# A study on a Slurm allocation: Ray is started on its nodes, and onset hands every pending piece to it.
#   sbatch examples/slurm_ray.sh paper31 /shared/out/paper31 --gpus 1     each training on one GPU
#   sbatch examples/slurm_ray.sh paper31 /shared/out/paper31 --gpus 32    each training sharded over 32 GPUs
# Needs: onset with its extras [lm,ray] in the same environment on every node, and a study's folder on a file system
# that all nodes share. If the job ends before the study does, submit it again: it goes on.
#SBATCH --job-name=onset
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=64
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:TERM@150

set -eu
study=$1
out=$2
shift 2

export RAY_USAGE_STATS_ENABLED=0
port=6379
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{print $1}')
cores=${SLURM_CPUS_PER_TASK:-1}
gpus=${SLURM_GPUS_ON_NODE:-0}

# One step starts Ray on every node: the head on the first, the others join it. It ends with the job.
srun --ntasks-per-node=1 bash -c '
  if [ "$(hostname)" = "'"$head"'" ] || [ "$(hostname -s)" = "'"$head"'" ]; then
    exec ray start --block --head --node-ip-address="'"$address"'" --port='"$port"' \
      --num-cpus='"$cores"' --num-gpus='"$gpus"' --include-dashboard=false
  fi
  sleep 15
  exec ray start --block --address="'"$address:$port"'" --num-cpus='"$cores"' --num-gpus='"$gpus"'
' &

# The study begins when every node has joined; nodes that come later, or again, are used too.
for _ in $(seq 60); do
  joined=$(python -c "import ray; ray.init('$address:$port', logging_level='ERROR'); \
print(sum(node['Alive'] for node in ray.nodes()))" 2>/dev/null || echo 0)
  [ "$joined" -ge "$SLURM_JOB_NUM_NODES" ] && break
  sleep 5
done

# Before the time is over Slurm sends TERM to this script, which passes it on: trainings write the state to go on from.
onset run "$study" --out "$out" --engine ray --ray-address "$address:$port" "$@" &
command=$!
trap 'kill -TERM "$command"' TERM
code=0
wait "$command" || code=$?
# A signal ends the first wait; the second one is for the command itself.
if kill -0 "$command" 2>/dev/null; then
  code=0
  wait "$command" || code=$?
fi
# Stopped by TERM: the same job goes on in the next allocation.
if [ "$code" -eq 143 ]; then scontrol requeue "$SLURM_JOB_ID"; fi
exit "$code"
