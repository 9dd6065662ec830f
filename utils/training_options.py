"""Everything that the training command line says, in groups."""

from dataclasses import dataclass

from utils.datasets.ava.options import AvaOptions
from utils.datasets.ava.window_options import AvaAsdOptions
from utils.datasets.custom.tables import OwnOptions
from utils.datasets.splits import DataOptions
from utils.datasets.talkset.options import BuildOptions
from utils.errors import UserError
from utils.settings import DetectorOptions
from utils.training_settings import InsteadOptions, NetworkOptions, RunOptions, TrainingOptions


@dataclass(frozen=True)
class Options:
    """The groups; their flags are made of them."""

    network: NetworkOptions
    data: DataOptions
    training: TrainingOptions
    run: RunOptions
    instead: InsteadOptions
    ava: AvaOptions
    own: OwnOptions
    talkset: BuildOptions
    ava_asd: AvaAsdOptions
    detector: DetectorOptions

    def __post_init__(self) -> None:
        """Raise UserError where flags do not go together."""
        kinds = {"download": "ava", "check_data": "own", "build": "talkset"}
        wanted = [name for name in kinds if getattr(self.instead, name)]
        if len(wanted) + self.instead.evaluation + self.instead.forward > 1:
            raise UserError(
                "--evaluation, --forward, --download, --checkData and --build each go alone"
            )
        for name in wanted:
            if self.data.data != kinds[name]:
                flag = "checkData" if name == "check_data" else name
                raise UserError(f"--{flag} is for --data {kinds[name]}, found {self.data.data}")
        if self.talkset.lists and not self.instead.build:
            raise UserError("--lists is for --build")
        if self.instead.forward and self.network.features is None:
            raise UserError("--forward needs --features, the folder that is written")
        windows = self.network.model == "ava_asd" and not wanted
        if windows:
            self._check_windows()
        if self.ava_asd.legacy and not (windows and self.instead.evaluation):
            raise UserError("--legacy is for --evaluation of ava_asd; leave it out")
        if self.ava_asd.early_stopping and not (windows and not self.instead.evaluation):
            raise UserError("--earlyStopping is for training ava_asd; leave it out")

    def _check_windows(self) -> None:
        """Raise UserError where ava_asd is to learn or be measured with what it has not."""
        if self.data.data != "ava":
            raise UserError(
                "ava_asd reads windows of labelled videos whose sound it hears whole: it goes with "
                f"--data ava, found {self.data.data}"
            )
        given = {
            "--forward": self.instead.forward,
            "--features": self.network.features is not None,
            "--windows": bool(self.network.windows),
            "--smooth": self.network.smooth > 1,
            "--maxClip": self.data.max_clip > 0,
            "--publishedBatches": self.data.published_batches,
            "--publishedCrop": self.data.published_crop,
            "--desync": self.data.desync > 0,
            "--contrast": self.training.contrast > 0,
        }
        refused = [flag for flag, there in given.items() if there]
        if refused:
            raise UserError(f"{refused[0]} is for other networks, not for ava_asd; leave it out")
