from __future__ import annotations

import pytest

from resbench.data.specs import dataset_name
from resbench.errors import InputError


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("cifar10", "cifar10"),
        ("shapes10", "shapes10"),
        ("folder:some/where/cifar10-jpeg75", "cifar10-jpeg75"),
        ("folder:some/where/pets/", "pets"),
        ("folder:some/pets/../cars", "cars"),
        ("folder:~/pets", "pets"),
        ("folder:some/cifar10", "cifar10-folder"),
        ("filelist:some/pets/train.txt,some/pets/test.txt", "pets"),
        ("filelist:some/pets-train.txt, some/pets-test.txt", "pets"),
        ("filelist:some/training_set.txt,b.txt", "set"),
        ("filelist:some/trainspotting.txt,b.txt", "trainspotting"),
        ("filelist:lists/shapes10_train.txt,b.txt", "shapes10-filelist"),
        ("folder:some/cifar10-gray", "cifar10-gray-folder"),  # it must not pass for a variant either
        ("folder:some/fashion_mnist-rgb-subset", "fashion_mnist-rgb-subset-folder"),
        ("filelist:cifar10-subset-train.txt,b.txt", "cifar10-subset-filelist"),
        ("folder:some/pets-gray", "pets-gray"),
    ],
)
def test_names_need_no_files(spec, name):
    assert dataset_name(spec) == name


@pytest.mark.parametrize("spec", ["folder:", "filelist:a.txt", "filelist:a.txt,", "filelist:a.txt,b.txt,c.txt"])
def test_malformed_specs(spec):
    with pytest.raises(InputError, match="is not of the form"):
        dataset_name(spec)
