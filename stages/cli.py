"""``usrdu``: the group of all commands; a command is imported when it is called."""

import os
from importlib import import_module

import click

# Threads of OpenMP soon stop spinning while they wait: where anything else runs on the machine, a
# training step takes half as long, and elsewhere as long as before.  Read when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "5000")

STAGES = {
    "demo": "Write the demo's photographs as a simulated camera sees them.",
    "prepare": "Decode HR, real LR and validation images once, into stores.",
    "camera": "Read the camera's blur, noise and compression off both piles.",
    "train-dsn": "Learn the camera's degradation from unpaired HR and LR images.",
    "export": "Write mean and theta of every HR image into maps.zarr.",
    "calibrate": "Measure how much noise samples of the maps need.",
    "audit": "Compare generated LR images with the real ones, on a page.",
    "train-srn": "Train an SR network on sampled degradations.",
    "evaluate": "Score an SR model on held-out images.",
}
"""Modules of ``stages``, in the order of ``dvc.yaml``."""
TOOLS = {
    "piles": "Say what is wrong with two folders of images, before anything.",
    "init": "Write a params file for your folders and this machine.",
    "params": "Show or check the settings, or take those of a profile.",
    "report": "Gather what a run made into one page to send to a colleague.",
    "degrade": "Write sampled LR images, which any paired training reads.",
    "uncertainty": "Check whether real LR images fall where theta says they will.",
    "niqe-fit": "Fit a pristine model of NIQE on your own sharp photographs.",
    "upscale": "Super-resolve images with a trained model.",
    "convert": "Convert weights of other programs, and SR models for others.",
    "copy": "Copy a finished store into a bucket, or out of one.",
    "verify": "Check stores, weights and checkpoints against their checksums.",
    "doctor": "Print versions, devices and what is missing, for bug reports.",
    "recovery-pairs": "Unpair the pairs of a real camera, to measure recovery on it.",
    "recovery-cell": "Run a stage of recovery/dvc.yaml, or of its Table 1, for one cell.",
    "recovery-table": "Tabulate how much of a known camera's gain is recovered.",
    "table1-table": "Tabulate the paper's Table 1 on known cameras, and its claims.",
    "plots-page": "Write the page that 'dvc plots show' needs without network.",
}
"""Modules of ``stages.tools``."""
COMMANDS = STAGES | TOOLS


class LazyGroup(click.Group):
    """A group whose commands are imported on use."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order of the pipeline."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command, or None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        package = "stages" if cmd_name in STAGES else "stages.tools"
        module = import_module(f"{package}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        for title, commands in (("Stages", STAGES), ("Tools", TOOLS)):
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="usrdu")
def main() -> None:
    """Unsupervised real-world super-resolution with learned degradation uncertainty (USR-DU).

    'dvc repro' runs the stages of dvc.yaml, demo to evaluate, in order; each is a command here.
    """
