"""What trials read from this machine's disk: the trials themselves hold no path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resbench.data.datasets import Dataset

NAMED_WEIGHTS = ("random", "default")
"""Initial weights that are no file."""


@dataclass(frozen=True)
class Inputs:
    """Where data and weights are, and what becomes of the images before any trial sees them."""

    dataset: str
    """A dataset spec, such as ``folder:PATH``."""
    data_dir: Path | None = None
    resize: tuple[int, int] | None = None
    """Height and width that images of mixed sizes are resized to when they are decoded."""
    weights: str | None = None
    """A state-dict file for the trials whose weights are from one; a name in ``NAMED_WEIGHTS`` is the trial's own."""
    channels: int | None = None
    """1 makes colour images gray, 3 repeats gray ones; ``None`` leaves them."""
    train_images: int | None = None
    """At most so many training images; ``None`` for all."""
    test_images: int | None = None
    imports: tuple[str, ...] = ()
    """Files and modules that register the trials' networks, where these are a user's, see
    :func:`resbench.plugins.import_code`."""
    shipped: str | None = None
    """The fingerprint of images that were sent to this machine: they are read from its cache, and from no path."""

    def load(self, progress: Callable[[str], None] | None = None) -> Dataset:
        """Loads the dataset, see :func:`~resbench.data.datasets.load_dataset`, which says what is raised."""
        from resbench.data.datasets import load_dataset, load_shipped

        if self.shipped is not None:
            return load_shipped(self.shipped, progress)

        return load_dataset(
            self.dataset,
            data_dir=self.data_dir,
            resize=self.resize,
            channels=self.channels,
            train_images=self.train_images,
            test_images=self.test_images,
            progress=progress,
        )

    def weights_of(self, identity: str) -> str | None:
        """Returns what a network is built with.

        Args:
            identity: A trial's ``weights``: ``random``, ``default``, or a file's name with its digest.
        """
        return identity if identity in NAMED_WEIGHTS else self.weights

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types."""
        return {
            **asdict(self),
            "data_dir": None if self.data_dir is None else str(self.data_dir),
            "resize": None if self.resize is None else list(self.resize),
            "imports": list(self.imports),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Inputs:
        """Rebuilds it from :meth:`to_dict`, of an older version too, which had fewer fields."""
        folder, resize = data.get("data_dir"), data.get("resize")
        values = {
            **data,
            "data_dir": Path(folder) if folder else None,
            "resize": (resize[0], resize[1]) if resize else None,
            "imports": tuple(data.get("imports", ())),
        }
        return cls(**values)
