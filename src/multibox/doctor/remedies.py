"""What to do about each kind of finding, in a sentence."""

from __future__ import annotations

REMEDIES = {
    # Errors: training refuses the set.
    "annotations-of-unknown-categories": "Add the category to the file, or remove the annotations.",
    "annotations-of-unknown-images": "Add the image to the file, or remove the annotations.",
    "annotations-that-cannot-be-read": "Correct them in your labelling tool.",
    "annotations-with-the-id-of-another": "Give each annotation an id of its own; --fix does it.",
    "annotation-files-that-cannot-be-read": "Save them again in your labelling tool.",
    "annotation-files-without-an-image": "Put the images back, or remove the files.",
    "bad-boxes": "Draw them again, or let --fix leave out those that have no size.",
    "boxes-that-mean-something-else": "Let --fix write a copy with the boxes as they are meant.",
    "categories-that-cannot-be-read": "Give each category an id and a name.",
    "images-of-a-kind-that-is-not-read": "Save them as JPEG or PNG.",
    "images-of-the-table-that-are-missing": "Put the images back, or remove their rows.",
    "images-outside-the-data-root": "Move them into the folder of the set, and correct their names in the file.",
    "images-that-cannot-be-read": "Give each image an id and a file name.",
    "images-that-cannot-be-used": "Replace or remove these images; --fix scales boxes and leaves out what is broken.",
    "images-whose-boxes-fit-them-as-they-are": "Let --fix write the sizes that the images have.",
    "images-with-boxes-of-the-other-frame": "Let --fix save the photographs turned as their boxes see them.",
    "images-with-the-id-of-another": "Give each image an id of its own.",
    "images-with-too-many-objects": "Cut the images into parts, and the annotations with them.",
    "label-files-without-an-image": "Put the images back, or remove the files.",
    "label-lines-that-cannot-be-read": "Correct these lines: class, x and y of the centre, width, height.",
    "annotated-images-that-are-missing": "Put the images back, or take them out of the annotations.",
    "annotated-images-that-could-be-several": "Give each image a name of its own, or leave in one folder of them.",
    "lines-that-cannot-be-read": "Correct these lines: each is JSON with a `file_name`.",
    "listed-images-that-are-missing": "Put the images back, or take them out of the list.",
    "missing-images": "Put the images back or correct their names in the file; --fix leaves them out.",
    "objects-that-cannot-be-read": "Draw them again in your labelling tool.",
    "parts-whose-boxes-mean-something-else": "Let --fix write a copy with the boxes as they are meant.",
    "parts-without-any-label-file": "Put the folder of labels where the format has it: labels/ beside images/.",
    "rows-that-cannot-be-read": "Correct these rows of the table.",
    "tasks-without-an-image": "Remove these tasks from the project, and export it again.",
    # Warnings: training goes on, and its result may disappoint.
    "annotation-files-that-name-another-image": "Look whether the boxes fit the image, and correct the name.",
    "boxes-drawn-twice": "Remove one of each pair; --fix removes those that are equal to the pixel.",
    "boxes-over-the-border": "Nothing needs to be done, unless they reach far over: then check the sizes of images.",
    "boxes-whose-corners-are-the-other-way-round": "Nothing needs to be done if the examples look right.",
    "classes-in-another-order": "Look whether the names belong to the ids; a sample with --save-mosaic shows it.",
    "classes-not-measured": "Move some images with these classes from train to val.",
    "classes-only-in-val": "Move some images with these classes to train, or leave the classes out with --classes.",
    "classes-that-look-alike": "If they are one class, give them one name in your labelling tool.",
    "classes-with-few-objects": "Add images with these classes, or leave the classes out with --classes.",
    "classes-without-objects": "Leave these classes out with --classes, or add images that show them.",
    "exif-stored": "Nothing needs to be done for multibox. --fix saves them so that every program reads them alike.",
    "exif-unknown": "Look at the samples of --save-mosaic. If boxes are off, save the images turned; box them again.",
    "few-bits-of-sixteen": "Nothing needs to be done for multibox; scale them by the bits in use in other programs.",
    "files-listed-twice": "List each file once, with all of its objects.",
    "full-frame-boxes": "Remove the boxes if they stand for the whole image, not for an object.",
    "gifs": "Save the frame that is boxed as PNG.",
    "groups-as-classes": "Leave the group out with --classes, as said.",
    "label-files-that-several-images-share": "Give each image a stem of its own, and a label file of that name.",
    "leaks": "Remove these images from one of the two; --fix removes files from train that are byte for byte in val.",
    "lists-of-classes-that-contradict-each-other": "Keep the list that is right, and remove the other.",
    "nearly-black-images": "Open some: if they are brighter in a viewer, save them with 8 bits; else remove them.",
    "objects-of-two-classes": "Decide for one class, and remove the other box.",
    "objects-without-a-box": "Nothing needs to be done if the examples look right.",
    "parts-with-boxes-that-may-mean-something-else": "Look at the samples of --save-mosaic: do the boxes fit?",
    "tiny-boxes": "Remove slips of the mouse. If the objects are that small, take a larger input or tiles.",
    "turned-boxes": "Nothing needs to be done, but the box around a turned object holds much background.",
    "twins-boxed-differently": "Keep one of the two files, with all objects boxed.",
    # Notes: good to know.
    "exif-shown": "Nothing needs to be done.",
    "grey-images": "Nothing needs to be done, if the detector is to see such images, too.",
    "images-annotated-several-times": "Remove what does not hold any more in your labelling tool.",
    "images-of-other-sizes": "Nothing needs to be done, if they belong to the set.",
    "images-without-a-label-file": "Label them, or leave them as images without objects if they show none.",
    "images-without-a-row": "Add rows for them if they show objects.",
    "images-without-an-annotation-file": "Label them if they show objects.",
    "images-without-objects": "Nothing needs to be done, if they show no object of your classes.",
    "large-images": "Nothing needs to be done. If reading them is slow, save them smaller.",
    "of-the-set's-images-have-boxes-that-begin-at-pixel-0-or-between-pixels": "Nothing needs to be done.",
    "same-files": "Keep one file of each pair.",
    "sets-whose-objects-have-no-attribute": "Add an attribute `class` in your labelling tool if there are several.",
    "tasks-that-were-skipped": "Annotate them if they show objects.",
    "tasks-without-an-annotation": "Annotate them, or submit them empty if they show no object.",
}
"""What to do about a finding, by its kind."""

FOR_THE_REST = {
    "error": "Correct these in your labelling tool, or let --fix leave them out.",
    "warning": "Look at the examples and correct what is not meant.",
    "note": "Nothing needs to be done.",
}
"""What to do about a finding of a kind without a remedy of its own, by its severity."""


def remedy(kind: str, severity: str) -> str:
    """What to do about a finding, in a sentence."""
    return REMEDIES.get(kind, FOR_THE_REST[severity])
