"""`multibox new`."""

from __future__ import annotations

from pathlib import Path

from multibox.commands.console import downloading, say, say_command
from multibox.commands.options import Flag, Verbose
from multibox.wording import typed


def new(
    template: str,
    output: Path,
    /,
    *,
    do_not_load_snapshot: Flag = False,
    offline: Flag = False,
    verbose: Verbose = False,
) -> int:
    """Make a work directory for a model: its template, the commands, and weights to start from.

    Example: multibox new mobilenet_v2-2s_ssd-256x256 my_model

    Args:
        template: Path of a template.yaml, or the name of a model: mobilenet_v2-2s_ssd-256x256, -384x384 or -512x512;
            yolox_nano-256x256, -384x384, -512x512 or -640x640.
        output: The work directory; made if it is not there. Files that are there and differ are kept.
        do_not_load_snapshot: Do not bring weights to start from.
        offline: Do not ask the network for them: take what is there, or what comes with multibox.
        verbose: Say what each file is.
    """
    from multibox.commands.work_directory import instantiate

    folder = instantiate(
        template, output, load_snapshot=not do_not_load_snapshot, offline=offline, report=say, progress=downloading
    )
    say(f"{typed(folder)} is ready. Next, go there and train by its template:")
    say_command(f"cd {typed(folder)} && multibox train DATA")
    if verbose:
        for path in sorted(output.iterdir()):
            say(f"{path} ({path.stat().st_size} bytes)")
    return 0
