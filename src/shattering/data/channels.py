"""Find the axis of an array of images that holds the channels, by one rule for all sources of arrays."""

import torch

from shattering.errors import InputError

CHANNELS = (1, 3, 4)  # how many an image has, where nothing else is said
ORDERS = ("first", "last")
A_SPLIT = "a Split, whose images are (n, channels, height, width),"  # the remedy where there is no argument for it


def check_order(channels: object) -> None:
    """Raise InputError for what is neither "first", "last" nor None."""
    if channels is not None and channels not in ORDERS:
        raise InputError(f"channels is {channels!r}, expected 'first', 'last' or none")


def channels_first(
    images: torch.Tensor, channels: str | None, where: str, like: tuple[int, ...] | None = None, remedy: str = "channels='first' or 'last'"
) -> torch.Tensor:
    """Return images of four axes as (n, channels, height, width).

    The channels are the axis, the second or the last, that has length 1, 3 or 4. If both have, or neither has, it is the order that gives
    square images.

    Args:
        images: (n, channels, height, width) or (n, height, width, channels).
        channels: "first" or "last", which of the two they are; None: by the rule.
        where: what they are called in messages.
        like: (channels, height, width) of the images that a model knows; an order that alone gives such images is taken.
        remedy: what would say the order.

    Raises:
        InputError: if nothing says the order.
    """
    check_order(channels)
    order = channels or _known(images.shape, like) or _by_rule(images.shape, where, remedy)
    return images.permute(0, 3, 1, 2).contiguous() if order == "last" else images


def _known(shape: torch.Size, like: tuple[int, ...] | None) -> str | None:
    first, last = like == tuple(shape[1:]), like == (shape[3], shape[1], shape[2])
    return None if first == last else "first" if first else "last"


def _by_rule(shape: torch.Size, where: str, remedy: str) -> str:
    """Return the order that gives images of 1, 3 or 4 channels; if both do, or neither does, the one that gives squares."""
    _, a, b, c = shape
    for first, last in ((a in CHANNELS, c in CHANNELS), (b == c, a == b)):
        if first != last:
            return "first" if first else "last"
    raise InputError(f"{where} has shape {tuple(shape)}, whose second or last axis may be the channels; expected {remedy} to say which")
