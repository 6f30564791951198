"""What the user sees of training: a progress bar while it runs, and a curve afterwards."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from convstream.model.base import pictures
from convstream.model.learning.training import Stage

if TYPE_CHECKING:
    from rich.progress import TaskID


class Display:
    """A progress bar with loss and accuracy for each stage; off a terminal, a line an epoch."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        console = Console(stderr=True)
        self.bar = Progress(
            TextColumn("{task.fields[stage]:<9}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.console = console
        self.task: tuple[str, TaskID] | None = None

    def __enter__(self) -> Display:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def __call__(self, stage: Stage, epoch: int, share: float) -> None:
        total = stage.epochs
        if self.task is None or self.task[0] != stage.name:
            self.task = (
                stage.name,
                self.bar.add_task("", total=total, stage=stage.name, figures=""),
            )
        figures = ""
        if stage.loss:
            figures = (
                f"loss {stage.loss[-1]:.4f}  train {stage.train_accuracy[-1]:.2f} %  "
                f"validation {stage.validation_accuracy[-1]:.2f} %  "
                f"best {max(stage.validation_accuracy):.2f} %"
            )
        self.bar.update(self.task[1], completed=min(total, int(epoch + share)), figures=figures)
        if share == 1.0 and not self.console.is_terminal:
            print(f"{stage.name} {epoch + 1}/{total}  {figures}", file=sys.stderr, flush=True)


def draw_curve(stages: list[Stage], title: str, path: Path) -> None:
    """Loss and accuracy of all stages by epoch, as a PNG."""
    figure = pictures.figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    start = 1
    for stage, colours in zip(stages, (("C0", "C1"), ("C2", "C3")), strict=False):
        for axes, train, validation in (
            (left, stage.loss, stage.validation_loss),
            (right, stage.train_accuracy, stage.validation_accuracy),
        ):
            # Each stage minimises a loss of its own; cross-entropy on validation is common to all.
            if axes is right or stage is stages[0]:
                axes.plot(
                    range(start, start + len(train)),
                    train,
                    color=colours[0],
                    alpha=0.6,
                    label=f"{stage.name}, training",
                )
            axes.plot(
                range(start, start + len(validation)),
                validation,
                color=colours[1],
                label=f"{stage.name}, validation",
            )
        start += len(stage.validation_loss)
    left.set(xlabel="epoch", ylabel="loss", yscale="log")
    accuracies = sorted(a for stage in stages for a in stage.validation_accuracy)
    # The first epochs would squeeze the rest into one line.
    floor = max(accuracies[len(accuracies) // 10] - 2, 0)
    right.set(xlabel="epoch", ylabel="accuracy in %", ylim=(floor, min(accuracies[-1] + 0.3, 100)))
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    pictures.save(figure, path)
