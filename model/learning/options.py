"""Options by which every command takes data."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from convstream.model.base.errors import UserError
from convstream.model.learning.own_data import LAYOUTS, DataFiles

KINDS = "IDX, .npy or .npz; a PNG or JPEG, a folder of them, or of a folder for each class."


def data_options(
    *names: str, required: bool = False
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Hand on what is said of data as `given`, `DataFiles`.

    names: of the option for images, by default --data and --images. required: whether a command
    does without.
    """

    def decorate(function: Callable[..., int]) -> Callable[..., int]:
        @click.option(
            *(names or ("--data", "--images")),
            "source",
            metavar="PATH",
            required=required,
            help=KINDS,
        )
        @click.option("--labels", metavar="FILE", help=".npy, IDX, or .txt with one a line.")
        @click.option("--classes", metavar="FILE", help="Names of the classes, one a line.")
        @click.option(
            "--layout", type=click.Choice(LAYOUTS), default="nchw", help="Of .npy and .npz."
        )
        @functools.wraps(function)
        def with_data(
            source: str | None, labels: str | None, classes: str | None, layout: str, **others: Any
        ) -> int:
            if source is None and labels is not None:
                raise UserError(f"--labels {labels}: of which images? name them with --data")
            return function(given=DataFiles(source, labels, classes, layout), **others)

        return with_data

    return decorate
