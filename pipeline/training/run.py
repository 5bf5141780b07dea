"""The run of both trainings: it restores kept results, or trains from the last checkpoint."""

from contextlib import closing

from pipeline.stores.kept import KeptResults
from pipeline.training.description import Results, Trainer, Training
from pipeline.training.loop import TrainingLoop


def run(
    trainer: Trainer, training: Training, results: Results, module: str
) -> dict[str, object] | None:
    """Train, or go on with an interrupted training, and write the results.

    The threads of the data end with the run, also when it fails.

    Args:
        trainer: The networks and their data.
        training: The run.
        results: The files to write.
        module: Name of the module that makes the trainer; kept results of other code are not used.

    Returns:
        Metrics: the last row of the curves (``{"step": 0}`` without a training), the precision if
        it was measured, and those of the trainer.  Of several processes the main one alone writes;
        the others return None.

    Raises:
        UserError: See ``TrainingLoop``; or a file cannot be written.

    """
    with closing(trainer.data):
        return _run(trainer, training, results, module)


def _run(
    trainer: Trainer, training: Training, results: Results, module: str
) -> dict[str, object] | None:
    main = trainer.accelerator.is_main_process
    kept = KeptResults(training.folder.parent, training.folder.name, results, module)
    if (metrics := kept.metrics()) is not None:
        if main:
            kept.restore(training.name)
        return metrics if main else None
    loop = TrainingLoop(training, trainer.parts, trainer.accelerator, trainer.data)
    if training.steps:
        loop.settle(trainer.precision)
    for step in loop:
        loop.record(step, trainer.step(step), trainer.score(step))
        if main and (step + 1) % training.checkpoint_every == 0:
            trainer.contact_sheet(training.folder / results.sheet.name)
    if main:
        metrics = {**(loop.curves[-1] if loop.curves else {"step": 0})}
        metrics |= {**trainer.precision.described, **trainer.finish(results.weights)}
        trainer.contact_sheet(results.sheet)
        loop.write_curves(results.curves)
        kept.keep(metrics)  # before the checkpoint is deleted
    loop.close()
    return metrics
