"""A report and the output of commands, read back into lines, tables and links, to be compared."""

import csv
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "img", "link", "br", "input"}


@dataclass
class ReadTable:
    """The texts of a table, without its head."""

    title: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)


class ReadReport(HTMLParser):
    """What a browser would make of a report: by section its paragraphs, tables, tips of charts and shown pictures."""

    def __init__(self, file: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = file.read_text(encoding="utf-8")
        self.lines = defaultdict[str, list[str]](list)
        self.tables = defaultdict[str, list[ReadTable]](list)
        self.tips = defaultdict[str, list[str]](list)
        self.captions = defaultdict[str, list[str]](list)
        self.groups = defaultdict[str, list[str]](list)
        self.pictures = defaultdict[str, list[str]](list)
        self.tags = defaultdict[str, int](int)
        self.links: list[str] = []
        self.items: list[str] = []
        self.attributes: set[str] = set()
        self.metas: dict[str, str] = {}
        self.title = ""
        self._section = ""
        self._text: list[str] = []
        self._open: list[tuple[str, str]] = []
        self.feed(self.source)
        self.close()

    def table(self, section: str, title: str) -> ReadTable:
        """The one table of a section with this title."""
        (found,) = (table for table in self.tables[section] if table.title == title)
        return found

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags[tag] += 1
        self.attributes |= set(given)
        if tag == "section":
            self._section = given["id"]
        if tag == "a":
            self.links.append(given.get("href", ""))
        if tag == "img":
            self.pictures[self._section].append(given["alt"])
            assert given["src"].startswith("data:image/jpeg;base64,")
        if tag == "meta" and "http-equiv" in given:
            self.metas[given["http-equiv"]] = given["content"]
        if tag == "table":
            self.tables[self._section].append(ReadTable())
        if tag == "tr" and ("thead", "") not in self._open:
            self.tables[self._section][-1].rows.append([])
        if tag in {"p", "li", "th", "td", "caption", "title", "figcaption"}:
            self._text = []
        if tag not in _VOID:
            self._open.append((tag, given.get("class", "") if tag == "p" else ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open[-1][0] != tag:
            self._open.pop()
        _, kind = self._open.pop() if self._open else ("", "")
        text = " ".join("".join(self._text).split())
        within = {name for name, _ in self._open}
        if tag == "p":
            (self.groups if kind == "about" else self.lines)[self._section].append(text)
        elif tag == "title":
            if "svg" in within:
                self.tips[self._section].append(text)
            else:
                self.title = text
        elif tag == "li" and self._section == "credits":
            self.items.append(text)
        elif tag == "figcaption":
            self.captions[self._section].append(text)
        elif tag == "caption":
            self.tables[self._section][-1].title = text
        elif tag in {"th", "td"} and "thead" in within:
            self.tables[self._section][-1].columns.append(text)
        elif tag in {"th", "td"} and self.tables[self._section]:
            self.tables[self._section][-1].rows[-1].append(text)

    def handle_data(self, data: str) -> None:
        self._text.append(data)


def lines_of(printed: str) -> list[str]:
    """The sentences that a command prints, as a report has them: without the marks of code, without its tables."""
    lines = (line for line in printed.splitlines() if line and line[0] not in "┏┃┡│├└")
    return [" ".join(line.replace("`", "").split()) for line in lines]


def rows_of(printed: str, title: str) -> list[list[str]]:
    """The rows of the table that a command prints under this title."""
    after = printed.split(f"{title}", 1)[1].splitlines()[1:]
    rows: list[list[str]] = []
    for line in after:
        if line.startswith("│"):
            rows.append([" ".join(cell.split()) for cell in line.strip("│").split("│")])
        elif line.startswith("└") or not line.startswith(("┏", "┃", "┡", "├")):
            break
    return rows


def counts_by_class(printed: str, title: str = "Pictures") -> dict[str, list[str]]:
    """Class → the counts in the table that `split` prints, without its sum."""
    return {label: counts for label, *counts in rows_of(printed, title)[:-1]}


def compare_with_commands(report: ReadReport, printed: dict[str, str], folders: dict[str, Path]) -> int:
    """Assert that a report says what its commands have printed, and return how many figures and lines were compared.

    `printed` has the output of "scrape", "clean" and "dry-run", "split", "verify", "audit" and "evaluate", the last on
    the split that the report is about; `folders` the folder "evaluated" of its `--out`, and the dataset, "data".
    """
    compared = 0

    def same(found: object, wanted: object) -> None:
        nonlocal compared
        compared += 1
        assert found == wanted

    def has_lines(section: str, lines: list[str]) -> None:
        nonlocal compared
        assert lines
        for line in lines:
            assert line in report.lines[section], (section, line, report.lines[section])
            compared += 1

    # Counts
    mine = {row[0]: row[2:5] for row in report.table("classes", "Files of each class").rows[:-1]}
    same(mine, counts_by_class(printed["split"]))
    same(report.table("classes", "Files of each class").rows[-1][2:5], rows_of(printed["split"], "Pictures")[-1][1:4])
    # Yields and licences
    yields, title = report.table("origins", "Yield of all runs so far").rows, "Yield of all runs so far"
    printed_yields = rows_of(printed["scrape"], title)
    same(
        sorted(yields[:-1]), sorted(printed_yields[:-1])
    )  # a scrape has them in the order in which they were asked for
    same(yields[-1], printed_yields[-1])
    with (folders["data"] / "raw" / "metadata.csv").open(encoding="utf-8", newline="") as file:
        licences = Counter((row["source"], row["license"]) for row in csv.DictReader(file) if row["source"])
    same({(source, licence): int(count.replace(",", "")) for source, licence, count in
          report.table("origins", "Licences").rows}, dict(licences))  # fmt: skip
    # What was set aside, and what would be
    (by_reason,) = re.findall(r"^In all: (.*)\.$", printed["clean"], re.MULTILINE)
    wanted = {reason: count for count, reason in (part.split() for part in by_reason.split(", "))}
    same({row[0]: row[1] for row in report.table("set-aside", "Set aside").rows}, wanted)
    has_lines("to-clean", [line for line in lines_of(printed["dry-run"]) if "Next:" not in line])
    said = [line for line in lines_of(printed["dry-run"]) if line.startswith("Flagged")]
    flagged = (
        {flag: count for count, flag in re.findall(r"([\d,]+) (\w+)[,(. ]", said[0].partition(":")[2])} if said else {}
    )
    for at in [line for line in report.captions["quality"] if "flagged" in line]:
        flag, count = re.findall(r"^(\w+): ([\d,]+) flagged", at)[0]
        same(count, flagged.get(flag, "0"))
    # The audit and the proof
    (counted,) = re.findall(r"Of [\d,]+ pictures [\d,]+ seem .*? do not belong\.", printed["audit"])
    has_lines("audit", [counted])
    if "The worst of each class" in printed["audit"]:
        same(
            report.table("audit", "The worst of each class").rows, rows_of(printed["audit"], "The worst of each class")
        )
    has_lines("split", [line.split(" Next:")[0] for line in lines_of(printed["verify"])])
    # The classifier
    lines = [line for line in lines_of(printed["evaluate"]) if re.match("Calibration|Accuracy|Like none", line)]
    has_lines("errors", lines)
    same([row[:4] for row in report.table("errors", "Each class").rows], rows_of(printed["evaluate"], "Classes"))
    if "Most often confused" in printed["evaluate"]:
        same(report.table("errors", "Most often confused").rows, rows_of(printed["evaluate"], "Most often confused"))
    return compared + _compare_with_files(report, folders["evaluated"])


def _compare_with_files(report: ReadReport, evaluated: Path) -> int:
    """The interval of each class, each cell of the matrix and each bin, by the files of `evaluate --out`."""
    compared = 0
    with (evaluated / "classes.csv").open(encoding="utf-8", newline="") as file:
        classes = [row for row in csv.DictReader(file) if int(row["n"])]
    for row, shown in zip(classes, report.table("errors", "Each class").rows, strict=True):
        assert shown[4] == f"{float(row['low95']):.1%} to {float(row['high95']):.1%}"
        compared += 1
    figures = json.loads((evaluated / "evaluation.json").read_text(encoding="utf-8"))
    names = [one["name"] for one in figures["classes"]]
    cells = {
        f"{names[truth]} taken for {names[answer]}: {count:,} of {sum(row):,}"
        for truth, row in enumerate(figures["confusion"]["rows_are_true_classes"])
        for answer, count in enumerate(row)
        if count
    }
    assert {tip for tip in report.tips["errors"] if " taken for " in tip} == cells
    bins = [
        [
            f"{one['low']:.1%} to {one['high']:.1%}",
            f"{one['n']:,}",
            f"{one['confidence']:.1%}",
            f"{one['accuracy']:.1%}",
        ]
        for one in figures["calibration"]["bins"]
        if one["n"]
    ]
    assert report.table("errors", "Answers by confidence").rows == bins
    return compared + len(cells) + len(bins)
