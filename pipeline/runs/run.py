"""The run of both trainings: it restores kept results, or trains from the last checkpoint."""

from contextlib import closing

from pipeline.runs.description import Results, Trainer, Training
from pipeline.runs.loop import TrainingLoop
from pipeline.stores.kept import KeptResults


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
    files = [results.weights, results.curves]
    files += [results.pictures / name for name in trainer.pictures]
    kept = KeptResults(training.folder.parent, training.folder.name, files, module)
    if (metrics := kept.metrics()) is not None:
        if main:
            kept.restore(training.name)
        return metrics if main else None
    loop = TrainingLoop(training, trainer.parts, trainer.accelerator, trainer.data)
    if training.steps:
        loop.settle(trainer.precision)
    with closing(loop):
        for step in loop:
            loop.record(step, trainer.step(step), trainer.score(step))
            if main and loop.shows(step):
                loop.show(step, trainer.pictures)
    if main:
        metrics = {**(loop.curves[-1] if loop.curves else {"step": 0})}
        metrics |= {**trainer.precision.described, **trainer.finish(results.weights)}
        for name, draw in trainer.pictures.items():
            draw(results.pictures / name)
        loop.write_curves(results.curves)
        kept.keep(metrics)  # before the checkpoint is deleted
    loop.delete()
    return metrics
