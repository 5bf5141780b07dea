"""The commands of the README, as a reader would copy them."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def commands() -> list[str]:
    """Every command of every ``bash`` block in order; lines joined, without comments and uv run."""
    blocks = re.findall(r"(?ms)^```bash\n(.*?)^```$", README.read_text(encoding="utf-8"))
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    plain = (re.sub(r"\s+#.*$", "", line).strip() for line in lines)
    return [" ".join(line.removeprefix("uv run ").split()) for line in plain if line]
