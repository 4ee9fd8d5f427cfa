"""What /api/show says about a model, as indented groups."""

from collections.abc import Iterable, Mapping

from ktd.cli import human
from ktd.cli.client import Record

PARTS = ("parameters", "system", "template", "license", "modelfile")
LICENSE_LINES = 2
LIST_SHOWN = 80  # characters of a metadata value


def whole(record: Record, *, verbose: bool = False) -> str:
    groups = [
        group("Model", facts(record)),
        group("Capabilities", [[name] for name in record.get("capabilities") or []]),
        group("Parameters", [line.split(None, 1) for line in (record.get("parameters") or "").splitlines()]),
        group("System", [[line] for line in (record.get("system") or "").splitlines()]),
        group("License", [[line] for line in beginning(record.get("license") or "")]),
        group("Placement", placement(record)),
    ]
    if verbose:
        groups.append(group("Metadata", metadata(record)))
        groups.append(group("Tensors", tensors(record)))
    return "\n\n".join(filter(None, groups))


def facts(record: Record) -> list[list[str]]:
    details, info = record.get("details") or {}, record.get("model_info") or {}
    architecture = info.get("general.architecture") or details.get("family") or ""
    parameters = info.get("general.parameter_count")
    rows = {
        "architecture": architecture,
        "parameters": details.get("parameter_size") or (human.parameters(parameters) if parameters else ""),
        "context length": info.get(f"{architecture}.context_length"),
        "embedding length": info.get(f"{architecture}.embedding_length"),
        "quantization": details.get("quantization_level"),
    }
    return [[name, str(value)] for name, value in rows.items() if value]


def placement(record: Record) -> list[list[str]]:
    """Of a model in memory: what is where, and why."""
    return [
        [f"{row['part']}, {row['device']}", human.size(row["size"]), row["reason"]]
        for row in record.get("placement") or []
    ]


def metadata(record: Record) -> list[list[str]]:
    info = record.get("model_info") or {}
    return [[key, shortened(str(info[key]))] for key in sorted(info)]


def shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LIST_SHOWN else line[: LIST_SHOWN - 3] + "..."


def tensors(record: Record) -> list[list[str]]:
    return [[row["name"], row["type"], str(row["shape"])] for row in record.get("tensors") or []]


def beginning(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines if len(lines) <= LICENSE_LINES else [*lines[:LICENSE_LINES], "..."]


def group(title: str, rows: Iterable[list[str]]) -> str:
    """A title and its rows in columns below it; empty without rows."""
    table = list(rows)
    if not table:
        return ""
    width = max(len(row[0]) for row in table) + 4
    second = max(len(row[1]) if len(row) > 2 else 0 for row in table) + 4
    lines = [row[0].ljust(width) + "".join(cell.ljust(second) for cell in row[1:]) for row in table]
    return "\n".join([f"  {title}", *(f"    {line}".rstrip() for line in lines)])


def lines(options: Mapping[str, object]) -> str:
    """Options as /api/show writes parameters: a name and a value a line, a list as several lines."""
    rows = []
    for name, value in options.items():
        rows += [f"{name:<30} {item}" for item in (value if isinstance(value, list) else [value])]
    return "\n".join(rows)
