# A grid of runs: method x data set x seed. Every cell is one command of the library; this file
# says only what needs what. For one machine and for a cluster: docs/scale.md.
#
#   snakemake --cores 2                                        the quick profile, three seeds
#   snakemake --cores 1 --config profile=gpu 'datasets=[scenes, celeba]' 'seeds=[0, 1]'

from pathlib import Path

config.setdefault("profile", "quick")  # a built-in one, or NAME.yaml whose `name` is NAME
config.setdefault("datasets", ["synthetic-scenes", "synthetic-faces"])  # as the profile names them
config.setdefault("seeds", [0, 1, 2])
config.setdefault(
    "methods",
    "compressor super_resolution gated_conv partial_conv edge_connect context_encoder".split(),
)

NAME = Path(config["profile"]).stem
FILE = f"cdlib/profiles/{NAME}.yaml" if NAME == config["profile"] else config["profile"]
SEED = "results/grid/seed-{seed}"
NET = f"{SEED}/{NAME}/checkpoints/{{dataset}}/{{method}}.safetensors"
LOG = f"{SEED}/{NAME}/logs/{{dataset}}/{{method}}.jsonl"

# The checkout's own environment first, if snakemake runs in another one.
shell.prefix('PATH="$PWD/.venv/bin:$PATH"; ')


wildcard_constraints:
    method="|".join(config["methods"]),
    seed=r"\d+",


rule all:
    input:
        expand(f"{SEED}/{NAME}/study.done", seed=config["seeds"]),


rule data:
    input:
        FILE,
    output:
        touch(f"results/grid/{NAME}-data.done"),
    shell:
        "cdlib data prepare --profile {config[profile]}"


def compressor(cell):
    """super_resolution may learn on its output (super_resolution.trained_on)."""
    if cell.method != "super_resolution":
        return []
    return NET.format(seed=cell.seed, dataset=cell.dataset, method="compressor")


rule train:
    input:
        FILE,
        rules.data.output,
        compressor,
    output:
        # Neither deleted beforehand nor on failure: a net that fits its settings is taken as it is.
        update(NET),
    log:
        LOG,
    shell:
        "python -m cdlib.train --profile {config[profile]} --method {wildcards.method}"
        " --dataset {wildcards.dataset} --set seed={wildcards.seed}"
        " --results results/grid/seed-{wildcards.seed}"


rule study:
    input:
        expand(NET, dataset=config["datasets"], method=config["methods"], allow_missing=True),
    output:
        touch(f"{SEED}/{NAME}/study.done"),
    shell:
        "cdlib study --profile {config[profile]} --set seed={wildcards.seed}"
        " --results results/grid/seed-{wildcards.seed}"
