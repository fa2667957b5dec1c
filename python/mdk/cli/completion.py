"""`mdk completion`: what a shell needs to complete commands, options and accounts."""

import click
from click.shell_completion import get_completion_class

VARIABLE = "_MDK_COMPLETE"

_SHELLS = ("bash", "fish", "zsh")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
def completion(shell: str) -> int:
    r"""Print the completion script of a SHELL.

    \b
    bash   mdk completion bash > ~/.local/share/bash-completion/completions/mdk
    zsh    mdk completion zsh > "${fpath[1]}/_mdk"
    fish   mdk completion fish > ~/.config/fish/completions/mdk.fish
    """
    root = click.get_current_context().find_root().command
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(kind(root, {}, "mdk", VARIABLE).source())
    return 0
