"""`multibox predict`."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from multibox.commands.console import begin, complain, console, say, say_command, tracking
from multibox.commands.options import (
    Flag,
    ModelName,
    OutputFormat,
    Positive,
    Threshold,
    Tile,
    TileOverlap,
    Verbose,
    find_template,
    found_model,
    say_next,
)
from multibox.errors import DataError, MultiboxError, OptionError
from multibox.files import model_files
from multibox.wording import Detailed, counted, listed, typed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from multibox.predict.label_files import LabelFile
    from multibox.predict.result_files import CocoFile, PredictionFile, RunFacts
    from multibox.predict.run import FrameResult, OnDrawing, Tally
    from multibox.predict.sources import Source
    from multibox.runs.finding import FoundModel
    from multibox.runtime.protocol import Runtime
    from multibox.signals import Interruption

COCO_DETECTOR = "the detector of COCO's 80 classes that comes with multibox is taken, a YOLOX-Nano"

PREDICTIONS = "predictions"
"""Folder in a run for drawings of what is found."""

MOST_PRINTED = 12
"""Number of sources up to which what is found in each is printed beside being drawn."""

EXIT_SOME_UNREADABLE = 1
"""Some sources could not be read, others could. If none could it is 2, as for every bad input."""


def predict(
    sources: Annotated[list[str], Parameter(negative=())],
    /,
    *,
    model: ModelName = None,
    threshold: Threshold = None,
    classes: str = "",
    agnostic_nms: Flag = False,
    pick: Positive | None = None,
    out: Annotated[Path | None, Parameter(name=["--out", "--save-to"])] = None,
    json: Path | None = None,
    csv: Path | None = None,
    coco: Path | None = None,
    ann_file: Path | None = None,
    save_labels: Path | None = None,
    format: OutputFormat | None = None,
    tile: Tile = None,
    tile_overlap: TileOverlap = None,
    device: str = "auto",
    config: str = "",
    verbose: Verbose = False,
) -> int:
    """Find objects in images and videos, and in what cameras and streams show.

    Example: multibox predict new_photos

    Takes the best weights of the newest run, and saves images with boxes drawn in the run. Where there is no run, the
    detector of 80 everyday classes that comes with multibox is taken. What is found in each image is printed, unless an
    option says where it goes. Exit code: 0; 1 if some sources could not be read, each of which is named; 2 if none
    could; 130 after Ctrl-C, which leaves complete files.

    Args:
        sources: Images, videos, folders, patterns such as "photos/**/*.jpg", the number of a camera (0), or the address
            of a stream (rtsp://..., http://...).
        model: A run, or a model (.pth, .xml, .onnx). Default: the run of this folder, else the newest in runs, else the
            detector that comes with multibox.
        threshold: Score from which a detection counts. Default: what the model's file recommends, else 0.3.
        classes: Show these classes only, separated by commas. Of a file that names no classes: their names.
        agnostic_nms: Keep one box, the best, where boxes of several classes lie on one object.
        pick: Only keep this many images: those most worth labelling next, because the detector is unsure of them and
            they are unlike each other. Their names are printed, the best first.
        out: Folder for images and videos (mp4) with their detections drawn; of a single source, a file as well.
            Default: a new folder in the run; none where a file is named as the model.
        json: JSON file for all detections; if its name ends in .jsonl, a line for each image or frame as it is done.
        csv: CSV file for all detections, a row for each.
        coco: JSON file for all detections in the COCO result format.
        ann_file: COCO annotation file whose ids of images and categories --coco is to use.
        save_labels: Folder for the detections in images as labels, to be corrected in a labelling tool.
        format: Format of --save-labels. Default: coco.
        tile: For small objects in large images: side in pixels of overlapping tiles to look at as well; auto is one and
            a half of the network's input. Default: no tiles.
        tile_overlap: Share of a tile's side that neighbours have in common. Default: 0.2.
        device: auto, cpu, cuda, ...; for OpenVINO files auto, CPU, GPU, NPU, AUTO.
        config: Template of a snapshot that carries none. Default: template.yaml of the work directory.
        verbose: Show details: input size, device, versions.
    """
    begin(verbose=verbose)
    from multibox.predict.result_files import RunFacts
    from multibox.predict.sources import find_sources
    from multibox.runs.run import next_free
    from multibox.runtime.choosing_runtime import chosen_only
    from multibox.runtime.tiling_runtime import with_tiles
    from multibox.signals import interruption
    from multibox.structures import shown_from

    _check_pairs(ann_file=ann_file, coco=coco, format=format, save_labels=save_labels)
    found = _found(model)
    home = Path() if found is None else found.run.home if found.run is not None else None
    is_by_itself = home is not None and not (model is not None and model.is_file())
    predictions = home / PREDICTIONS if home is not None else Path(PREDICTIONS)
    all_sources, problems = find_sources(sources, output_folder=out or predictions)
    _report(problems, is_all=not all_sources)
    wanted = _class_names(classes)

    def open_runtime() -> Runtime:
        opened = with_tiles(_opened(found, config, wanted, device), tile, tile_overlap)
        return chosen_only(opened, wanted, is_agnostic=agnostic_nms)

    runtime = None
    if pick is not None:
        runtime = open_runtime()
        all_sources = _picked(runtime, all_sources, pick)
    prints = out is None and pick is None
    if out is None and is_by_itself and not any((json, csv, coco, save_labels)) and not all_sources[0].is_live:
        out = next_free(predictions, Path(all_sources[0].name).stem if len(all_sources) == 1 else _name(sources))
        prints = pick is None and len(all_sources) <= MOST_PRINTED
    outputs = _Outputs(
        all_sources,
        save_to=out,
        json=json,
        csv=csv,
        coco=coco,
        ann_file=ann_file,
        save_labels=save_labels,
        format=format or "coco",
        prints=prints,
    )
    outputs.check([] if found is None else model_files(found.path))

    runtime = open_runtime() if runtime is None else runtime
    chosen, reason = shown_from(threshold, runtime.threshold)
    tile_px = getattr(runtime, "tile_px", None)
    line = f"Score threshold {chosen:g}, {reason}." + ("" if tile_px is None else f" Tiles of {tile_px} px.")
    say(Detailed(f"{line} Input {runtime.input_size} px, device {device}.", brief=line))
    outputs.label_paths(runtime.classes)  # which refuses names of classes that the format cannot have
    name = COCO_DETECTOR if found is None else str(found.path)
    run = RunFacts(model=name, classes=runtime.classes, threshold=chosen, tile_px=tile_px)
    with interruption() as stop:
        try:
            tally = _run(runtime, all_sources, run, outputs, stop)
        except KeyboardInterrupt:
            if stop.exit_code:
                return stop.exit_code
            raise
        if stop.is_set():
            complain("Interrupted: the results are of what was looked at until then.")
        if stop.exit_code:
            return stop.exit_code
    if is_by_itself:
        _say_next(found)
    return EXIT_SOME_UNREADABLE if problems or tally.failures else 0


def _check_pairs(*, ann_file: Path | None, coco: Path | None, format: str | None, save_labels: Path | None) -> None:
    """Refuse options that say how something is written which is not written."""
    if ann_file is not None and coco is None:
        raise OptionError("--ann-file has no effect without --coco: it says which ids are used there.")
    if format is not None and save_labels is None:
        raise OptionError("--format has no effect without --save-labels: it says how labels are written.")


def _picked(runtime: Runtime, sources: Sequence[Source], count: int) -> list[Source]:
    """The images most worth labelling, which are said; all others are left out."""
    from multibox.predict.frames import Failure
    from multibox.predict.picking import pick_sources
    from multibox.signals import interruption

    others = [source.title for source in sources if source.kind != "image"]
    if others:
        raise OptionError(f"--pick chooses among images, and {others[0]} is none. Leave it out, or save its frames.")
    with interruption() as stop, tracking("Looking", len(sources)) as tracker:

        def on_result(result: FrameResult | Failure) -> None:
            tracker.advance()
            if isinstance(result, Failure):
                complain(result.reason)

        picked = pick_sources(runtime, sources, count, stop=stop, on_result=on_result)
        if stop.is_set():
            raise KeyboardInterrupt
    if not picked:
        raise DataError(f"None of the {counted(len(sources), 'image')} can be read, so none is picked.")
    say(f"Most worth labelling of {counted(len(sources), 'image')}, the best first:")
    for source in picked:
        say(f"  {source.name}")
    return picked


def _name(sources: Sequence[str]) -> str:
    """A name for the drawings of several sources: that of the folder which is named, if one is."""
    named = Path(sources[0]).resolve()
    return named.name if len(sources) == 1 and named.is_dir() else "images"


def _found(named: Path | None) -> FoundModel | None:
    """The model to take; None for the one that comes with multibox, where there is no run."""
    from multibox.runs.finding import default_run

    if named is None and default_run() is None:
        say(f"There is no run here: {COCO_DETECTOR}. Train your own with `multibox train DATA`.")
        return None
    return found_model(named, is_judged=False)


def _opened(found: FoundModel | None, config: str, classes: list[str], device: str) -> Runtime:
    from multibox.runtime.opening import open_coco_detector, open_runtime

    if found is None:
        return open_coco_detector(device=device)
    template = find_template(config)
    # Names of classes are for a file that has none of its own; of others, they choose.
    try:
        runtime = open_runtime(found.path, template=template, device=device)
        if set(classes) <= set(runtime.classes) or getattr(runtime, "info", runtime) is not None:
            return runtime
    except MultiboxError:
        if not classes:
            raise
    return open_runtime(found.path, template=template, classes=classes, device=device)


def _say_next(found: FoundModel | None) -> None:
    if found is None:
        say("Next, train a detector of your own objects, on a folder with labelled images:")
        say_command("multibox train DATA --minutes 15")
    elif found.run is not None:
        say_next(found.run, "predict")


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
    prints: bool

    def check(self, models: Sequence[Path]) -> None:
        """Fail early where a file would replace anything but an earlier one of its kind."""
        from multibox import overwriting
        from multibox.overwriting import Output
        from multibox.predict.result_files import images_path

        is_lines = self.json is not None and self.json.suffix.lower() == ".jsonl"
        is_json = overwriting.is_prediction_lines if is_lines else overwriting.is_predictions
        images = None if self.coco is None or self.ann_file is not None else images_path(self.coco)
        kinds = [
            ("--json", self.json, is_json),
            ("--csv", self.csv, overwriting.is_prediction_table),
            ("--coco", self.coco, overwriting.is_coco_results),
            ("--coco", images, overwriting.is_coco_images),
            *(("--save-to", path, overwriting.is_drawing) for path in self.drawings().values()),
            *(("--save-labels", path, overwriting.is_nobodys) for path in self.label_paths()),
        ]
        read = [str(source.address) for source in self.sources if not source.is_live]
        others = [path for path in (*models, self.ann_file) if path is not None]
        written = [Output(option, path, is_ours) for option, path, is_ours in kinds if path is not None]
        overwriting.check_outputs(written, [*read, *others], say=say)

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
            ("Images with boxes", self.save_to),
            ("JSON", self.json),
            ("CSV", self.csv),
            ("COCO results", self.coco),
        ):
            if path is not None:
                say(f"{what}: {typed(path)}")
        if coco_file is not None and coco_file.num_unknown:
            say(
                f"{self.ann_file}: {coco_file.num_unknown} of the images are not in it, or in another size, and so "
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
        say(f"Labels: {typed(self.save_labels)}, {counted(num_objects, 'object')} in {counted(len(images), 'image')}")
        if file.num_frames:
            say(f"  {counted(file.num_frames, 'frame')} of videos have no labels: save them as images first")
        if file.num_empty:
            say(f"  {counted(file.num_empty, 'box', 'boxes')} without an area left out")
        say(f"  {how_to_import(self.format, self.save_labels, [file.labels])}")


def _class_names(classes: str) -> list[str]:
    """The names in an option; none if it is not given."""
    if not classes:
        return []

    from multibox.data.coco import split_list

    return split_list(classes)


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
        prints = outputs.prints and not opened.files
        console.is_all = prints and opened.save_drawing is None
        with tracking("Predicting", len(sources)) as tracker:

            def on_result(result: FrameResult | Failure) -> None:
                tracker.advance()
                if isinstance(result, Failure):
                    if len(sources) > 1:  # the reason why the only source fails is the error of the command
                        complain(result.reason)
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
                complain("Interrupted before anything was seen; no file is written.")
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
        complain(problem)
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
