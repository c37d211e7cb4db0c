#!/usr/bin/env bash
# One method's nets on one data set, on a SLURM cluster; an example to adapt. From the checkout:
#
#   cdlib data prepare --profile paper      # once, before the jobs
#   for method in cdn gated_conv partial_conv edge_connect context_encoder; do
#     for dataset in places365 celeba; do
#       sbatch --job-name "$method-$dataset" scripts/slurm.sh "$method" "$dataset"
#     done
#   done
#   cdlib study --profile paper             # when they are done: finds the nets, and reports
#
# Another profile, or overrides: words after the data set go to `cdlib.train`, e.g.
#   sbatch scripts/slurm.sh cdn scenes --set train.batch_size=64
#
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=64G
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --signal=B:USR1@60
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
#
# ntasks-per-node  one torchrun a node; it starts a process a GPU. Processes share each batch
#                  equally: nodes x GPUs must divide train.batch_size (16 in `paper`).
# nodes            more than one need the checkout on a file system that all of them see.
# requeue          a job that is preempted, or whose node fails, starts again by itself, and the
#                  training goes on from its last state (train.checkpoint_every images).
# signal           a minute before the time is up the job queues itself again, below.
# open-mode        the log of a job that starts again goes on.

set -euo pipefail

method=$1
dataset=$2
shift 2

trap 'scontrol requeue "$SLURM_JOB_ID"' USR1

cd "$SLURM_SUBMIT_DIR"
source .venv/bin/activate

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
port=$((20000 + SLURM_JOB_ID % 10000)) # two jobs may share a node
export OMP_NUM_THREADS=$((SLURM_CPUS_PER_TASK / SLURM_GPUS_ON_NODE))

# In the background, so that the shell can answer the signal while it waits.
srun --cpus-per-task "$SLURM_CPUS_PER_TASK" torchrun \
  --nnodes "$SLURM_JOB_NUM_NODES" \
  --nproc-per-node "$SLURM_GPUS_ON_NODE" \
  --rdzv-backend c10d \
  --rdzv-id "$SLURM_JOB_ID" \
  --rdzv-endpoint "$head:$port" \
  -m cdlib.train --profile paper --method "$method" --dataset "$dataset" "$@" &
wait $!
