"""`multibox predict`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multibox.commands.console import errors, tracking
from multibox.commands.options import OutputFormat, Threshold, Tile, TileOverlap, find_template, say, with_tiles
from multibox.errors import DataError, OptionError
from multibox.files import model_files
from multibox.wording import counted, listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multibox.predict.label_files import LabelFile
    from multibox.predict.result_files import CocoFile, PredictionFile, RunFacts
    from multibox.predict.run import FrameResult, OnDrawing, Tally
    from multibox.predict.sources import Source
    from multibox.runtime.protocol import Runtime
    from multibox.signals import Interruption

EXIT_SOME_UNREADABLE = 1
"""Some sources could not be read, others could. If none could it is 2, as for every bad input."""


def predict(
    sources: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    load_weights: Path,
    threshold: Threshold = None,
    save_to: Path | None = None,
    json: Path | None = None,
    csv: Path | None = None,
    coco: Path | None = None,
    ann_file: Path | None = None,
    save_labels: Path | None = None,
    format: OutputFormat | None = None,
    tile: Tile = None,
    tile_overlap: TileOverlap = None,
    device: str = "auto",
    classes: str = "",
    config: str = "",
) -> int:
    """Find objects in images and videos, and in what cameras and streams show.

    What is found in each image is printed, unless an option says where it goes. Exit code: 0; 1 if some sources could
    not be read, each of which is named; 2 if none could; 130 after Ctrl-C, which leaves complete files.

    Args:
        sources: Images, videos, folders, patterns such as "photos/**/*.jpg", the number of a camera (0), or the address
            of a stream (rtsp://..., http://...).
        load_weights: The model.
        threshold: Score from which a detection counts. Default: what the model's file recommends, else 0.3.
        save_to: Folder for images and videos (mp4) with their detections drawn; of a single source, a file as well.
        json: JSON file for all detections; if its name ends in .jsonl, a line for each image or frame as it is done.
        csv: CSV file for all detections, a row for each.
        coco: JSON file for all detections in the COCO result format.
        ann_file: COCO annotation file whose ids of images and categories --coco is to use.
        save_labels: Folder for the detections in images as labels, to be corrected in a labelling tool.
        format: Format of --save-labels. Default: coco.
        tile: For small objects in large images: side in pixels of overlapping tiles to look at as well; auto is one and
            a half of the network's input.
        tile_overlap: Share of a tile's side that neighbours have in common. Default: 0.2.
        device: auto, cpu, cuda, ...; for OpenVINO files auto, CPU, GPU, NPU, AUTO.
        classes: Names of the classes of a file that names none, separated by commas.
        config: Template of a snapshot that carries none. Default: template.yaml of the work directory.
    """
    from multibox.predict.result_files import RunFacts
    from multibox.predict.sources import find_sources
    from multibox.runtime.opening import open_runtime
    from multibox.signals import interruption
    from multibox.structures import shown_from

    if ann_file is not None and coco is None:
        raise OptionError("--ann-file has no effect without --coco: it says which ids are used there.")
    if format is not None and save_labels is None:
        raise OptionError("--format has no effect without --save-labels: it says how labels are written.")
    all_sources, problems = find_sources(sources, output_folder=save_to)
    _report(problems, is_all=not all_sources)
    outputs = _Outputs(
        all_sources,
        save_to=save_to,
        json=json,
        csv=csv,
        coco=coco,
        ann_file=ann_file,
        save_labels=save_labels,
        format=format or "coco",
    )
    outputs.refuse_overwriting(load_weights)

    runtime = with_tiles(
        open_runtime(load_weights, template=find_template(config), classes=_wanted(classes), device=device),
        tile,
        tile_overlap,
    )
    chosen, reason = shown_from(threshold, runtime.threshold)
    tile_px = getattr(runtime, "tile_px", None)
    say(f"Score threshold {chosen:g}, {reason}." + ("" if tile_px is None else f" Tiles of {tile_px} px."))
    outputs.label_paths(runtime.classes)  # which refuses names of classes that the format cannot have
    run = RunFacts(model=str(load_weights), classes=runtime.classes, threshold=chosen, tile_px=tile_px)
    with interruption() as stop:
        tally = _run(runtime, all_sources, run, outputs, stop)
        if stop.is_set():
            errors.print("Interrupted: the results are of what was looked at until then.", markup=False)
        if stop.exit_code:
            return stop.exit_code
    return EXIT_SOME_UNREADABLE if problems or tally.failures else 0


@dataclass(frozen=True)
class _Outputs:
    """The files that a run writes."""

    sources: Sequence[Source]
    save_to: Path | None
    json: Path | None
    csv: Path | None
    coco: Path | None
    ann_file: Path | None
    save_labels: Path | None
    format: OutputFormat

    def refuse_overwriting(self, model: Path) -> None:
        """Fail early where a file would replace one that is read, or another one."""
        from multibox.predict import drawings as saved_drawings
        from multibox.predict.result_files import images_path

        named = {"--json": self.json, "--csv": self.csv, "--coco": self.coco}
        written = [(option, path) for option, path in named.items() if path is not None]
        if self.coco is not None and self.ann_file is None:
            written.append(("--coco", images_path(self.coco)))
        written += [("--save-to", path) for path in self.drawings().values()]
        written += [("--save-labels", path) for path in self.label_paths()]
        read = [str(source.address) for source in self.sources if not source.is_live]
        others = [path for path in (*model_files(model), self.ann_file) if path is not None]
        saved_drawings.refuse_overwriting(written, [*read, *others])

    def drawings(self) -> dict[str, Path]:
        """The drawing of each source, by its name."""
        from multibox.predict import drawings as saved_drawings

        return {} if self.save_to is None else saved_drawings.plan(self.sources, self.save_to)

    def label_paths(self, classes: Sequence[str] = ()) -> list[Path]:
        """The files of labels."""
        if self.save_labels is None:
            return []

        from multibox.predict.label_files import plan_label_files

        return plan_label_files(self.save_labels, self.format, self.sources, classes)

    def open(self, context: ExitStack, run: RunFacts, stop: Interruption) -> _OpenOutputs:
        """Begin all files; they are complete when the context ends, and dropped if an error ends it."""
        from multibox.predict import drawings as saved_drawings
        from multibox.predict import result_files

        files: list[PredictionFile] = []
        coco_file = label_file = None
        if self.json is not None and self.json.suffix.lower() == ".jsonl":
            files.append(context.enter_context(result_files.open_json_lines(self.json, run)))
        elif self.json is not None:
            files.append(context.enter_context(result_files.open_json(self.json, run, was_stopped=stop.is_set)))
        if self.csv is not None:
            files.append(context.enter_context(result_files.open_csv(self.csv, run)))
        if self.coco is not None:
            known = result_files.read_known_images(self.ann_file, run.classes) if self.ann_file else None
            coco_file = context.enter_context(result_files.open_coco(self.coco, run, known))
            files.append(coco_file)
        if self.save_labels is not None:
            from multibox.predict import label_files

            opened = label_files.open_labels(self.save_labels, self.format, run, self.sources)
            label_file = context.enter_context(opened)
            files.append(label_file)
        save = None if self.save_to is None else context.enter_context(saved_drawings.saving(self.drawings()))
        return _OpenOutputs(files, save, coco_file, label_file)

    def report(self, opened: _OpenOutputs) -> None:
        """Say what lies where."""
        coco_file = opened.coco_file
        for what, path in (
            ("Drawings", self.save_to),
            ("JSON", self.json),
            ("CSV", self.csv),
            ("COCO results", self.coco),
        ):
            if path is not None:
                say(f"{what}: {path}")
        if coco_file is not None and coco_file.num_unknown:
            say(
                f"{self.ann_file}: {coco_file.num_unknown} of the pictures are not in it, or in another size, and so "
                f"not in {self.coco}; the first: {coco_file.first_unknown}"
            )
        if coco_file is not None and coco_file.left_out:
            names = listed([f"{name} ({count})" for name, count in coco_file.left_out.items()], limit=9)
            say(f"{self.ann_file}: it has no category for {names}; these detections are not in {self.coco}")
        if opened.label_file is not None:
            self._report_labels(opened.label_file)

    def _report_labels(self, file: LabelFile) -> None:
        from multibox.data.labels_out import how_to_import

        assert self.save_labels is not None
        images = file.labels.images
        num_objects = sum(len(image.objects) for image in images)
        say(f"Labels: {self.save_labels}, {counted(num_objects, 'object')} in {counted(len(images), 'image')}")
        if file.num_frames:
            say(f"  {counted(file.num_frames, 'frame')} of videos have no labels: save them as images first")
        if file.num_empty:
            say(f"  {counted(file.num_empty, 'box', 'boxes')} without an area left out")
        say(f"  {how_to_import(self.format, self.save_labels, [file.labels])}")


def _wanted(classes: str) -> list[str] | None:
    """The classes that an option names; None for all."""
    if not classes:
        return None

    from multibox.data.coco import split_list

    return split_list(classes) or None


@dataclass(frozen=True)
class _OpenOutputs:
    """All files that take detections, what saves a drawing, and those files that have something to report."""

    files: list[PredictionFile]
    save_drawing: OnDrawing | None
    coco_file: CocoFile | None
    label_file: LabelFile | None


def _run(runtime: Runtime, sources: Sequence[Source], run: RunFacts, outputs: _Outputs, stop: Interruption) -> Tally:
    from multibox.predict.frames import Failure
    from multibox.predict.run import predict as run_prediction

    with ExitStack() as context:
        opened = outputs.open(context, run, stop)
        prints = not (opened.files or opened.save_drawing)
        with tracking("Predicting", len(sources)) as tracker:

            def on_result(result: FrameResult | Failure) -> None:
                tracker.advance()
                if isinstance(result, Failure):
                    if len(sources) > 1:  # the reason why the only source fails is the error of the command
                        errors.print(result.reason, markup=False)
                elif prints and result.frame.index is None:
                    _print(result, runtime.classes)

            tally = run_prediction(
                runtime,
                sources,
                threshold=run.threshold,
                stop=stop,
                files=opened.files,
                save_drawing=opened.save_drawing,
                on_open=lambda _, count: tracker.expect(None if count is None else count - 1),
                on_result=on_result,
            )
        if tally.num_read == 0:  # inside, so that files with nothing in them replace none
            if stop.is_set():
                errors.print("Interrupted before anything was seen; no file is written.", markup=False)
                raise KeyboardInterrupt
            raise DataError(
                tally.failures[0].reason if len(sources) == 1 else f"None of the {len(sources)} sources can be read."
            )
    _summarise(tally, runtime.classes)
    outputs.report(opened)
    return tally


def _report(problems: Sequence[str], *, is_all: bool) -> None:
    """Say which words name no source. If none does, that is the error of the command."""
    for problem in problems[: -1 if is_all else None]:
        errors.print(problem, markup=False)
    if is_all:
        raise DataError(problems[-1] if problems else "There is no source to look at.")


def _print(result: FrameResult, classes: Sequence[str]) -> None:
    """An image with its size, and a line for each object: class, score, box in pixels of the image."""
    frame, detected = result.frame, result.detections
    objects = counted(len(detected), "object") if detected else "nothing"
    say(f"{frame.source.title}: {frame.width}x{frame.height}, {objects}")
    names = [classes[label] for label in detected.labels.tolist()]
    longest = max(map(len, names), default=0)
    boxes_px = detected.boxes_px(frame.width, frame.height).round().tolist()
    rows = zip(names, detected.scores.tolist(), boxes_px, strict=True)
    for name, score, box in rows:
        say(f"  {name:<{longest}}  {score:.2f}  " + " ".join(f"{value:5.0f}" for value in box))


def _summarise(tally: Tally, classes: Sequence[str]) -> None:
    counts = [(tally.num_images, "image"), (tally.num_frames, "frame")]
    looked_at = " and ".join(counted(number, what) for number, what in counts if number)
    by_class = ", ".join(f"{classes[label]} {number}" for label, number in sorted(tally.objects.items()))
    text = f"{looked_at}: {counted(sum(tally.objects.values()), 'object')}" + (f" ({by_class})" if by_class else "")
    if tally.num_dropped:
        text += f"; {counted(tally.num_dropped, 'frame')} came faster than the detector and were left out"
    if tally.failures:
        text += f"; {counted(len(tally.failures), 'source')} could not be read, or not to the end"
    say(text)
