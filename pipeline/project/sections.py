"""The sections of ``params.yaml`` and the entries of ``cameras.yaml``, with their settings."""

from typing import Annotated

from pydantic import Field, RootModel

from pipeline.audit.histograms import AuditSettings
from pipeline.base.params import NAME
from pipeline.base.settings import Settings
from pipeline.calibrate.settings import CalibrateSettings
from pipeline.camera.estimate import CameraSettings
from pipeline.crops.memory import MachineSettings
from pipeline.demo.camera import Camera
from pipeline.demo.demo import DemoSettings
from pipeline.evaluate.evaluate import EvaluateSettings
from pipeline.export.export import ExportSettings
from pipeline.prepare.prepare import PrepareSettings
from pipeline.train_dsn.settings import TrainDsnSettings
from pipeline.train_srn.settings import Architecture, TrainSrnSettings

Folder = Annotated[str, Field(min_length=1)]


class FolderSettings(Settings):
    """The section ``folders``."""

    hr: Folder
    """Sharp photographs."""
    lr: Folder
    """Images of your camera, unpaired."""
    val: Folder
    """Pairs in hr/ and lr/, or lr/ alone, to score on; ``data/raw/no-pairs`` if there are none."""
    pairs: Folder
    """Pairs in hr/ and lr/, for a supervised training; ``data/raw/no-pairs`` if there are none."""
    kernels: Folder
    """Blur kernels, or one; read only where ``train_dsn.reference`` is ``kernels``."""
    weights: Folder
    """Holds every file of weights that settings name, so that DVC sees it change."""


Architectures = Annotated[
    dict[Annotated[str, Field(pattern=f"^{NAME.pattern}$")], Architecture], Field(min_length=1)
]


class ParamsFile(Settings):
    """Every setting of every stage of USR-DU."""

    profile: str
    """The profile that ``usrdu params use`` took last."""
    folders: FolderSettings
    """Where ``dvc.yaml`` looks for your images."""
    machine: MachineSettings
    """Settings that change no result: no stage runs again for them."""
    demo: DemoSettings
    """The simulated camera and its photographs."""
    prepare: PrepareSettings
    """How images are decoded, once, into stores."""
    camera: CameraSettings
    """How the camera's passport is read off the images."""
    train_dsn: TrainDsnSettings
    """The training of the DSN, which learns the degradation."""
    export: ExportSettings
    """How mean and theta of every HR image are written."""
    calibrate: CalibrateSettings
    """How the noise of samples is measured."""
    train_srn: TrainSrnSettings
    """The training of the SR networks."""
    architectures: Architectures
    """SR networks by name (letters, digits, - and _), each with the weights it starts from."""
    evaluate: EvaluateSettings
    """How SR networks are scored on the validation images."""
    audit: AuditSettings
    """How generated LR images are compared with real ones."""


class CamerasFile(RootModel[dict[Annotated[str, Field(pattern=r"^[^.]+$")], Camera]]):
    """Simulated cameras, whose truth is known, by name."""
