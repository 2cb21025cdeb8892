"""How the reports of scraping, cleaning and splitting are shown to a person."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Final

from commands.console import json_line, note, say, table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from curate.clean import CleanReport
    from curate.cleaning.conflicts import ClassPair
    from curate.cleaning.losses import ClassLoss
    from curate.compare import CompareReport
    from curate.dataset import Dataset
    from curate.label import Labelled
    from curate.radius_calibration import RadiusCalibration
    from curate.scrape import Scraped
    from curate.scraping.preview import Preview
    from curate.scraping.shortfall import Shortfall, SourceEnd
    from curate.scraping.yield_report import Yield
    from curate.split import Proof, SplitReport, Undivided
    from curate.splitting.since_split import SinceSplit
    from curate.splitting.undivided import BondKind
    from curate.verify import CrossingKind, VerifyReport

MOST_ROWS = 40
MOST_CLASSES = 10
_SPLITS = ("train", "valid", "test")


def layout_in_words(data: Path) -> str:
    """Which folders were taken for what, and which were passed over; "" where their names say it."""
    from curate.labelling.arrangement import arranged_from
    from curate.layout import read_layout
    from curate.layout_reading import reading_of

    arranged = arranged_from(data)
    root = arranged[0] if arranged else data
    try:
        said = str(reading_of(root, read_layout(root)))
    except OSError:  # whoever opens the dataset says why
        said = ""
    by_label = f"Taken: {root} as {data} by --label-from {arranged[1]}" if arranged else ""
    line = "; ".join(filter(None, (by_label, said)))
    return f"{line}." if line else ""


def labelling(report: Labelled) -> None:
    """Where the pictures lie by their labels, how many each class has, and what was left out."""
    counts = [f"{label} {count:,}" for label, count in report.counts.items()]
    more = f" and {len(counts) - MOST_CLASSES:,} more classes" if len(counts) > MOST_CLASSES else ""
    say(f"By their labels in {report.out}: {', '.join(counts[:MOST_CLASSES])}{more}; new there: {report.placed:,}.")
    for line in report.notes:
        say(line)
    if report.unlabelled:
        say(f"Without labels, and so not learnt from: {report.unlabelled:,} pictures of a split.")
    if report.left_out:
        say(f"Left out, as nothing says what they show: {len(report.left_out):,}, such as {report.left_out[0]}.")


def cleaning(report: CleanReport) -> None:
    """What the plan costs; what leaves and why; what lies under two labels or leaks across splits; what is near; what
    the quality checks flag.
    """
    costs(report.dataset, report.plan.losses)
    shared_pictures(report.dataset, report.plan.pairs)
    decisions = report.plan.decisions
    if decisions:
        shown = [(decision.reason, decision.path, decision.detail) for decision in decisions[:MOST_ROWS]]
        moving = any(decision.move_to for decision in decisions)
        table(
            "What leaves, and what goes to another class" if moving else "What leaves",
            ("reason", "picture", "why"),
            shown,
        )
        if len(decisions) > MOST_ROWS:
            say(f"… and {len(decisions) - MOST_ROWS:,} more.")
        counts = Counter(decision.reason for decision in decisions)
        say("In all: " + ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) + ".")
    for conflict in report.plan.conflicts[:MOST_ROWS]:
        say(
            f"One picture, two labels: {conflict.first} under {conflict.first_label}, "
            f"{conflict.second} under {conflict.second_label}."
        )
    for leak in report.plan.leaks[:MOST_ROWS]:
        say(f"Leak across the split: {leak.first} is the same picture as {leak.second}.")
    if report.plan.near:
        pairs = "1 pair of pictures is near, and stays" if report.plan.near == 1 else (
            f"{report.plan.near:,} pairs of pictures are near, and stay"
        )  # fmt: skip
        say(f"{pairs}: much alike, and no copies. `split` keeps them together.")
    if report.flagged:
        flags = ", ".join(f"{count:,} {flag}" for flag, count in report.flagged.items())
        say(f"Flagged, and left in place: {flags} (--remove {','.join(report.flagged)} sets them aside).")
    unreadable(report.unreadable)
    seen = _companions(report.scan.companions)
    went = f"{report.companions:,} went with the pictures that left" if report.companions else ""
    others = f"{report.scan.strangers:,} other files are no pictures, and stay" if report.scan.strangers else ""
    if said := "; ".join(filter(None, (seen, went, others))):
        say(f"{said}.")


def _companions(count: int) -> str:
    return f"Companions (captions, annotations and other files that belong to a picture): {count:,}" if count else ""


def unreadable(files: Sequence[tuple[str, str]]) -> None:
    """What may be whole and could not be read: how many for each reason, and one of them."""
    reasons: dict[str, list[str]] = {}
    for path, reason in files:
        reasons.setdefault(reason, []).append(path)
    for reason, paths in reasons.items():
        say(f"Left in place, {len(paths):,} {reason}: such as {paths[0]}.")


def costs(dataset: Dataset, losses: Sequence[ClassLoss]) -> None:
    """Which classes a plan empties, and of which it takes more than a tenth, worst first."""
    called = _called(dataset, [loss.label for loss in losses])
    for loss in losses[:MOST_CLASSES]:
        label = called[loss.label]
        if not loss.pictures:
            say(f"Empties {label}: none of its {loss.broken:,} files gives pixels.")
        elif loss.empties:
            say(f"Empties {label}: all of its {loss.pictures:,} pictures leave.")
        else:
            share = loss.leaving / loss.pictures
            say(f"Takes {share:.0%} of {label}: {loss.leaving:,} of its {loss.pictures:,} pictures leave.")
    if len(losses) > MOST_CLASSES:
        say(f"… and {len(losses) - MOST_CLASSES:,} more classes.")


def shared_pictures(dataset: Dataset, pairs: Sequence[ClassPair]) -> None:
    """Which classes share pictures, and how many; and what to do where they are one class under two names."""
    called = _called(dataset, [label for pair in pairs for label in (pair.first, pair.second)])
    for pair in pairs[:MOST_CLASSES]:
        pictures = "1 picture" if pair.shared == 1 else f"{pair.shared:,} pictures"
        said = f"{called[pair.first]} and {called[pair.second]} share {pictures}"
        if pair.may_be_one:
            said += f": one class under two names? Then unite them with --merge {pair.merge}"
        say(f"{said}.")
    if len(pairs) > MOST_CLASSES:
        say(f"… and {len(pairs) - MOST_CLASSES:,} more pairs of classes.")


def _called(dataset: Dataset, labels: Sequence[str]) -> dict[str, str]:
    """Each label with the name of its class, where that is another: "42 daffodil"."""
    if not labels:
        return {}
    from curate.credits import scraped_names
    from curate.errors import UserError
    from curate.names import names_for

    try:
        names, _ = names_for(dataset.root, dataset.labels(), recorded=scraped_names(dataset))
    except UserError:  # a names file that cannot be used is no reason not to say what a plan costs
        names = {}
    named = {label: names.get(label, label) for label in labels}
    return {label: label if label == name else f"{label} {name}" for label, name in named.items()}


def unmoved(paths: Sequence[str]) -> None:
    """What was to leave and lies where it lay."""
    for path in paths[:MOST_ROWS]:
        say(f"Could not be moved, as it has changed or its place is taken: {path}")
    if len(paths) > MOST_ROWS:
        say(f"… and {len(paths) - MOST_ROWS:,} more that could not be moved.")


def calibration(report: RadiusCalibration) -> None:
    """Recall of each edit at each radius, and the strangers that lie as near."""
    radii = (0, 2, 4, 6, 8, 10, 12)
    rows = [
        (
            edit.edit,
            *(f"{edit.within[radius] / edit.copies:.3f}" for radius in radii),
            f"{edit.found / edit.copies:.3f}",
        )
        for edit in report.edits
    ]
    columns = ("edited copies found", *(f"{radius} bits" for radius in radii), "looked at")
    table(f"{report.originals:,} pictures of yours, edited", columns, rows)
    per_million = 1e6 / max(1, report.pairs)
    near = [f"{report.near[radius] * per_million:.2f}" for radius in radii]
    merged = [f"{report.merged[radius] * per_million:.2f}" for radius in radii]
    table(
        f"Strangers per million pairs ({report.pairs:,} pairs looked at)",
        ("", *(f"{radius} bits" for radius in radii)),
        [("hashes as near", *near), ("taken for copies", *merged)],
    )
    for first, second in report.twins[:MOST_ROWS]:
        say(f"Taken for copies; have a look: {first} and {second}.")
    say(f"Recommended radius: {report.radius} bits.")


def splitting(report: SplitReport) -> None:
    """What leaks, counts of each class, what was held back, and the proof."""
    if report.proof.leaks:
        say(f"Leaks across the splits that the dataset arrived with: {_leaks_in_words(report.proof)}.")
    rows = [(label, *(counts[split] for split in _SPLITS)) for label, counts in report.counts.items()]
    totals = ("all", *(sum(counts[split] for counts in report.counts.values()) for split in _SPLITS))
    table("Pictures", ("class", *_SPLITS), [*rows, totals], last_is_total=True)
    _untaught(report)
    _not_as_asked(report)
    _left_out(report)
    if seen := _companions(report.companions):
        placed = f"; {report.placement.companions:,} stand beside placed pictures" if report.placement else ""
        say(f"{seen}{placed}.")
    if report.carved:
        say(f"Carved out of train, as the dataset came without: {', '.join(report.carved)}; what came is untouched.")
    for labelled, unlabelled in report.unlabelled_copies[:MOST_ROWS]:
        say(f"Copy of a picture without a label: {labelled} is the same picture as {unlabelled}.")
    if report.unlabelled:
        say(f"Without a label, and so not placed or learnt from: {report.unlabelled:,} pictures of a split.")
    if report.frozen:
        say(f"Frozen, and so taking nothing new: {', '.join(report.frozen)}.")
    if report.placement and report.placement.set_aside:
        say(f"Old copies set aside in the quarantine, as nothing else has their bytes: {report.placement.set_aside}.")
    if report.network:
        known, of = report.featured
        say(f"Asked the bank which pictures may be of one scene, by {report.network}: it knows {known:,} of {of:,}.")
    say(f"Proof: among {report.proof.pictures:,} pictures, {_proof_in_words(report)}.")


def _untaught(report: SplitReport) -> None:
    """The classes that valid or test has, and train has not."""
    held_out = {label: counts["valid"] + counts["test"] for label, counts in report.counts.items()}
    strange = [f"{label} ({held_out[label]:,})" for label, counts in report.counts.items() if not counts["train"]]
    strange = [one for one in strange if not one.endswith("(0)")]
    if strange and len(strange) < len(held_out):
        more = f" and {len(strange) - MOST_CLASSES:,} more" if len(strange) > MOST_CLASSES else ""
        say(
            f"In no picture of train, and so never learnt, nor named right: {', '.join(strange[:MOST_CLASSES])}{more}. "
            "Put pictures of it into train; else `evaluate` leaves these out of its figures, and says so."
        )


def _not_as_asked(report: SplitReport) -> None:
    """The pictures and classes that could not be drawn as the others were."""
    for held in report.held_back[:MOST_ROWS]:
        say(f"Held back: {held.path}: {held.reason}.")
    if len(report.held_back) > MOST_ROWS:
        say(f"… and {len(report.held_back) - MOST_ROWS:,} more that were held back.")
    if set(report.frozen) != {"valid", "test"}:
        if report.too_small:
            more = ", …" if len(report.too_small) > 10 else ""
            say(
                f"Too small for every split: {len(report.too_small)} classes: {', '.join(report.too_small[:10])}{more}."
            )
        for one in report.undivided[:MOST_ROWS]:
            say(_not_divided(one))
    if report.ungrouped:
        say(f"In no group, and so drawn alone: {len(report.ungrouped):,} pictures, such as {report.ungrouped[0]}.")
    if report.subfolders > 1:
        say(
            f"The class folders hold {report.subfolders:,} subfolders, whose pictures may part: if each is one "
            "patient, product or session, give --group-by parent."
        )
    if report.grouped_before:
        say(
            "The split that was here kept groups together, and this one does not: for the same, give "
            f"--group-by {shlex.quote(report.grouped_before)}."
        )


def _left_out(report: SplitReport) -> None:
    for path in report.orphaned[:MOST_ROWS]:
        say(f"Kept as a picture of its own, because its original is gone: {path}.")
    if report.broken:
        say(f"Left out: {len(report.broken):,} broken files, such as {report.broken[0]}.")
    if report.unreadable:
        say(f"Left out, as nothing here reads them: {len(report.unreadable):,}, such as {report.unreadable[0]}.")


def _proof_in_words(report: SplitReport) -> str:
    proof = report.proof
    free = " (free to part)" if report.bind == "copies" else ""
    said = f"pairs across splits: copies {proof.copies:,}, near {proof.near:,}{free}, of one origin {proof.origins:,}"
    if report.network or proof.found:
        later = " that had their splits before it was known" if proof.scenes and not free else ""
        said = f"{said}, of one scene by features {proof.scenes:,}{later}{free} of {proof.found:,}"
    said = f"{said}, of one group {proof.groups:,}" if report.group_by else said
    if not proof.unknown:
        return said
    whose = "picture, whose observation" if proof.unknown == 1 else "pictures, whose observations"
    kept = "kept with all else of their authors"
    if proof.nameless == proof.unknown:
        kept = "no author is named either, by whom to keep them together"
    elif proof.nameless:
        alone = "names none and stands alone" if proof.nameless == 1 else "name none and stand alone"
        kept = f"{kept}, but for {proof.nameless:,} that {alone}"
    return f"{said}; it says nothing of {proof.unknown:,} {whose} no source told: {kept}"


def _leaks_in_words(proof: Proof) -> str:
    kinds = (("of copies", proof.copies), ("of one origin", proof.origins), ("of one group", proof.groups))
    return ", ".join(f"{count:,} {'pair' if count == 1 else 'pairs'} {kind}" for kind, count in kinds if count)


_HOLDS: Final[Mapping[BondKind, str]] = {
    "copies": "copies of one picture: `clean` first, or add other pictures",
    "origins": "of one observation or source page: add pictures of others",
    "groups": "of one group by --group-by: give it so that it tells more groups apart",
    "scenes": (
        "shots of one scene: add others, or let these part with --bind copies, which makes figures on test too good"
    ),
    "near": (
        "near pictures, such as frames of one camera or one form filled in: add others, or let these part with --bind "
        "copies, which makes figures on test too good"
    ),
}


def _not_divided(one: Undivided) -> str:
    """Why a class has too few pictures in a split although it has enough, and what to do."""
    groups = "one group" if one.groups == 1 else f"{one.groups:,} groups"
    return (
        f"Not divided as asked: {one.label}, whose {one.pictures:,} pictures are {groups}, held together as "
        f"{_HOLDS[one.kind]}."
    )


_CROSSINGS: Final[Mapping[CrossingKind, str]] = {"copies": "copies", "near": "near", "origin": "of one origin"}


def since_split_in_words(found: SinceSplit) -> str:
    """What has become of a dataset's pictures since its split was made; "" where nothing has."""
    parts = [
        f"{found.new:,} {'picture is' if found.new == 1 else 'pictures are'} new" if found.new else "",
        f"{found.gone:,} of the split {'has' if found.gone == 1 else 'have'} gone" if found.gone else "",
    ]
    return ", ".join(part for part in parts if part)


def verification(report: VerifyReport) -> None:
    """What is not as the catalog says, and each split's proof."""
    if report.no_catalog:
        say(f"{report.no_catalog} Here, every file counts as new.")
    for unfinished in report.unfinished:
        say(unfinished)
    for what, paths in (("Changed", report.changed), ("Missing", report.missing), ("New", report.new)):
        for path in paths[:MOST_ROWS]:
            say(f"{what}: {path}")
        if len(paths) > MOST_ROWS:
            say(f"… and {len(paths) - MOST_ROWS:,} more that are {what.lower()}.")
    for damage in report.broken[:MOST_ROWS]:
        say(f"Broken: {damage.path}: {damage.reason}")
    unreadable([(damage.path, damage.reason) for damage in report.unreadable])
    if seen := _companions(report.companions):
        say(f"{seen}.")
    for proof in report.splits:
        for crossing in proof.crossings[:MOST_ROWS]:
            bits = f", {crossing.distance} bits" if crossing.distance >= 0 else ""
            say(f"Crosses splits ({crossing.kind}{bits}): {crossing.first} and {crossing.second}")
        counts = ", ".join(f"{count:,} {split}" for split, count in proof.counts.items())
        scenes = f", of one scene by features {proof.count('scene'):,} of {proof.scenes:,}" if proof.scenes else ""
        said = ", ".join(f"{words} {proof.count(kind):,}" for kind, words in _CROSSINGS.items())
        grouped = f", of one group {proof.count('group'):,}" if proof.group_by else ""
        say(f"Proof of {proof.folder}: {counts}; pairs across splits: {said}{scenes}{grouped}.")


def comparison(report: CompareReport) -> None:
    """Which class is which, what both have, what leaks between the splits, and how many pairs are near."""
    rows = [
        (
            _class_and_name(match.first, match.first_name),
            _class_and_name(match.second, match.second_name),
            match.shared,
            match.of_first,
            match.of_second,
            "yes" if match.same_name else "",
        )
        for match in report.classes[:MOST_ROWS]
    ]
    columns = (f"class of {report.first}", f"class of {report.second}", "shared", "of", "of", "same name")
    table("Which class is which", columns, rows)
    if len(report.classes) > MOST_ROWS:
        say(f"… and {len(report.classes) - MOST_ROWS:,} more.")
    for leak in report.leaks[:MOST_ROWS]:
        say(
            f"Leak: {leak.first} of {report.first} ({leak.first_split}) is the same picture as {leak.second} of "
            f"{report.second} ({leak.second_split})."
        )
    if len(report.leaks) > MOST_ROWS:
        say(f"… and {len(report.leaks) - MOST_ROWS:,} more leaks.")
    for root, broken in zip((report.first, report.second), report.broken, strict=True):
        if broken:
            say(f"Left out of {root}: {len(broken):,} broken files, such as {broken[0].path}.")
    leaking = Counter((leak.first_split, leak.second_split) for leak in report.leaks)
    for (first, second), count in sorted(leaking.items()):
        say(f"Leaks between {first} of {report.first} and {second} of {report.second}: {count:,}.")
    near = "1 pair is near, and no copy" if report.near == 1 else f"{report.near:,} pairs are near, and no copies"
    say(
        f"Of {report.pictures[0]:,} pictures in {report.first}, {report.in_both:,} are among the "
        f"{report.pictures[1]:,} in {report.second}; {near}."
    )


def _class_and_name(label: str, name: str) -> str:
    return label if name in ("", label) else f"{label} {name}"


def scraping(report: Scraped) -> None:
    """The yield per class and source, why the rest fell away, and which sources gave up."""
    stages = ("found", "allowed", "fetched", "intact", "unique")
    rows = [
        (one.label, one.source, *(getattr(one, stage) for stage in stages), _losses(one.lost)) for one in report.yields
    ]
    sums = (sum(getattr(one, stage) for one in report.yields) for stage in stages)
    lost = sum((one.lost for one in report.yields), Counter[str]())
    columns = ("class", "source", *stages, "why the rest fell away")
    table("Yield of all runs so far", columns, [*rows, ("all", "", *sums, _losses(lost))], last_is_total=True)
    _taken_for(report.notes)
    for problem in report.problems:
        say(f"Could not go on with {problem}.")
    if report.unwanted:
        many = f"{len(report.unwanted):,} pictures that are there have"
        say(
            f"{'1 picture that is there has' if len(report.unwanted) == 1 else many} a licence that --license does not "
            f"allow, such as {report.unwanted[0]}: remove the files yourself if they are not to stay; the column "
            "license of metadata.csv tells them."
        )
    for short in report.shortfalls[:MOST_ROWS]:
        say(_short_in_words(short))
    if len(report.shortfalls) > MOST_ROWS:
        say(f"… and {len(report.shortfalls) - MOST_ROWS:,} more classes have fewer than were asked for.")


_WAYS_OUT: Final = {
    "licence": "--license any, or more codes",
    "too small": "a lower --min-size",
    "enough of one author": "--per-author 0",
    "robots.txt": "--ignore-robots",
    "x-robots-tag": "--ignore-noai",
    "noai": "--ignore-noai",
    "http 401": "--contact",
    "http 403": "--contact",
    "rate limited": "the same command again later",
    "server error": "the same command again later",
    "unreachable": "the same command again later",
    "too slow": "the same command again later",
    "cut off": "the same command again later",
}


_ENDS: Final[Mapping[SourceEnd, str]] = {
    "refused": "--contact or a valid key",
    "limited": "the same command again later",
    "failed": "the same command again later",
}


def _short_in_words(short: Shortfall) -> str:
    """How many a class has, why no more, and what may bring more."""
    ways = list(dict.fromkeys(_WAYS_OUT[kind] for kind, _ in short.lost.most_common() if kind in _WAYS_OUT))
    ways = list(dict.fromkeys([*(_ENDS[end] for end in short.closed.values()), *ways]))
    ways += ["--specimens"] if short.alive_only else []
    whys = [f"{' and '.join(short.closed)} failed, as said above"] if short.closed else []
    whys += [f"of the others: {_losses(short.lost)}"] if short.lost else []
    why = "; ".join(whys) or "the sources have no more"
    more = " or ".join([*ways, "another --source"])
    said = f"{short.label} has {short.there:,} of {short.wanted:,} pictures; {why}. Try {more}."
    failed = "; ".join(f"{url} ({reason})" for url, reason in short.failures)
    others = short.failed - len(short.failures)
    return f"{said} Failed: {failed}{f' … and {others:,} more' if others else ''}." if failed else said


def scrape_preview(shown: Preview) -> None:
    """URLs and licences of what would be fetched."""
    rows = [(o.label, o.source, o.candidate.license.name, o.candidate.author, o.candidate.url) for o in shown.listed]
    table("Would be tried", ("class", "source", "licence", "author", "URL"), rows)
    for found in shown.yields[:MOST_ROWS]:
        say(f"{_found_in_words(found)}.")
    if len(shown.yields) > MOST_ROWS:
        say(f"… and {len(shown.yields) - MOST_ROWS:,} more searches.")
    _taken_for(shown.notes)
    for problem in shown.problems:
        say(f"Could not go on with {problem}.")


def piped_preview(shown: Preview, names: Mapping[str, str]) -> None:
    """A line of JSON for each picture that would be fetched, as `urls:` reads them; the rest goes to stderr.

    `names` are label → name.
    """
    for one in shown.listed:
        candidate = one.candidate
        json_line(
            {
                "url": candidate.url,
                "label": one.label,
                "name": names.get(one.label, one.label),
                "source": one.source,
                "source_id": candidate.source_id,
                "title": candidate.title,
                "author": candidate.author,
                "license": candidate.license.name if candidate.license.code else "",
                "license_url": candidate.license.url,
                "landing_page": candidate.landing_page,
                "provenance_group": candidate.provenance_group,
                "taken_at": candidate.taken_at,
                "author_page": candidate.author_page,
                "citation": candidate.citation,
            }
        )
    for found in shown.yields:
        note(_found_in_words(found))
    for line in (
        *(f"Taken for {words}." for words in shown.notes),
        *(f"Could not go on with {p}." for p in shown.problems),
    ):
        note(line)


def _found_in_words(found: Yield) -> str:
    stages = ", ".join(f"{stage} {getattr(found, stage):,}" for stage in ("found", "allowed"))
    return f"{found.label} at {found.source}: {stages}; {_losses(found.lost) or 'none fell away'}"


def _taken_for(notes: Sequence[str]) -> None:
    """What the sources took a query for, so that another species is seen before it is trained on."""
    for words in notes[:MOST_ROWS]:
        say(f"Taken for {words}.")
    if len(notes) > MOST_ROWS:
        say(f"… and {len(notes) - MOST_ROWS:,} more.")


def _losses(lost: Counter[str]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in lost.most_common())
