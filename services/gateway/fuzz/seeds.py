"""`seeds.py FOLDER`: the corpus of e2e/adversarial as files, for the targets to begin with."""

import sys
from pathlib import Path

E2E = Path(__file__).resolve().parents[3] / "e2e"
sys.path[:0] = [str(E2E), str(E2E / "adversarial")]

from corpus import CASES  # noqa: E402


def main(folder: Path) -> None:
    for kind in ("route", "request"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(CASES):
        (folder / "request" / f"{number:03}").write_bytes(case.sent)
        words = case.sent.split(b" ", 2)
        if len(words) == 3:
            path = words[1].partition(b"?")[0]
            (folder / "route" / f"{number:03}").write_bytes(path)

    (folder / "fleet").mkdir(parents=True, exist_ok=True)
    (folder / "fleet" / "member").write_bytes(b'event: summary\ndata: {"cpu":1}\n\nevent: minute\r\ndata: {}\r\n\r\n')
    (folder / "fleet" / "gateway").write_bytes(
        b'event: merge\ndata: 10.0.0.7:8080 member {"state":"up","instance":"a","since_unix_ms":1}\n'
        b"data: 10.0.0.7:8080 summary {}\n\n"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
