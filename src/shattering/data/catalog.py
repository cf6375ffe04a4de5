"""The datasets that have a name, and where they come from. Nothing heavy is imported here."""

from dataclasses import dataclass


@dataclass(frozen=True)
class HubSource:
    """A dataset of the Hugging Face hub: repository, folder of its Parquet files there, label column, name of the labelled test split."""

    repository: str
    folder: str
    label: str
    description: str
    test: str = "test"


HUB: dict[str, HubSource] = {
    "mnist": HubSource("ylecun/mnist", "mnist", "label", "handwritten digits, 28x28 grey, 60,000 + 10,000"),
    "fashion-mnist": HubSource("zalando-datasets/fashion_mnist", "fashion_mnist", "label", "clothes, 28x28 grey, 60,000 + 10,000"),
    "cifar10": HubSource("uoft-cs/cifar10", "plain_text", "label", "photographs of 10 classes, 32x32 colour, 50,000 + 10,000"),
    "cifar100": HubSource("uoft-cs/cifar100", "cifar100", "fine_label", "photographs of 100 classes, 32x32 colour, 50,000 + 10,000"),
    "imagenet": HubSource(
        "ILSVRC/imagenet-1k", "data", "label", "photographs of 1,000 classes, many sizes (image_size), 1,281,167 + 50,000", "validation"
    ),
}
GIVEN: dict[str, str] = {  # by the user, in SHATTERING_DATA
    "imagenet-sample": "a photograph of each of ImageNet's 1,000 classes, many sizes (image_size); yours, not to be downloaded",
}
DATASETS: dict[str, str] = {
    "digits": "scikit-learn's handwritten digits, 8x8 grey, 1,297 + 500; embedded, offline",
    **{name: source.description for name, source in HUB.items()},
    **GIVEN,
}
