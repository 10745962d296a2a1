"""The categories of annotation files: the same in all of them, and the classes that are chosen among them."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from multibox.data.coco_format import Content, Source
from multibox.data.problems import NUM_EXAMPLES
from multibox.errors import DataError
from multibox.wording import quoted


def common_categories(sources: Sequence[Source], contents: Sequence[Content]) -> dict[int, str]:
    """Names by id, by ascending id; the same in all files.

    Raises:
        DataError: files differ in their categories, or one has none or the same twice.
    """
    first = _categories(sources[0].file, contents[0])
    for source, content in zip(sources[1:], contents[1:], strict=True):
        other = _categories(source.file, content)
        if other == first:
            continue
        differing = sorted(key for key in first.keys() | other.keys() if first.get(key) != other.get(key))
        shown = "; ".join(
            f"id {key}: {_name(first.get(key))} and {_name(other.get(key))}" for key in differing[:NUM_EXAMPLES]
        )
        more = f"; ... ({len(differing)} in all)" if len(differing) > NUM_EXAMPLES else ""
        raise DataError(
            f"{sources[0].file} and {source.file} have different categories ({shown}{more}). "
            "Files that are used together must have the same; make them agree."
        )
    return first


def choose_categories(
    categories: dict[int, str], classes: Sequence[str] | None, file: Path, *, allow_missing: bool
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


def _categories(file: Path, content: Content) -> dict[int, str]:
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
