"""What the demo prints: each line can be pasted into another terminal as it stands."""

from importlib import resources


def instructions(**values: str) -> str:
    """The text of demo.txt with its {names} filled in; other braces are the shell's."""
    text = resources.files(__package__).joinpath("demo.txt").read_text()
    for name, value in values.items():
        text = text.replace(f"{{{name}}}", value)
    return text
