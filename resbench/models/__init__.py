"""The networks under comparison; importing this package registers them all.

Every builder takes the keywords ``num_classes``, ``in_channels`` and ``stem`` (see
`resbench.registry.create_model`) and returns a network from images (N, in_channels, height, width) to logits
(N, num_classes). Where a source names no initialisation, PyTorch's own stays.
"""

from resbench.models import cnn, d2l, resnet, torchvision_resnet

__all__ = ["cnn", "d2l", "resnet", "torchvision_resnet"]
