"""Scripts by which shells complete commands, options and the values that have names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shattering.cli.options import Option, about_of, choices_of, help_texts, options_of

_BASH = """# completion of shattering, for bash
_shattering() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} path= words= options=--help
    [[ $COMP_CWORD -gt 1 ]] && path=${COMP_WORDS[1]}
    case $path in %s) [[ $COMP_CWORD -gt 2 ]] && path+=" ${COMP_WORDS[2]}";; esac
    case $path in
%s
    esac
    [[ $current == -* ]] && words=$options
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _shattering shattering
"""


def script(shell: str, commands: Mapping[str, Any]) -> str:
    """Return what makes a shell, bash, zsh or fish, complete these commands."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](commands)


def values_of(option: Option) -> Sequence[str]:
    """Return the values of an option that have names; empty for any other, such as a file."""
    from shattering.cli.catalog import MODELS, NETWORKS
    from shattering.data.catalog import DATASETS
    from shattering.measures.catalog import MEASURES

    models = {**MODELS, **NETWORKS} if option.is_positional else MODELS
    names = {"data": DATASETS, "model": models, "only": MEASURES, "measures": MEASURES}
    return choices_of(option.hint) or tuple(names.get(option.field, ()))


def _commands(commands: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every command and every group of commands, with the words that call it."""
    yield path, commands
    for name, command in commands.items():
        if isinstance(command, Mapping):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _bash(commands: Mapping[str, Any]) -> str:
    cases, groups = [], []
    for path, command in _commands(commands):
        if isinstance(command, Mapping):
            groups += [" ".join(path)] if path else []
            options = "--help" if path else "--help --version"
            cases.append(f"    '{' '.join(path)}') words='{' '.join(command)}' options='{options}';;")
            continue
        options = options_of(command)
        named = [option for option in options if not option.is_positional]
        first = next((values_of(option) for option in options if option.is_positional), ())
        cases += [f"    '{' '.join(path)}')", f"        options+=' {' '.join(option.name for option in named)}'", "        case $before in"]
        cases += [f"        {option.name}) words='{' '.join(values_of(option))}';;" for option in named if not option.is_flag]
        cases += [f"        *) words='{' '.join(first)}';;", "        esac;;"]
    return _BASH % ("|".join(groups), "\n".join(cases))


def _zsh(commands: Mapping[str, Any]) -> str:
    return f"autoload -Uz compinit bashcompinit && compinit && bashcompinit\n{_bash(commands)}"


def _fish(commands: Mapping[str, Any]) -> str:
    lines = ["# completion of shattering, for fish", "complete -c shattering -l help -s h -f -d 'Show the help.'"]
    for path, command in _commands(commands):
        seen = " ; and ".join(f"__fish_seen_subcommand_from {word}" for word in path)
        if isinstance(command, Mapping):
            beyond = f"{seen} ; and not __fish_seen_subcommand_from {' '.join(command)}" if path else "__fish_use_subcommand"
            lines += [_fish_line(beyond, f"-f -a {name}", about_of(inner)[0]) for name, inner in command.items()]
            continue
        texts = help_texts(command)
        for option in options_of(command):
            values = f"{'-f' if choices_of(option.hint) else ''} -a '{' '.join(values_of(option))}'" if values_of(option) else ""
            about = texts.get(option.field, "")
            if option.is_positional:
                lines += [_fish_line(seen, values, about)] if values else []
            else:
                lines.append(_fish_line(seen, f"-l {option.name.removeprefix('--')} {'' if option.is_flag else '-r'} {values}", about))
    return "\n".join(lines) + "\n"


def _fish_line(condition: str, what: str, about: str) -> str:
    text = about.replace("\\", "\\\\").replace("'", "\\'")
    return f"complete -c shattering -n '{condition}' {' '.join(what.split())} -d '{text}'"
