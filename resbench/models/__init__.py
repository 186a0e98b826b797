"""The networks under comparison, one file a source; importing this package registers them all.

Every builder takes the keywords ``num_classes``, ``in_channels`` and ``stem`` (see
`resbench.registry.create_model`) and returns a network from images (N, in_channels, height, width) to logits
(N, num_classes). Where a source names no initialisation, PyTorch's own stays.

Nothing directly in this package imports torch until a builder runs, because importing torch takes seconds and
listing the networks should take none. What the networks are made of is in `resbench.models.parts`, which does
import torch; builders import it, and every library they use, inside.
"""

from resbench.models import cnn, d2l, resnet, timm_models, torchvision_models, torchvision_resnet

__all__ = ["cnn", "d2l", "resnet", "timm_models", "torchvision_models", "torchvision_resnet"]
