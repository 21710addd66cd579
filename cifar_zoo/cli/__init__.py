"""The command line: one module per command, each a thin wrapper around a public function."""

from __future__ import annotations

import io
import os
import sys
import warnings
from itertools import chain

import click

from cifar_zoo.cli.cache import cache
from cifar_zoo.cli.download import download
from cifar_zoo.cli.evaluate import evaluate
from cifar_zoo.cli.export import export
from cifar_zoo.cli.finetune import finetune
from cifar_zoo.cli.fit import fit
from cifar_zoo.cli.info import info
from cifar_zoo.cli.list import list_
from cifar_zoo.cli.pack import pack
from cifar_zoo.cli.predict import predict
from cifar_zoo.cli.publish import publish
from cifar_zoo.cli.recipes import recipes
from cifar_zoo.cli.results import results
from cifar_zoo.errors import CifarZooError, one_line
from cifar_zoo.version import __version__

GROUPS = {
    "Choose a network": (list_, info, results, recipes),
    "Use it": (predict, evaluate, export, download, cache),
    "Train": (fit, finetune),
    "Publish": (pack, publish),
}


class _Grouped(click.Group):
    """A group of commands whose help lists them by what they are for."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for title, commands in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [
                        (f"{each.name:{width}}", each.get_short_help_str(formatter.width - width - 6))
                        for each in commands
                    ]
                )


@click.group(cls=_Grouped, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="cifar-zoo")
def commands() -> None:
    """CIFAR-10 networks for Keras 3, with pretrained weights."""


for _each in chain(*GROUPS.values()):
    commands.add_command(_each)


def main() -> None:
    """Run a command. Bad input is reported in one line on standard error, with exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # otherwise TensorFlow logs several lines on import
    warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)  # of Keras
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a locale may lack a character of the output
    try:
        sys.exit(commands.main(prog_name="cifar-zoo", standalone_mode=False))
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message())
    except (CifarZooError, OSError) as error:
        _fail(str(error))
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _fail(message: str) -> None:
    click.echo(f"cifar-zoo: {one_line(message)}", err=True)
    if processes := sys.modules.get("cifar_zoo.backend.processes"):
        processes.leave(2)  # if this process is one of several
    sys.exit(2)
