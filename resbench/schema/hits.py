"""Which test images a network got right, packed: one bit an image."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Hits:
    """A bit for each test image, in the order of the test split: 1 where its label got the largest logit."""

    images: int
    packed: bytes
    """As ``numpy.packbits`` has them."""

    @classmethod
    def pack(cls, correct: NDArray[np.bool_]) -> Hits:
        """Packs bool [images]."""
        import numpy as np

        return cls(len(correct), np.packbits(correct).tobytes())

    def unpack(self) -> NDArray[np.bool_]:
        """Returns bool [images]."""
        import numpy as np

        bits = np.unpackbits(np.frombuffer(self.packed, dtype=np.uint8), count=self.images)
        return bits.astype(bool)

    def to_dict(self) -> dict[str, Any]:
        """Returns JSON types; the bits as base64."""
        return {"images": self.images, "bits": base64.b64encode(self.packed).decode("ascii")}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Hits:
        """Rebuilds hits from :meth:`to_dict`.

        Raises:
            ValueError: There are not as many bits as images.
        """
        images, packed = int(data["images"]), base64.b64decode(data["bits"], validate=True)
        if images < 0 or len(packed) != (images + 7) // 8:
            raise ValueError(f"{len(packed)} bytes do not hold {images} images")
        return cls(images, packed)
