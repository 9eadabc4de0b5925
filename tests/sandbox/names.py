"""What differs from run to run gets a name by its first appearance, so that two runs can be compared.

The same handle (LSN, transaction, mark, tag) gets the same name everywhere, another one another: a stand-in that mixed
two up would be found out.
"""

import json
import re
from collections import defaultdict
from typing import Any

OFFSET = re.compile(r"(\d+)_(\d+|inf)")
HANDLE = re.compile(r"\d+-\d{16}")


class Names:
    """The names of one run."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, str]] = defaultdict(dict)
        self._values: dict[str, str] = {}

    def name(self, kind: str, value: str) -> str:
        known = self._names[kind]
        if value not in known:
            known[value] = f"<{kind} {len(known) + 1}>"
            self._values[known[value]] = value
        return known[value]

    def value(self, name: str) -> str:
        """What has this name in this run."""
        return self._values[name]

    def known(self, kind: str, value: str) -> str | None:
        """The name of a value, if it has one."""
        return self._names[kind].get(value)

    def offset(self, text: str) -> str:
        found = OFFSET.fullmatch(text)
        return text if found is None or found[1] == "0" else f"{self.name('lsn', found[1])}_{found[2]}"

    def header(self, name: str, value: str) -> str:
        match name:
            case "electric-handle":
                return self.name("handle", value)
            case "electric-offset":
                return self.offset(value)
            case "etag":
                handle, asked, end, *unique = value.strip('"').split(":")
                parts = [self.name("handle", handle), self.offset(asked), self.offset(end)]
                return '"' + ":".join([*parts, *("<unique>" for _ in unique)]) + '"'
            case "electric-cursor":
                return re.sub(r"^\d{8}$", "<cursor>", value)
            case "date":
                return re.sub(r"^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$", "<date>", value)
            case "x-request-id":
                return re.sub(r"^[\w-]{20}$", "<request>", value)
        return value

    def text(self, text: str) -> str:
        """A piece of a body: what is JSON is compared as JSON, by members, whatever their order."""
        try:
            return json.dumps(self._json(json.loads(text)), ensure_ascii=False, sort_keys=True)
        except json.JSONDecodeError:
            return text

    def _json(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._json(item) for item in value]
        if isinstance(value, dict):
            return {name: self._member(name, member) for name, member in value.items()}
        return value

    def _member(self, name: str, value: Any) -> Any:
        match name:
            case "lsn" | "global_last_seen_lsn":
                return self.name("lsn", value)
            case "txids":
                return [self.name("transaction", str(number)) for number in value]
            case "tags":
                return [self.name("tag", tag) for tag in value]
            case "snapshot_mark":
                return self.name("mark", str(value))
            case "xmin" | "xmax" | "database_lsn":
                return re.sub(r"^\d+$", "<number>", value)
        return self._json(value)
