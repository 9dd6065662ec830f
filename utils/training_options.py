"""Everything that the training command line says, in groups."""

from dataclasses import dataclass

from utils.datasets.own import OwnOptions
from utils.settings import DetectorOptions
from utils.training_settings import (
    AvaOptions,
    BuildOptions,
    DataOptions,
    InsteadOptions,
    NetworkOptions,
    RunOptions,
    TrainingOptions,
)


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
    detector: DetectorOptions

    def __post_init__(self) -> None:
        """Raise ValueError where flags do not go together."""
        kinds = {"download": "ava", "check_data": "own", "build": "talkset"}
        wanted = [name for name in kinds if getattr(self.instead, name)]
        if len(wanted) + self.instead.evaluation + self.instead.forward > 1:
            raise ValueError(
                "--evaluation, --forward, --download, --checkData and --build each go alone"
            )
        for name in wanted:
            if self.data.data != kinds[name]:
                flag = "checkData" if name == "check_data" else name
                raise ValueError(f"--{flag} is for --data {kinds[name]}, found {self.data.data}")
        if self.talkset.lists and not self.instead.build:
            raise ValueError("--lists is for --build")
        if self.instead.forward and self.network.features is None:
            raise ValueError("--forward needs --features, the folder that is written")
