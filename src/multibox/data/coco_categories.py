"""The categories of annotation files: the same in all of them, and the classes that are chosen among them."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterator, Sequence

from multibox.data.coco_format import AnnotationFile, Content
from multibox.data.problems import NUM_EXAMPLES, Doubt
from multibox.errors import DataError
from multibox.wording import listed, quoted


def common_categories(sources: Sequence[AnnotationFile], contents: Sequence[Content]) -> dict[int, str]:
    """Names by id, by ascending id; the same in all files.

    Raises:
        DataError: files differ in their categories, or one has none or the same twice.
    """
    first = _categories(sources[0].name, contents[0])
    for source, content in zip(sources[1:], contents[1:], strict=True):
        other = _categories(source.name, content)
        if other == first:
            continue
        differing = sorted(key for key in first.keys() | other.keys() if first.get(key) != other.get(key))
        shown = "; ".join(
            f"id {key}: {_name(first.get(key))} and {_name(other.get(key))}" for key in differing[:NUM_EXAMPLES]
        )
        more = f"; ... ({len(differing)} in all)" if len(differing) > NUM_EXAMPLES else ""
        raise DataError(
            f"{sources[0].name} and {source.name} have different categories ({shown}{more}). "
            "Files that are used together must have the same; make them agree."
        )
    return first


def choose_categories(
    categories: dict[int, str], classes: Sequence[str] | None, file: str, *, allow_missing: bool
) -> Sequence[int | None]:
    """Category ids in the order of the chosen classes; None for one that is missing.

    Raises:
        DataError: a class is chosen twice, or `file` does not have it and is not allowed to miss it.
    """
    if not classes:
        return list(categories)
    ids = {name: category_id for category_id, name in categories.items()}
    unknown = [name for name in classes if name not in ids]
    if unknown and not (allow_missing and len(unknown) < len(classes)):
        near = difflib.get_close_matches(unknown[0], ids, n=1)
        hint = f" Did you mean {quoted(near[0])}?" if near else ""
        raise DataError(
            f"{file}: there is no class {', '.join(map(quoted, unknown))}.{hint} "
            f"Choose from: {', '.join(map(quoted, ids))}."
        )
    twice = sorted({name for name in classes if list(classes).count(name) > 1})
    if twice:
        raise DataError(f"The class {quoted(twice[0])} is chosen twice. Name each class once.")
    return [ids.get(name) for name in classes]


def doubts(content: Content, classes: Sequence[str]) -> Iterator[Doubt]:
    """What is odd about the categories of a file of which `classes` are chosen."""
    yield from _look_alikes(classes)
    yield from _groups(content, classes)
    ids = [category.id for category in content.categories if category.name in classes]
    in_order = [category.name for category in sorted(content.categories, key=lambda category: category.id)]
    if ids != sorted(ids) and list(classes) == [name for name in in_order if name in classes]:
        listing = listed([quoted(category.name) for category in content.categories], limit=9)
        text = (
            f"the file lists its categories in another order than that of their ids ({listing}): labels follow the "
            f"ids, {listed(map(quoted, classes), limit=9)}"
        )
        yield Doubt("classes-in-another-order", text)


def _look_alikes(classes: Sequence[str]) -> Iterator[Doubt]:
    """Names that differ only in capitals, blanks or the form of their letters."""
    by_key: dict[str, list[str]] = {}
    for name in classes:
        by_key.setdefault(comparable_name(name), []).append(name)
    alike = [names for names in by_key.values() if len(names) > 1]
    if alike:
        lines = tuple(listed(map(ascii, names)) for names in alike)
        text = f"classes that differ only in capitals, blanks or the form of a letter: {lines[0]}: are they one?"
        yield Doubt("classes-that-look-alike", text, lines)


def comparable_name(name: str) -> str:
    """A name without what people do not see or do not mean: capitals, blanks and their kind, forms of letters."""
    words = unicodedata.normalize("NFKC", name).casefold().replace("_", " ").replace("-", " ").split()
    return "".join(words)


def _groups(content: Content, classes: Sequence[str]) -> Iterator[Doubt]:
    """Roboflow's category 0: the name of the project, of which the others are, and which has no object."""
    used = {annotation.category_id for annotation in content.annotations}
    parents = {category.supercategory for category in content.categories if isinstance(category.supercategory, str)}
    groups = [
        category.name
        for category in content.categories
        if category.name in classes
        and category.name in parents
        and category.id not in used
        # COCO's own person is its own parent; what counts are others.
        and any(other.supercategory == category.name and other is not category for other in content.categories)
    ]
    if groups and len(groups) < len(classes):
        rest = ",".join(f'"{name}"' if "," in name else name for name in classes if name not in groups)
        text = (
            f"{listed(map(quoted, groups))} has no object and is the group of the others, as Roboflow writes it: leave "
            f'it out with --classes "{rest}"'
        )
        yield Doubt("groups-as-classes", text)


def _categories(file: str, content: Content) -> dict[int, str]:
    names: dict[int, str] = {}
    for category in content.categories:
        if category.id in names:
            raise DataError(f"{file}: two categories have the id {category.id}. Give each its own.")
        if category.name in names.values():
            raise DataError(f"{file}: two categories have the name {quoted(category.name)}. Merge or rename them.")
        names[category.id] = category.name
    if not names:
        raise DataError(f"{file}: there are no categories. Add those that the annotations use.")
    return dict(sorted(names.items()))


def _name(text: str | None) -> str:
    return "nothing" if text is None else quoted(text)
